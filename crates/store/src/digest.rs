//! Who gets digests of reports by mail, and when.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use mtasts_model::{DigestFrequency, DigestRecipientId, EmailAddress, ReportKind, TenantId, Timestamp};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::{Store, StoreError, sql, stored::At};

/// How many recipients a tenant may have.
pub const DIGEST_RECIPIENTS_PER_TENANT: u32 = 20;

/// Digests go out from this hour (UTC) on, spread over an hour.
const FIRST_HOUR: i64 = 6;
const SPREAD_SECONDS: i64 = 3600;

pub(crate) const COLUMNS: &str =
    "id, email, frequency, kinds, state, reason, created_at, confirmed_at, ended_at, next_at";

/// How it stands with a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestState {
    /// The owner of the address has not said yes so far.
    Pending,
    /// Gets digests.
    Confirmed,
    /// Wants none any more.
    Unsubscribed,
    /// The relay refused the address.
    Disabled,
}

impl DigestState {
    const ALL: [Self; 4] = [Self::Pending, Self::Confirmed, Self::Unsubscribed, Self::Disabled];

    /// The word in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Unsubscribed => "unsubscribed",
            Self::Disabled => "disabled",
        }
    }
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRecipient {
    /// Its id.
    pub id: DigestRecipientId,
    /// Its address.
    pub email: String,
    /// How often it gets a digest.
    pub frequency: DigestFrequency,
    /// Of which kinds of report.
    pub kinds: Vec<ReportKind>,
    /// How it stands.
    pub state: DigestState,
    /// Why it is disabled, or why the mail that asks could not be sent.
    pub reason: Option<String>,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When its owner said yes.
    pub confirmed_at: Option<Timestamp>,
    /// When it was unsubscribed or disabled.
    pub ended_at: Option<Timestamp>,
    /// When the next digest is due.
    pub next_at: Option<Timestamp>,
}

/// A recipient that is about to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDigestRecipient {
    /// Its id, unless the address is known already.
    pub id: DigestRecipientId,
    /// Its address.
    pub email: EmailAddress,
    /// How often it gets a digest.
    pub frequency: DigestFrequency,
    /// Of which kinds of report; at least one.
    pub kinds: Vec<ReportKind>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedRecipient {
    /// It is asked.
    Asked(DigestRecipient),
    /// It gets digests already.
    Exists(DigestRecipientId),
    /// There are [`DIGEST_RECIPIENTS_PER_TENANT`].
    TooMany,
}

/// What a link in a mail is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestLink {
    /// To say yes.
    Confirm,
    /// To get no more.
    Unsubscribe,
}

impl DigestLink {
    const ALL: [Self; 2] = [Self::Confirm, Self::Unsubscribe];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}

/// Whose link it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestToken {
    /// The tenant.
    pub tenant: TenantId,
    /// The recipient.
    pub recipient: DigestRecipientId,
    /// What it is for.
    pub link: DigestLink,
}

#[derive(Debug, FromQueryResult)]
pub(crate) struct RecipientRow {
    id: Uuid,
    email: String,
    frequency: String,
    kinds: Vec<String>,
    state: String,
    reason: Option<String>,
    created_at: Timestamp,
    confirmed_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    next_at: Option<Timestamp>,
}

impl TryFrom<RecipientRow> for DigestRecipient {
    type Error = StoreError;

    fn try_from(row: RecipientRow) -> Result<Self, StoreError> {
        let at = At { table: "digest_recipients", row: row.id };
        Ok(Self {
            id: DigestRecipientId::from_uuid(row.id),
            email: row.email,
            frequency: at.parse("frequency", &row.frequency)?,
            kinds: kinds(at, &row.kinds)?,
            state: at.word("state", &row.state, &DigestState::ALL, DigestState::as_str)?,
            reason: row.reason,
            created_at: row.created_at,
            confirmed_at: row.confirmed_at,
            ended_at: row.ended_at,
            next_at: row.next_at,
        })
    }
}

pub(crate) fn kinds(at: At, words: &[String]) -> Result<Vec<ReportKind>, StoreError> {
    words.iter().map(|word| at.parse("kinds", word)).collect()
}

