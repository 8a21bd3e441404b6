//! Events: written in the transaction of what they tell of, with one delivery for each webhook that wants them.

use chrono::TimeDelta;
use mtasts_model::{
    DeliveryId, DomainId, EventData, EventId, EventType, TenantId, Timestamp, WebhookId, event::EventDomain,
};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    audit::InOrder,
    sql::{self, MAX_LIST},
    stored::{At, to_json},
};

/// How long an event can be listed and delivered again.
pub const EVENTS_KEPT: TimeDelta = TimeDelta::days(30);

/// The most that one transaction forgets.
const PRUNED_AT_ONCE: i64 = 2_000;

const TABLE: &str = "events";

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id, ordered by time.
    pub id: EventId,
    /// What kind of thing.
    pub event_type: EventType,
    /// The domain that it is about.
    pub domain: Option<DomainId>,
    /// When.
    pub at: Timestamp,
    /// Its content: the `data` of an [`EventData`].
    pub data: Json,
}

/// Which events to list. Empty: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only those of this type.
    pub event_type: Option<EventType>,
    /// Only those about this domain.
    pub domain: Option<DomainId>,
}

#[derive(Debug, FromQueryResult)]
struct Row {
    id: Uuid,
    #[sea_orm(from_alias = "type")]
    event_type: String,
    domain_id: Option<Uuid>,
    at: Timestamp,
    data: Json,
}

impl TryFrom<Row> for Event {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let at = At { table: TABLE, row: row.id };
        Ok(Self {
            id: EventId::from_uuid(row.id),
            event_type: at.parse("type", &row.event_type)?,
            domain: row.domain_id.map(DomainId::from_uuid),
            at: row.at,
            data: row.data,
        })
    }
}

/// The domain of an event, by what a row of `domains` has.
pub(crate) fn domain(id: DomainId, name: &str) -> Result<EventDomain, StoreError> {
    let at = At { table: "domains", row: id.as_uuid() };
    Ok(EventDomain { domain_id: id, domain: at.mail_domain("name", name)? })
}

/// A webhook that wants the event.
#[derive(Debug, FromQueryResult)]
struct Wanting {
    id: Uuid,
}

/// Writes an event within the transaction of what it tells of, and a delivery for each webhook that wants it. True when
/// there is any: the caller then nudges [`crate::Channel::Webhooks`].
pub(crate) async fn emit(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    data: impl Into<EventData>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // Both in one: most tenants have no webhook, and pay for no further round trip.
    let sql = "WITH event AS (
            INSERT INTO events (id, tenant_id, type, domain_id, at, data) VALUES ($1, $2, $3, $4, $5, $6))
        SELECT id FROM webhooks
        WHERE tenant_id = $2 AND deleted_at IS NULL AND enabled AND (event_types IS NULL OR $3 = ANY (event_types))";
    let id = EventId::draw(now, &InOrder);
    let wanting = sql::all::<Wanting>(db, sql, insertion(id, tenant, &data.into(), now)?).await?;
    let webhooks: Vec<_> = wanting.into_iter().map(|row| WebhookId::from_uuid(row.id)).collect();
    deliver(db, tenant, id, &webhooks, now).await?;
    Ok(!webhooks.is_empty())
}

/// Writes an event for this webhook alone, whatever it wants.
pub(crate) async fn emit_to(
    db: &impl ConnectionTrait,
    (tenant, webhook): (TenantId, WebhookId),
    data: impl Into<EventData>,
    now: Timestamp,
) -> Result<DeliveryId, StoreError> {
    let id = EventId::draw(now, &InOrder);
    let sql = "INSERT INTO events (id, tenant_id, type, domain_id, at, data) VALUES ($1, $2, $3, $4, $5, $6)";
    sql::execute(db, sql, insertion(id, tenant, &data.into(), now)?).await?;
    let made = deliver(db, tenant, id, &[webhook], now).await?;
    made.first().copied().ok_or(StoreError::NotFound)
}

fn insertion(
    id: EventId,
    tenant: TenantId,
    data: &EventData,
    now: Timestamp,
) -> Result<Vec<sea_orm::Value>, StoreError> {
    let mut content = to_json(data)?;
    let content = content.get_mut("data").map(Json::take).unwrap_or_default();
    Ok(vec![
        id.as_uuid().into(),
        tenant.as_uuid().into(),
        data.event_type().as_str().into(),
        data.domain().map(|domain| domain.domain_id.as_uuid()).into(),
        now.into(),
        content.into(),
    ])
}

