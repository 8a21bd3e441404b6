//! Where reports go (RFC 8460 §3).

use std::str::FromStr;

use crate::name::{HostName, NameError, text::text_traits};

/// Octets of one address.
const MAX_OCTETS: usize = 500;

/// Why a text is no address for reports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportUriError {
    /// RFC 8460 §3 knows two schemes.
    #[error("an address for reports begins with `mailto:` or `https://`")]
    Scheme,
    /// Too much for a TXT record.
    #[error("the address has {octets} octets, and at most {MAX_OCTETS} are possible")]
    TooLong {
        /// How long it is.
        octets: usize,
    },
    /// Not a character of a URI (RFC 3986 §2), or one that RFC 8460 §3 wants percent-encoded.
    #[error("`{}` cannot stand in the address: percent-encode it", .character.escape_debug())]
    Character {
        /// The first wrong one.
        character: char,
    },
    /// `%` without two hexadecimal digits (RFC 3986 §2.1).
    #[error("`%` must be followed by two hexadecimal digits: write `%25` for the character itself")]
    PercentEncoding,
    /// Not one `local@domain`.
    #[error("give one mail address after `mailto:`, such as `mailto:reports@example.com`, and list others separately")]
    Mailbox,
    /// The domain of the mail address, or the host of the HTTPS address.
    #[error("the host of the address is wrong: {0}")]
    Host(#[from] NameError),
    /// The port of the HTTPS address.
    #[error("the port of the address must be a number from 1 to 65535")]
    Port,
    /// A password has no place in the public DNS.
    #[error("the address must not have a user or password: everybody can read it in DNS")]
    UserInfo,
    /// `#…` is never sent to a server (RFC 3986 §3.5).
    #[error("the address must not have a fragment: remove `#` and what follows")]
    Fragment,
}

impl ReportUriError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Scheme => "report-uri-scheme",
            Self::TooLong { .. } => "report-uri-too-long",
            Self::Character { .. } => "report-uri-character",
            Self::PercentEncoding => "report-uri-percent-encoding",
            Self::Mailbox => "report-uri-mailbox",
            Self::Host(error) => error.code(),
            Self::Port => "report-uri-port",
            Self::UserInfo => "report-uri-user-info",
            Self::Fragment => "report-uri-fragment",
        }
    }
}

/// A `mailto:` or `https:` address, as it stands in the record: scheme in lower case, `,` `!` and `;` encoded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportUri(String);

impl ReportUri {
    /// The address with `,` `!` and `;` percent-encoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads an address in which `,` `!` and `;` are encoded already, as it stands in a record.
    pub(super) fn parse_encoded(text: &str) -> Result<Self, ReportUriError> {
        if text.len() > MAX_OCTETS {
            return Err(ReportUriError::TooLong { octets: text.len() });
        }
        let (scheme, rest) = text.split_once(':').ok_or(ReportUriError::Scheme)?;
        let mailto = scheme.eq_ignore_ascii_case("mailto");
        if !mailto && !scheme.eq_ignore_ascii_case("https") {
            return Err(ReportUriError::Scheme);
        }
        check_characters(rest)?;
        if rest.contains('#') {
            return Err(ReportUriError::Fragment);
        }
        if mailto {
            check_mailbox(rest)?;
            return Ok(Self(format!("mailto:{rest}")));
        }
        check_authority(rest.strip_prefix("//").ok_or(ReportUriError::Scheme)?)?;
        Ok(Self(format!("https:{rest}")))
    }
}

impl FromStr for ReportUri {
    type Err = ReportUriError;

    /// Reads what a customer typed, and encodes `,` `!` and `;` (RFC 8460 §3).
    fn from_str(text: &str) -> Result<Self, ReportUriError> {
        // Before encoding, which could make a long text three times as long.
        if text.len() > MAX_OCTETS {
            return Err(ReportUriError::TooLong { octets: text.len() });
        }
        Self::parse_encoded(&text.replace(',', "%2C").replace('!', "%21").replace(';', "%3B"))
    }
}

text_traits!(ReportUri, ReportUriError, str::parse);

/// `unreserved`, `reserved` and `pct-encoded` of RFC 3986 §2, less the three that part a record.
fn check_characters(text: &str) -> Result<(), ReportUriError> {
    let wrong = |c: &char| !c.is_ascii_alphanumeric() && !"-._~:/?#[]@$&'()*+=%".contains(*c);
    if let Some(character) = text.chars().find(wrong) {
        return Err(ReportUriError::Character { character });
    }
    let encoded = |after: &str| after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if text.split('%').skip(1).all(encoded) { Ok(()) } else { Err(ReportUriError::PercentEncoding) }
}

/// One address of RFC 6068 §2, perhaps with header fields behind `?`.
fn check_mailbox(rest: &str) -> Result<(), ReportUriError> {
    let mailbox = rest.split_once('?').map_or(rest, |(mailbox, _)| mailbox);
    let (local, domain) = mailbox.rsplit_once('@').ok_or(ReportUriError::Mailbox)?;
    let several = local.contains('@') || mailbox.to_ascii_lowercase().contains("%2c");
    // RFC 5321 §4.5.3.1.1: 64 octets before the `@`.
    if local.is_empty() || local.len() > 64 || several {
        return Err(ReportUriError::Mailbox);
    }
    HostName::parse(domain)?;
    Ok(())
}

/// `host [":" port]` (RFC 3986 §3.2), up to the path or the query.
fn check_authority(rest: &str) -> Result<(), ReportUriError> {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(ReportUriError::UserInfo);
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    HostName::parse(host)?;
    let usable = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|p: u16| p > 0);
    if port.is_none_or(usable) { Ok(()) } else { Err(ReportUriError::Port) }
}
