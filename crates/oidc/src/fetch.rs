//! What an issuer says about itself, fetched within a deadline and limits of size.

use std::{sync::Arc, time::Duration};

use reqwest012::{Client, header::ACCEPT, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use serde::Deserialize;
use url::Url;

use crate::{
    config::{IssuerUrl, is_safe},
    keys::KeySet,
};

/// For metadata and keys each, from the connection to the last octet.
const DEADLINE: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_secs(2);
/// In octets. Keycloak's metadata have 6 KiB, and a set of ten keys with their certificates 25.
const MAX_METADATA: usize = 64 << 10;
const MAX_KEYS: usize = 256 << 10;
/// In characters.
const MAX_SHOWN: usize = 200;

/// Why nothing can be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The client cannot be set up.
    #[error("no HTTP client can be set up")]
    Client(#[from] reqwest012::Error),
}

/// Why an issuer's keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{url} does not answer")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest012::Error,
    },
    /// Redirects too: an issuer says where its keys are in its metadata, and in no other way.
    #[error("{url} answers {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answers with more than {limit} octets")]
    TooLong { url: String, limit: usize },
    #[error("{url} does not answer with what it should")]
    Unreadable {
        url: String,
        #[source]
        source: serde_json::Error,
    },
    /// OpenID Connect Discovery 1.0 §4.3.
    #[error("the metadata are of the issuer {found:?}")]
    OtherIssuer { found: String },
    #[error("the metadata name no place for keys that is safe: {found:?}")]
    UnsafeKeys { found: String },
    #[error("there is no key there that can be used")]
    NoKeys,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// The way to one issuer.
#[derive(Debug)]
pub(crate) struct Web {
    client: Client,
    issuer: IssuerUrl,
}

impl Web {
    pub(crate) fn new(issuer: IssuerUrl) -> Result<Self, SetupError> {
        let mut builder = Client::builder();
        if issuer.as_str().starts_with("http:") {
            // What is on this machine is not to be asked for through a proxy.
            builder = builder.no_proxy();
        }
        let client = builder
            .use_preconfigured_tls(tls()?)
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(DEADLINE)
            // Calls are rare, and come from several runtimes, each of which may end before the others.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("mtasts/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, issuer })
    }

    /// The keys that it signs with now.
    pub(crate) async fn keys(&self) -> Result<KeySet, FetchError> {
        let url = self.issuer.metadata();
        let metadata: Metadata = read(&url, &self.get(&url, MAX_METADATA).await?)?;
        if metadata.issuer != self.issuer.as_str() {
            return Err(FetchError::OtherIssuer { found: shown(&metadata.issuer) });
        }
        let place = metadata.jwks_uri.parse().ok().filter(is_safe);
        let place: Url = place.ok_or_else(|| FetchError::UnsafeKeys { found: shown(&metadata.jwks_uri) })?;
        let body = self.get(place.as_str(), MAX_KEYS).await?;
        let keys = KeySet::read(read(place.as_str(), &body)?);
        if keys.is_empty() { Err(FetchError::NoKeys) } else { Ok(keys) }
    }

    async fn get(&self, url: &str, limit: usize) -> Result<Vec<u8>, FetchError> {
        let unreachable =
            |source: reqwest012::Error| FetchError::Unreachable { url: url.to_owned(), source: source.without_url() };
        let request = self.client.get(url).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != reqwest012::StatusCode::OK {
            return Err(FetchError::Status { url: url.to_owned(), status: response.status().as_u16() });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > limit {
                return Err(FetchError::TooLong { url: url.to_owned(), limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// As much of what an issuer said as a log should have.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

fn read<'a, T: Deserialize<'a>>(url: &str, body: &'a [u8]) -> Result<T, FetchError> {
    serde_json::from_slice(body).map_err(|source| FetchError::Unreadable { url: url.to_owned(), source })
}

/// The machine's trust store (or `SSL_CERT_FILE`), so that an issuer under a private CA works; where there is none,
/// Mozilla's roots.
fn tls() -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}
