//! The HTTP client under `instant-acme`: deadlines, a cap on answers, Retry-After, private roots.
//!
//! `instant-acme` has no place for what a call's answers said besides their bodies, so the latest answer is kept in a
//! task-local that [`with_answer`] sets up.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use chrono::DateTime;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{HeaderMap, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use mtasts_model::Clock;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;

use super::{
    AcmeConfigError, DEFAULT_ADVICE_INTERVAL,
    outcome::{NoAnswer, ProblemText, Refusal, is_nonce_problem},
};

/// No answer of ACME comes near.
const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// A CA that asks for more is asked again all the same.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(7 * 24);
/// RFC 8555 §6.1 asks for our name and version.
const SOFTWARE: &str = concat!("mtasts/", env!("CARGO_PKG_VERSION"), " instant-acme");

/// What the latest answer of a call held.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

tokio::task_local! {
    static LATEST: RefCell<Answer>;
}

/// Runs requests, and gives what the latest of them was answered.
pub(super) async fn with_answer<T>(requests: impl Future<Output = T>) -> (T, Answer) {
    LATEST
        .scope(RefCell::default(), async {
            let result = requests.await;
            (result, LATEST.with(RefCell::take))
        })
        .await
}

/// Cheap to clone; clones share connections.
#[derive(Clone)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    caa_identities: Arc<Mutex<Vec<String>>>,
}

impl Http {
    pub(super) fn new(
        roots_pem: Option<&[u8]>,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AcmeConfigError> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(AcmeConfigError::Tls)?
            .with_root_certificates(roots(roots_pem)?)
            .with_no_client_auth();
        // HTTP/1.1 only: giving a request up closes its connection, where h2 would keep a dead one in the pool.
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(connector);
        Ok(Self { client, timeout, clock, caa_identities: Arc::default() })
    }

    /// The `caaIdentities` that the directory listed when it was last read (RFC 8555 §7.1.1).
    pub(super) fn caa_identities(&self) -> Vec<String> {
        self.caa_identities.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn exchange(self, mut request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(SOFTWARE));
        let is_get = request.method() == Method::GET;
        let started = Instant::now();
        let answer = tokio::time::timeout(self.timeout, async {
            let response = self.client.request(request).await.map_err(|error| no_answer(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| no_answer(&*error))?;
            Ok::<_, NoAnswer>(Response::from_parts(parts, body.to_bytes()))
        })
        .await
        .unwrap_or_else(|_| Err(NoAnswer(format!("no answer within {} s", self.timeout.as_secs_f32()))));
        metrics::histogram!("mtasts_acme_request_seconds").record(started.elapsed().as_secs_f64());
        let answer = answer.map_err(|error| {
            metrics::counter!("mtasts_acme_requests_total", "status" => "none").increment(1);
            Error::Other(Box::new(error))
        })?;

        let (mut parts, body) = answer.into_parts();
        metrics::counter!("mtasts_acme_requests_total", "status" => parts.status.as_str().to_owned()).increment(1);
        let retry_after = self.retry_after(&parts.headers);
        let heard = Answer { retry_after, body: body.clone() };
        // Outside of a call (the account being made) nobody listens.
        let _ = LATEST.try_with(|latest| latest.replace(heard));

        if parts.status.is_success() {
            if is_get {
                self.note_directory(&body);
                if retry_after.is_none() {
                    // `instant-acme` refuses renewal information without it, RFC 9773 §4.3 has only a SHOULD.
                    parts.headers.insert(RETRY_AFTER, HeaderValue::from(DEFAULT_ADVICE_INTERVAL.as_secs()));
                }
            }
            return Ok(BytesResponse { parts, body: Box::new(body) });
        }
        // `instant-acme` takes the fresh nonce out of this one by itself.
        let bad_nonce = parts.status == StatusCode::BAD_REQUEST
            && serde_json::from_slice::<Problem>(&body).is_ok_and(|problem| is_nonce_problem(&problem));
        if bad_nonce {
            return Ok(BytesResponse { parts, body: Box::new(body) });
        }
        Err(Error::Other(Box::new(Refusal { status: parts.status, retry_after, problem: ProblemText::of_body(&body) })))
    }

    /// RFC 9110 §10.2.3: seconds, or a date.
    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = match value.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                (DateTime::parse_from_rfc2822(value).ok()?.to_utc() - self.clock.now()).to_std().unwrap_or_default()
            }
        };
        Some(wait.min(MAX_RETRY_AFTER))
    }

    fn note_directory(&self, body: &[u8]) {
        #[derive(Deserialize)]
        struct Directory {
            meta: Meta,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Meta {
            caa_identities: Vec<String>,
        }
        if let Ok(directory) = serde_json::from_slice::<Directory>(body) {
            *self.caa_identities.lock().unwrap_or_else(PoisonError::into_inner) = directory.meta.caa_identities;
        }
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}

/// The error with its causes: hyper's own text is only "client error (Connect)".
fn no_answer(error: &(dyn std::error::Error + 'static)) -> NoAnswer {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    NoAnswer(text)
}

fn roots(pem: Option<&[u8]>) -> Result<RootCertStore, AcmeConfigError> {
    let Some(pem) = pem else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| AcmeConfigError::Roots(error.into()))?;
        roots.add(certificate).map_err(|error| AcmeConfigError::Roots(error.into()))?;
    }
    if roots.is_empty() { Err(AcmeConfigError::Roots("there is no certificate in it".into())) } else { Ok(roots) }
}
