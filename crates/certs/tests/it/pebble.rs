//! A private Pebble with its DNS, on free ports of loopback.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use mtasts_certs::{AccountStore, AccountStoreError, AcmeConfig, AcmeIssuer, KeyRing};
use mtasts_model::{SystemClock, SystemEntropy};
use mtasts_testkit::{Process, free_port};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;

use crate::validation::Validation;

const STARTUP: Duration = Duration::from_secs(30);

/// How a Pebble is to behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Percent of nonces that it refuses.
    pub(crate) nonce_reject: u8,
    /// Whether accounts need an external binding.
    pub(crate) external_accounts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { nonce_reject: 20, external_accounts: false }
    }
}

/// Key of the external account `kid-1`.
pub(crate) const EXTERNAL_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// A running CA; ends with this value.
pub(crate) struct Pebble {
    pub(crate) address: SocketAddr,
    pub(crate) validation: Validation,
    /// The certificate (and root) of its listener, also for proxies in front of it.
    pub(crate) listener_pem: String,
    pub(crate) listener_key: Vec<u8>,
    options: Options,
    dns_management: SocketAddr,
    dns: SocketAddr,
    dir: TempDir,
    processes: Vec<Process>,
}

impl Pebble {
    pub(crate) async fn start(options: Options) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cert.pem"), certificate.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        let (dns, dns_management) = (free_address(), free_address());
        let mut command = Command::new("pebble-challtestsrv");
        command
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-management", &dns_management.to_string()]);
        // Newer ones call it otherwise, and serve DNS over HTTPS too.
        if usage(&command).contains("-dnsserver") {
            command.args(["-doh", "", "-dnsserver", &dns.to_string()]);
        } else {
            command.args(["-dns01", &dns.to_string()]);
        }
        let mut dns_process = spawn(&mut command);
        until_it_listens(&mut dns_process, dns_management).await;
        let mut pebble = Self {
            address: free_address(),
            validation: Validation::start().await,
            listener_pem: certificate.pem(),
            listener_key: key.serialize_der(),
            options,
            dns_management,
            dns,
            dir,
            processes: vec![dns_process],
        };
        pebble.boot().await;
        pebble
    }

    /// Ends the CA, and starts another one in its place, which knows nothing of what was before.
    pub(crate) async fn restart(&mut self) {
        self.processes.pop();
        self.boot().await;
    }

    async fn boot(&mut self) {
        let config = json!({"pebble": {
            "listenAddress": self.address.to_string(),
            "managementListenAddress": free_address().to_string(),
            "certificate": self.dir.path().join("cert.pem"),
            "privateKey": self.dir.path().join("key.pem"),
            "httpPort": self.validation.http.port(),
            "tlsPort": self.validation.tls.port(),
            "ocspResponderURL": "",
            "certificateValidityPeriod": 90 * 86_400,
            "externalAccountBindingRequired": self.options.external_accounts,
            "externalAccountMACKeys": {"kid-1": EXTERNAL_KEY},
        }});
        let path = self.dir.path().join("pebble.json");
        fs::write(&path, config.to_string()).unwrap();
        let mut process = spawn(
            Command::new("pebble")
                .arg("-config")
                .arg(&path)
                .args(["-dnsserver", &self.dns.to_string()])
                .env("PEBBLE_VA_SLEEPTIME", "0")
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_AUTHZREUSE", "0")
                .env("PEBBLE_WFE_NONCEREJECT", self.options.nonce_reject.to_string()),
        );
        until_it_listens(&mut process, self.address).await;
        self.processes.push(process);
    }

    pub(crate) fn config(&self) -> AcmeConfig {
        self.config_at(self.address)
    }

    /// With the directory at another address: that of a proxy.
    pub(crate) fn config_at(&self, address: SocketAddr) -> AcmeConfig {
        AcmeConfig {
            roots_pem: Some(self.listener_pem.clone().into_bytes()),
            contacts: vec!["mailto:hostmaster@example.com".to_owned()],
            terms_of_service_agreed: true,
            ..AcmeConfig::new("test", Url::parse(&format!("https://{address}/dir")).unwrap())
        }
    }

    /// Publishes a TXT record.
    pub(crate) async fn set_txt(&self, name: &str, value: &str) {
        self.tell_dns("/set-txt", &json!({"host": format!("{name}."), "value": value})).await;
    }

    async fn tell_dns(&self, path: &str, body: &serde_json::Value) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.dns_management).await.unwrap();
        let length = body.len();
        let request = format!("POST {path} HTTP/1.0\r\nHost: dns\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
    }
}

/// What outlives a crash of the worker: the sealed account and the key ring. Every issuer from here is a fresh one.
pub(crate) struct Home {
    pub(crate) config: AcmeConfig,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) ring: KeyRing,
}

impl Home {
    pub(crate) fn new(config: AcmeConfig) -> Self {
        Self { config, store: Arc::default(), ring: KeyRing::generate(&SystemEntropy).0 }
    }

    pub(crate) fn issuer(&self) -> AcmeIssuer {
        let store: Arc<dyn AccountStore> = self.store.clone();
        AcmeIssuer::new(&self.config, store, self.ring.clone(), Arc::new(SystemClock)).unwrap()
    }
}

/// As the app's store does: compare and set.
#[derive(Default)]
pub(crate) struct MemoryStore(pub(crate) Mutex<Option<Vec<u8>>>);

#[async_trait]
impl AccountStore for MemoryStore {
    async fn load(&self) -> Result<Option<Vec<u8>>, AccountStoreError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn save(&self, sealed: &[u8], replaces: Option<&[u8]>) -> Result<(), AccountStoreError> {
        let mut kept = self.0.lock().unwrap();
        if kept.as_deref() == replaces {
            *kept = Some(sealed.to_owned());
        }
        Ok(())
    }
}

fn spawn(command: &mut Command) -> Process {
    let program = command.get_program().to_string_lossy().into_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    let there = env::split_paths(&path).any(|folder| folder.join(&program).exists());
    assert!(there, "{program} is not installed: run scripts/install-deps");
    Process::spawn(&program, command)
}

fn usage(command: &Command) -> String {
    let output = Command::new(command.get_program()).arg("-help").output();
    output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default()
}

async fn until_it_listens(process: &mut Process, address: SocketAddr) {
    process.wait_until_ready(STARTUP, async || TcpStream::connect(address).await.is_ok()).await;
}

fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}
