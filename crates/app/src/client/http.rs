//! Calls to the API: deadlines, retries, sizes.

use std::{sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use mtasts_model::{Entropy, SystemEntropy, TenantId};
use reqwest012::{
    Client, Method, RequestBuilder, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH, RETRY_AFTER},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::Url;

use super::{error::ClientError, problem::Refusal, settings::Credentials};

/// One call, from the connection to the last byte. The API's own deadline is shorter, those with calls to a DNS
/// provider included.
const CALL: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);
/// Longest answer that is read; a page of 100 objects is far below.
const MAX_ANSWER: usize = 16 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// `If-Match`: whatever is there.
const ANY: &str = "*";
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The API, with a key.
pub(super) struct Api {
    client: Client,
    base: Url,
    authorization: HeaderValue,
    /// Within which tenant all calls act; None: the key's own.
    tenant: Option<TenantId>,
    /// How long a call that fails for a passing reason is tried again.
    retry_for: Duration,
}

/// One call.
pub(super) struct Call<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'a str, String)>,
    body: Option<Value>,
    if_match: Option<String>,
}

impl<'a> Call<'a> {
    fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: Vec::new(), body: None, if_match: None }
    }

    pub(super) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn delete(path: &'a [&'a str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(super) fn post(path: &'a [&'a str], body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, path) }
    }

    pub(super) fn put(path: &'a [&'a str], body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PUT, path) }
    }

    pub(super) fn patch(path: &'a [&'a str], body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PATCH, path) }
    }

    pub(super) fn query(mut self, name: &'a str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Only if this is the current policy version (RFC 9110 §13.1.1), where one is given.
    pub(super) fn if_version(mut self, version: Option<&str>) -> Self {
        if let Some(version) = version {
            self.if_match = Some(format!("\"{version}\""));
        }
        self
    }

    /// Whatever is there, but only where something is.
    pub(super) fn over_any(mut self) -> Self {
        self.if_match = Some(ANY.to_owned());
        self
    }

    /// Whether a repeated call may be refused for what the first one did.
    fn is_conditional(&self) -> bool {
        self.if_match.as_deref().is_some_and(|tag| tag != ANY)
    }
}

/// A successful answer, as it came.
pub(super) struct Answer {
    pub(super) text: String,
    api: String,
}

impl Answer {
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.text)
            .map_err(|error| ClientError::Unreadable { api: self.api.clone(), what: error.to_string() })
    }
}

impl Api {
    pub(super) fn new(credentials: &Credentials, retry_for: Duration) -> Result<Self, ClientError> {
        let mut builder = Client::builder();
        if credentials.api.as_url().scheme() == "http" {
            // What is meant for this machine must not be sent to a proxy, to be read there.
            builder = builder.no_proxy();
        }
        let client = builder
            .use_preconfigured_tls(tls()?)
            // A redirect would carry the key to somebody whom nobody named.
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(CALL)
            .user_agent(concat!("mtasts/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ClientError::Client)?;
        let authorization = bearer(&credentials.key)?;
        Ok(Self { client, base: credentials.api.as_url().clone(), authorization, tenant: None, retry_for })
    }

    /// The same, acting within this tenant.
    pub(super) fn within(self, tenant: Option<TenantId>) -> Self {
        Self { tenant, ..self }
    }

    /// Makes the call; again where it fails for a passing reason, until `retry_for` has passed. That is safe: a POST
    /// carries an `Idempotency-Key`, and the effect of all others does not depend on how often they are made. Only a
    /// call under a condition (`If-Match`) is left alone once its answer may have been lost.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Answer, ClientError> {
        let octets = self.octets(call).await?;
        let text = String::from_utf8(octets).map_err(|error| self.unreadable(error.to_string()))?;
        Ok(Answer { text, api: self.base.to_string() })
    }

    /// The same, whatever the answer consists of.
    pub(super) async fn octets(&self, call: Call<'_>) -> Result<Vec<u8>, ClientError> {
        let give_up = Instant::now() + self.retry_for;
        let key = (call.method == Method::POST).then(idempotency_key);
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.once(&call, key.as_deref()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match error.retry_after(pause) {
                // The first try may have had its effect, and would fail the condition of the second.
                _ if call.is_conditional() && error.may_have_had_effect() => return Err(error),
                Some(wait) if Instant::now() + wait < give_up => sleep(wait).await,
                _ => return Err(error),
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn once(&self, call: &Call<'_>, key: Option<&str>) -> Result<Vec<u8>, ClientError> {
        let response = self.request(call, key).send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let octets = self.read(response).await?;
        if status.is_success() {
            return Ok(octets);
        }
        let text = String::from_utf8(octets).map_err(|error| self.unreadable(error.to_string()))?;
        let retry_after = retry_after.map(Duration::from_secs);
        Err(ClientError::Refused(Box::new(Refusal::new(status, retry_after, text))))
    }

    fn request(&self, call: &Call<'_>, key: Option<&str>) -> RequestBuilder {
        let mut url = self.base.clone();
        // A base that cannot have a path was refused when it was read.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path);
        }
        let mut request = self.client.request(call.method.clone(), url);
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        request = request.header(AUTHORIZATION, self.authorization.clone());
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Tenant", tenant.to_string());
        }
        if let Some(version) = &call.if_match {
            request = request.header(IF_MATCH, version);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        match &call.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
            None => request,
        }
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.unreachable(source))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.unreadable(format!("it is longer than {MAX_ANSWER} octets")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, source: reqwest012::Error) -> ClientError {
        // Its URL has the filters in it, and is told beside it anyway.
        ClientError::Unreachable { api: self.base.to_string(), source: source.without_url() }
    }

    fn unreadable(&self, what: String) -> ClientError {
        ClientError::Unreadable { api: self.base.to_string(), what }
    }
}

fn bearer(key: &SecretString) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
        .map_err(|_| ClientError::Credential("the API key has characters that no key has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn idempotency_key() -> String {
    let mut octets = [0; 16];
    SystemEntropy.fill(&mut octets);
    HEXLOWER.encode(&octets)
}

/// The machine's trust store (or `SSL_CERT_FILE`), so that a private CA works; where there is none, Mozilla's roots.
fn tls() -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}
