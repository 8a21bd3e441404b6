//! Why a text is not the wanted kind of name.

/// Why a text is not the wanted kind of name, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or only a dot.
    #[error("the name is empty: give a domain name such as `example.com`")]
    Empty,
    /// Longer than DNS (RFC 1035 §2.3.4), or what we put before it, allows.
    #[error("the name has {octets} octets as A-labels, and at most {limit} are possible here")]
    TooLong {
        /// How long it is.
        octets: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Two dots in a row, or one at the beginning.
    #[error("a label between two dots is empty: remove the extra dot")]
    EmptyLabel,
    /// A label above 63 octets (RFC 1035 §2.3.4).
    #[error("a label has {octets} octets as an A-label, and at most 63 are possible")]
    LabelTooLong {
        /// How long it is.
        octets: usize,
    },
    /// RFC 1123 §2.1.
    #[error("the label `{label}` begins or ends with a hyphen: remove the hyphen")]
    Hyphen {
        /// The label, at most 63 octets.
        label: String,
    },
    /// Anything but letters, digits, hyphens and dots.
    #[error("`{}` cannot stand in this name: only letters, digits, hyphens and dots can", .character.escape_debug())]
    Character {
        /// The first wrong one.
        character: char,
    },
    /// A letter outside of ASCII where A-labels are asked for.
    #[error("`{}` is not ASCII: write the label as an A-label (`xn--…`)", .character.escape_debug())]
    NotAscii {
        /// The first wrong one.
        character: char,
    },
    /// A stored or given name in upper case where only the canonical spelling may stand.
    #[error("the name is not in lower case")]
    UpperCase,
    /// UTS 46 refuses it: code points that are not allowed, mixed directions, or Punycode that does not decode.
    #[error("the name is not a valid internationalised domain name: check its letters, or its `xn--` labels")]
    Idna,
    /// An address, or something that software would take for one.
    #[error("this is an IP address, or ends in a number as one does: give a domain name")]
    IpAddress,
    /// Nobody registers mail for a suffix under which others register.
    #[error("`{suffix}` is a public suffix, under which others register: give the domain that receives the mail")]
    PublicSuffix {
        /// The suffix, which is the whole name.
        suffix: String,
    },
    /// RFC 6761, 6762, 7686, 8375, 9476, or ICANN's resolution on `internal`.
    #[error("names under `{suffix}` are reserved and cannot be registered: give a domain of the public DNS")]
    Reserved {
        /// The reserved suffix.
        suffix: &'static str,
    },
    /// The customer gave `mta-sts.<domain>`.
    #[error("this is the name of a policy host: give the mail domain, which is the part behind `mta-sts.`")]
    PolicyHost,
}

impl NameError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "name-empty",
            Self::TooLong { .. } => "name-too-long",
            Self::EmptyLabel => "label-empty",
            Self::LabelTooLong { .. } => "label-too-long",
            Self::Hyphen { .. } => "label-hyphen",
            Self::Character { .. } => "name-character",
            Self::NotAscii { .. } => "name-not-ascii",
            Self::UpperCase => "name-upper-case",
            Self::Idna => "name-idna",
            Self::IpAddress => "name-ip-address",
            Self::PublicSuffix { .. } => "name-public-suffix",
            Self::Reserved { .. } => "name-reserved",
            Self::PolicyHost => "name-policy-host",
        }
    }
}
