//! `DELETE /v1/dns-credentials/{dns_credential_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, delete};
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

/// Delete a DNS credential
///
/// The sealed secret goes with it. The records that were set with it stay in your zone. Revoke the token or the key
/// with your provider too.
#[utoipa::path(
    tag = "dns-credentials",
    operation_id = "delete_dns_credential",
    params(("dns_credential_id" = String, Path, description = "The credential's id", pattern = "^dns_[0-9a-f]{32}$")),
    responses((status = 200, description = "What the credential was.", body = DnsCredentialBody), Errors),
    security(("api_key" = [])),
)]
#[delete("/dns-credentials/{dns_credential_id}")]
pub(crate) async fn delete_dns_credential(
    scope: TenantScope,
    id: PathId<DnsCredentialId>,
) -> Result<HttpResponse, Problem> {
    let mut tx = scope.begin().await?;
    let deleted = tx.delete_dns_credential(id.0, &scope.actor(), scope.now()).await?;
    let deleted = deleted.ok_or_else(|| Problem::not_found("DNS credential"))?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(DnsCredentialBody::from(deleted)))
}
