//! The key ring's keys, wrapped by HashiCorp Vault's transit engine (ADR 16).
//!
//! Vault is asked when a process starts, once for each wrapped key, and when a key is drawn: never for a secret. A process
//! that runs needs it no more.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use reqwest012::{Client, RequestBuilder, Response, StatusCode, header::CONTENT_TYPE, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer, pki_types::pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::Url;
use zeroize::Zeroizing;

/// What a wrapped key begins with, in a key ring as in Vault's answers.
pub(crate) const PREFIX: &str = "vault:";

/// The longest answer that is read. One with a key has less than a kibibyte.
const MAX_ANSWER: usize = 64 << 10;
/// So much of what Vault says against a request is told.
const MAX_TOLD: usize = 300;
const PAUSE: Duration = Duration::from_millis(300);

/// What is needed to ask.
#[derive(Debug, Clone)]
pub(crate) struct VaultSettings {
    pub(crate) address: Url,
    pub(crate) namespace: Option<String>,
    /// Where the transit engine is mounted.
    pub(crate) mount: String,
    /// The key of the transit engine.
    pub(crate) key: String,
    /// Read anew for each request: an agent may renew it.
    pub(crate) token_file: PathBuf,
    pub(crate) ca_file: Option<PathBuf>,
    /// For one request.
    pub(crate) timeout: Duration,
    /// Vault that is away, sealed or too busy is asked again for so long.
    pub(crate) patience: Duration,
}

/// Why Vault gave no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    #[error("cannot read {}", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is no certificate (PEM)", .0.display())]
    Roots(PathBuf),
    #[error("{} has no token in it", .0.display())]
    NoToken(PathBuf),
    #[error("no client for Vault can be set up")]
    Client(#[source] reqwest012::Error),
    #[error("no TLS client for Vault can be set up")]
    Tls(#[from] rustls::Error),
    #[error("Vault cannot be reached")]
    Unreachable(#[source] reqwest012::Error),
    #[error("Vault refused with {status}: {said}")]
    Refused { status: StatusCode, said: String },
    #[error("Vault's answer cannot be read: {0}")]
    Unreadable(&'static str),
}

impl VaultError {
    /// Whether the same request may work later. 412: the node has not seen what another wrote; 429: a standby, or a
    /// quota; 472 and 473: a standby of disaster recovery or performance; 503: sealed, or under maintenance.
    fn passes(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 412 | 429 | 472 | 473)
            }
            _ => false,
        }
    }
}

/// Vault's transit engine.
pub(crate) struct Vault {
    client: Client,
    settings: VaultSettings,
}

#[derive(Deserialize)]
struct Answer {
    data: Value,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    errors: Vec<String>,
}

