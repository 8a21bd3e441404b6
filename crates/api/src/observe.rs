//! The outermost layer: request ids, deadlines, panics, problem answers, the access log and metrics.

use std::{
    any::Any,
    cell::Cell,
    panic::AssertUnwindSafe,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use data_encoding::BASE32_NOPAD;
use futures_util::FutureExt;
use mtasts_model::{DomainId, Entropy, TenantId};
use tracing::{Instrument, Span, field};

use crate::{
    config::CallersTraces,
    limits::Shown,
    problem::{PROBLEM_JSON, Problem, ProblemKind, RETRY_AFTER},
    state::State,
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 64;
/// The documentation fetches nothing from outside.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/// The id by which caller and log name one request.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(Rc<str>);

impl RequestId {
    /// The request's id. Every request has one once it has passed [`observe`].
    pub(crate) fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(|| Self("".into()))
    }

    /// The id of a request that was answered before.
    pub(crate) fn noted(id: &str) -> Self {
        Self(id.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The caller's own id if it is harmless in logs and headers, else a drawn one.
    fn choose(given: Option<&HeaderValue>, entropy: &dyn Entropy) -> Self {
        let sane = |text: &&str| {
            (1..=MAX_REQUEST_ID).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if let Some(given) = given.and_then(|value| value.to_str().ok()).filter(sane) {
            return Self(given.into());
        }
        let mut random = [0_u8; 16];
        entropy.fill(&mut random);
        Self(format!("req_{}", BASE32_NOPAD.encode(&random).to_ascii_lowercase()).into())
    }
}

/// A request that is being answered, until it is dropped: a caller who hangs up ends it as well.
struct InFlight(metrics::Gauge);

impl InFlight {
    fn begin() -> Self {
        let gauge = metrics::gauge!("mtasts_api_requests_in_flight");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Whom and what a request is about, for the access log. Extractors fill it in.
#[derive(Clone, Default)]
pub(crate) struct Subject(Rc<Cell<(Option<TenantId>, Option<DomainId>)>>);

impl Subject {
    /// The request's subject; an unconnected one where the observing layer is not there.
    pub(crate) fn of(message: &impl HttpMessage) -> Self {
        message.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    pub(crate) fn set_tenant(&self, tenant_id: TenantId) {
        self.0.set((Some(tenant_id), self.0.get().1));
    }

    pub(crate) fn set_domain(&self, domain_id: DomainId) {
        self.0.set((self.0.get().0, Some(domain_id)));
    }
}

/// The middleware around everything.
pub(crate) async fn observe<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let Some(state) = request.app_data::<Data<State>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let started = Instant::now();
    let _in_flight = InFlight::begin();
    let id = RequestId::choose(request.headers().get(X_REQUEST_ID), &*state.entropy);
    let subject = Subject::default();
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(subject.clone());
    let shown = Shown::default();
    request.extensions_mut().insert(shown.clone());
    let method = method_label(request.method());
    // RFC 9110 §9.3.2: HEAD is GET without the content, which the HTTP layer leaves out.
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    // Before routing: after a panic or a time-out the request is gone.
    let route = state.routes.pattern(request.path()).unwrap_or("unmatched").to_owned();
    let span = tracing::info_span!("request", request_id = id.as_str(), method, route, trace_id = field::Empty);
    place_in_trace(&span, request.headers(), state.config.callers_traces);

    let call = AssertUnwindSafe(next.call(request)).catch_unwind().instrument(span.clone());
    let outcome = match tokio::time::timeout(state.config.request_deadline, call).await {
        Ok(Ok(Ok(response))) => Ok(response),
        Ok(Ok(Err(error))) => Err(failed(&error)),
        Ok(Err(panic)) => Err(Problem::internal(panic_message(&*panic))),
        Err(_) => Err(deadline_exceeded(state.config.request_deadline)),
    };
    let _in_span = span.enter();
    let outcome = match outcome {
        Ok(response) => Ok(present(response, &state, &id, &shown, &route)),
        Err(problem) => {
            log_cause(&problem);
            let answer = finish(problem.respond(&state.config.public_url, id.as_str()), &id, &shown);
            Err((answer.status(), actix_web::Error::from(InternalError::from_response(problem.kind().slug(), answer))))
        }
    };
    let status = outcome.as_ref().map_or_else(|(status, _)| *status, ServiceResponse::status);
    let elapsed = started.elapsed();
    mtasts_telemetry::note(&span, "http.response.status_code", status.as_u16().into());
    access_log(status, elapsed, &subject);
    count(&route, method, status, elapsed);
    outcome.map_err(|(_, error)| error)
}

/// Puts the request into its trace, or its caller's, and names that in the log.
fn place_in_trace(span: &Span, headers: &HeaderMap, callers: CallersTraces) {
    let named = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()?.parse().ok());
    match (named, callers) {
        (Some(caller), CallersTraces::Parent) => mtasts_telemetry::join(span, &caller),
        (Some(caller), CallersTraces::Link) => mtasts_telemetry::link(span, &caller),
        (_, CallersTraces::Ignore) | (None, _) => {}
    }
    if let Some(trace) = mtasts_telemetry::exported_trace(span) {
        span.record("trace_id", trace);
    }
}

/// Turns failures into problem answers, and puts in the headers that every answer has.
fn present<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    state: &State,
    id: &RequestId,
    shown: &Shown,
    route: &str,
) -> ServiceResponse<EitherBody<B>> {
    let problem = match response.response().error() {
        Some(error) => Some(failed_ref(error)),
        None if is_bare_failure(response.response()) => Some(Failure::Own(Box::new(bare(response.status())))),
        None => None,
    };
    let answer = problem.map(|failure| {
        let problem = failure.as_problem();
        log_cause(problem);
        finish(problem.respond(&state.config.public_url, id.as_str()), id, shown)
    });
    if let Some(answer) = answer {
        return response.into_response(answer).map_into_right_body();
    }
    let mut response = response;
    insert_common_headers(response.headers_mut(), id, shown);
    if route.starts_with("/docs/") {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    }
    response.map_into_left_body()
}

/// A problem that a handler returned, or one made for an error of the framework.
enum Failure<'a> {
    Returned(&'a Problem),
    Own(Box<Problem>),
}

impl Failure<'_> {
    fn as_problem(&self) -> &Problem {
        match self {
            Self::Returned(problem) => problem,
            Self::Own(problem) => problem,
        }
    }
}

fn failed_ref(error: &actix_web::Error) -> Failure<'_> {
    match error.as_error::<Problem>() {
        Some(problem) => Failure::Returned(problem),
        None => Failure::Own(Box::new(failed(error))),
    }
}

/// An error of the framework: nothing of its text is shown unless the caller is at fault.
fn failed(error: &actix_web::Error) -> Problem {
    match error.as_response_error().status_code() {
        status if status.is_client_error() => Problem::new(ProblemKind::BadRequest, error.to_string()),
        _ => Problem::internal(error.to_string()),
    }
}

fn is_bare_failure<B>(response: &HttpResponse<B>) -> bool {
    let status = response.status();
    // A page for people says by itself what is wrong.
    let said = |value: &HeaderValue| value == PROBLEM_JSON || value.as_bytes().starts_with(b"text/html");
    let typed = response.headers().get(header::CONTENT_TYPE).is_some_and(said);
    (status.is_client_error() || status.is_server_error()) && !typed
}

fn bare(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::new(ProblemKind::NoSuchRoute, "There is no such page"),
        status if status.is_client_error() => Problem::new(ProblemKind::BadRequest, "The request was refused"),
        status => Problem::internal(format!("an answer with status {status} and no reason")),
    }
}

fn deadline_exceeded(deadline: Duration) -> Problem {
    let detail = format!("The request was not done within {} s", deadline.as_secs_f64());
    Problem::new(ProblemKind::DeadlineExceeded, detail).retry_after(RETRY_AFTER)
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a handler panicked: {}", message.as_deref().unwrap_or("no message"))
}

/// Logs a fault with all its causes, once, here.
fn log_cause(problem: &Problem) {
    let Some(cause) = problem.cause() else { return };
    let mut text = cause.to_string();
    let mut source = cause.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    if problem.kind() == ProblemKind::Internal {
        tracing::error!(problem = problem.kind().slug(), cause = text, "request failed");
    } else {
        tracing::warn!(problem = problem.kind().slug(), cause = text, "request failed");
    }
}

fn finish(mut response: HttpResponse, id: &RequestId, shown: &Shown) -> HttpResponse {
    insert_common_headers(response.headers_mut(), id, shown);
    response
}

fn insert_common_headers(headers: &mut header::HeaderMap, id: &RequestId, shown: &Shown) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(X_REQUEST_ID, value);
    }
    shown.insert_into(headers);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

