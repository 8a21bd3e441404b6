//! The TXT record at `_mta-sts.<domain>` (RFC 8461 §3.1).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::fields::{self, RecordSyntaxError, WSP};
use crate::policy_id::PolicyId;

const VERSION: &str = "v=STSv1";
/// Of several records those that begin with anything else are discarded (RFC 8461 §3.1).
const SELECTOR: &str = "v=STSv1;";

/// Why a set of TXT records says nothing to senders.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StsRecordError {
    /// None begins with `v=STSv1;`, where one that is alone may have space before the semicolon.
    #[error("no TXT record begins with `{SELECTOR}`: add one, or the CNAME that leads to ours")]
    None,
    /// More than one does, which senders take for none (RFC 8461 §3.1).
    #[error("more than one TXT record begins with `{SELECTOR}`, which counts as none: remove all but one")]
    Several,
    /// The only one does not follow the grammar.
    #[error("the record is malformed, which counts as none: {0}")]
    Malformed(#[from] RecordSyntaxError),
}

impl StsRecordError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::None => "sts-record-none",
            Self::Several => "sts-record-several",
            Self::Malformed(error) => error.code(),
        }
    }
}

/// Tells senders that there is a policy, and by another `id` that there is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct StsRecord {
    id: PolicyId,
}

impl StsRecord {
    /// The record for the policy with this id.
    pub fn new(id: PolicyId) -> Self {
        Self { id }
    }

    /// The policy's id.
    pub fn id(&self) -> &PolicyId {
        &self.id
    }

    /// Reads one record, its strings joined without a space in between. Extensions are ignored.
    pub fn parse(text: &str) -> Result<Self, RecordSyntaxError> {
        Ok(Self { id: fields::value_of(text, VERSION, "id")?.parse()? })
    }

    /// Finds the record among all TXT records at the name, as a sender does (RFC 8461 §3.1): one element a record,
    /// its strings joined.
    ///
    /// A lone record may have space before the first semicolon, as the grammar has it: records are discarded for it
    /// only where there are several (errata 6285).
    pub fn select(records: &[String]) -> Result<Self, StsRecordError> {
        if let [only] = records
            && only.strip_prefix(VERSION).is_some_and(|rest| rest.trim_start_matches(WSP).starts_with(';'))
        {
            return Ok(Self::parse(only)?);
        }
        let mut candidates = records.iter().filter(|text| text.starts_with(SELECTOR));
        match (candidates.next(), candidates.next()) {
            (None, _) => Err(StsRecordError::None),
            (Some(only), None) => Ok(Self::parse(only)?),
            (Some(_), Some(_)) => Err(StsRecordError::Several),
        }
    }
}

impl fmt::Display for StsRecord {
    /// Without a space before the semicolons, as some senders look for `v=STSv1;` (errata 6285).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}; id={};", self.id)
    }
}

impl FromStr for StsRecord {
    type Err = RecordSyntaxError;

    fn from_str(text: &str) -> Result<Self, RecordSyntaxError> {
        Self::parse(text)
    }
}

impl From<StsRecord> for String {
    fn from(record: StsRecord) -> Self {
        record.to_string()
    }
}

impl TryFrom<String> for StsRecord {
    type Error = RecordSyntaxError;

    fn try_from(text: String) -> Result<Self, RecordSyntaxError> {
        Self::parse(&text)
    }
}
