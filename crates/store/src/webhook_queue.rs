//! Deliveries as workers see them: which webhooks have any that are due, the claim under a fencing token, and what an
//! attempt came to.

use std::fmt;

use mtasts_model::{DeliveryId, EventId, TenantId, Timestamp, WebhookId};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{Actor, Store, StoreError, audit, sql};

/// A webhook with deliveries that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueWebhook {
    /// Which.
    pub id: WebhookId,
    /// Whether it is switched on and one of them is due.
    pub is_due: bool,
}

/// A delivery that a worker has claimed, and all that it needs for one attempt.
#[derive(Clone)]
pub struct DueDelivery {
    /// Which.
    pub id: DeliveryId,
    /// The fencing token.
    pub token: i64,
    /// Whose.
    pub tenant: TenantId,
    /// Where to.
    pub webhook: WebhookId,
    /// Its URL.
    pub url: String,
    /// The sealed secret.
    pub sealed: Vec<u8>,
    /// The sealed secret of before the last rotation, if it still signs along.
    pub former_sealed: Option<Vec<u8>>,
    /// Attempts until now.
    pub attempts: u32,
    /// What: the id that is the same in each attempt.
    pub event: EventId,
    /// Its type.
    pub event_type: String,
    /// When it happened.
    pub event_at: Timestamp,
    /// Its content.
    pub data: Json,
}

impl fmt::Debug for DueDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DueDelivery").field("id", &self.id).field("event", &self.event).finish_non_exhaustive()
    }
}

/// What was seen at an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The beginning of its body.
    pub excerpt: Option<String>,
    /// What was wrong.
    pub problem: Option<String>,
}

/// What follows from an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver took it.
    Delivered,
    /// It is tried again at this time.
    Retry(Timestamp),
    /// The last attempt of all: given up. The webhook is switched off for this reason, unless it took another delivery
    /// since the first attempt: then it is this event that it does not like.
    Exhausted(String),
    /// The receiver wants nothing any more: given up, and the webhook is switched off for this reason.
    Gone(String),
}

#[derive(Debug, FromQueryResult)]
struct WaitingRow {
    id: Uuid,
    is_due: Option<bool>,
}

#[derive(Debug, FromQueryResult)]
struct ClaimedRow {
    id: Uuid,
    lease_token: i64,
    tenant_id: Uuid,
    webhook_id: Uuid,
    url: String,
    sealed: Vec<u8>,
    former_sealed: Option<Vec<u8>>,
    attempts: i32,
    event_id: Uuid,
    #[sea_orm(from_alias = "type")]
    event_type: String,
    at: Timestamp,
    data: Json,
}

impl From<ClaimedRow> for DueDelivery {
    fn from(row: ClaimedRow) -> Self {
        Self {
            id: DeliveryId::from_uuid(row.id),
            token: row.lease_token,
            tenant: TenantId::from_uuid(row.tenant_id),
            webhook: WebhookId::from_uuid(row.webhook_id),
            url: row.url,
            sealed: row.sealed,
            former_sealed: row.former_sealed,
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            event: EventId::from_uuid(row.event_id),
            event_type: row.event_type,
            event_at: row.at,
            data: row.data,
        }
    }
}

/// From one webhook with waiting deliveries to the next, by the index: however many of them one has, it is one step.
const WAITING: &str = "
    WITH RECURSIVE queue AS (
        (SELECT webhook_id FROM webhook_deliveries WHERE state = 'pending' AND webhook_id > $1
            ORDER BY webhook_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.webhook_id FROM webhook_deliveries d WHERE d.state = 'pending' AND d.webhook_id > q.webhook_id
            ORDER BY d.webhook_id LIMIT 1)
        FROM queue q WHERE q.webhook_id IS NOT NULL)
    SELECT q.webhook_id AS id,
        (SELECT w.enabled FROM webhooks w WHERE w.id = q.webhook_id)
        AND (SELECT d.due_at <= $2 FROM webhook_deliveries d WHERE d.webhook_id = q.webhook_id AND d.state = 'pending'
            ORDER BY d.due_at LIMIT 1) AS is_due
    FROM queue q WHERE q.webhook_id IS NOT NULL LIMIT $3";

/// The longest due of each webhook, as many as it has room for. Nobody waits for anybody's locks.
const CLAIM: &str = "
    WITH picked AS (
        SELECT d.id FROM unnest($1::uuid[], $2::bigint[]) AS q (webhook, room)
        CROSS JOIN LATERAL (
            SELECT id FROM webhook_deliveries
            WHERE webhook_id = q.webhook AND state = 'pending' AND due_at <= $3
            ORDER BY due_at LIMIT q.room FOR UPDATE SKIP LOCKED) d
        LIMIT $4),
    claimed AS (
        UPDATE webhook_deliveries SET due_at = $5, lease_token = nextval('lease_tokens')
        WHERE id = ANY (ARRAY(SELECT id FROM picked))
        RETURNING id, lease_token, tenant_id, webhook_id, attempts, event_id)
    SELECT c.*, w.*, e.* FROM claimed c
        CROSS JOIN LATERAL (
            SELECT url, sealed, CASE WHEN former_until > $3 THEN former_sealed END AS former_sealed
            FROM webhooks WHERE id = c.webhook_id AND enabled LIMIT 1) w
        CROSS JOIN LATERAL (SELECT type, at, data FROM events WHERE id = c.event_id LIMIT 1) e";

