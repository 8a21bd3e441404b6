//! Reads SMTP TLS reports (RFC 8460) and DMARC aggregate reports (RFC 7489, RFC 9990) as they are really sent: no I/O,
//! no async, no clock, every input capped.
//!
//! [`open`] finds the documents in a mail, an archive or a plain document, [`tls_rpt::Report::parse`] and
//! [`dmarc::Report::parse`] read one; [`read`] does both and tells which report it is. What departs from its RFC is
//! read all the same, and named as a [`Deviation`].
//!
//! ```
//! use mtasts_reports::{Limits, read};
//!
//! let input = br#"{"organization-name": "Sender", "report-id": "1", "policies": []}"#;
//! for reading in read(input, &Limits::default()) {
//!     let (report, identity) = reading.outcome?;
//!     assert_eq!(report.organization(), Some("Sender"));
//!     assert_eq!(identity.keys[0].report_id, "1");
//!     assert!(!report.deviations().list().is_empty());
//! }
//! # Ok::<(), mtasts_reports::Unreadable>(())
//! ```

mod address;
mod deviation;
pub mod dmarc;
mod identity;
mod json;
mod limits;
mod names;
mod open;
mod period;
mod report;
mod report_hosts;
mod text;
pub mod tls_rpt;
mod unreadable;
mod xml;

pub use address::Address;
pub use deviation::{Deviation, DeviationCode, Deviations};
pub use identity::{Claim, FileName, Identity, ReportKey, Source, Subject};
pub use limits::Limits;
pub use open::{Document, Found, Mail, Opened, Spent, open};
pub use period::Period;
pub use report::{Reading, Readings, Report, read};
pub use report_hosts::ReportHosts;
pub use unreadable::Unreadable;

/// Each once, in the order of the first.
fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    values.filter(|value| seen.insert(value.clone())).collect()
}
