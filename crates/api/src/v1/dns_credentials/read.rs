//! `GET /v1/dns-credentials/{dns_credential_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::DnsCredentialId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::DnsCredentialBody;
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

/// Read a DNS credential
///
/// Where it is for and when it was last used. The secret is never shown.
#[utoipa::path(
    tag = "dns-credentials",
    operation_id = "read_dns_credential",
    params(("dns_credential_id" = String, Path, description = "The credential's id", pattern = "^dns_[0-9a-f]{32}$")),
    responses((status = 200, description = "The credential.", body = DnsCredentialBody), Errors),
    security(("api_key" = [])),
)]
#[get("/dns-credentials/{dns_credential_id}")]
pub(crate) async fn read_dns_credential(
    scope: TenantScope,
    id: PathId<DnsCredentialId>,
) -> Result<HttpResponse, Problem> {
    let credential = scope.begin().await?.dns_credential(id.0).await?;
    let credential = credential.ok_or_else(|| Problem::not_found("DNS credential"))?;
    Ok(HttpResponse::Ok().json(DnsCredentialBody::from(credential)))
}
