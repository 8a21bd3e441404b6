//! `GET /v1/audit-events`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use chrono::{DateTime, Datelike, Utc};
use mtasts_store::AuditFilter;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::AuditEventBody;
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, Query, limit_up_to},
    problem::{Problem, documented, groups},
};

const MAX_LIMIT: u32 = 200;
const MAX_ACTION: usize = 64;
/// The longest object is a domain name.
const MAX_OBJECT: usize = 253;

/// Which lines, and which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListAuditEvents {
    /// How many, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before. Goes with the same filters.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Only those whose action begins so: `domain.` gives all that was done to domains.
    #[param(example = "domain.", min_length = 1, max_length = 64, pattern = "^[a-z0-9.-]+$")]
    action: Option<String>,
    /// Only those about this object: an id or a name.
    #[param(example = "dom_0190c3a0b1c27d3e8f4051627384950a", min_length = 1, max_length = 253, pattern = "^[!-~]+$")]
    object: Option<String>,
    /// Only those of this moment or later.
    #[param(example = "2026-11-01T00:00:00Z")]
    from: Option<DateTime<Utc>>,
    /// Only those of before this moment.
    #[param(example = "2026-12-01T00:00:00Z")]
    to: Option<DateTime<Utc>>,
}

impl ListAuditEvents {
    fn filter(&self) -> Result<AuditFilter, Problem> {
        Ok(AuditFilter {
            action_prefix: self.action.as_deref().map(action).transpose()?,
            object: self.object.as_deref().map(object).transpose()?,
            from: self.from.map(|at| moment("from", at)).transpose()?,
            to: self.to.map(|at| moment("to", at)).transpose()?,
        })
    }
}

fn action(text: &str) -> Result<String, Problem> {
    let plain = (1..=MAX_ACTION).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    let message = "must be the beginning of an action: 1 to 64 lower-case letters, digits, dots and hyphens";
    if plain { Ok(text.to_owned()) } else { Err(Problem::parameter("action", "action-character", message)) }
}

fn object(text: &str) -> Result<String, Problem> {
    let plain = (1..=MAX_OBJECT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let message = "must be an id or a name: 1 to 253 printable ASCII characters without spaces";
    if plain { Ok(text.to_owned()) } else { Err(Problem::parameter("object", "object-character", message)) }
}

/// A time that Postgres has as well.
fn moment(name: &str, at: DateTime<Utc>) -> Result<DateTime<Utc>, Problem> {
    let message = "must be a time between the years 0 and 9999 (RFC 3339 §5.6)";
    if (0..10_000).contains(&at.year()) { Ok(at) } else { Err(Problem::parameter(name, "out-of-range", message)) }
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEventList {
    /// The lines.
    data: Vec<AuditEventBody>,
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

/// List the audit log
///
/// Who did what to which object of your tenant, newest first: each change, with the key and address by which it came,
/// and what was before and after. Nobody can change or remove a line, and each is chained to the one before by its
/// hash. The filters can be combined.
#[utoipa::path(
    tag = "audit-events",
    operation_id = "list_audit_events",
    params(ListAuditEvents),
    responses((status = 200, description = "A page of the log.", body = AuditEventList), Errors),
    security(("api_key" = [])),
)]
#[get("/audit-events")]
pub(crate) async fn list_audit_events(
    scope: TenantScope,
    query: Query<ListAuditEvents>,
) -> Result<HttpResponse, Problem> {
    let (filter, limit) = (query.0.filter()?, limit_up_to(MAX_LIMIT, query.0.limit)?);
    let before = Cursor::read(query.0.cursor.as_deref())?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.audit_log(&filter, before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|line| line.event.id);
    Ok(HttpResponse::Ok()
        .json(AuditEventList { data: page.map(|line| AuditEventBody::of(line, scope.tenant_id())), next_cursor }))
}
