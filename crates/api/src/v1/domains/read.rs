//! `GET /v1/domains/{domain_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get, http::header};
use mtasts_model::DomainId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::body::DomainBody;
use crate::{
    auth::TenantScope,
    extract::{IfNoneMatch, IfNoneMatchHeader, PathId, not_modified},
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read a domain
///
/// With its conditions, the records to set, its policy and certificate, and its MX hosts as they were seen.
#[utoipa::path(
    tag = "domains",
    operation_id = "read_domain",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IfNoneMatchHeader,
    ),
    responses(
        (status = 200, description = "The domain.", body = DomainBody, headers(("ETag" = String, description = "Its tag, for `If-Match` and `If-None-Match`: it changes with anything that is shown."))),
        (status = 304, description = "You have it already.", headers(("ETag" = String, description = "Its tag."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}")]
pub(crate) async fn read_domain(
    scope: TenantScope,
    id: PathId<DomainId>,
    known: IfNoneMatch,
) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let view = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let (body, tag) = DomainBody::tagged(view, &scope.state().config)?;
    if known.has(&tag) {
        return Ok(not_modified(&tag));
    }
    Ok(HttpResponse::Ok().insert_header((header::ETAG, tag.quoted())).json(body))
}
