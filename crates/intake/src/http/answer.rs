//! What those are told who post: few words, as problem details (RFC 9457).

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use serde_json::json;

/// Seconds after which whoever was told to come again should do so.
const COME_AGAIN: i64 = 60;

pub(super) fn problem(status: StatusCode, detail: &str) -> HttpResponse {
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut answer = HttpResponse::build(status);
    // The rest of a body that is not wanted is not read either.
    answer.force_close();
    answer.content_type("application/problem+json").body(body.to_string())
}

/// With the seconds after which to come again.
pub(super) fn later(status: StatusCode, detail: &str, seconds: i64) -> HttpResponse {
    let mut answer = problem(status, detail);
    answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds.max(1)));
    answer
}

pub(super) fn unavailable(detail: &str) -> HttpResponse {
    later(StatusCode::SERVICE_UNAVAILABLE, detail, COME_AGAIN)
}

/// Also for a label that cannot be one: who guesses is not told how labels look.
pub(super) async fn not_found() -> HttpResponse {
    problem(StatusCode::NOT_FOUND, "nothing is here; reports are posted to the address in the domain's TLSRPT record")
}

pub(super) async fn method_not_allowed() -> HttpResponse {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "reports are posted here, and nothing can be read");
    answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
    answer
}
