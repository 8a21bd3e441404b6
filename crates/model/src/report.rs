//! Words for reports that senders make on a domain: TLS-RPT (RFC 8460) and DMARC aggregate (RFC 7489, RFC 9990).

mod result_type;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use result_type::{NOT_DETAILED, ResultType};

/// A word that is none of those expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of: {expected}")]
pub struct ReportWordError {
    /// The words, separated by commas.
    pub expected: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $all:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that the API and the store use.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = ReportWordError;

            fn from_str(text: &str) -> Result<Self, ReportWordError> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or(ReportWordError { expected: $all })
            }
        }
    };
}

words! {
    /// Of which kind a report is.
    ReportKind, "tls-rpt, dmarc" {
        /// SMTP TLS reporting (RFC 8460).
        TlsRpt = "tls-rpt";
        /// DMARC aggregate (RFC 7489, RFC 9990).
        Dmarc = "dmarc";
    }
}

words! {
    /// By which way a report arrived.
    ReportVia, "https, smtp" {
        /// A POST (RFC 8460 §5.4).
        Https = "https";
        /// A mail (RFC 8460 §5.3).
        Smtp = "smtp";
    }
}

words! {
    /// What is known of who sent a report.
    ReportGrade, "verified, unsigned, failed, anonymous" {
        /// A mail with a valid DKIM signature of the reporting organisation (RFC 8460 §3).
        Verified = "verified";
        /// A mail without a DKIM signature.
        Unsigned = "unsigned";
        /// A mail whose DKIM signatures are invalid, or of somebody else than the reporting organisation.
        Failed = "failed";
        /// It came by HTTPS, where nobody proves who they are.
        Anonymous = "anonymous";
    }
}

words! {
    /// Whether a failure at the policy host was the service's.
    EdgeVerdict, "ours, not-ours, unclear" {
        /// What the edges had at that time explains it.
        Ours = "ours";
        /// The edges had policy and certificate all the time: the sender met another host, or did not get through.
        NotOurs = "not-ours";
        /// It cannot be told.
        Unclear = "unclear";
    }
}

words! {
    /// What tenants can be told of by themselves.
    AlertKind, "failure_new, failure_rate, reporter_silent, quarantined" {
        /// A failure that a domain never had before.
        FailureNew = "failure_new";
        /// Too many sessions of a day failed.
        FailureRate = "failure_rate";
        /// Somebody who used to report does so no more.
        ReporterSilent = "reporter_silent";
        /// Something could not be read.
        Quarantined = "quarantined";
    }
}

words! {
    /// How often somebody gets a digest.
    DigestFrequency, "daily, weekly" {
        /// Each day, of the day before.
        Daily = "daily";
        /// Each Monday, of the week before.
        Weekly = "weekly";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_as_themselves_and_others_are_told_what_is_expected() {
        for grade in ReportGrade::ALL {
            assert_eq!(grade.as_str().parse::<ReportGrade>().unwrap(), *grade);
            assert!("verified, unsigned, failed, anonymous".contains(grade.as_str()));
        }
        assert_eq!("smpt".parse::<ReportVia>().unwrap_err().to_string(), "expected one of: https, smtp");
    }
}
