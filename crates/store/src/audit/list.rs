//! The log as its tenant reads it: newest first, in pages, by what the caller looks for.

use mtasts_model::{AuditEventId, TenantId, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use uuid::Uuid;

use super::{AuditEvent, HASH_LENGTH};
use crate::{StoreError, entity::audit_event, sql, stored::At};

/// The longest page, and one more, by which the last page is known as such.
const MAX_PAGE: u32 = 201;

/// A line with its place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditLine {
    /// What happened.
    pub event: AuditEvent,
    /// Its number in the tenant's chain, from 1, without gaps.
    pub seq: u64,
    /// SHA-256 over the line, its number and the hash of the line before it.
    pub hash: [u8; HASH_LENGTH],
}

/// Which lines. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Those whose action begins so.
    pub action_prefix: Option<String>,
    /// Those about this object.
    pub object: Option<String>,
    /// Those that were written at this moment or later.
    pub from: Option<Timestamp>,
    /// Those that were written before this moment.
    pub to: Option<Timestamp>,
}

#[derive(FromQueryResult)]
struct Row {
    #[sea_orm(nested)]
    event: audit_event::Model,
    seq: i64,
    hash: Vec<u8>,
}

/// At most 201 lines with ids below `before`, newest first.
pub(crate) async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    filter: &AuditFilter,
    before: Option<AuditEventId>,
    limit: u32,
) -> Result<Vec<AuditLine>, StoreError> {
    let (sql, values) = statement(tenant, filter, before, limit);
    sql::all::<Row>(db, &sql, values).await?.into_iter().map(AuditLine::try_from).collect()
}

impl TryFrom<Row> for AuditLine {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let at = At { table: "audit_chain", row: row.event.id };
        let hash = row.hash.as_slice().try_into().map_err(|error| at.unreadable("hash", error))?;
        Ok(Self { seq: at.number("seq", row.seq)?, hash, event: row.event.into() })
    }
}

/// The page first, each line's link afterwards. Each filter has an index that yields its lines in order.
fn statement(tenant: TenantId, filter: &AuditFilter, before: Option<AuditEventId>, limit: u32) -> (String, Vec<Value>) {
    let limit = i64::from(limit.min(MAX_PAGE));
    let (least, bound) = ids(filter, before);
    let mut values: Vec<Value> = vec![tenant.as_uuid().into(), least.into(), bound.into(), limit.into()];
    let mut place = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let mut lines = vec!["e.tenant_id = $1 AND e.id >= $2 AND e.id < $3".to_owned()];
    lines.extend(filter.from.map(|from| format!("e.at >= {}", place(from.into()))));
    lines.extend(filter.to.map(|to| format!("e.at < {}", place(to.into()))));
    let prefix = filter.action_prefix.as_deref().map(|prefix| place(prefix.into()));
    let (with, page) = match (&filter.object, prefix) {
        (None, Some(prefix)) => (actions(&prefix), page_of_actions(&lines.join(" AND "), &prefix)),
        (object, prefix) => {
            let object = object.as_deref();
            lines.extend(object.map(|object| format!("e.object COLLATE \"C\" = {}", place(object.into()))));
            lines.extend(prefix.map(|prefix| format!("starts_with(e.action, {prefix})")));
            (String::new(), page(&lines.join(" AND ")))
        }
    };
    let sql = format!(
        "{with} SELECT e.*, c.seq, c.hash FROM ({page}) e
            JOIN audit_chain c ON c.event_id = e.id AND c.tenant_id = e.tenant_id ORDER BY e.id DESC"
    );
    (sql, values)
}

fn page(lines: &str) -> String {
    format!("SELECT e.* FROM audit_events e WHERE {lines} ORDER BY e.id DESC LIMIT $4")
}

/// There are some dozens of actions, whatever the length of the log: each is found by one step along the index.
fn actions(prefix: &str) -> String {
    let next = |from: &str| {
        format!(
            "SELECT action COLLATE \"C\" AS action FROM audit_events WHERE tenant_id = $1 AND action COLLATE \"C\" {from}
                ORDER BY action COLLATE \"C\" LIMIT 1"
        )
    };
    format!(
        "WITH RECURSIVE actions AS (
            ({first})
            UNION ALL
            SELECT ({following}) FROM actions a WHERE starts_with(a.action, {prefix}))",
        first = next(&format!(">= {prefix}")),
        following = next("> a.action"),
    )
}

/// The newest lines of each action, and the newest of those.
fn page_of_actions(lines: &str, prefix: &str) -> String {
    format!(
        "SELECT of_action.* FROM actions a CROSS JOIN LATERAL (
            SELECT e.* FROM audit_events e WHERE {lines} AND e.action COLLATE \"C\" = a.action
                ORDER BY e.id DESC LIMIT $4) of_action
            WHERE starts_with(a.action, {prefix}) ORDER BY of_action.id DESC LIMIT $4"
    )
}

/// Ids begin with their time in milliseconds (RFC 9562 §5.7), so that times and cursor are one range of them.
fn ids(filter: &AuditFilter, before: Option<AuditEventId>) -> (Uuid, Uuid) {
    let least = filter.from.map_or(Uuid::nil(), |from| least_id(from.timestamp_millis()));
    let bound = filter.to.map_or(Uuid::max(), |to| least_id(to.timestamp_millis().saturating_add(1)));
    (least, before.map_or(bound, |before| bound.min(before.as_uuid())))
}

/// An id that no id of an earlier millisecond reaches.
fn least_id(millis: i64) -> Uuid {
    // 48 bits hold any time until the year 10889.
    let millis = u128::try_from(millis).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(millis << 80)
}
