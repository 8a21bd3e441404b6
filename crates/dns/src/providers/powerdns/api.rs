//! The requests of the API, their deadlines, and what its refusals mean.

use std::{sync::Arc, time::Duration};

use mtasts_model::ZoneName;
use reqwest012::{
    Client, Method, Response, StatusCode,
    header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout};
use url::Url;

use super::sets::{RrSet, SetChange, Standing};
use crate::provider::{BoxError, Pace, ProviderError};

/// A look at one name comes nowhere near, unless the zone is full of comments: the server adds all of them.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Below the server's own limit (`webserver-max-bodysize`, 2 MiB), because it hangs up on whoever sends more.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;
/// The part of a refusal that is told on.
const MAX_REASON_CHARS: usize = 300;
/// A server that asks for more is asked again all the same.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// The server builds the whole listing before it sends the first byte.
const LISTING_PATIENCE: Duration = Duration::from_mins(5);

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PowerDnsConfigError {
    /// Not such as `http://127.0.0.1:8081/api/v1/`.
    #[error("the address of the PowerDNS API is not usable: {0}")]
    Address(&'static str),
    /// It has characters that no HTTP header may have.
    #[error("the key of the PowerDNS API has characters that it cannot have")]
    Key,
    /// The HTTP client cannot be set up.
    #[error("the HTTP client for the PowerDNS API cannot be set up")]
    Client(#[source] BoxError),
}

/// The API, for one zone.
pub(super) struct Api {
    client: Client,
    zone: ZoneName,
    server_url: Url,
    zone_url: Url,
    key: HeaderValue,
    pace: Arc<Pace>,
    timeout: Duration,
}

#[derive(Deserialize)]
struct ZoneAnswer {
    #[serde(default)]
    rrsets: Vec<RrSet>,
}

#[derive(Deserialize)]
struct ZoneHead {
    kind: String,
    #[serde(default)]
    soa_edit_api: String,
}

#[derive(Serialize)]
struct Patch<'a> {
    rrsets: Vec<&'a SetChange>,
}

impl Api {
    pub(super) fn new(
        zone: ZoneName,
        mut url: Url,
        server_id: &str,
        key: &SecretString,
        pace: Arc<Pace>,
        timeout: Duration,
    ) -> Result<Self, PowerDnsConfigError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(PowerDnsConfigError::Address("neither http:// nor https://"));
        }
        if url.query().is_some() || url.fragment().is_some() || url.password().is_some() || !url.username().is_empty() {
            return Err(PowerDnsConfigError::Address("it has more than host, port and path"));
        }
        let cannot_be_base = |()| PowerDnsConfigError::Address("it has no path");
        url.path_segments_mut().map_err(cannot_be_base)?.pop_if_empty().extend(["servers", server_id]);
        let mut zone_url = url.clone();
        zone_url.path_segments_mut().map_err(cannot_be_base)?.extend(["zones", &format!("{zone}.")]);
        let mut key = HeaderValue::from_str(key.expose_secret()).map_err(|_| PowerDnsConfigError::Key)?;
        key.set_sensitive(true);

        let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| PowerDnsConfigError::Client(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // The key goes to the configured address and nowhere else: neither along a redirect, nor to a proxy.
        let client = Client::builder().use_preconfigured_tls(tls).redirect(Policy::none()).no_proxy();
        let client = client.http1_only().build().map_err(|error| PowerDnsConfigError::Client(error.into()))?;
        Ok(Self { client, zone, server_url: url, zone_url, key, pace, timeout })
    }

    pub(super) fn zone(&self) -> &ZoneName {
        &self.zone
    }

    /// Whether server and zone are there and the zone can be written to.
    pub(super) async fn check(&self) -> Result<(), ProviderError> {
        let mut url = self.zone_url.clone();
        url.query_pairs_mut().append_pair("rrsets", "false");
        let head: ZoneHead = match self.get(url).await {
            Err(ProviderError::ZoneNotFound { .. }) => {
                // The same status tells of a wrong address.
                self.get::<serde::de::IgnoredAny>(self.server_url.clone()).await.map_err(|error| match error {
                    ProviderError::ZoneNotFound { .. } => ProviderError::Refused {
                        reason: format!("there is no PowerDNS API at {}: check address and server id", self.server_url),
                    },
                    error => error,
                })?;
                return Err(self.not_found());
            }
            answer => answer?,
        };
        if matches!(head.kind.to_ascii_lowercase().as_str(), "slave" | "secondary" | "consumer") {
            let reason = format!("{} is a secondary zone at this server: give the address of the primary", self.zone);
            return Err(ProviderError::Refused { reason });
        }
        if matches!(head.kind.to_ascii_lowercase().as_str(), "master" | "primary") && head.soa_edit_api.is_empty() {
            tracing::warn!(zone = %self.zone, "SOA-EDIT-API is not set: secondaries will not hear of changes");
        }
        Ok(())
    }

    /// Everything that stands at a name.
    pub(super) async fn standing(&self, name: &str) -> Result<Vec<Standing>, ProviderError> {
        let mut url = self.zone_url.clone();
        url.query_pairs_mut().append_pair("rrset_name", &format!("{name}."));
        let answer: ZoneAnswer = self.get(url).await?;
        // Comments of the whole zone come along, and versions that do not know the filter send all of it.
        let standing = answer.rrsets.into_iter().filter_map(RrSet::into_standing);
        Ok(standing.filter(|(owner, _)| owner == name).map(|(_, standing)| standing).collect())
    }

    /// Replaces and deletes all these sets, or none if that is refused ([`ProviderError::Refused`]).
    pub(super) async fn patch(&self, sets: impl Iterator<Item = &SetChange>) -> Result<(), ProviderError> {
        let body = serde_json::to_vec(&Patch { rrsets: sets.collect() });
        let body = body.map_err(|error| ProviderError::Other(error.into()))?;
        if body.len() > MAX_REQUEST_BYTES {
            return Err(ProviderError::Refused { reason: "the change is larger than the server takes".to_owned() });
        }
        let response = self.send(Method::PATCH, self.zone_url.clone(), body, self.timeout).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(()),
            // Something else answers there, and the sets may not have arrived.
            status => Err(unavailable(format!("{status} where 204 is due").into())),
        }
    }

    /// Starts to read the whole zone.
    pub(super) async fn listing(&self) -> Result<Response, ProviderError> {
        self.send(Method::GET, self.zone_url.clone(), Vec::new(), LISTING_PATIENCE).await
    }

    /// The next piece of an answer, `None` at its end.
    pub(super) async fn piece(&self, response: &mut Response) -> Result<Option<Vec<u8>>, BoxError> {
        match timeout(self.timeout, response.chunk()).await {
            Ok(piece) => Ok(piece?.map(|piece| piece.to_vec())),
            Err(_) => Err(late(self.timeout)),
        }
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, ProviderError> {
        let response = self.send(Method::GET, url, Vec::new(), self.timeout).await?;
        let body = timeout(self.timeout, read(response, MAX_ANSWER_BYTES)).await;
        let body = body.unwrap_or_else(|_| Err(late(self.timeout))).map_err(unavailable)?;
        // Half a document may be the fault of a moment.
        serde_json::from_slice(&body).map_err(|error| unavailable(error.into()))
    }

    /// Sends, waits for the head of the answer, and turns refusals into errors.
    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Response, ProviderError> {
        self.pace.take().await;
        let request = self.client.request(method, url).header("X-API-Key", self.key.clone()).body(body);
        let start = Instant::now();
        let answer = match timeout(patience, request.send()).await {
            Err(_) => Err(unavailable(late(patience))),
            Ok(Err(error)) => Err(unavailable(error.without_url().into())),
            Ok(Ok(response)) if response.status().is_success() => Ok(response),
            Ok(Ok(response)) => Err(self.refusal(response).await),
        };
        let outcome = answer.as_ref().map_or_else(word, |_| "ok");
        metrics::counter!("mtasts_dns_provider_requests_total", "provider" => "powerdns", "outcome" => outcome)
            .increment(1);
        metrics::histogram!("mtasts_dns_provider_request_seconds", "provider" => "powerdns")
            .record(start.elapsed().as_secs_f64());
        answer
    }

    async fn refusal(&self, response: Response) -> ProviderError {
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = timeout(self.timeout, read(response, MAX_ANSWER_BYTES)).await;
        let said = said(status, &body.ok().and_then(Result::ok).unwrap_or_default());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ProviderError::Unauthorized {
                reason: format!("{said}: check that the key is the server's `api-key`, and its `webserver-allow-from`"),
            },
            StatusCode::NOT_FOUND => self.not_found(),
            StatusCode::TOO_MANY_REQUESTS => {
                if let Some(wait) = retry_after {
                    self.pace.rest(wait).await;
                }
                ProviderError::RateLimited { retry_after }
            }
            StatusCode::REQUEST_TIMEOUT => ProviderError::Unavailable { retry_after, source: said.into() },
            _ if status.is_server_error() => ProviderError::Unavailable { retry_after, source: said.into() },
            _ if status.is_client_error() => ProviderError::Refused { reason: said },
            _ => ProviderError::Other(said.into()),
        }
    }

    fn not_found(&self) -> ProviderError {
        ProviderError::ZoneNotFound { zone: self.zone.to_string() }
    }
}

