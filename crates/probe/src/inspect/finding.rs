//! One thing that was found, said so that a person can act on it.

use serde::{Serialize, Serializer};

use super::{Code, text::shown};

/// How much it matters. Ordered: the last is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Works today, and is likely to fail with some senders or later.
    Warning,
    /// Senders do not do what is wanted, or will not deliver.
    Error,
}

impl Severity {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The record at `_mta-sts.<domain>`.
    Dns,
    /// The policy and its text.
    Policy,
    /// The policy host's certificate.
    Certificate,
    /// The MX hosts.
    Mx,
    /// The record at `_smtp._tls.<domain>`.
    Reporting,
    /// The look itself.
    Look,
}

impl Group {
    /// In the order in which people read them.
    pub const ALL: [Self; 6] = [Self::Dns, Self::Policy, Self::Certificate, Self::Mx, Self::Reporting, Self::Look];

    /// A heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Dns => "DNS record",
            Self::Policy => "Policy",
            Self::Certificate => "Certificate of the policy host",
            Self::Mx => "MX hosts",
            Self::Reporting => "Reporting",
            Self::Look => "This look",
        }
    }
}

/// What one kind of sender says when it meets a finding. `…` stands for any text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SenderWords {
    /// Who says it.
    pub sender: &'static str,
    /// In its logs, reports or bounces.
    pub says: &'static str,
}

/// One finding. Texts of strangers in it are escaped: nothing in them steers a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// For programs, and for `mtasts explain`.
    pub code: Code,
    /// Mostly the code's usual one; a policy that is not enforced makes some milder.
    pub severity: Severity,
    /// What it is about.
    pub group: Group,
    /// The name, host or address that it is about.
    pub subject: String,
    /// What is so.
    pub sentence: String,
    /// What to do about it; `null` where there is nothing to do.
    #[serde(serialize_with = "empty_as_null")]
    pub what_to_do: &'static str,
    /// Where it stands, such as `RFC 8461 §3.3`; `null` where no RFC says anything.
    #[serde(serialize_with = "empty_as_null")]
    pub rfc: &'static str,
    /// What senders say when they meet it.
    pub senders: &'static [SenderWords],
}

fn empty_as_null<S: Serializer>(text: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    if text.is_empty() { serializer.serialize_none() } else { serializer.serialize_str(text) }
}

/// Octets of a sentence: it may repeat strangers' texts, and nobody reads a thousand letters.
const MAX_SENTENCE: usize = 600;

impl Finding {
    /// A finding of the code's usual severity.
    pub(crate) fn new(code: Code, subject: impl AsRef<str>, sentence: impl AsRef<str>) -> Self {
        Self {
            code,
            severity: code.severity(),
            group: code.group(),
            subject: shown(subject.as_ref(), 260),
            sentence: shown(sentence.as_ref(), MAX_SENTENCE),
            what_to_do: code.advice(),
            rfc: code.rfc(),
            senders: code.senders(),
        }
    }

    /// The same, less grave (or as it is).
    pub(crate) fn at_most(mut self, severity: Severity) -> Self {
        self.severity = self.severity.min(severity);
        self
    }
}
