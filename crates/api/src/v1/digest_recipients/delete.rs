//! `DELETE /v1/digest-recipients/{digest_recipient_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, delete};
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

/// Delete a recipient of digests
///
/// It gets nothing any more, but for what is under way at this moment; links in mails that it has got lead nowhere.
#[utoipa::path(
    tag = "alerts",
    operation_id = "delete_digest_recipient",
    params(("digest_recipient_id" = String, Path, description = "The recipient's id", pattern = "^rcp_[0-9a-f]{32}$")),
    responses((status = 200, description = "The recipient that is no more.", body = DigestRecipientBody), Errors),
    security(("api_key" = [])),
)]
#[delete("/digest-recipients/{digest_recipient_id}")]
pub(crate) async fn delete_digest_recipient(
    scope: TenantScope,
    id: PathId<DigestRecipientId>,
) -> Result<HttpResponse, Problem> {
    let mut tx = scope.begin().await?;
    let recipient = tx.delete_digest_recipient(id.0, &scope.actor(), scope.now()).await?.ok_or_else(not_found)?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(DigestRecipientBody::from(recipient)))
}
