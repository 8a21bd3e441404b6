//! Reports as workers see them: arrivals that wait to be read, what was read of them, and the sums by day.

mod apply;
mod history;
mod known;
mod months;
mod quarantine;
mod queue;
mod rows;
mod sums;
mod tidy;

use std::{fmt, net::IpAddr};

use chrono::NaiveDate;
use mtasts_model::{
    ArrivalId, DomainId, EdgeVerdict, PolicyVersionId, ReportGrade, ReportId, ReportKind, ReportVia, TenantId,
    Timestamp,
};
use serde_json::Value as Json;

pub use apply::Applied;
pub use history::{DomainHistory, HeldDomain, VersionThen};
pub use quarantine::{AnyArrival, ReplayFilter, Replayed};
pub use tidy::{ReportRetention, ReportsForgotten};

/// An arrival that a worker has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueArrival {
    /// Which.
    pub id: ArrivalId,
    /// The fencing token.
    pub token: i64,
    /// Of the label that it was sent to.
    pub tenant: TenantId,
    /// Of the label that it was sent to.
    pub domain: DomainId,
    /// What the address is for.
    pub kind: ReportKind,
    /// How it came.
    pub via: ReportVia,
    /// When it came.
    pub received_at: Timestamp,
    /// Its octets.
    pub octets: u64,
    /// SHA-256 of what arrived.
    pub digest: Vec<u8>,
    /// How many times it was begun to be read.
    pub attempts: u32,
}

/// What arrived, for one attempt at reading it.
#[derive(Clone, PartialEq, Eq)]
pub struct RawArrival {
    /// As it came; None once its time is over.
    pub raw: Option<Vec<u8>>,
    /// This attempt included.
    pub attempts: u32,
}

impl fmt::Debug for RawArrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.raw.as_ref().map(Vec::len);
        f.debug_struct("RawArrival").field("octets", &octets).field("attempts", &self.attempts).finish()
    }
}

/// What became of an arrival.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadArrival {
    /// Which.
    pub arrival: DueArrival,
    /// What kept it, or a part of it, from being read: a code, and what it says in words.
    pub problem: Option<(String, String)>,
    /// What it says, of one domain each.
    pub reports: Vec<NewReport>,
}

/// What one document of an arrival says of one domain.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReport {
    /// Newly drawn.
    pub id: ReportId,
    /// Of the domain that it speaks of.
    pub tenant: TenantId,
    /// The domain that it speaks of.
    pub domain: DomainId,
    /// The document in the arrival, from 0.
    pub document: u32,
    /// TLS-RPT or DMARC.
    pub kind: ReportKind,
    /// What is known of who sent it.
    pub grade: ReportGrade,
    /// The domain that signed.
    pub signer: Option<String>,
    /// Why it is graded so.
    pub grade_reason: &'static str,
    /// The reporting organisation, as it calls itself; empty if it does not.
    pub organization: String,
    /// How to reach it.
    pub contact: Option<String>,
    /// The sender's id for it; empty if it has none.
    pub report_id: String,
    /// The first second of the period.
    pub begins_at: Option<Timestamp>,
    /// The last second of the period.
    pub ends_at: Option<Timestamp>,
    /// The day that its figures count for.
    pub day: NaiveDate,
    /// Sessions or messages that went well.
    pub good: u64,
    /// Sessions or messages that did not.
    pub bad: u64,
    /// Whether its figures are in the sums.
    pub counts: bool,
    /// Whether the document is whole.
    pub complete: bool,
    /// Whether the document speaks of another tenant's domain as well.
    pub shared: bool,
    /// Departures from the RFC.
    pub deviations: u64,
    /// The normal form, of this domain's part alone.
    pub body: Json,
    /// SHA-256 of what it is known again by (RFC 8460 §5.6).
    pub key: [u8; 32],
    /// The same together with who signed it: another's signed copy of it is another report.
    pub signed_key: Option<[u8; 32]>,
    /// Failures.
    pub tls: Vec<NewTlsResult>,
    /// Sources.
    pub dmarc: Vec<NewDmarcResult>,
    /// What it adds to the day; empty if it does not count.
    pub sums: Vec<Sum>,
}

impl NewReport {
    /// How much the copy is worth.
    pub(crate) fn rank(&self) -> i16 {
        2 * i16::from(self.grade == ReportGrade::Verified) + i16::from(self.complete)
    }
}

/// What a report adds to one value of one dimension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sum {
    /// `total`, `organization`, `result`, …
    pub dimension: &'static str,
    /// Empty in the dimension `total`.
    pub value: String,
    /// Reports in `total` and `organization`, else rows.
    pub reports: u64,
    /// Sessions or messages that went well.
    pub good: u64,
    /// Sessions or messages that did not.
    pub bad: u64,
}

/// Where an address is, and whose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressOrigin {
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// The number of the autonomous system that announces it.
    pub asn: Option<u32>,
    /// Its name.
    pub as_name: Option<String>,
}

/// One failure detail of a TLS report (RFC 8460 §4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTlsResult {
    /// The result type, or what the sender wrote.
    pub result: String,
    /// Sessions that failed so.
    pub sessions: u64,
    /// Whether it is in the sums.
    pub counts: bool,
    /// `receiving-mx-hostname`.
    pub receiving_mx: Option<String>,
    /// `receiving-ip`.
    pub receiving_ip: Option<IpAddr>,
    /// `sending-mta-ip`.
    pub sending_ip: Option<IpAddr>,
    /// What is known of it.
    pub origin: AddressOrigin,
    /// `failure-reason-code`.
    pub reason: Option<String>,
    /// `additional-information`.
    pub additional: Option<String>,
    /// `policy-type`.
    pub policy_type: String,
    /// Our version of the policy that the sender saw.
    pub policy_version: Option<PolicyVersionId>,
    /// Where it speaks of the policy host: whose fault it was, and why it is thought so.
    pub edge: Option<(EdgeVerdict, &'static str)>,
}

/// One record of a DMARC report.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDmarcResult {
    /// `source_ip`.
    pub source_ip: Option<IpAddr>,
    /// What is known of it.
    pub origin: AddressOrigin,
    /// `count`.
    pub messages: u64,
    /// `disposition`; empty if there is none.
    pub disposition: String,
    /// Whether an aligned DKIM signature passed; empty if it is not told.
    pub dkim: String,
    /// Whether SPF passed and was aligned; empty if it is not told.
    pub spf: String,
    /// Whether DMARC passed.
    pub passed: bool,
    /// `header_from`.
    pub header_from: Option<String>,
    /// `envelope_from`.
    pub envelope_from: Option<String>,
    /// Each signature and SPF check, and reasons.
    pub details: Json,
}

/// The most that one figure of a report counts for: no sender has more sessions in a day, and however many reports say
/// so, no sum of them leaves its column.
pub(crate) const MOST: u64 = 100_000_000_000;

pub(crate) fn figure(count: u64) -> i64 {
    i64::try_from(count.min(MOST)).unwrap_or(i64::MAX)
}