fn access_log(status: StatusCode, elapsed: Duration, subject: &Subject) {
    let (tenant_id, domain_id) = subject.0.get();
    tracing::info!(
        target: "mtasts_api::access",
        status = status.as_u16(),
        milliseconds = elapsed.as_secs_f64() * 1000.0,
        tenant_id = tenant_id.map(tracing::field::display),
        domain_id = domain_id.map(tracing::field::display),
        "answered"
    );
}

fn count(route: &str, method: &'static str, status: StatusCode, elapsed: Duration) {
    let route = route.to_owned();
    metrics::counter!("mtasts_api_requests_total", "route" => route.clone(), "method" => method, "status" => status.as_str().to_owned())
        .increment(1);
    metrics::histogram!("mtasts_api_request_duration_seconds", "route" => route, "method" => method)
        .record(elapsed.as_secs_f64());
}

/// A stranger's invented method must not become a new time series.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::{App, middleware::from_fn, test as http, web};
    use mtasts_model::clock::{ManualClock, SeededEntropy};
    use mtasts_store::{Role, Store, StoreConfig};

    use super::*;
    use crate::{config::ApiConfig, routes::Routes};

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_is_replaced() {
        let entropy = SeededEntropy::new(1);
        let choose = |text: &[u8]| RequestId::choose(HeaderValue::from_bytes(text).ok().as_ref(), &entropy);
        assert_eq!(choose(b"a-B_9.z").as_str(), "a-B_9.z");
        for bad in [b"".as_slice(), b"with space", b"<script>", b"caf\xc3\xa9", &[b'a'; 65]] {
            let drawn = choose(bad);
            assert!(drawn.as_str().starts_with("req_"), "{bad:?} became {}", drawn.as_str());
        }
    }

    #[test]
    fn a_panic_gives_its_message_to_the_log_alone() {
        let problem = Problem::internal(panic_message(&"canary"));
        assert!(problem.cause().unwrap().to_string().contains("canary"));
        assert!(!problem.to_string().contains("canary"));
    }

    async fn panics() -> HttpResponse {
        panic!("canary")
    }

    async fn hangs() -> HttpResponse {
        std::future::pending().await
    }

    async fn answer_to(path: &str) -> (HttpResponse<actix_web::body::BoxBody>, serde_json::Value) {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let public_url = "https://api.test".parse().unwrap();
        let mut config = ApiConfig::new(listen, "sts.test".parse().unwrap(), "".into(), public_url);
        config.request_deadline = Duration::from_millis(50);
        let store = Store::connect(StoreConfig {
            url: "postgres://nobody@127.0.0.1:1/none".into(),
            role: Role::Api,
            max_connections: 1,
            connect_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(1),
            redis_url: None,
        });
        let state = Data::new(State {
            config,
            store: store.await.unwrap(),
            clock: Arc::new(ManualClock::default()),
            entropy: Arc::new(SeededEntropy::new(1)),
            routes: Routes::of(&crate::openapi()),
            operator_hash: [0; 32],
            customer_dns: None,
            domain_connect: None,
            webhooks: None,
            oidc: None,
            limits: None,
            places: crate::customer_dns::Places::new(1, 1),
            bulk_places: crate::customer_dns::Places::new(1, 1),
        });
        let app = App::new()
            .app_data(state)
            .wrap(from_fn(observe))
            .service(web::resource("/panics").to(panics))
            .service(web::resource("/hangs").to(hangs));
        let app = http::init_service(app).await;
        let answer = match http::try_call_service(&app, http::TestRequest::get().uri(path).to_request()).await {
            Ok(response) => response.into_parts().1.map_into_boxed_body(),
            Err(error) => error.error_response(),
        };
        let (head, body) = answer.into_parts();
        let body = actix_web::body::to_bytes(body).await.unwrap();
        (head.set_body(()).map_into_boxed_body(), serde_json::from_slice(&body).unwrap())
    }

    #[actix_web::test]
    async fn a_panic_is_a_constant_500_with_a_request_id() {
        let (head, body) = answer_to("/panics").await;
        assert_eq!((head.status().as_u16(), body["code"].as_str()), (500, Some("internal")));
        assert_eq!(head.headers().get(X_REQUEST_ID).unwrap().to_str().unwrap(), body["request_id"]);
        assert!(!body.to_string().contains("canary"));
    }

    #[actix_web::test]
    async fn a_request_beyond_its_deadline_is_a_503_with_retry_after() {
        let (head, body) = answer_to("/hangs").await;
        assert_eq!((head.status().as_u16(), body["code"].as_str()), (503, Some("deadline-exceeded")));
        assert!(head.headers().contains_key(header::RETRY_AFTER));
    }
}
