//! `GET /v1/dns-credentials`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::DnsCredentialBody;
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, Query, limit},
    problem::{Problem, documented, groups},
};

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDnsCredentials {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

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
    params(ListDnsCredentials),
    responses((status = 200, description = "A page of credentials.", body = DnsCredentialList), Errors),
    security(("api_key" = [])),
)]
#[get("/dns-credentials")]
pub(crate) async fn list_dns_credentials(
    scope: TenantScope,
    query: Query<ListDnsCredentials>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(query.0.limit)?;
    let after = Cursor::read(query.0.cursor.as_deref())?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.list_dns_credentials(after, limit + 1).await?, limit);
    let next_cursor = page.cursor(|credential| credential.id);
    Ok(HttpResponse::Ok().json(DnsCredentialList { data: page.map(DnsCredentialBody::from), next_cursor }))
}
