//! Digests as workers see them: what is due, the claim under a fencing token, and what became of a mail.

use std::fmt;

use chrono::{NaiveDate, TimeDelta};
use mtasts_model::{DigestFrequency, DigestRecipientId, ReportKind, TenantId, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::json;
use uuid::Uuid;

use crate::{Actor, DigestLink, Store, StoreError, audit, digest, sql, stored::At};

/// How long it is known which mails were sent.
const MAILS_KEPT: TimeDelta = TimeDelta::days(60);

/// How long mails are counted.
const COUNTS_KEPT: TimeDelta = TimeDelta::days(30);

/// The most that one transaction forgets.
const PRUNED_AT_ONCE: i64 = 2_000;

/// What a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailPurpose {
    /// It asks whether digests are wanted.
    Confirm,
    /// A digest.
    Digest(DigestFrequency),
}

impl MailPurpose {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Digest(frequency) => frequency.as_str(),
        }
    }
}

/// A mail that a worker has claimed.
#[derive(Clone)]
pub struct DueMail {
    /// Who gets it.
    pub recipient: DigestRecipientId,
    /// At which address.
    pub email: String,
    /// Whose.
    pub tenant: TenantId,
    /// What it is.
    pub purpose: MailPurpose,
    /// The last day that it speaks of; of one that asks: the day on which it was asked for.
    pub period: NaiveDate,
    /// Of which kinds of report.
    pub kinds: Vec<ReportKind>,
    /// Attempts, this one included.
    pub attempts: u32,
    /// The fencing token.
    pub token: i64,
}

impl fmt::Debug for DueMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purpose = self.purpose.as_str();
        f.debug_struct("DueMail").field("recipient", &self.recipient).field("purpose", &purpose).finish_non_exhaustive()
    }
}

/// What became of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailOutcome {
    /// The relay took it.
    Sent,
    /// There was nothing to say.
    Skipped,
    /// It is tried again at this time.
    Retry {
        /// When.
        at: Timestamp,
        /// What was wrong.
        problem: String,
    },
    /// Given up; the recipient stays.
    Failed(String),
    /// The relay wants nothing for this address: the recipient is disabled, for this reason.
    Refused(String),
}

#[derive(Debug, FromQueryResult)]
struct DueRow {
    id: Uuid,
    tenant_id: Uuid,
    frequency: String,
}

#[derive(Debug, FromQueryResult)]
struct ClaimedRow {
    recipient_id: Uuid,
    email: String,
    tenant_id: Uuid,
    purpose: String,
    period: NaiveDate,
    kinds: Vec<String>,
    attempts: i32,
    lease_token: i64,
}

impl TryFrom<ClaimedRow> for DueMail {
    type Error = StoreError;

    fn try_from(row: ClaimedRow) -> Result<Self, StoreError> {
        let at = At { table: "digest_mails", row: row.recipient_id };
        Ok(Self {
            recipient: DigestRecipientId::from_uuid(row.recipient_id),
            email: row.email,
            tenant: TenantId::from_uuid(row.tenant_id),
            purpose: match row.purpose.as_str() {
                "confirm" => MailPurpose::Confirm,
                word => MailPurpose::Digest(at.parse("purpose", word)?),
            },
            period: row.period,
            kinds: digest::kinds(at, &row.kinds)?,
            attempts: at.number("attempts", row.attempts)?,
            token: row.lease_token,
        })
    }
}

const CLAIM: &str = "
    WITH picked AS (
        SELECT recipient_id, purpose, period FROM digest_mails WHERE state = 'pending' AND due_at <= $1
        ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED),
    claimed AS (
        UPDATE digest_mails m SET due_at = $3, lease_token = nextval('lease_tokens'), attempts = attempts + 1
        FROM picked p WHERE (m.recipient_id, m.purpose, m.period) = (p.recipient_id, p.purpose, p.period)
        RETURNING m.recipient_id, m.purpose, m.period, m.attempts, m.lease_token)
    SELECT c.*, r.email, r.tenant_id, r.kinds FROM claimed c
        CROSS JOIN LATERAL (
            -- Whatever stands in the queue: who has not said yes gets nothing but the question.
            SELECT email, tenant_id, kinds FROM digest_recipients
            WHERE id = c.recipient_id AND state = CASE c.purpose WHEN 'confirm' THEN 'pending' ELSE 'confirmed' END
            LIMIT 1) r";

