//! A tenant's webhooks and their deliveries.

use mtasts_model::{DeliveryId, EventType, Timestamp, WebhookId, event::WebhookTest};
use serde_json::{Value as Json, json};

use super::TenantTx;
use crate::{
    Actor, Channel, Delivery, DeliveryFilter, NewWebhook, StoreError, WEBHOOKS_PER_TENANT, Webhook, WebhookChange,
    event,
    sql::{self, MAX_LIST},
    webhook::{COLUMNS, DELIVERY_COLUMNS, DeliveryRow, WebhookRow},
};

impl TenantTx {
    /// Keeps a webhook; None when the tenant has [`WEBHOOKS_PER_TENANT`] already. [`StoreError::Taken`] when its id is
    /// taken.
    pub async fn create_webhook(
        &mut self,
        new: NewWebhook,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<Webhook>, StoreError> {
        // Until the transaction ends, so that requests at the same time count each other.
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || $1, 0))";
        sql::execute(&self.tx, lock, vec![self.tenant.to_string().into()]).await?;
        if self.list_webhooks().await?.len() >= usize::try_from(WEBHOOKS_PER_TENANT).unwrap_or(usize::MAX) {
            return Ok(None);
        }
        let insert = "INSERT INTO webhooks (id, tenant_id, url, description, event_types, enabled, sealed, created_at,
                changed_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)";
        let values = vec![
            new.id.as_uuid().into(),
            self.tenant.as_uuid().into(),
            new.url.as_str().into(),
            new.description.into(),
            words(new.event_types.as_deref()).into(),
            new.enabled.into(),
            new.sealed.into(),
            now.into(),
        ];
        sql::execute(&self.tx, insert, values).await?;
        let made = self.existing_webhook(new.id).await?;
        self.audit(by, "webhook.create", made.id.to_string(), (None, Some(described(&made))), now).await?;
        Ok(Some(made))
    }

    /// One webhook; None when there is none, or it is another tenant's.
    pub async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1 AND deleted_at IS NULL");
        sql::one::<WebhookRow>(&self.tx, &sql, vec![id.as_uuid().into()]).await?.map(Webhook::try_from).transpose()
    }

    async fn existing_webhook(&self, id: WebhookId) -> Result<Webhook, StoreError> {
        self.webhook(id).await?.ok_or(StoreError::NotFound)
    }

    /// All webhooks, by id. There are never more than [`WEBHOOKS_PER_TENANT`].
    pub async fn list_webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM webhooks WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY id LIMIT {MAX_LIST}"
        );
        let rows = sql::all::<WebhookRow>(&self.tx, &sql, vec![self.tenant.as_uuid().into()]).await?;
        rows.into_iter().map(Webhook::try_from).collect()
    }

    /// Changes a webhook. What waits for one that is switched on goes out at once. [`StoreError::NotFound`].
    pub async fn update_webhook(
        &mut self,
        id: WebhookId,
        change: WebhookChange,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Webhook, StoreError> {
        self.lock_webhook(id).await?;
        let before = self.existing_webhook(id).await?;
        let event_types = change.event_types.unwrap_or_else(|| before.event_types.clone());
        let sql = "UPDATE webhooks SET url = $2, description = $3, event_types = $4, enabled = $5,
                disabled_reason = CASE WHEN $6 THEN NULL ELSE disabled_reason END,
                disabled_at = CASE WHEN $6 THEN NULL ELSE disabled_at END, changed_at = $7
            WHERE id = $1";
        let values = vec![
            id.as_uuid().into(),
            change.url.map_or_else(|| before.url.clone(), |url| url.as_str().to_owned()).into(),
            change.description.unwrap_or_else(|| before.description.clone()).into(),
            words(event_types.as_deref()).into(),
            change.enabled.unwrap_or(before.enabled).into(),
            change.enabled.is_some().into(),
            now.into(),
        ];
        sql::execute(&self.tx, sql, values).await?;
        let after = self.existing_webhook(id).await?;
        if after.enabled && !before.enabled {
            self.nudges.insert(Channel::Webhooks);
        }
        let change = (Some(described(&before)), Some(described(&after)));
        self.audit(by, "webhook.update", id.to_string(), change, now).await?;
        Ok(after)
    }

    async fn lock_webhook(&self, id: WebhookId) -> Result<(), StoreError> {
        let sql = "SELECT id FROM webhooks WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE";
        sql::row(&self.tx, sql, vec![id.as_uuid().into()]).await?.map(|_| ()).ok_or(StoreError::NotFound)
    }

    /// Forgets a webhook and its secrets; what became of its deliveries can no longer be seen. None when there was none.
    pub async fn delete_webhook(
        &mut self,
        id: WebhookId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<Webhook>, StoreError> {
        let Some(webhook) = self.webhook(id).await? else { return Ok(None) };
        // The row goes later: there may be millions of deliveries that lead to it.
        let sql = "UPDATE webhooks SET deleted_at = $2, enabled = false, sealed = NULL, former_sealed = NULL,
                former_until = NULL
            WHERE id = $1 AND deleted_at IS NULL";
        if sql::execute(&self.tx, sql, vec![id.as_uuid().into(), now.into()]).await? == 0 {
            // Somebody was faster.
            return Ok(None);
        }
        self.audit(by, "webhook.delete", id.to_string(), (Some(described(&webhook)), None), now).await?;
        Ok(Some(webhook))
    }

    /// Signs with a new secret, and with the one until now as well for as long as it signs along; the one before that
    /// signs no more. [`StoreError::NotFound`].
    pub async fn rotate_webhook_secret(
        &mut self,
        id: WebhookId,
        (sealed, former_until): (Vec<u8>, Timestamp),
        by: &Actor,
        now: Timestamp,
    ) -> Result<Webhook, StoreError> {
        self.lock_webhook(id).await?;
        let sql = "UPDATE webhooks SET sealed = $2, changed_at = $4,
                former_sealed = CASE WHEN $3 > $4 THEN sealed END, former_until = CASE WHEN $3 > $4 THEN $3 END
            WHERE id = $1";
        sql::execute(&self.tx, sql, vec![id.as_uuid().into(), sealed.into(), former_until.into(), now.into()]).await?;
        let after = self.existing_webhook(id).await?;
        let detail = json!({ "former_secret_until": after.former_secret_until });
        self.audit(by, "webhook.rotate-secret", id.to_string(), (None, Some(detail)), now).await?;
        Ok(after)
    }

    /// Makes a test event for this webhook alone. [`StoreError::NotFound`].
    pub async fn test_webhook(&mut self, id: WebhookId, by: &Actor, now: Timestamp) -> Result<Delivery, StoreError> {
        self.existing_webhook(id).await?;
        let delivery = event::emit_to(&self.tx, (self.tenant, id), WebhookTest { webhook_id: id }, now).await?;
        self.nudges.insert(Channel::Webhooks);
        self.audit(by, "webhook.test", id.to_string(), (None, Some(json!({ "delivery": delivery }))), now).await?;
        self.delivery(id, delivery).await?.ok_or(StoreError::NotFound)
    }

    /// Deliveries of a webhook, newest first, at most 201 with ids below `before`.
    pub async fn deliveries(
        &self,
        webhook: WebhookId,
        filter: DeliveryFilter,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut values: Vec<sea_orm::Value> = vec![
            webhook.as_uuid().into(),
            before.map_or(uuid::Uuid::max(), DeliveryId::as_uuid).into(),
            i64::from(limit.min(MAX_LIST + 1)).into(),
        ];
        // A statement of its own, so that it has an index of its own.
        let state = filter.state.map(|state| {
            values.push(state.as_str().into());
            " AND state = $4"
        });
        let sql = format!(
            "SELECT {DELIVERY_COLUMNS} FROM (
                SELECT * FROM webhook_deliveries WHERE webhook_id = $1 AND id < $2{} ORDER BY id DESC LIMIT $3) d
            CROSS JOIN LATERAL (SELECT type FROM events WHERE id = d.event_id LIMIT 1) e
            ORDER BY d.id DESC",
            state.unwrap_or_default()
        );
        let rows = sql::all::<DeliveryRow>(&self.tx, &sql, values).await?;
        rows.into_iter().map(Delivery::try_from).collect()
    }

    /// One delivery of a webhook; None when there is none, or it is another's.
    pub async fn delivery(&self, webhook: WebhookId, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        let sql = format!(
            "SELECT {DELIVERY_COLUMNS} FROM webhook_deliveries d JOIN events e ON e.id = d.event_id
             WHERE d.id = $1 AND d.webhook_id = $2"
        );
        let values = vec![id.as_uuid().into(), webhook.as_uuid().into()];
        sql::one::<DeliveryRow>(&self.tx, &sql, values).await?.map(Delivery::try_from).transpose()
    }

    /// Delivers again, from the first attempt on, with the same event. [`StoreError::NotFound`].
    pub async fn replay_delivery(
        &mut self,
        (webhook, id): (WebhookId, DeliveryId),
        by: &Actor,
        now: Timestamp,
    ) -> Result<Delivery, StoreError> {
        // Whoever is at it at this moment is fenced off: its attempt was one of before.
        let sql = "UPDATE webhook_deliveries SET state = 'pending', due_at = $3, lease_token = NULL, attempts = 0,
                first_attempt_at = NULL, settled_at = NULL
            WHERE id = $1 AND webhook_id = $2";
        let values = vec![id.as_uuid().into(), webhook.as_uuid().into(), now.into()];
        if sql::execute(&self.tx, sql, values).await? == 0 {
            return Err(StoreError::NotFound);
        }
        self.nudges.insert(Channel::Webhooks);
        let delivery = self.delivery(webhook, id).await?.ok_or(StoreError::NotFound)?;
        let detail = json!({ "delivery": id, "event": delivery.event });
        self.audit(by, "webhook.replay", webhook.to_string(), (None, Some(detail)), now).await?;
        Ok(delivery)
    }
}

fn words(event_types: Option<&[EventType]>) -> Option<Vec<String>> {
    Some(event_types?.iter().map(|event_type| event_type.as_str().to_owned()).collect())
}

/// A webhook as the audit log tells of it: never a secret, sealed or not.
fn described(webhook: &Webhook) -> Json {
    json!({ "url": webhook.url, "description": webhook.description, "enabled": webhook.enabled,
        "event_types": words(webhook.event_types.as_deref()) })
}
