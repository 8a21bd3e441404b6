//! Why nothing could be read.

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Why an input, or one part of it, gave no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing at all, or only white space.
    #[error("it is empty")]
    Empty,
    /// More octets came in than [`Limits::octets`](crate::Limits::octets).
    #[error("it has more than {limit} octets")]
    TooLarge {
        /// The cap.
        limit: usize,
    },
    /// It inflates to more than [`Limits::inflated`](crate::Limits::inflated).
    #[error("it inflates to more than {limit} octets")]
    Inflated {
        /// The cap.
        limit: usize,
    },
    /// It inflates to more than [`Limits::ratio`](crate::Limits::ratio) times its size.
    #[error("it inflates to more than {limit} times its size")]
    Ratio {
        /// The cap.
        limit: usize,
    },
    /// More MIME parts than [`Limits::parts`](crate::Limits::parts).
    #[error("it has more than {limit} parts")]
    TooManyParts {
        /// The cap.
        limit: usize,
    },
    /// Nested deeper than [`Limits::depth`](field@crate::Limits::depth).
    #[error("it is nested more than {limit} deep")]
    TooDeep {
        /// The cap.
        limit: usize,
    },
    /// More archive entries than [`Limits::entries`](crate::Limits::entries).
    #[error("it has more than {limit} entries")]
    TooManyEntries {
        /// The cap.
        limit: usize,
    },
    /// More rows than [`Limits::rows`](crate::Limits::rows).
    #[error("it has more than {limit} rows")]
    TooManyRows {
        /// The cap.
        limit: usize,
    },
    /// More values than [`Limits::values`](crate::Limits::values).
    #[error("it has more than {limit} values")]
    TooManyValues {
        /// The cap.
        limit: usize,
    },
    /// The gzip stream is damaged before its end.
    #[error("the gzip stream is damaged: {reason}")]
    Gzip {
        /// What the decoder said.
        reason: String,
    },
    /// The zip archive cannot be read.
    #[error("the zip archive cannot be read: {reason}")]
    Zip {
        /// What the decoder said.
        reason: String,
    },
    /// The archive asks for a password.
    #[error("the archive is encrypted")]
    Encrypted,
    /// Not JSON (RFC 8259).
    #[error("it is not JSON, at line {line}, column {column}: {reason}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What the parser said.
        reason: String,
    },
    /// Not well-formed XML, before anything of a report was read.
    #[error("it is not XML, at octet {offset}: {reason}")]
    Xml {
        /// Counted from 0.
        offset: u64,
        /// What the parser said.
        reason: String,
    },
    /// A document type declaration. No report needs one, and entities are never expanded.
    #[error("it has a document type declaration, which no report needs")]
    Dtd,
    /// Well-formed, but nothing of a report is in it.
    #[error("it is {what}, and not a report")]
    NotAReport {
        /// What it is.
        what: &'static str,
    },
    /// A message, an archive or a text without a report in it.
    #[error("there is no report in it")]
    NothingFound,
}

impl Unreadable {
    /// A stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too-large",
            Self::Inflated { .. } => "inflates-too-far",
            Self::Ratio { .. } => "inflates-too-steeply",
            Self::TooManyParts { .. } => "too-many-parts",
            Self::TooDeep { .. } => "too-deep",
            Self::TooManyEntries { .. } => "too-many-entries",
            Self::TooManyRows { .. } => "too-many-rows",
            Self::TooManyValues { .. } => "too-many-values",
            Self::Gzip { .. } => "damaged-gzip",
            Self::Zip { .. } => "damaged-zip",
            Self::Encrypted => "encrypted",
            Self::Json { .. } => "not-json",
            Self::Xml { .. } => "not-xml",
            Self::Dtd => "document-type-declaration",
            Self::NotAReport { .. } => "not-a-report",
            Self::NothingFound => "nothing-found",
        }
    }

    /// Whether a cap was met, so that a larger one could help.
    pub fn is_cap(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. }
                | Self::Inflated { .. }
                | Self::Ratio { .. }
                | Self::TooManyParts { .. }
                | Self::TooDeep { .. }
                | Self::TooManyEntries { .. }
                | Self::TooManyRows { .. }
                | Self::TooManyValues { .. }
        )
    }
}

impl Serialize for Unreadable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Unreadable", 2)?;
        out.serialize_field("code", self.code())?;
        out.serialize_field("sentence", &self.to_string())?;
        out.end()
    }
}