impl Store {
    /// Puts the digests that are due into the queue, those of `limit` recipients at most; returns of how many. Of several
    /// that one has missed, the last alone.
    pub async fn schedule_digests(&self, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
        let tx = self.begin().await?;
        let sql = "SELECT id, tenant_id, frequency FROM digest_recipients
            WHERE next_at <= $1 ORDER BY next_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED";
        let due = sql::all::<DueRow>(&tx, sql, vec![now.into(), i64::from(limit).into()]).await?;
        for row in &due {
            let at = At { table: "digest_recipients", row: row.id };
            let frequency: DigestFrequency = at.parse("frequency", &row.frequency)?;
            let id = DigestRecipientId::from_uuid(row.id);
            let period = digest::period(digest::due_before(frequency, id, now));
            let insert = "INSERT INTO digest_mails (recipient_id, purpose, period, tenant_id, state, due_at)
                VALUES ($1, $2, $3, $4, 'pending', $5) ON CONFLICT DO NOTHING";
            let values =
                vec![row.id.into(), frequency.as_str().into(), period.into(), row.tenant_id.into(), now.into()];
            sql::execute(&tx, insert, values).await?;
            let next = digest::due_after(frequency, id, now);
            let update = "UPDATE digest_recipients SET next_at = $2 WHERE id = $1";
            sql::execute(&tx, update, vec![row.id.into(), next.into()]).await?;
        }
        tx.commit().await?;
        Ok(u64::try_from(due.len()).unwrap_or(0))
    }

    /// Claims mails that are due until `until`, at most `limit`. Each claim is an attempt.
    pub async fn claim_mails(&self, limit: u32, until: Timestamp, now: Timestamp) -> Result<Vec<DueMail>, StoreError> {
        let values = vec![now.into(), i64::from(limit).into(), until.into()];
        let rows = sql::all::<ClaimedRow>(self.db(), CLAIM, values).await?;
        rows.into_iter().map(DueMail::try_from).collect()
    }

    /// Whether a mail of this tenant is possible today; if so, it is counted.
    pub async fn count_mail(&self, tenant: TenantId, most: u32, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO mail_days AS old (tenant_id, day, mails) VALUES ($1, $2, 1)
            ON CONFLICT (tenant_id, day) DO UPDATE SET mails = old.mails + 1 WHERE old.mails < $3";
        let values = vec![tenant.as_uuid().into(), now.date_naive().into(), i64::from(most).into()];
        Ok(sql::execute(self.db(), sql, values).await? > 0)
    }

    /// Whether this address, by the SHA-256 of it, may be asked once more today, by whomever; if so, it is counted.
    pub async fn count_question(&self, address: &[u8; 32], most: u32, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO mail_address_days AS old (address, day, mails) VALUES ($1, $2, 1)
            ON CONFLICT (address, day) DO UPDATE SET mails = old.mails + 1 WHERE old.mails < $3";
        let values = vec![address.to_vec().into(), now.date_naive().into(), i64::from(most).into()];
        Ok(sql::execute(self.db(), sql, values).await? > 0)
    }

    /// Keeps the SHA-256 of a link before the mail goes out. [`StoreError::Fenced`] when the mail is not this worker's any
    /// more: it is not to be sent then.
    pub async fn keep_digest_link(
        &self,
        mail: &DueMail,
        (link, hash): (DigestLink, &[u8; 32]),
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO digest_tokens (hash, tenant_id, recipient_id, purpose, expires_at)
            SELECT $1, $2, $3, $4, $5 FROM digest_mails
            WHERE recipient_id = $3 AND purpose = $6 AND period = $7 AND lease_token = $8";
        let values = vec![
            hash.to_vec().into(),
            mail.tenant.as_uuid().into(),
            mail.recipient.as_uuid().into(),
            link.as_str().into(),
            expires_at.into(),
            mail.purpose.as_str().into(),
            mail.period.into(),
            mail.token.into(),
        ];
        if sql::execute(self.db(), sql, values).await? == 0 { Err(StoreError::Fenced) } else { Ok(()) }
    }

