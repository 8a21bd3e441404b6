//! A service with its surroundings: each role a process of its own, a customer's DNS, a CA.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use mtasts_testkit::{Bind, Pebble, PebbleOptions, Process, TestDatabase, free_port, wait_for, wait_until};
use serde_json::{Value, json};

use crate::gate::Gate;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_mtasts");
pub(crate) const OPERATOR_TOKEN: &str = "canary-operator-token-0123456789";
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
const CUSTOMER: &str = "customer.test";

pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) https: u16,
    pub(crate) http: u16,
    pub(crate) nameserver: u16,
}

/// Everything but the roles, which a test starts and stops as it likes.
pub(crate) struct Service {
    pub(crate) database: TestDatabase,
    pub(crate) gate: Gate,
    pub(crate) bind: Bind,
    pub(crate) ports: Ports,
    pub(crate) key_ring: String,
    pub(crate) key: String,
    pub(crate) pebble: Pebble,
    folder: tempfile::TempDir,
}

pub(crate) fn mtasts(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    clean(&mut command);
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What the developer's shell says must not reach the process under test.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MTASTS_")) {
        command.env_remove(name);
    }
}

impl Service {
    pub(crate) async fn new() -> Self {
        Self::with_zone_at(free_port()).await
    }

    /// The service's zone is answered at this port of loopback.
    pub(crate) async fn with_zone_at(nameserver: u16) -> Self {
        let database = TestDatabase::create().await;
        let url: url::Url = database.url().parse().unwrap();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, url.port().unwrap_or(5432)));
        let gate = Gate::before(server).await;
        let ports = Ports { api: free_port(), https: free_port(), http: free_port(), nameserver };
        let bind = Bind::start(&[CUSTOMER], &[("sts.test", ports.nameserver)]).await;
        let mx = ["add customer.test 1 MX 10 mail.customer.test", "add mail.customer.test 1 A 127.0.0.1"];
        bind.update(CUSTOMER, &mx).await;
        let pebble = Pebble::start(PebbleOptions {
            http_port: ports.http,
            tls_port: ports.https,
            dns_port: bind.address().port(),
            environment: vec!["PEBBLE_VA_NOSLEEP=1".to_owned(), "PEBBLE_VA_SLEEPTIME=0".to_owned()],
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pebble-root.pem"), pebble.root().await).unwrap();
        let key_ring = String::from_utf8(mtasts(&["admin", "generate-key"]).stdout).unwrap().trim().to_owned();
        let service = Self { database, gate, bind, ports, key_ring, key: String::new(), pebble, folder };
        service.write_config(&url);
        service
    }

    /// One with these roles running, and a tenant.
    pub(crate) async fn with_roles<const N: usize>(names: [&str; N]) -> (Self, [Process; N]) {
        let mut service = Self::new().await;
        service.migrate();
        let mut roles = Vec::new();
        for name in names {
            roles.push(service.start(name).await);
        }
        service.sign_up().await;
        (service, roles.try_into().expect("as many as were named"))
    }

    fn write_config(&self, database: &url::Url) {
        let mut database = database.clone();
        database.set_port(Some(self.gate.port)).unwrap();
        let Ports { api, https, http, nameserver } = self.ports;
        let (dns, directory) = (self.bind.address(), self.pebble.directory());
        let (listener_ca, root) = (self.pebble.listener_ca(), self.path("pebble-root.pem"));
        let key_ring = &self.key_ring;
        let text = format!(
            r#"
            [database]
            url = "{database}"
            connect_timeout_seconds = 1
            [service]
            zone = "sts.test"
            [names]
            allow_reserved = ["test"]
            [secrets]
            key_ring = "{key_ring}"
            [api]
            listen = ["127.0.0.1:{api}"]
            operator_token = "{OPERATOR_TOKEN}"
            [edge]
            https_listen = ["127.0.0.1:{https}"]
            http_listen = ["127.0.0.1:{http}"]
            [nameserver]
            listen = ["127.0.0.1:{nameserver}"]
            [resolver]
            upstreams = ["{dns}"]
            [issuer]
            kind = "acme"
            directory = "{directory}"
            root_file = "{listener_ca}"
            terms_of_service_agreed = true
            [worker]
            lease_seconds = 2
            [probe]
            smtp_port = 1
            extra_roots_file = "{root}"
            [log]
            format = "json"
            level = "info,mtasts_worker=debug"
            "#,
            listener_ca = listener_ca.display(),
            root = root.display(),
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Adds to the configuration.
    pub(crate) fn configure(&self, text: &str) {
        let before = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), format!("{before}\n{text}\n")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("mtasts.toml")
    }

    pub(crate) fn migrate(&self) {
        let output = mtasts(&["migrate", "--config", self.config().to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts a role and waits until its admin port says that it is ready.
    pub(crate) async fn start(&self, role: &str) -> Process {
        let admin = free_port();
        let mut process = self.spawn(role, admin);
        process
            .wait_until_ready(PATIENCE, async || {
                get(&format!("http://127.0.0.1:{admin}/readyz"), &[]).await.is_some_and(|(status, _)| status == 200)
            })
            .await;
        process
    }

    pub(crate) fn spawn(&self, role: &str, admin: u16) -> Process {
        let mut command = Command::new(BINARY);
        clean(&mut command);
        command.args([role, "--config"]).arg(self.config());
        command.env("MTASTS__DATA_DIR", self.path(role)).env("MTASTS__ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
        // Tests ask again every 20 ms.
        command.env("MTASTS__LIMITS__KEY_PER_MINUTE", "6000");
        Process::spawn(role, &mut command)
    }

    /// A tenant with a key that further calls use.
    pub(crate) async fn sign_up(&mut self) {
        let (status, tenant) = self.call("POST", "/v1/tenants", OPERATOR_TOKEN, Some(json!({"name": "Example"}))).await;
        assert_eq!(status, 201, "{tenant}");
        let path = format!("/v1/tenants/{}/api-keys", tenant["id"].as_str().unwrap());
        let (status, key) = self.call("POST", &path, OPERATOR_TOKEN, Some(json!({"name": "test"}))).await;
        assert_eq!(status, 201, "{key}");
        key["key"].as_str().unwrap().clone_into(&mut self.key);
    }

    /// Registers `customer.test` and gives its id.
    pub(crate) async fn register(&self) -> String {
        let (status, domain) = self.rest("POST", "/v1/domains", Some(json!({"name": CUSTOMER}))).await;
        assert_eq!(status, 201, "{domain}");
        domain["id"].as_str().unwrap().to_owned()
    }

    /// Puts the CNAMEs that the API asks for into the customer's zone.
    pub(crate) async fn delegate(&self, id: &str) {
        let (_, domain) = self.rest("GET", &format!("/v1/domains/{id}"), None).await;
        let records = domain["delegation"]["records"].as_array().unwrap();
        let required = records.iter().filter(|record| record["required"] == json!(true));
        let text = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
        let lines: Vec<_> = required
            .map(|record| format!("add {}. 1 CNAME {}.", text(record, "name"), text(record, "target")))
            .collect();
        assert_eq!(lines.len(), 3);
        self.bind.update(CUSTOMER, &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let (status, _) = self.rest("POST", &format!("/v1/domains/{id}/verify"), Some(json!({}))).await;
        assert_eq!(status, 202);
    }

    /// Waits until the newest version is published, and gives it.
    pub(crate) async fn published(&self, id: &str, mode: &str) -> Value {
        let path = format!("/v1/domains/{id}/policy");
        wait_for(PATIENCE, &format!("mode {mode} is published"), || async {
            let (status, policy) = self.rest("GET", &path, None).await;
            (status == 200 && policy["mode"] == json!(mode) && !policy["published_at"].is_null()).then_some(policy)
        })
        .await
    }

    pub(crate) async fn condition(&self, id: &str, kind: &str, status: &str) {
        wait_until(PATIENCE, &format!("{kind} is {status}"), || async {
            let (_, domain) = self.rest("GET", &format!("/v1/domains/{id}"), None).await;
            let conditions = domain["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|c| c["kind"] == json!(kind) && c["status"] == json!(status))
        })
        .await;
    }

    pub(crate) async fn rest(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call(method, path, &self.key, body).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.api);
        let authorization = format!("Authorization: Bearer {token}");
        let body = body.map(|body| body.to_string());
        let mut arguments = vec!["-X", method, "-H", &authorization];
        if let Some(body) = &body {
            arguments.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        let (status, text) = get(&url, &arguments).await.unwrap_or_default();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// The policy as a sender gets it, over verified TLS.
    pub(crate) async fn fetch_policy(&self) -> Option<String> {
        fetch_policy(self.ports.https, &self.path("pebble-root.pem")).await
    }

    /// The TXT record as the zone's own server tells it, found through the customer's CNAME.
    pub(crate) async fn dig_record(&self) -> String {
        let name = self.bind.dig("_mta-sts.customer.test", "CNAME").await.pop().unwrap_or_default();
        dig(self.ports.nameserver, &name).await
    }
}

pub(crate) async fn dig(port: u16, name: &str) -> String {
    let port = port.to_string();
    let arguments = ["@127.0.0.1", "-p", &port, "+short", "+time=1", "+tries=1", name, "TXT"];
    let output = tokio::process::Command::new("dig").args(arguments).output().await.unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) async fn fetch_policy(port: u16, root: &Path) -> Option<String> {
    let to = format!("mta-sts.customer.test:443:127.0.0.1:{port}");
    let arguments = ["--cacert", root.to_str().unwrap(), "--connect-to", &to];
    let answer = get("https://mta-sts.customer.test/.well-known/mta-sts.txt", &arguments).await;
    answer.and_then(|(status, body)| (status == 200).then_some(body))
}

/// Status and body; None when there was no answer at all.
pub(crate) async fn get(url: &str, arguments: &[&str]) -> Option<(u16, String)> {
    let output = tokio::process::Command::new("curl")
        .args(["-sS", "--max-time", "10", "-w", "\n%{http_code}"])
        .args(arguments)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n')?;
    let status = status.parse().ok().filter(|status| *status != 0)?;
    Some((status, body.to_owned()))
}