impl Vault {
    pub(crate) fn new(settings: VaultSettings) -> Result<Self, VaultError> {
        let mut builder = Client::builder();
        if settings.address.scheme() == "http" {
            // A token that is meant for this machine must not be sent to a proxy.
            builder = builder.no_proxy();
        }
        let client = builder
            .use_preconfigured_tls(tls(settings.ca_file.as_ref())?)
            // A redirect would carry the token to somebody whom nobody named.
            .redirect(Policy::none())
            .timeout(settings.timeout)
            .user_agent(concat!("mtasts/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(VaultError::Client)?;
        Ok(Self { client, settings })
    }

    /// Opens a wrapped key: base64 of its octets.
    pub(crate) async fn unwrap(&self, wrapped: &str) -> Result<SecretString, VaultError> {
        let answer = self.ask(&["decrypt", &self.settings.key], &json!({ "ciphertext": wrapped })).await?;
        let plaintext = answer.get("plaintext").and_then(Value::as_str);
        Ok(plaintext.ok_or(VaultError::Unreadable("it has no plaintext"))?.to_owned().into())
    }

    /// Draws a key of 256 bits within Vault, and gives it wrapped alone.
    pub(crate) async fn draw(&self) -> Result<String, VaultError> {
        let answer = self.ask(&["datakey", "wrapped", &self.settings.key], &json!({ "bits": 256 })).await?;
        let wrapped = answer.get("ciphertext").and_then(Value::as_str).filter(|text| text.starts_with(PREFIX));
        Ok(wrapped.ok_or(VaultError::Unreadable("it has no ciphertext"))?.to_owned())
    }

    async fn ask(&self, path: &[&str], body: &Value) -> Result<Value, VaultError> {
        let give_up = Instant::now() + self.settings.patience;
        loop {
            match self.once(path, body).await {
                Err(error) if error.passes() && Instant::now() + PAUSE < give_up => {
                    tracing::warn!(error = %crate::startup::causes(&error), "waiting for Vault");
                    sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    async fn once(&self, path: &[&str], body: &Value) -> Result<Value, VaultError> {
        let unreachable = |source: reqwest012::Error| VaultError::Unreachable(source.without_url());
        let mut response = self.request(path, body)?.send().await.map_err(unreachable)?;
        let status = response.status();
        let octets = read(&mut response).await?;
        if !status.is_success() {
            let said =
                serde_json::from_slice::<Refusal>(&octets).map(|said| said.errors.join("; ")).unwrap_or_default();
            let said = said.chars().filter(|c| !c.is_control()).take(MAX_TOLD).collect();
            return Err(VaultError::Refused { status, said });
        }
        let answer = serde_json::from_slice::<Answer>(&octets);
        Ok(answer.map_err(|_| VaultError::Unreadable("it is no JSON with data"))?.data)
    }

    fn request(&self, path: &[&str], body: &Value) -> Result<RequestBuilder, VaultError> {
        let VaultSettings { address, namespace, mount, token_file, .. } = &self.settings;
        let mut url = address.clone();
        // An address that cannot have a path was refused with the configuration.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(mount.split('/')).extend(path);
        }
        let file = |source| VaultError::File { path: token_file.clone(), source };
        let token = fs::read_to_string(token_file).map(Zeroizing::new).map_err(file)?;
        let mut token = http::HeaderValue::from_str(token.trim())
            .ok()
            .filter(|token| !token.is_empty())
            .ok_or_else(|| VaultError::NoToken(token_file.clone()))?;
        token.set_sensitive(true);
        let mut request = self.client.post(url).header("X-Vault-Token", token).header("X-Vault-Request", "true");
        if let Some(namespace) = namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        Ok(request.header(CONTENT_TYPE, "application/json").body(body.to_string()))
    }
}

async fn read(response: &mut Response) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    // Of full size from the start, so that no piece of a key is left behind where it grew.
    let mut body = Zeroizing::new(Vec::with_capacity(MAX_ANSWER));
    while let Some(chunk) = response.chunk().await.map_err(|source| VaultError::Unreachable(source.without_url()))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(VaultError::Unreadable("it is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Trusts the CA that is named and no other; where none is named, those of the machine.
fn tls(ca_file: Option<&PathBuf>) -> Result<ClientConfig, VaultError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let pem = fs::read(path).map_err(|source| VaultError::File { path: path.clone(), source })?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| VaultError::Roots(path.clone()))?;
            roots.add(certificate).map_err(|_| VaultError::Roots(path.clone()))?;
        }
        if roots.is_empty() {
            return Err(VaultError::Roots(path.clone()));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

/// The ring with its wrapped keys opened. What is not wrapped stays as it is.
pub(crate) async fn open_ring(text: &SecretString, vault: &Vault) -> Result<SecretString, VaultError> {
    let mut entries = Zeroizing::new(String::new());
    for entry in text.expose_secret().split(',').map(str::trim) {
        if !entries.is_empty() {
            entries.push(',');
        }
        match entry.split_once(':') {
            Some((id, wrapped)) if wrapped.trim_start().starts_with(PREFIX) => {
                let key = vault.unwrap(wrapped.trim()).await?;
                entries.push_str(id);
                entries.push(':');
                entries.push_str(key.expose_secret());
            }
            _ => entries.push_str(entry),
        }
    }
    Ok(entries.as_str().to_owned().into())
}

/// Whether a key of the ring is wrapped.
pub(crate) fn is_wrapped(ring: &SecretString) -> bool {
    let value = |entry: &str| entry.split_once(':').is_some_and(|(_, value)| value.trim_start().starts_with(PREFIX));
    ring.expose_secret().split(',').any(value)
}
