//! `POST /v1/domains:import`

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, post, web};
use mtasts_store::OperationKind;
use sha2::{Digest, Sha256};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::accept;
use crate::{
    auth::TenantScope,
    bulk::{ndjson_lines, read_body},
    extract::{IdempotencyHeader, IdempotencyKey, json},
    problem::{Problem, ProblemKind, documented, groups},
    v1::operations::OperationBody,
};

/// The media type of lines of JSON.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Lines of JSON. As octets, so that generated clients neither parse nor encode them.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "for the OpenAPI document")]
pub(crate) struct Lines(Vec<u8>);

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::ONCE, &[ProblemKind::QuotaExceeded, ProblemKind::BulkBusy]])
    }
}

/// Import domains
///
/// Up to 10,000 lines in at most 8 MiB, each a JSON object with the members of `POST /v1/domains`: what
/// `GET /v1/domains:export` gives. They are stored, and then carried out one after the other, each as the single call
/// would be. A line with mode `enforce` begins in `testing`, as nothing is known of its MX hosts yet. Blank lines and the
/// last line of an export are passed over.
#[utoipa::path(
    tag = "domains",
    operation_id = "import_domains",
    params(IdempotencyHeader),
    request_body(
        content = inline(Lines),
        content_type = "application/x-ndjson",
        description = "One domain per line.",
        example = "{\"name\":\"example.com\"}\n{\"name\":\"example.org\",\"mode\":\"none\",\"mx\":[\"mx.example.org\"]}\n",
    ),
    responses(
        (status = 202, description = "The operation, which was stored.", body = OperationBody, headers(("Location" = String, description = "Where it is."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/domains:import")]
pub(crate) async fn import_domains(
    scope: TenantScope,
    key: IdempotencyKey,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    json::check_media_types(&request, &[NDJSON])?;
    let body = read_body(&request, payload.into_inner(), scope.tenant_id()).await?;
    let lines = ndjson_lines(&body, scope.state())?;
    let hash = Sha256::digest(&body).into();
    Ok(accept(&scope, &key, hash, OperationKind::Import, lines).await?.respond())
}
