//! Who gets digests of reports by mail.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod read;

use chrono::{DateTime, Utc};
use mtasts_store::DigestRecipient;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// Who gets digests of reports by mail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DigestRecipient)]
pub(crate) struct DigestRecipientBody {
    /// Its id.
    #[schema(example = "rcp_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// The address.
    #[schema(example = "postmaster@example.com", max_length = 254)]
    email: String,
    /// How often it gets a digest.
    #[schema(value_type = FrequencySchema)]
    frequency: &'static str,
    /// Of which kinds of report.
    #[schema(value_type = Vec<KindSchema>, min_items = 1, max_items = 2)]
    kinds: Vec<&'static str>,
    /// How it stands.
    #[schema(value_type = StateSchema)]
    status: &'static str,
    /// Why the relay refused the address, or why the mail that asks could not be sent; null where nothing was wrong.
    #[schema(required, example = "permanent error (550): no such user")]
    reason: Option<String>,
    /// Since when it is there.
    created_at: DateTime<Utc>,
    /// When its owner said yes.
    #[schema(required)]
    confirmed_at: Option<DateTime<Utc>>,
    /// When it was unsubscribed or disabled.
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    /// When the next digest is due; null where none is.
    #[schema(required)]
    next_at: Option<DateTime<Utc>>,
}

/// How often: daily of the day before, weekly on Monday of the week before (UTC).
#[derive(ToSchema)]
#[schema(as = DigestFrequency, rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `DigestFrequency`, which knows nothing of OpenAPI")]
enum FrequencySchema {
    Daily,
    Weekly,
}

/// Of which kind a report is.
#[derive(ToSchema)]
#[schema(as = DigestReportKind)]
#[expect(dead_code, reason = "the schema of `ReportKind`, which knows nothing of OpenAPI")]
enum KindSchema {
    #[schema(rename = "tls-rpt")]
    TlsRpt,
    #[schema(rename = "dmarc")]
    Dmarc,
}

/// How it stands with a recipient: `pending` until the owner of the address has said yes; `disabled` by the relay's refusal.
#[derive(ToSchema)]
#[schema(as = DigestRecipientStatus, rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `DigestState`, which knows nothing of OpenAPI")]
enum StateSchema {
    Pending,
    Confirmed,
    Unsubscribed,
    Disabled,
}

impl From<DigestRecipient> for DigestRecipientBody {
    fn from(recipient: DigestRecipient) -> Self {
        Self {
            id: recipient.id.to_string(),
            email: recipient.email,
            frequency: recipient.frequency.as_str(),
            kinds: recipient.kinds.iter().map(|kind| kind.as_str()).collect(),
            status: recipient.state.as_str(),
            reason: recipient.reason,
            created_at: recipient.created_at,
            confirmed_at: recipient.confirmed_at,
            ended_at: recipient.ended_at,
            next_at: recipient.next_at,
        }
    }
}

fn not_found() -> Problem {
    Problem::not_found("recipient of digests")
}