impl Store {
    /// Webhooks with deliveries that wait, by id from the one after `after` on, at most `limit`.
    pub async fn webhooks_waiting(
        &self,
        after: Option<WebhookId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<DueWebhook>, StoreError> {
        let after = after.map_or(Uuid::nil(), WebhookId::as_uuid);
        let rows =
            sql::all::<WaitingRow>(self.db(), WAITING, vec![after.into(), now.into(), i64::from(limit).into()]).await?;
        let due = |row: WaitingRow| DueWebhook { id: WebhookId::from_uuid(row.id), is_due: row.is_due == Some(true) };
        Ok(rows.into_iter().map(due).collect())
    }

    /// Claims due deliveries until `until`: of each of these webhooks as many as it has room for, and no more than
    /// `limit` in all.
    pub async fn claim_deliveries(
        &self,
        rooms: &[(WebhookId, u32)],
        limit: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let (webhooks, room): (Vec<Uuid>, Vec<i64>) =
            rooms.iter().map(|(webhook, room)| (webhook.as_uuid(), i64::from(*room))).unzip();
        let values = vec![webhooks.into(), room.into(), now.into(), i64::from(limit).into(), until.into()];
        let rows = sql::all::<ClaimedRow>(self.db(), CLAIM, values).await?;
        Ok(rows.into_iter().map(DueDelivery::from).collect())
    }

    /// Records an attempt and what follows. [`StoreError::Fenced`] when another worker has the delivery by now, or the
    /// tenant asked for it anew: nothing is recorded then.
    pub async fn delivery_tried(
        &self,
        delivery: &DueDelivery,
        attempt: &Attempt,
        outcome: &AttemptOutcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (state, due_at) = match outcome {
            AttemptOutcome::Delivered => ("delivered", None),
            AttemptOutcome::Retry(at) => ("pending", Some(*at)),
            AttemptOutcome::Exhausted(_) | AttemptOutcome::Gone(_) => ("failed", None),
        };
        let tx = self.begin().await?;
        let sql = "UPDATE webhook_deliveries SET state = $3, due_at = $4, lease_token = NULL, attempts = attempts + 1,
                first_attempt_at = COALESCE(first_attempt_at, $5), last_attempt_at = $5,
                settled_at = CASE WHEN $3 = 'pending' THEN NULL ELSE $5 END,
                response_status = $6, response_excerpt = $7, problem = $8
            WHERE id = $1 AND lease_token = $2 RETURNING first_attempt_at";
        let values = vec![
            delivery.id.as_uuid().into(),
            delivery.token.into(),
            state.into(),
            due_at.into(),
            now.into(),
            attempt.status.map(i32::from).into(),
            attempt.excerpt.clone().into(),
            attempt.problem.clone().into(),
        ];
        let row = sql::row(&tx, sql, values).await?.ok_or(StoreError::Fenced)?;
        let first: Timestamp = row.try_get("", "first_attempt_at")?;
        match outcome {
            AttemptOutcome::Gone(reason) => switch_off(&tx, delivery, reason, now).await?,
            AttemptOutcome::Exhausted(reason) if !took_another(&tx, delivery.webhook, first).await? => {
                switch_off(&tx, delivery, reason, now).await?;
            }
            AttemptOutcome::Exhausted(_) | AttemptOutcome::Delivered | AttemptOutcome::Retry(_) => {}
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn took_another(db: &impl ConnectionTrait, webhook: WebhookId, since: Timestamp) -> Result<bool, StoreError> {
    let sql = "SELECT 1 AS took FROM webhook_deliveries
        WHERE webhook_id = $1 AND state = 'delivered' AND settled_at >= $2 LIMIT 1";
    Ok(sql::row(db, sql, vec![webhook.as_uuid().into(), since.into()]).await?.is_some())
}

async fn switch_off(
    db: &impl ConnectionTrait,
    delivery: &DueDelivery,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE webhooks SET enabled = false, disabled_reason = $2, disabled_at = $3
        WHERE id = $1 AND enabled AND deleted_at IS NULL";
    if sql::execute(db, sql, vec![delivery.webhook.as_uuid().into(), reason.into(), now.into()]).await? == 0 {
        return Ok(());
    }
    let entry = audit::Entry {
        tenant: delivery.tenant,
        action: "webhook.disable",
        object: delivery.webhook.to_string(),
        before: None,
        after: Some(json!({ "reason": reason, "delivery": delivery.id, "event": delivery.event })),
    };
    audit::record(db, &Actor::worker(), entry, now).await
}
