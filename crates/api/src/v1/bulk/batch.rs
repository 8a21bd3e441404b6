//! `POST /v1/domains:batch`

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
    auth::{TenantScope, access},
    bulk::{CreateLine, DeleteLine, SetModeLine, batch_lines, lacking, read_body, scopes_of},
    extract::{IdempotencyHeader, IdempotencyKey, json},
    problem::{Problem, ProblemKind, documented, groups},
    v1::operations::OperationBody,
};

/// Many changes.
#[derive(ToSchema)]
#[schema(example = json!({"operations": [
    {"op": "create", "name": "example.com"},
    {"op": "set_mode", "name": "example.org", "mode": "enforce"},
    {"op": "delete", "domain_id": "dom_0190c3a0b1c27d3e8f4051627384950a"},
]}))]
#[expect(dead_code, reason = "the schema of a body that is taken apart line by line")]
pub(crate) struct Batch {
    /// The changes, in the order in which they are carried out.
    #[schema(min_items = 1, max_items = 10_000)]
    operations: Vec<BatchLine>,
}

/// One change.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema of a line, which is read when it is carried out")]
enum BatchLine {
    /// `"op": "create"`
    Create(CreateLine),
    /// `"op": "set_mode"`
    SetMode(SetModeLine),
    /// `"op": "delete"`
    Delete(DeleteLine),
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::ONCE, &[ProblemKind::QuotaExceeded, ProblemKind::BulkBusy]])
    }
}

/// Change many domains
///
/// Up to 10,000 changes in at most 8 MiB, each with `op`: `create` with the members of `POST /v1/domains`; `set_mode` with
/// `domain_id` or `name` and the members of `PUT /v1/domains/{domain_id}/mode`; `delete` with `domain_id` or `name`. They
/// are stored, and then carried out one after the other, each as the single call would be: one that is refused leaves the
/// others as they are, and `GET /v1/operations/{operation_id}/results` tells why. The key needs the scope of each kind of
/// change: `domains:write` for `create` and `delete`, `policy:write` for `set_mode`; else nothing is done.
#[utoipa::path(
    tag = "domains",
    operation_id = "batch_domains",
    params(IdempotencyHeader),
    request_body = Batch,
    responses(
        (status = 202, description = "The operation, which was stored.", body = OperationBody, headers(("Location" = String, description = "Where it is."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/domains:batch")]
pub(crate) async fn batch_domains(
    scope: TenantScope,
    key: IdempotencyKey,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    json::check_media_type(&request)?;
    let body = read_body(&request, payload.into_inner(), scope.tenant_id()).await?;
    let lines = batch_lines(&body, scope.state())?;
    if let Some(lacking) = lacking(scopes_of(&lines), scope.scopes()) {
        let detail = format!("These changes need the scopes `{lacking}`, which your key does not have");
        return Err(access::missing(lacking, detail));
    }
    let hash = Sha256::digest(&body).into();
    Ok(accept(&scope, &key, hash, OperationKind::Batch, lines).await?.respond())
}
