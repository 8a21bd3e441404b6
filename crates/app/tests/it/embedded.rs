//! `mtasts all` with its embedded defaults: no Redis, no CA, no account anywhere.

use std::{fs, process::Command, time::Duration};

use mtasts_testkit::{Bind, Process, Signal, TestDatabase, free_port, wait_for};
use serde_json::{Value, json};

use crate::service::{BINARY, PATIENCE, clean, fetch_policy, get};

#[tokio::test]
async fn all_with_no_configuration_file_serves_a_domain_with_the_local_ca() {
    let database = TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let [api, admin, https, http, nameserver] = std::array::from_fn(|_| free_port());
    let bind = Bind::start(&["customer.test"], &[("sts.test", nameserver)]).await;
    let mx = ["add customer.test 1 MX 10 mail.customer.test", "add mail.customer.test 1 A 127.0.0.1"];
    bind.update("customer.test", &mx).await;
    let mut command = Command::new(BINARY);
    clean(&mut command);
    // Only where the database is, and ports that are free here; the folder is where it starts.
    command.arg("all").current_dir(folder.path()).env("MTASTS__DATABASE__URL", database.url());
    for (key, port) in [
        ("API__LISTEN", api),
        ("ADMIN__LISTEN", admin),
        ("EDGE__HTTPS_LISTEN", https),
        ("EDGE__HTTP_LISTEN", http),
        ("NAMESERVER__LISTEN", nameserver),
    ] {
        command.env(format!("MTASTS__{key}"), format!("127.0.0.1:{port}"));
    }
    command.env("MTASTS__RESOLVER__UPSTREAMS", bind.address().to_string());
    command.env("MTASTS__NAMES__ALLOW_RESERVED", "test");
    // The test asks again every 20 ms.
    command.env("MTASTS__LIMITS__KEY_PER_MINUTE", "6000");
    let mut process = Process::spawn("mtasts all", &mut command);
    process
        .wait_until_ready(PATIENCE, async || {
            get(&format!("http://127.0.0.1:{admin}/readyz"), &[]).await.is_some_and(|(status, _)| status == 200)
        })
        .await;

    let data = folder.path().join("mtasts-data");
    let operator = fs::read_to_string(data.join("operator-token")).unwrap();
    let call = async |method: &str, path: &str, token: &str, body: Value| -> Value {
        let url = format!("http://127.0.0.1:{api}{path}");
        let authorization = format!("Authorization: Bearer {}", token.trim());
        let body = body.to_string();
        let mut arguments = vec!["-X", method, "-H", &authorization];
        if method != "GET" {
            arguments.extend(["-H", "Content-Type: application/json", "-d", &body]);
        }
        let (_, text) = get(&url, &arguments).await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let tenant = call("POST", "/v1/tenants", &operator, json!({"name": "x"})).await;
    let keys = format!("/v1/tenants/{}/api-keys", tenant["id"].as_str().unwrap());
    let key = call("POST", &keys, &operator, json!({"name": "x"})).await["key"].as_str().unwrap().to_owned();
    let domain = call("POST", "/v1/domains", &key, json!({"name": "customer.test"})).await;
    let label = |index: usize, what: &str| domain["delegation"]["records"][index][what].as_str().unwrap().to_owned();
    let lines: Vec<_> =
        (0..3).map(|index| format!("add {}. 1 CNAME {}.", label(index, "name"), label(index, "target"))).collect();
    bind.update("customer.test", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let path = format!("/v1/domains/{}/policy", domain["id"].as_str().unwrap());
    wait_for(PATIENCE, "the policy is published", || async {
        let policy = call("GET", &path, &key, Value::Null).await;
        (!policy["published_at"].is_null()).then_some(())
    })
    .await;
    let text = fetch_policy(https, &data.join("local-ca/root.pem")).await.expect("the policy over verified TLS");
    assert!(text.contains("mx: mail.customer.test\r\n"));

    let (status, docs) = get(&format!("http://127.0.0.1:{api}/docs/"), &[]).await.unwrap();
    assert_eq!(status, 200);
    assert!(!docs.contains("https://cdn") && !docs.contains("//unpkg"), "the docs page needs a network");
    let (_, metrics) = get(&format!("http://127.0.0.1:{admin}/metrics"), &[]).await.unwrap();
    for name in ["mtasts_build_info", "mtasts_edge_", "mtasts_worker_", "mtasts_api_"] {
        assert!(metrics.contains(name), "{name} is missing in\n{metrics}");
    }
    let (alive, _) = get(&format!("http://127.0.0.1:{admin}/healthz"), &[]).await.unwrap();
    assert_eq!(alive, 200);

    let start = std::time::Instant::now();
    assert!(process.stop(Signal::Terminate).success(), "{}", process.log());
    assert!(start.elapsed() < Duration::from_secs(9), "a polite stop is quick when nothing is under way");
}
