//! `GET /v1/dns-credentials`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::DnsCredentialBody;
use crate::{
    auth::TenantScope,
    extract::{Page, Query, WhichPage},
    problem::{Problem, documented, groups},
};

/// A page of DNS credentials, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DnsCredentialList {
    /// The credentials.
    data: Vec<DnsCredentialBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

/// List the DNS credentials
///
/// Those of your tenant, without their secrets.
#[utoipa::path(
    tag = "dns-credentials",
    operation_id = "list_dns_credentials",
    params(WhichPage),
    responses((status = 200, description = "A page of credentials.", body = DnsCredentialList), Errors),
    security(("api_key" = [])),
)]
#[get("/dns-credentials")]
pub(crate) async fn list_dns_credentials(scope: TenantScope, query: Query<WhichPage>) -> Result<HttpResponse, Problem> {
    let (limit, after) = query.0.read()?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.list_dns_credentials(after, limit + 1).await?, limit);
    let next_cursor = page.cursor(|credential| credential.id);
    Ok(HttpResponse::Ok().json(DnsCredentialList { data: page.map(DnsCredentialBody::from), next_cursor }))
}
