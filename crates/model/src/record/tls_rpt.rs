//! The TXT record at `_smtp._tls.<domain>` (RFC 8460 §3).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    ReportUri, ReportUriError,
    fields::{self, RecordSyntaxError, WSP},
};

const VERSION: &str = "v=TLSRPTv1";
/// Octets of a record that we publish, so that it and the CNAME to it fit into one answer of 1232 octets over UDP.
const MAX_OCTETS: usize = 700;

/// Why these addresses make no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsRptRecordError {
    /// A record without `rua` is none.
    #[error("give at least one address for reports")]
    NoReportUri,
    /// It would not fit into one answer.
    #[error("the record would have {octets} octets, and at most {MAX_OCTETS} are possible: give fewer addresses")]
    TooLong {
        /// How long it would be.
        octets: usize,
    },
}

impl TlsRptRecordError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoReportUri => "report-uri-missing",
            Self::TooLong { .. } => "tls-rpt-record-too-long",
        }
    }
}

/// Tells senders where to report to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TlsRptRecord {
    rua: Vec<ReportUri>,
}

impl TlsRptRecord {
    /// The record that names these addresses, in this order: a sender may use just one.
    pub fn new(rua: Vec<ReportUri>) -> Result<Self, TlsRptRecordError> {
        if rua.is_empty() {
            return Err(TlsRptRecordError::NoReportUri);
        }
        let record = Self { rua };
        match record.to_string().len() {
            octets if octets > MAX_OCTETS => Err(TlsRptRecordError::TooLong { octets }),
            _ => Ok(record),
        }
    }

    /// The addresses; at least one.
    pub fn rua(&self) -> &[ReportUri] {
        &self.rua
    }

    /// Reads one record, its strings joined without a space in between. Extensions are ignored, and so are addresses
    /// of other schemes than `mailto` and `https`, as long as one is left.
    pub fn parse(text: &str) -> Result<Self, RecordSyntaxError> {
        let (mut rua, mut unsupported) = (Vec::new(), None);
        for uri in fields::value_of(text, VERSION, "rua")?.split(',') {
            match ReportUri::parse_encoded(uri.trim_matches(WSP)) {
                Ok(uri) => rua.push(uri),
                Err(ReportUriError::Scheme) => unsupported = Some(ReportUriError::Scheme),
                Err(error) => return Err(error.into()),
            }
        }
        match unsupported {
            Some(error) if rua.is_empty() => Err(error.into()),
            _ => Ok(Self { rua }),
        }
    }
}

impl fmt::Display for TlsRptRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}; rua=")?;
        for (index, uri) in self.rua.iter().enumerate() {
            write!(f, "{}{uri}", if index == 0 { "" } else { "," })?;
        }
        f.write_str(";")
    }
}

impl FromStr for TlsRptRecord {
    type Err = RecordSyntaxError;

    fn from_str(text: &str) -> Result<Self, RecordSyntaxError> {
        Self::parse(text)
    }
}

impl From<TlsRptRecord> for String {
    fn from(record: TlsRptRecord) -> Self {
        record.to_string()
    }
}

impl TryFrom<String> for TlsRptRecord {
    type Error = RecordSyntaxError;

    fn try_from(text: String) -> Result<Self, RecordSyntaxError> {
        Self::parse(&text)
    }
}