async fn deliver(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    event: EventId,
    webhooks: &[WebhookId],
    now: Timestamp,
) -> Result<Vec<DeliveryId>, StoreError> {
    if webhooks.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = webhooks.iter().map(|_| DeliveryId::draw(now, &InOrder)).collect();
    let sql = "INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, event_id, state, due_at, created_at)
        SELECT d.id, $1, d.webhook, $2, 'pending', $3, $3 FROM unnest($4::uuid[], $5::uuid[]) AS d (id, webhook)";
    let values = vec![
        tenant.as_uuid().into(),
        event.as_uuid().into(),
        now.into(),
        ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>().into(),
        webhooks.iter().map(|id| id.as_uuid()).collect::<Vec<_>>().into(),
    ];
    sql::execute(db, sql, values).await?;
    Ok(ids)
}

/// Newest first, ids below `before`.
pub(crate) async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    filter: &EventFilter,
    before: Option<EventId>,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let mut values: Vec<sea_orm::Value> = vec![
        tenant.as_uuid().into(),
        before.map_or(Uuid::max(), EventId::as_uuid).into(),
        i64::from(limit.min(MAX_LIST + 1)).into(),
    ];
    // A statement for each set of filters, so that each has an index of its own.
    let mut wheres = vec!["tenant_id = $1 AND id < $2".to_owned()];
    if let Some(event_type) = filter.event_type {
        values.push(event_type.as_str().into());
        wheres.push(format!("type = ${}", values.len()));
    }
    if let Some(domain) = filter.domain {
        values.push(domain.as_uuid().into());
        wheres.push(format!("domain_id = ${}", values.len()));
    }
    let sql = format!(
        "SELECT id, type, domain_id, at, data FROM events WHERE {} ORDER BY id DESC LIMIT $3",
        wheres.join(" AND ")
    );
    sql::all::<Row>(db, &sql, values).await?.into_iter().map(Event::try_from).collect()
}

/// Ids begin with their time in milliseconds (RFC 9562 §5.7), so that what is old is found by them.
const OLD_EVENTS: &str = "
    DELETE FROM events WHERE id = ANY (ARRAY(SELECT id FROM events WHERE id < $1 ORDER BY id LIMIT $2))";

/// Of webhooks that were deleted. The sub-select with LIMIT is looked up by index, webhook for webhook.
const ORPHANS: &str = "
    DELETE FROM webhook_deliveries WHERE id = ANY (ARRAY(
        SELECT d.id FROM webhooks w CROSS JOIN LATERAL (
            SELECT id FROM webhook_deliveries WHERE webhook_id = w.id ORDER BY id LIMIT $1) d
        WHERE w.deleted_at IS NOT NULL LIMIT $1))";

const DELETED_WEBHOOKS: &str = "
    DELETE FROM webhooks WHERE id = ANY (ARRAY(
        SELECT w.id FROM webhooks w
        WHERE w.deleted_at IS NOT NULL
            AND (SELECT true FROM webhook_deliveries d WHERE d.webhook_id = w.id LIMIT 1) IS NULL
        LIMIT $1))";

/// Secrets that no longer sign along.
const FORMER_SECRETS: &str = "
    UPDATE webhooks SET former_sealed = NULL, former_until = NULL WHERE id = ANY (ARRAY(
        SELECT id FROM webhooks WHERE former_until < $1 ORDER BY former_until LIMIT $2))";

impl Store {
    /// Forgets events that are 30 days old, with their deliveries, what deleted webhooks have left, and secrets that were
    /// replaced and no longer sign along: 2,000 of each at most. Returns how many rows went: call again while there are any.
    pub async fn prune_events(&self, now: Timestamp) -> Result<u64, StoreError> {
        let millis = u128::try_from((now - EVENTS_KEPT).timestamp_millis()).unwrap_or(0);
        let before = Uuid::from_u128(millis << 80);
        let mut rows = sql::execute(self.db(), OLD_EVENTS, vec![before.into(), PRUNED_AT_ONCE.into()]).await?;
        rows += sql::execute(self.db(), FORMER_SECRETS, vec![now.into(), PRUNED_AT_ONCE.into()]).await?;
        for statement in [ORPHANS, DELETED_WEBHOOKS] {
            rows += sql::execute(self.db(), statement, vec![PRUNED_AT_ONCE.into()]).await?;
        }
        Ok(rows)
    }
}
