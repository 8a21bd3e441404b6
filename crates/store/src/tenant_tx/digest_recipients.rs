//! Who gets the tenant's digests by mail.

use mtasts_model::{DigestRecipientId, Timestamp};
use serde_json::{Value as Json, json};

use super::TenantTx;
use crate::{
    Actor, AddedRecipient, DIGEST_RECIPIENTS_PER_TENANT, DigestRecipient, DigestState, NewDigestRecipient, StoreError,
    digest::{self, COLUMNS, RecipientRow},
    sql::{self, MAX_LIST},
};

impl TenantTx {
    /// Has an address asked whether it wants digests. One that is pending, was unsubscribed or disabled is asked again, and
    /// gets nothing before it has said yes.
    pub async fn add_digest_recipient(
        &mut self,
        new: NewDigestRecipient,
        by: &Actor,
        now: Timestamp,
    ) -> Result<AddedRecipient, StoreError> {
        // Until the transaction ends, so that requests at the same time count each other.
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('digest recipients ' || $1, 0))";
        sql::execute(&self.tx, lock, vec![self.tenant.to_string().into()]).await?;
        let all = self.list_digest_recipients().await?;
        let key = new.email.key();
        let id = match all.iter().find(|known| known.email.to_ascii_lowercase() == key) {
            Some(known) if known.state == DigestState::Confirmed => return Ok(AddedRecipient::Exists(known.id)),
            Some(known) => known.id,
            None if all.len() >= usize::try_from(DIGEST_RECIPIENTS_PER_TENANT).unwrap_or(usize::MAX) => {
                return Ok(AddedRecipient::TooMany);
            }
            None => new.id,
        };
        let insert =
            "INSERT INTO digest_recipients (id, tenant_id, email, email_key, frequency, kinds, state, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7)
            ON CONFLICT (tenant_id, email_key) DO UPDATE SET frequency = excluded.frequency, kinds = excluded.kinds,
                state = 'pending', reason = NULL, confirmed_at = NULL, ended_at = NULL, next_at = NULL";
        let values = vec![
            id.as_uuid().into(),
            self.tenant.as_uuid().into(),
            new.email.as_str().into(),
            key.into(),
            new.frequency.as_str().into(),
            digest::kind_words(&new.kinds).into(),
            now.into(),
        ];
        sql::execute(&self.tx, insert, values).await?;
        let ask = "INSERT INTO digest_mails (recipient_id, purpose, period, tenant_id, state, due_at)
            VALUES ($1, 'confirm', $2, $3, 'pending', $4)
            ON CONFLICT (recipient_id, purpose, period) DO UPDATE SET state = 'pending', due_at = excluded.due_at,
                lease_token = NULL, attempts = 0, settled_at = NULL, problem = NULL";
        let values = vec![id.as_uuid().into(), now.date_naive().into(), self.tenant.as_uuid().into(), now.into()];
        sql::execute(&self.tx, ask, values).await?;
        let made = self.digest_recipient(id).await?.ok_or(StoreError::NotFound)?;
        self.audit(by, "digest-recipient.ask", id.to_string(), (None, Some(described(&made))), now).await?;
        Ok(AddedRecipient::Asked(made))
    }

    /// One recipient; None when there is none, or it is another tenant's.
    pub async fn digest_recipient(&self, id: DigestRecipientId) -> Result<Option<DigestRecipient>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM digest_recipients WHERE id = $1");
        let row = sql::one::<RecipientRow>(&self.tx, &sql, vec![id.as_uuid().into()]).await?;
        row.map(DigestRecipient::try_from).transpose()
    }

    /// All recipients, by id. There are never more than [`DIGEST_RECIPIENTS_PER_TENANT`].
    pub async fn list_digest_recipients(&self) -> Result<Vec<DigestRecipient>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM digest_recipients WHERE tenant_id = $1 ORDER BY id LIMIT {MAX_LIST}");
        let rows = sql::all::<RecipientRow>(&self.tx, &sql, vec![self.tenant.as_uuid().into()]).await?;
        rows.into_iter().map(DigestRecipient::try_from).collect()
    }

    /// Forgets a recipient; its links lead nowhere from then on. None when there was none.
    pub async fn delete_digest_recipient(
        &mut self,
        id: DigestRecipientId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<DigestRecipient>, StoreError> {
        let Some(recipient) = self.digest_recipient(id).await? else { return Ok(None) };
        let sql = "DELETE FROM digest_recipients WHERE id = $1";
        if sql::execute(&self.tx, sql, vec![id.as_uuid().into()]).await? == 0 {
            // Somebody was faster.
            return Ok(None);
        }
        self.audit(by, "digest-recipient.delete", id.to_string(), (Some(described(&recipient)), None), now).await?;
        Ok(Some(recipient))
    }

    /// Its owner has said yes. False when nobody was asked, or the answer was given before: nothing changes then.
    pub async fn confirm_digest_recipient(
        &mut self,
        id: DigestRecipientId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM digest_recipients WHERE id = $1 FOR NO KEY UPDATE");
        let row = sql::one::<RecipientRow>(&self.tx, &sql, vec![id.as_uuid().into()]).await?;
        let Some(recipient) = row.map(DigestRecipient::try_from).transpose()? else { return Ok(false) };
        if recipient.state != DigestState::Pending {
            return Ok(false);
        }
        let next = digest::due_after(recipient.frequency, id, now);
        let sql = "UPDATE digest_recipients SET state = 'confirmed', reason = NULL, confirmed_at = $2, next_at = $3
            WHERE id = $1";
        sql::execute(&self.tx, sql, vec![id.as_uuid().into(), now.into(), next.into()]).await?;
        self.forget_digest_links(id).await?;
        self.audit(by, "digest-recipient.confirm", id.to_string(), (None, None), now).await?;
        Ok(true)
    }

    /// Its owner wants no more. False when it got none anyway: nothing changes then.
    pub async fn unsubscribe_digest_recipient(
        &mut self,
        id: DigestRecipientId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE digest_recipients SET state = 'unsubscribed', ended_at = $2, next_at = NULL
            WHERE id = $1 AND state IN ('pending', 'confirmed')";
        if sql::execute(&self.tx, sql, vec![id.as_uuid().into(), now.into()]).await? == 0 {
            return Ok(false);
        }
        let sql = "UPDATE digest_mails SET state = 'skipped', due_at = NULL, lease_token = NULL, settled_at = $2
            WHERE recipient_id = $1 AND state = 'pending'";
        sql::execute(&self.tx, sql, vec![id.as_uuid().into(), now.into()]).await?;
        // A link of before must not bring it back.
        self.forget_digest_links(id).await?;
        self.audit(by, "digest-recipient.unsubscribe", id.to_string(), (None, None), now).await?;
        Ok(true)
    }

    /// Those to say yes; those to get no more stay for their time.
    async fn forget_digest_links(&self, id: DigestRecipientId) -> Result<(), StoreError> {
        let sql = "DELETE FROM digest_tokens WHERE recipient_id = $1 AND purpose = 'confirm'";
        sql::execute(&self.tx, sql, vec![id.as_uuid().into()]).await?;
        Ok(())
    }
}

fn described(recipient: &DigestRecipient) -> Json {
    json!({ "email": recipient.email, "frequency": recipient.frequency, "kinds": recipient.kinds,
        "state": recipient.state.as_str() })
}