/// For metrics.
fn word(error: &ProviderError) -> &'static str {
    match error {
        ProviderError::Unavailable { .. } => "unavailable",
        ProviderError::RateLimited { .. } => "rate_limited",
        ProviderError::Unauthorized { .. } => "unauthorized",
        ProviderError::ZoneNotFound { .. } => "zone_not_found",
        ProviderError::Refused { .. } => "refused",
        _ => "broken",
    }
}

fn unavailable(source: BoxError) -> ProviderError {
    ProviderError::Unavailable { retry_after: None, source }
}

fn late(patience: Duration) -> BoxError {
    format!("no answer within {} s", patience.as_secs_f32()).into()
}

async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, BoxError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(format!("the answer is larger than {limit} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a refusal says, short enough for a condition: the text in `error`, or the start of whatever came.
fn said(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let text = match serde_json::from_slice(body) {
        Ok(Refusal { error }) => error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
    if text.trim().is_empty() { format!("status {status}") } else { text }
}

/// RFC 9110 §10.2.3: seconds, or a date, which is taken against the answer's own.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    let wait = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let (until, now) = (httpdate::parse_http_date(value).ok()?, httpdate::parse_http_date(text(DATE)?).ok()?);
        until.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_more_than_an_hour() {
        let date = ("date", "Sun, 22 Nov 2026 00:00:00 GMT");
        for (fields, seconds) in [
            ([].as_slice(), None),
            (&[("retry-after", "7")], Some(7)),
            (&[("retry-after", "999999")], Some(3600)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "Sun, 22 Nov 2026 00:01:30 GMT"), date], Some(90)),
            (&[("retry-after", "Sun, 22 Nov 2026 00:01:30 GMT")], None),
            (&[("retry-after", "Sat, 21 Nov 2026 00:00:00 GMT"), date], Some(0)),
        ] {
            assert_eq!(retry_after(&headers(fields)), seconds.map(Duration::from_secs), "{fields:?}");
        }
    }

    #[test]
    fn an_address_that_cannot_lead_to_an_api_is_refused() {
        let key = SecretString::from("k");
        let api = |url: &str, key: &SecretString| {
            let zone = "sts.test".parse().unwrap();
            Api::new(zone, url.parse().unwrap(), "local/host", key, Arc::new(Pace::new(1.0, 1)), Duration::from_secs(1))
        };
        for url in ["ftp://a.test/", "http://user@a.test/", "http://a.test/?x=1", "mailto:a@b.test"] {
            assert!(matches!(api(url, &key), Err(PowerDnsConfigError::Address(_))), "{url}");
        }
        assert!(matches!(api("http://a.test/", &SecretString::from("a\nb")), Err(PowerDnsConfigError::Key)));
        for url in ["http://a.test/api/v1", "http://a.test/api/v1/"] {
            let api = api(url, &key).unwrap();
            assert_eq!(api.zone_url.as_str(), "http://a.test/api/v1/servers/local%2Fhost/zones/sts.test.");
        }
    }
}
