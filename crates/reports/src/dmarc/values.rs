//! The words of DMARC reports. What no RFC knows is kept.

use serde::{Serialize, Serializer};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// Another word, as it came.
            Other(String),
        }

        impl $name {
            /// Those that the RFCs know.
            pub const KNOWN: &[Self] = &[$(Self::$variant,)*];

            /// The word.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl Word for $name {
            fn known() -> &'static [Self] {
                Self::KNOWN
            }

            fn word(&self) -> &str {
                self.as_str()
            }

            fn other(text: String) -> Self {
                Self::Other(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

/// An enumeration of words, and others.
pub(super) trait Word: Clone + Sized + 'static {
    fn known() -> &'static [Self];
    fn word(&self) -> &str;
    fn other(text: String) -> Self;
}

words! {
    /// What was done with the messages.
    Disposition {
        /// Nothing: delivered as if there were no policy.
        None = "none",
        /// DMARC passed (RFC 9990; before it, `none` is said).
        Pass = "pass",
        /// Treated as suspicious.
        Quarantine = "quarantine",
        /// Refused.
        Reject = "reject",
    }
}

words! {
    /// Whether an identifier passed and was aligned with `From`.
    Alignment {
        /// It did.
        Pass = "pass",
        /// It did not.
        Fail = "fail",
    }
}

words! {
    /// What a DKIM signature came to (RFC 8601 §2.7.1).
    DkimResult {
        /// There is none.
        None = "none",
        /// It is good.
        Pass = "pass",
        /// It is not.
        Fail = "fail",
        /// It is not acceptable to the verifier.
        Policy = "policy",
        /// It could not be processed.
        Neutral = "neutral",
        /// A later try may succeed.
        TempError = "temperror",
        /// No later try will.
        PermError = "permerror",
    }
}

words! {
    /// What SPF came to (RFC 7208 §2.6).
    SpfResult {
        /// No record.
        None = "none",
        /// The record says nothing on this address.
        Neutral = "neutral",
        /// The address may send.
        Pass = "pass",
        /// It may not.
        Fail = "fail",
        /// It probably may not.
        SoftFail = "softfail",
        /// A later try may succeed.
        TempError = "temperror",
        /// No later try will.
        PermError = "permerror",
    }
}

/// The XML namespace of a report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// None, as most reports by RFC 7489 have it.
    None,
    /// RFC 7489's.
    Rfc7489,
    /// RFC 9990's.
    Rfc9990,
    /// Another.
    Other(String),
}

impl Namespace {
    pub(super) fn read(name: Option<&str>) -> Self {
        match name.map(|name| name.trim_end_matches('/')) {
            None => Self::None,
            Some("http://dmarc.org/dmarc-xml/0.1") => Self::Rfc7489,
            Some("urn:ietf:params:xml:ns:dmarc-2.0") => Self::Rfc9990,
            Some(other) => Self::Other(other.to_owned()),
        }
    }

    /// Its name; empty if there is none.
    pub fn as_str(&self) -> &str {
        match self {
            Self::None => "",
            Self::Rfc7489 => "http://dmarc.org/dmarc-xml/0.1",
            Self::Rfc9990 => "urn:ietf:params:xml:ns:dmarc-2.0",
            Self::Other(name) => name,
        }
    }
}

impl Serialize for Namespace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
