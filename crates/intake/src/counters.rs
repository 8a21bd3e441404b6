//! Metrics.

use std::net::IpAddr;

use metrics::{counter, gauge, histogram};
use mtasts_model::report::ReportVia;
use mtasts_proxy::Refused;

/// What became of what somebody wanted to deliver, as the label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Duplicate,
    OverQuota,
    UnknownRecipient,
    TooLarge,
    NoRoom,
    NotStored,
    TooSlow,
    Malformed,
    Unsupported,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::OverQuota => "over-quota",
            Self::UnknownRecipient => "unknown-recipient",
            Self::TooLarge => "too-large",
            Self::NoRoom => "no-room",
            Self::NotStored => "not-stored",
            Self::TooSlow => "too-slow",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported-type",
        }
    }
}

pub(crate) fn outcome(via: ReportVia, outcome: Outcome) {
    counter!("mtasts_intake_reports_total", "via" => via.as_str(), "outcome" => outcome.word()).increment(1);
}

pub(crate) fn octets(via: ReportVia, octets: usize) {
    counter!("mtasts_intake_stored_bytes_total", "via" => via.as_str())
        .increment(u64::try_from(octets).unwrap_or(u64::MAX));
}

pub(crate) fn refused_connection(via: ReportVia, reason: &'static str) {
    counter!("mtasts_intake_connections_refused_total", "via" => via.as_str(), "reason" => reason).increment(1);
}

/// A connection that does not begin as load balancers' do.
pub(crate) fn refused_header(via: ReportVia, peer: IpAddr, error: &Refused) {
    tracing::debug!(%peer, %error, "a connection was refused");
    refused_connection(via, "proxy-header");
}

pub(crate) fn session(used_tls: bool) {
    counter!("mtasts_intake_smtp_sessions_total", "tls" => if used_tls { "yes" } else { "no" }).increment(1);
}

pub(crate) fn smtp_error(code: u16) {
    counter!("mtasts_intake_smtp_errors_total", "reply" => code.to_string()).increment(1);
}

pub(crate) fn lookup(source: &'static str) {
    counter!("mtasts_intake_lookups_total", "source" => source).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge, for people")]
pub(crate) fn levels(http: usize, smtp: usize, held: usize) {
    gauge!("mtasts_intake_connections", "via" => ReportVia::Https.as_str()).set(http as f64);
    gauge!("mtasts_intake_connections", "via" => ReportVia::Smtp.as_str()).set(smtp as f64);
    gauge!("mtasts_intake_held_bytes").set(held as f64);
}

pub(crate) fn stored(took: std::time::Duration) {
    histogram!("mtasts_intake_store_seconds").record(took.as_secs_f64());
}
