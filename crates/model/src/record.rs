//! The TXT records: `_mta-sts` (RFC 8461 §3.1) and `_smtp._tls` (RFC 8460 §3).

mod fields;
mod report_uri;
mod sts;
mod tls_rpt;

pub use fields::RecordSyntaxError;
pub use report_uri::{ReportUri, ReportUriError};
pub use sts::{StsRecord, StsRecordError};
pub use tls_rpt::{TlsRptRecord, TlsRptRecordError};

#[cfg(test)]
mod tests;
