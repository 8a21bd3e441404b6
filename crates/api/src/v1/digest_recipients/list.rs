//! `GET /v1/digest-recipients`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::DigestRecipientBody;
use crate::{
    auth::TenantScope,
    problem::{Problem, documented, groups},
};

/// All recipients of digests, in the order of their ids: there are twenty at most.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DigestRecipientList {
    /// The recipients.
    #[schema(max_items = 20)]
    data: Vec<DigestRecipientBody>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

/// List the recipients of digests
///
/// All those of your tenant, those included that have not said yes or want no more.
#[utoipa::path(
    tag = "alerts",
    operation_id = "list_digest_recipients",
    responses((status = 200, description = "The recipients.", body = DigestRecipientList), Errors),
    security(("api_key" = [])),
)]
#[get("/digest-recipients")]
pub(crate) async fn list_digest_recipients(scope: TenantScope) -> Result<HttpResponse, Problem> {
    let recipients = scope.begin().await?.list_digest_recipients().await?;
    let data = recipients.into_iter().map(DigestRecipientBody::from).collect();
    Ok(HttpResponse::Ok().json(DigestRecipientList { data }))
}
