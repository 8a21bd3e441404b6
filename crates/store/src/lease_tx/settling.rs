//! What a step leaves behind: failures, conditions, and when to look again.

use mtasts_model::{Condition, Timestamp, lifecycle::StepKind};
use sea_orm::Value;

use super::LeaseTx;
use crate::{Channel, DomainState, StoreError, domain_rows::status_word, sql};

impl LeaseTx {
    /// Counts a failure of a kind of step since its last success.
    pub async fn step_failed(
        &mut self,
        kind: StepKind,
        reason: &str,
        message: &str,
        retry_after: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO step_failures (domain_id, tenant_id, kind, failures, last_at, reason, message,
                retry_after)
            VALUES ($1, $2, $3, 1, $4, $5, $6, $7)
            ON CONFLICT (domain_id, kind) DO UPDATE SET
                failures = LEAST(step_failures.failures, 2147483646) + 1, last_at = excluded.last_at,
                reason = excluded.reason, message = excluded.message, retry_after = excluded.retry_after
            RETURNING failures = 1 AS first";
        let values = vec![
            self.id().into(),
            self.lease.tenant_id.as_uuid().into(),
            kind.as_str().into(),
            self.now.into(),
            reason.into(),
            message.into(),
            retry_after.into(),
        ];
        let row = sql::row(&self.tx, sql, values).await?.ok_or(StoreError::NotFound)?;
        if kind == StepKind::Issuance && row.try_get::<bool>("", "first")? {
            self.tell_of_failed_renewal(reason, message).await?;
        }
        Ok(())
    }

    /// Forgets the failures of a kind of step.
    pub async fn step_succeeded(&mut self, kind: StepKind) -> Result<(), StoreError> {
        let sql = "DELETE FROM step_failures WHERE domain_id = $1 AND kind = $2";
        sql::execute(&self.tx, sql, vec![self.id().into(), kind.as_str().into()]).await?;
        Ok(())
    }

    /// Shows these conditions, and wakes the domain at `wake_at` (None: when somebody asks), or at once if it was
    /// woken since it was claimed. `release`: gives the lease back; else the same worker goes on.
    ///
    /// A domain that is gone keeps its conditions.
    pub async fn settle(
        &mut self,
        conditions: &[Condition],
        wake_at: Option<Timestamp>,
        release: bool,
    ) -> Result<(), StoreError> {
        if self.ended {
            return Ok(());
        }
        if self.state()? != DomainState::Gone {
            self.tell_of_conditions(conditions).await?;
            self.show(conditions).await?;
        }
        // Whoever keeps the lease reads the facts again after this commit, and sees for what it was woken.
        let lease = if release { "lease_token = NULL, lease_until = NULL, worker = NULL" } else { "woken = false" };
        let sql = format!(
            "UPDATE domain_schedule SET wake_at = CASE WHEN woken THEN $1 ELSE $2 END, {lease}
            WHERE domain_id = $3 RETURNING wake_at <= $1 AS due"
        );
        let row = sql::row(&self.tx, &sql, vec![self.now.into(), wake_at.into(), self.id().into()]).await?;
        let due: Option<bool> = row.ok_or(StoreError::Fenced)?.try_get("", "due")?;
        if release && due == Some(true) {
            self.nudges.insert(Channel::Worker);
        }
        Ok(())
    }

    /// Only what has changed is written.
    async fn show(&self, conditions: &[Condition]) -> Result<(), StoreError> {
        let column = |of: fn(&Condition) -> String| -> Value { conditions.iter().map(of).collect::<Vec<_>>().into() };
        let kinds = column(|condition| condition.kind.as_str().to_owned());
        let since: Vec<Timestamp> = conditions.iter().map(|condition| condition.since).collect();
        let show = "INSERT INTO domain_conditions AS old (domain_id, tenant_id, kind, status, reason, message, since)
            SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
            ON CONFLICT (domain_id, kind) DO UPDATE SET status = excluded.status, reason = excluded.reason,
                message = excluded.message, since = excluded.since
            WHERE (old.status, old.reason, old.message, old.since)
                IS DISTINCT FROM (excluded.status, excluded.reason, excluded.message, excluded.since)";
        let values = vec![
            self.id().into(),
            self.lease.tenant_id.as_uuid().into(),
            kinds.clone(),
            column(|condition| status_word(condition.status).to_owned()),
            column(|condition| condition.reason.clone()),
            column(|condition| condition.message.clone()),
            since.into(),
        ];
        sql::execute(&self.tx, show, values).await?;
        let hide = "DELETE FROM domain_conditions WHERE domain_id = $1 AND kind <> ALL ($2::text[])";
        sql::execute(&self.tx, hide, vec![self.id().into(), kinds]).await?;
        Ok(())
    }
}
