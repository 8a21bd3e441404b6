//! Sending calls and reading their answers.
//!
//! The crate describes the calls (`EndpointSpec`), but does not send them: its client shows no headers, so that
//! `Retry-After` is lost, reads bodies of any length, and drops error codes above 65535, which are those of DNS.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use cloudflare::framework::{
    Environment,
    endpoint::{RequestBody, spec::EndpointSpec},
};
use reqwest012::{
    Client, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use tokio::time::Instant;
use url::{Host, Url};

use super::failure::{ApiError, CallError, Failure};
use crate::provider::{Pace, ProviderError};

/// Longest answer that is read: a page of [`super::listing::PAGE`] records of 8 KiB each, which is twice what a record
/// may have.
const MAX_ANSWER: usize = 16 << 20;
/// Longest rest that the API can ask us for.
const MAX_REST: Duration = Duration::from_hours(1);
/// How long to rest when the API does not say. It blocks for up to five minutes, but a look after one costs little.
const REST: Duration = Duration::from_mins(1);

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CloudflareConfigError {
    /// The token would go over the network in clear, or the address is none.
    #[error("the address of Cloudflare's API must be https (http only to this machine itself)")]
    Url,
    /// Not what Cloudflare shows when a token is made.
    #[error("the Cloudflare API token is empty or has characters that no token has")]
    Token,
    /// Not what Cloudflare shows on the zone's page.
    #[error("the Cloudflare zone id needs 1 to 32 letters and digits")]
    ZoneId,
    /// TLS or the HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<CloudflareConfigError> for ProviderError {
    fn from(error: CloudflareConfigError) -> Self {
        match error {
            CloudflareConfigError::Token => Self::Unauthorized { reason: error.to_string() },
            error => Self::Other(Box::new(error)),
        }
    }
}

/// The API, as one token sees it.
pub(super) struct Api {
    client: Client,
    environment: Environment,
    token: SecretString,
    pace: Arc<Pace>,
    timeout: Duration,
}

/// Every answer of the API.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Envelope<T> {
    success: bool,
    #[serde(default)]
    errors: Option<Vec<ApiError>>,
    #[serde(default)]
    result: Option<T>,
    #[serde(default)]
    result_info: Option<ResultInfo>,
}

/// Where a page stands among all.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct ResultInfo {
    #[serde(default)]
    pub(super) total_pages: Option<u32>,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Success<T> {
    pub(super) result: T,
    pub(super) info: Option<ResultInfo>,
}

impl Api {
    pub(super) fn new(
        url: &Url,
        token: SecretString,
        pace: Arc<Pace>,
        timeout: Duration,
    ) -> Result<Self, CloudflareConfigError> {
        let local = is_local(url);
        if url.cannot_be_a_base() || !(url.scheme() == "https" || (url.scheme() == "http" && local)) {
            return Err(CloudflareConfigError::Url);
        }
        header(&token)?;
        let mut url = url.clone();
        // Paths are joined to it, which would replace its last segment.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let mut client = Client::builder()
            .use_preconfigured_tls(tls()?)
            // A redirect would take the token elsewhere.
            .redirect(Policy::none())
            .connect_timeout(timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("mtasts/", env!("CARGO_PKG_VERSION")));
        if local {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| CloudflareConfigError::Client(error.into()))?;
        Ok(Self { client, environment: Environment::Custom(url.into()), token, pace, timeout })
    }

    /// Waits for its turn, sends the call, and reads the answer.
    pub(super) async fn call<E: EndpointSpec>(&self, endpoint: E) -> Result<Success<E::JsonResponse>, Failure> {
        let request = self.request(&endpoint)?;
        drop(endpoint);
        self.pace.take().await;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let start = Instant::now();
        let outcome = self.exchange(request).await;
        let elapsed = start.elapsed();
        let word = outcome.as_ref().map_or_else(Failure::word, |_| "ok");
        tracing::debug!(%method, path, outcome = word, ?elapsed, "called Cloudflare");
        metrics::counter!("mtasts_dns_provider_requests_total", "provider" => "cloudflare", "outcome" => word)
            .increment(1);
        metrics::histogram!("mtasts_dns_provider_request_seconds", "provider" => "cloudflare")
            .record(elapsed.as_secs_f64());
        if let Err(Failure::RateLimited { retry_after }) = &outcome {
            self.pace.rest(retry_after.unwrap_or(REST)).await;
        }
        outcome
    }