    /// Records what became of a mail. [`StoreError::Fenced`] when another worker has it by now, or it is not wanted any
    /// more: nothing is recorded then.
    pub async fn mail_tried(&self, mail: &DueMail, outcome: &MailOutcome, now: Timestamp) -> Result<(), StoreError> {
        let (state, due_at, problem) = match outcome {
            MailOutcome::Sent => ("sent", None, None),
            MailOutcome::Skipped => ("skipped", None, None),
            MailOutcome::Retry { at, problem } => ("pending", Some(*at), Some(problem)),
            MailOutcome::Failed(problem) | MailOutcome::Refused(problem) => ("failed", None, Some(problem)),
        };
        let tx = self.begin().await?;
        // The recipient first, as the API does.
        let lock = "SELECT id FROM digest_recipients WHERE id = $1 FOR NO KEY UPDATE";
        sql::row(&tx, lock, vec![mail.recipient.as_uuid().into()]).await?.ok_or(StoreError::Fenced)?;
        let sql = "UPDATE digest_mails SET state = $5, due_at = $6, lease_token = NULL, problem = $7,
                settled_at = CASE WHEN $5 = 'pending' THEN NULL ELSE $8 END
            WHERE recipient_id = $1 AND purpose = $2 AND period = $3 AND lease_token = $4";
        let values = vec![
            mail.recipient.as_uuid().into(),
            mail.purpose.as_str().into(),
            mail.period.into(),
            mail.token.into(),
            state.into(),
            due_at.into(),
            problem.cloned().into(),
            now.into(),
        ];
        if sql::execute(&tx, sql, values).await? == 0 {
            return Err(StoreError::Fenced);
        }
        match outcome {
            MailOutcome::Refused(reason) => disable(&tx, mail, reason, now).await?,
            // Who waits for it is told why it does not come.
            MailOutcome::Failed(reason) if mail.purpose == MailPurpose::Confirm => {
                let sql = "UPDATE digest_recipients SET reason = $2 WHERE id = $1 AND state = 'pending'";
                sql::execute(&tx, sql, vec![mail.recipient.as_uuid().into(), reason.clone().into()]).await?;
            }
            _ => {}
        }
        tx.commit().await?;
        Ok(())
    }

    /// Forgets links whose time is over, and old mails and counts: 2,000 of each at most. Returns how many rows went: call
    /// again while there are any.
    pub async fn prune_digests(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut rows = 0;
        for (statement, before) in [(OLD_LINKS, now), (OLD_MAILS, now - MAILS_KEPT)] {
            rows += sql::execute(self.db(), statement, vec![before.into(), PRUNED_AT_ONCE.into()]).await?;
        }
        for statement in [OLD_COUNTS, OLD_QUESTIONS] {
            let before = (now - COUNTS_KEPT).date_naive();
            rows += sql::execute(self.db(), statement, vec![before.into(), PRUNED_AT_ONCE.into()]).await?;
        }
        Ok(rows)
    }
}

const OLD_LINKS: &str = "
    DELETE FROM digest_tokens WHERE hash = ANY (ARRAY(
        SELECT hash FROM digest_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2))";
const OLD_MAILS: &str = "
    DELETE FROM digest_mails WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM digest_mails WHERE settled_at < $1 ORDER BY settled_at LIMIT $2))";
const OLD_COUNTS: &str = "
    DELETE FROM mail_days WHERE ctid = ANY (ARRAY(SELECT ctid FROM mail_days WHERE day < $1 ORDER BY day LIMIT $2))";
const OLD_QUESTIONS: &str = "
    DELETE FROM mail_address_days WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM mail_address_days WHERE day < $1 ORDER BY day LIMIT $2))";

async fn disable(db: &impl ConnectionTrait, mail: &DueMail, reason: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE digest_recipients SET state = 'disabled', reason = $2, ended_at = $3, next_at = NULL
        WHERE id = $1 AND state IN ('pending', 'confirmed')";
    if sql::execute(db, sql, vec![mail.recipient.as_uuid().into(), reason.into(), now.into()]).await? == 0 {
        return Ok(());
    }
    let sql = "UPDATE digest_mails SET state = 'skipped', due_at = NULL, lease_token = NULL, settled_at = $2
        WHERE recipient_id = $1 AND state = 'pending'";
    sql::execute(db, sql, vec![mail.recipient.as_uuid().into(), now.into()]).await?;
    let entry = audit::Entry {
        tenant: mail.tenant,
        action: "digest-recipient.disable",
        object: mail.recipient.to_string(),
        before: None,
        after: Some(json!({ "reason": reason })),
    };
    audit::record(db, &Actor::worker(), entry, now).await
}