pub(crate) fn kind_words(kinds: &[ReportKind]) -> Vec<String> {
    kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
}

#[derive(Debug, FromQueryResult)]
struct TokenRow {
    tenant_id: Uuid,
    recipient_id: Uuid,
    purpose: String,
}

impl Store {
    /// Whose link this is, by the SHA-256 of what is in it; None when there is none, or its time is over. Changes nothing.
    pub async fn digest_token(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<DigestToken>, StoreError> {
        let tx = self.begin().await?;
        let set = "SELECT set_config('role', 'mtasts_api', true), set_config('app.digest_token', $1, true)";
        sql::execute(&tx, set, vec![data_encoding::HEXLOWER.encode(hash).into()]).await?;
        let look = "SELECT tenant_id, recipient_id, purpose FROM digest_tokens WHERE hash = $1 AND expires_at > $2";
        let row = sql::one::<TokenRow>(&tx, look, vec![hash.to_vec().into(), now.into()]).await?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let at = At { table: "digest_tokens", row: row.recipient_id };
        Ok(Some(DigestToken {
            tenant: TenantId::from_uuid(row.tenant_id),
            recipient: DigestRecipientId::from_uuid(row.recipient_id),
            link: at.word("purpose", &row.purpose, &DigestLink::ALL, DigestLink::as_str)?,
        }))
    }
}

/// When the digest that was due last was due: a worker that was away sends that one and none before. Each recipient has a
/// time of its own within an hour.
pub(crate) fn due_before(frequency: DigestFrequency, id: DigestRecipientId, now: Timestamp) -> Timestamp {
    let mut day = now.date_naive();
    if frequency == DigestFrequency::Weekly {
        day = monday(day);
    }
    let due = at_its_time(day, id);
    if due <= now { due } else { at_its_time(day - step(frequency), id) }
}

/// When the next one is due.
pub(crate) fn due_after(frequency: DigestFrequency, id: DigestRecipientId, now: Timestamp) -> Timestamp {
    let before = due_before(frequency, id, now);
    at_its_time(before.date_naive() + step(frequency), id)
}

/// The last day that a digest speaks of which is due then.
pub(crate) fn period(due: Timestamp) -> NaiveDate {
    due.date_naive() - Days::new(1)
}

fn step(frequency: DigestFrequency) -> Days {
    Days::new(match frequency {
        DigestFrequency::Daily => 1,
        DigestFrequency::Weekly => 7,
    })
}

fn monday(day: NaiveDate) -> NaiveDate {
    day - Days::new(u64::from(day.weekday().num_days_from_monday()))
}

fn at_its_time(day: NaiveDate, id: DigestRecipientId) -> DateTime<Utc> {
    // The last bits of a UUIDv7 are drawn at random.
    let [.., high, low] = *id.as_uuid().as_bytes();
    let spread = i64::from(u16::from_be_bytes([high, low])) % SPREAD_SECONDS;
    day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::seconds(FIRST_HOUR * 3600 + spread)
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        Clock,
        clock::{ManualClock, SystemEntropy},
    };

    use super::*;

    #[test]
    fn each_day_and_each_monday_has_one_digest_between_six_and_seven() {
        // A Thursday, at midnight.
        let start = ManualClock::default().now();
        for _ in 0..50 {
            let id = DigestRecipientId::draw(start, &SystemEntropy);
            for frequency in [DigestFrequency::Daily, DigestFrequency::Weekly] {
                let mut now = start;
                for _ in 0..20 {
                    let next = due_after(frequency, id, now);
                    assert!(next > now && next - now <= TimeDelta::days(7));
                    assert!(next.time() >= NaiveTime::from_hms_opt(6, 0, 0).unwrap());
                    assert!(next.time() < NaiveTime::from_hms_opt(7, 0, 0).unwrap());
                    assert!(frequency == DigestFrequency::Daily || next.weekday() == chrono::Weekday::Mon);
                    assert_eq!(due_before(frequency, id, next), next);
                    assert!(due_before(frequency, id, next - TimeDelta::seconds(1)) < next);
                    assert_eq!(period(next), next.date_naive() - Days::new(1));
                    now = next;
                }
            }
        }
    }
}