    fn request<E: EndpointSpec>(&self, endpoint: &E) -> Result<Request, Failure> {
        let unwritable = || Failure::broken(CallError::Unwritable);
        let url = endpoint.url(&self.environment);
        let mut request = self
            .client
            .request(endpoint.method(), url)
            .timeout(self.timeout)
            .header(AUTHORIZATION, header(&self.token).map_err(|_| unwritable())?)
            .header(ACCEPT, "application/json");
        match endpoint.body() {
            None => {}
            Some(RequestBody::Json(body)) => request = request.header(CONTENT_TYPE, "application/json").body(body),
            Some(RequestBody::Raw(_) | RequestBody::MultiPart(_)) => return Err(unwritable()),
        }
        request.build().map_err(|_| unwritable())
    }

    async fn exchange<T: DeserializeOwned>(&self, request: Request) -> Result<Success<T>, Failure> {
        let response = self.client.execute(request).await.map_err(Failure::unavailable)?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = body(response).await?;
        let Ok(frame) = serde_json::from_slice::<Envelope<IgnoredAny>>(&body) else {
            // Something in front of the API answers, such as an error page in HTML.
            return Err(match status {
                StatusCode::TOO_MANY_REQUESTS => Failure::RateLimited { retry_after },
                status => Failure::Unavailable { retry_after, source: Arc::new(CallError::NotTheApi { status }) },
            });
        };
        if !frame.success || !status.is_success() {
            return Err(Failure::of(status, retry_after, frame.errors.unwrap_or_default()));
        }
        let unreadable = |error| Failure::broken(CallError::Unreadable(error));
        let envelope: Envelope<T> = serde_json::from_slice(&body).map_err(unreadable)?;
        match envelope.result {
            Some(result) => Ok(Success { result, info: envelope.result_info }),
            None => Err(unreadable(serde::de::Error::missing_field("result"))),
        }
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::unavailable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Failure::broken(CallError::TooLong { limit: MAX_ANSWER }));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn tls() -> Result<ClientConfig, CloudflareConfigError> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| CloudflareConfigError::Client(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // HTTP/1.1 only: giving a request up closes its connection, where h2 would keep a dead one in the pool.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn header(token: &SecretString) -> Result<HeaderValue, CloudflareConfigError> {
    let token = token.expose_secret();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CloudflareConfigError::Token);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| CloudflareConfigError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// RFC 9110 §10.2.3: seconds, or a date. A date is read against the answer's own date, so that our clock does not
/// matter.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let value = text(&RETRY_AFTER)?;
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let wait = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let (until, sent): (SystemTime, SystemTime) = (date(value)?, date(text(&DATE)?)?);
        until.duration_since(sent).unwrap_or_default()
    };
    Some(wait.min(MAX_REST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms_and_capped() {
        let read = |retry: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read("17", None), Some(17));
        assert_eq!(read("999999999", None), Some(3600));
        assert_eq!(read("Sun, 06 Nov 1994 08:51:37 GMT", date), Some(120));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT", date), Some(0));
        assert_eq!(read("Sun, 06 Nov 1994 08:51:37 GMT", None), None);
        assert_eq!(read("soon", date), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_token_is_never_sent_in_clear_over_a_network() {
        let api = |url: &str, token: &str| {
            let pace = Arc::new(Pace::new(1.0, 1));
            Api::new(&url.parse().unwrap(), token.into(), pace, Duration::from_secs(1))
        };
        for url in
            ["https://api.cloudflare.com/client/v4", "http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost/"]
        {
            assert!(api(url, "token").is_ok(), "{url}");
        }
        for url in ["http://api.cloudflare.com/", "http://127.0.0.1.example/", "ftp://127.0.0.1/", "mailto:a@b.test"] {
            assert!(matches!(api(url, "token"), Err(CloudflareConfigError::Url)), "{url}");
        }
        for token in ["", "a b", "a\nb", "ü"] {
            assert!(matches!(api("https://localhost/", token), Err(CloudflareConfigError::Token)), "{token:?}");
        }
    }
}
