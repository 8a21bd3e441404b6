//! What went wrong with TLS (RFC 8460 §4.3).

use serde::{Serialize, Serializer};

/// What the summary of a report counts and none of its details speaks of: a word of ours beside those of the RFC.
pub const NOT_DETAILED: &str = "not-detailed";

macro_rules! result_types {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $meaning:literal, $advice:literal;)*) => {
        /// A result type of RFC 8460 §4.3.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ResultType {
            $($(#[$doc])* $variant,)*
            /// Another word, as it came. Empty if there is none.
            Other(String),
        }

        impl ResultType {
            /// Those that the RFC knows.
            pub const KNOWN: &[Self] = &[$(Self::$variant,)*];

            /// The word.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// By its word.
            pub fn from_word(word: &str) -> Self {
                match word {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }

            /// What it means, in a sentence.
            pub fn meaning(&self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                    Self::Other(word) if word == NOT_DETAILED => {
                        "The sender counts failures here that no detail of its report speaks of."
                    }
                    Self::Other(_) => "The sender uses a word of its own for this failure.",
                }
            }

            /// What to do, in a sentence.
            pub fn advice(&self) -> &'static str {
                match self {
                    $(Self::$variant => $advice,)*
                    Self::Other(word) if word == NOT_DETAILED => {
                        "Look at what other senders report for the same days, or ask this sender."
                    }
                    Self::Other(_) => "Look at the reason code and the additional information, or ask the sender.",
                }
            }
        }
    };
}

result_types! {
    /// §4.3.1.
    StarttlsNotSupported = "starttls-not-supported",
        "The MX host did not offer STARTTLS.",
        "Switch TLS on at this MX host, and look for a firewall that strips STARTTLS on the way.";
    /// §4.3.1.
    CertificateHostMismatch = "certificate-host-mismatch",
        "The MX host's certificate is for other names than its own.",
        "Give this MX host a certificate whose subject alternative names have the host name of its MX record.";
    /// §4.3.1.
    CertificateExpired = "certificate-expired",
        "The MX host's certificate has expired.",
        "Renew this MX host's certificate, and see why it was not renewed in time.";
    /// §4.3.1.
    CertificateNotTrusted = "certificate-not-trusted",
        "The sender could not build a chain from the MX host's certificate to a CA that it trusts.",
        "Use a certificate of a public CA, and have this MX host send the intermediate certificates too.";
    /// §4.3.1.
    ValidationFailure = "validation-failure",
        "TLS with the MX host failed for a reason that no other type fits.",
        "Look at the reason code; often protocol versions or ciphers have nothing in common.";
    /// §4.3.2.1.
    TlsaInvalid = "tlsa-invalid",
        "None of the MX host's TLSA records is usable, or fits its certificate.",
        "Renew the TLSA records together with the certificate: the new record first, then the certificate.";
    /// §4.3.2.1.
    DnssecInvalid = "dnssec-invalid",
        "The sender's resolver could not validate the answer by DNSSEC.",
        "Check the zone's signatures and the DS record at its parent.";
    /// §4.3.2.1.
    DaneRequired = "dane-required",
        "The sender insists on DANE, and the MX host has no TLSA record that DNSSEC validates.",
        "Publish TLSA records in a signed zone, or ask the sender not to insist.";
    /// §4.3.2.2.
    StsPolicyFetchError = "sts-policy-fetch-error",
        "The sender could not fetch the MTA-STS policy over HTTPS.",
        "Check the CNAME of mta-sts.<domain>, and whether the policy host answered at that time.";
    /// §4.3.2.2.
    StsPolicyInvalid = "sts-policy-invalid",
        "The sender fetched the MTA-STS policy and could not use it.",
        "Check the policy's syntax, its media type, and that the policy host answers for this domain.";
    /// §4.3.2.2.
    StsWebpkiInvalid = "sts-webpki-invalid",
        "The certificate of the policy host could not be verified.",
        "Check that mta-sts.<domain> shows an unexpired certificate of a public CA for exactly this name.";
}

impl ResultType {
    /// Whether it speaks of the policy host, and not of an MX host.
    pub fn is_about_the_policy(&self) -> bool {
        matches!(self, Self::StsPolicyFetchError | Self::StsPolicyInvalid | Self::StsWebpkiInvalid)
    }
}

impl Serialize for ResultType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_to_their_types_and_ours_has_sentences_of_its_own() {
        for known in ResultType::KNOWN {
            assert_eq!(ResultType::from_word(known.as_str()), *known);
        }
        let (ours, theirs) = (ResultType::from_word(NOT_DETAILED), ResultType::from_word("weather"));
        assert_eq!(theirs, ResultType::Other("weather".to_owned()));
        assert!(ours.meaning() != theirs.meaning() && ours.advice() != theirs.advice());
    }
}
