//! Tokens of an issuer that the configuration names, for the binary as a service and as its client.

use std::{fs, process::Command};

use mtasts_model::{Clock, SystemClock};
use mtasts_testkit::{IssuerMood, Process, SigningKey, TestDatabase, TestIssuer, free_port};
use serde_json::json;

use crate::service::{BINARY, OPERATOR_TOKEN, PATIENCE, clean, get, mtasts};

#[tokio::test]
async fn a_user_of_a_configured_issuer_works_with_the_api_and_the_command_line() {
    let database = TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let (api, admin) = (free_port(), free_port());
    let key = SigningKey::rsa("k1");
    let issuer = TestIssuer::start(&[&key]).await;
    // The service starts without it.
    issuer.be(IssuerMood::Failing);
    let path = folder.path().join("mtasts.toml");
    let settings = format!(
        r#"
        data_dir = "{}"
        [database]
        url = "{}"
        [api]
        listen = ["127.0.0.1:{api}"]
        operator_token = "{OPERATOR_TOKEN}"
        [admin]
        listen = "127.0.0.1:{admin}"
        [oidc.staff]
        issuer = "{}"
        audience = "mtasts"
        role_claim = "/realm_access/roles"
        owner = ["Boss"]
        "#,
        folder.path().display(),
        database.url(),
        issuer.url(),
    );
    fs::write(&path, settings).unwrap();
    let config = path.to_str().unwrap();
    assert!(mtasts(&["migrate", "--config", config]).status.success());
    let mut command = Command::new(BINARY);
    clean(&mut command);
    command.args(["api", "--config", config]);
    let mut process = Process::spawn("mtasts api", &mut command);
    process
        .wait_until_ready(PATIENCE, async || {
            get(&format!("http://127.0.0.1:{admin}/readyz"), &[]).await.is_some_and(|(status, _)| status == 200)
        })
        .await;
    issuer.be(IssuerMood::Well);

    let base = format!("http://127.0.0.1:{api}");
    let call = async |path: &str, token: &str, body: &str| {
        let authorization = format!("Authorization: Bearer {token}");
        let mut arguments = vec!["-H", authorization.as_str()];
        if !body.is_empty() {
            arguments.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        let (status, text) = get(&format!("{base}{path}"), &arguments).await.unwrap();
        (status, serde_json::from_str::<serde_json::Value>(&text).unwrap())
    };
    let (status, tenant) = call("/v1/tenants", OPERATOR_TOKEN, r#"{"name": "Example"}"#).await;
    assert_eq!(status, 201, "{tenant}");
    let token = key.token(&json!({
        "iss": issuer.url(), "aud": ["account", "mtasts"], "sub": "somebody", "tenant": tenant["id"],
        "exp": SystemClock.now().timestamp() + 300, "realm_access": {"roles": ["offline_access", "Boss"]},
    }));
    let (status, own) = call("/v1/tenant", &token, "").await;
    assert_eq!((status, &own["id"]), (200, &tenant["id"]), "{own}");
    let (status, customer) = call("/v1/customers", &token, r#"{"name": "beneath"}"#).await;
    assert_eq!(status, 201, "{customer}");

    let mut client = Command::new(BINARY);
    clean(&mut client);
    client.args(["domains", "list", "--json", "--api", &base, "--tenant", customer["id"].as_str().unwrap()]);
    let output = client.env("MTASTS_API_KEY", &token).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["data"], json!([]));
}
