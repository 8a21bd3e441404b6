//! `GET /v1/digest-recipients/{digest_recipient_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::DigestRecipientId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{DigestRecipientBody, not_found};
use crate::{
    auth::TenantScope,
    extract::PathId,
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read a recipient of digests
///
/// Also how you learn whether the owner of the address has said yes.
#[utoipa::path(
    tag = "alerts",
    operation_id = "read_digest_recipient",
    params(("digest_recipient_id" = String, Path, description = "The recipient's id", pattern = "^rcp_[0-9a-f]{32}$")),
    responses((status = 200, description = "The recipient.", body = DigestRecipientBody), Errors),
    security(("api_key" = [])),
)]
#[get("/digest-recipients/{digest_recipient_id}")]
pub(crate) async fn read_digest_recipient(
    scope: TenantScope,
    id: PathId<DigestRecipientId>,
) -> Result<HttpResponse, Problem> {
    let recipient = scope.begin().await?.digest_recipient(id.0).await?.ok_or_else(not_found)?;
    Ok(HttpResponse::Ok().json(DigestRecipientBody::from(recipient)))
}
