//! What is odd about a policy that can be read all the same.

use serde::{Deserialize, Serialize};

/// One oddity of somebody's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lint {
    /// For programs.
    pub code: LintCode,
    /// For people: what is so, and what to do.
    pub message: String,
    /// The line, counted from 1.
    pub line: usize,
}

/// The kinds of oddities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LintCode {
    /// The body begins with U+FEFF.
    ByteOrderMark,
    /// A line ends in LF alone: the text of RFC 8461 §3.2 says CRLF, its grammar takes both.
    BareLineFeed,
    /// A line without anything.
    EmptyLine,
    /// Space around a key.
    Whitespace,
    /// A line that is not `key: value`: ignored.
    MalformedLine,
    /// A line that is not UTF-8: ignored.
    NotUtf8,
    /// `version` is not the first key.
    VersionNotFirst,
    /// A key that is no key of RFC 8461: ignored, as §3.2 asks.
    UnknownKey,
    /// The same, and it looks like a slip of the pen.
    MisspeltKey,
    /// A key other than `mx` comes again: the first counts (RFC 8461 §3.2).
    RepeatedKey,
    /// An `mx` that is no pattern: ignored, so that it covers no host.
    InvalidMx,
    /// An `mx` with a dot at its end.
    TrailingDot,
    /// An `mx` that comes again.
    RepeatedMx,
    /// A wildcard directly above a public suffix.
    WideMx,
    /// `max_age` is below a day.
    ShortMaxAge,
    /// `max_age` is above a year: taken as a year (RFC 8461 §3.2).
    LongMaxAge,
}

impl LintCode {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "byte-order-mark",
            Self::BareLineFeed => "bare-line-feed",
            Self::EmptyLine => "empty-line",
            Self::Whitespace => "whitespace",
            Self::MalformedLine => "malformed-line",
            Self::NotUtf8 => "not-utf8",
            Self::VersionNotFirst => "version-not-first",
            Self::UnknownKey => "unknown-key",
            Self::MisspeltKey => "misspelt-key",
            Self::RepeatedKey => "repeated-key",
            Self::InvalidMx => "invalid-mx",
            Self::TrailingDot => "trailing-dot",
            Self::RepeatedMx => "repeated-mx",
            Self::WideMx => "wide-mx",
            Self::ShortMaxAge => "short-max-age",
            Self::LongMaxAge => "long-max-age",
        }
    }
}
