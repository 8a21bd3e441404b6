//! `GET /v1/domains/{domain_id}/policy`

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{self, Header, HeaderValue},
};
use mtasts_model::DomainId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{PolicyBody, current};
use crate::{
    auth::TenantScope,
    extract::{EntityTag, IfNoneMatch, IfNoneMatchHeader, PathId, not_modified},
    problem::{Problem, ProblemKind, documented, groups},
};

/// For the document: the file of RFC 8461 §3.2.
const TEXT_EXAMPLE: &str = "version: STSv1\nmode: enforce\nmx: mx1.example.com\nmax_age: 604800\n";

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT, &[ProblemKind::NoPolicyYet]])
    }
}

/// Read the policy
///
/// The current version, published or not. With `Accept: text/plain` the very octets that the edges serve.
#[utoipa::path(
    tag = "policy",
    operation_id = "read_policy",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IfNoneMatchHeader,
    ),
    responses(
        (
            status = 200,
            description = "The current version.",
            content((PolicyBody = "application/json"), (String = "text/plain", example = json!(TEXT_EXAMPLE))),
            headers(("ETag" = String, description = "Its tag, for `If-Match` and `If-None-Match`.")),
        ),
        (status = 304, description = "You have it already.", headers(("ETag" = String, description = "Its tag."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/policy")]
pub(crate) async fn read_policy(
    request: HttpRequest,
    scope: TenantScope,
    id: PathId<DomainId>,
    known: IfNoneMatch,
) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let domain = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let version = current(&domain)?;
    let (body, tag) = if prefers_text(&request) {
        (None, EntityTag::of_text(version.id))
    } else {
        let (body, tag) = PolicyBody::tagged(version, domain.mx_seen.as_ref())?;
        (Some(body), tag)
    };
    if known.has(&tag) {
        let mut response = not_modified(&tag);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        return Ok(response);
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::ETAG, tag.quoted())).insert_header((header::VARY, "Accept"));
    Ok(match body {
        Some(body) => response.json(body),
        None => response.content_type("text/plain; charset=utf-8").body(version.policy.to_text()),
    })
}

/// True when `text/plain` comes before JSON and `*/*` in the caller's order.
fn prefers_text(request: &HttpRequest) -> bool {
    let Ok(accept) = header::Accept::parse(request) else { return false };
    let first = accept.ranked().into_iter().find_map(|media| match media.essence_str() {
        "text/plain" | "text/*" => Some(true),
        "application/json" | "application/*" | "*/*" => Some(false),
        _ => None,
    });
    first.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn text_is_given_only_to_those_who_prefer_it() {
        for (accept, text) in [
            ("text/plain", true),
            ("text/plain, application/json;q=0.5", true),
            ("application/json, text/plain;q=0.5", false),
            ("*/*", false),
            ("text/html, */*;q=0.1", false),
        ] {
            let request = TestRequest::default().insert_header(("Accept", accept)).to_http_request();
            assert_eq!(prefers_text(&request), text, "{accept}");
        }
        assert!(!prefers_text(&TestRequest::default().to_http_request()));
    }
}
