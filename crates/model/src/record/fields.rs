//! What both records have in common: a version, then `name=value` fields, parted by semicolons.

use super::ReportUriError;
use crate::policy_id::PolicyIdError;

/// Space and tab (RFC 5234, appendix B.1).
pub(super) const WSP: [char; 2] = [' ', '\t'];

/// Why a text is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordSyntaxError {
    /// It begins with something else.
    #[error("the record must begin with `{version};`")]
    Version {
        /// What it must begin with.
        version: &'static str,
    },
    /// A part between semicolons is empty, has no `=`, or has characters that cannot stand there.
    #[error("field {number} is not of the form `name=value`: correct or remove it")]
    Field {
        /// Its number; the version has 0.
        number: usize,
    },
    /// Nobody can say which one counts.
    #[error("`{name}=` stands in the record more than once: keep one")]
    RepeatedField {
        /// Which one.
        name: &'static str,
    },
    /// The field that the record is for is not there.
    #[error("the record has no `{name}=`: add it")]
    MissingField {
        /// Which one.
        name: &'static str,
    },
    /// The value of `id`.
    #[error("the value of `id` is wrong: {0}")]
    PolicyId(#[from] PolicyIdError),
    /// A value of `rua`.
    #[error("an address in `rua` is wrong: {0}")]
    ReportUri(#[from] ReportUriError),
}

impl RecordSyntaxError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Version { .. } => "record-version",
            Self::Field { .. } => "record-field",
            Self::RepeatedField { .. } => "record-field-repeated",
            Self::MissingField { .. } => "record-field-missing",
            Self::PolicyId(error) => error.code(),
            Self::ReportUri(error) => error.code(),
        }
    }
}

/// The value of the one field `wanted`. Extensions are checked for their syntax and otherwise ignored.
///
/// `version 1*(field-delim field) [field-delim]`, where `field-delim` is `*WSP ";" *WSP`.
pub(super) fn value_of<'a>(
    text: &'a str,
    version: &'static str,
    wanted: &'static str,
) -> Result<&'a str, RecordSyntaxError> {
    let rest = text.strip_prefix(version).ok_or(RecordSyntaxError::Version { version })?;
    let rest = rest.trim_start_matches(WSP).strip_prefix(';').ok_or(RecordSyntaxError::Version { version })?;
    let rest = rest.trim_matches(WSP);
    let rest = rest.strip_suffix(';').map_or(rest, |rest| rest.trim_end_matches(WSP));
    if rest.is_empty() {
        return Err(RecordSyntaxError::MissingField { name: wanted });
    }
    let mut found = None;
    for (number, field) in (1..).zip(rest.split(';')) {
        let (name, value) = field.trim_matches(WSP).split_once('=').ok_or(RecordSyntaxError::Field { number })?;
        if name == wanted {
            if found.replace(value).is_some() {
                return Err(RecordSyntaxError::RepeatedField { name: wanted });
            }
        } else if !is_extension_name(name) || !is_extension_value(value) {
            return Err(RecordSyntaxError::Field { number });
        }
    }
    found.ok_or(RecordSyntaxError::MissingField { name: wanted })
}

/// `(ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")`
fn is_extension_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// `1*(%x21-3A / %x3C / %x3E-7E)`: no space, no `;`, no `=`.
fn is_extension_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=' && byte != b';')
}
