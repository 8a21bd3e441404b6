//! Addresses to which the service itself writes.

use std::{fmt, str::FromStr};

use crate::HostName;

/// The longest local part and the longest address (RFC 5321 §4.5.3.1.1, RFC 3696 erratum 1690).
const MAX_LOCAL_PART: usize = 64;
const MAX_ADDRESS: usize = 254;

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// Too many octets.
    #[error("must have at most {MAX_ADDRESS} characters, and {MAX_LOCAL_PART} before the @")]
    TooLong,
    /// No local part, or one that is quoted or has other characters.
    #[error(
        "must be an address such as postmaster@example.com: ASCII letters, digits and .!#$%&'*+/=?^_`{{|}}~- before the @"
    )]
    LocalPart,
    /// What comes after the `@` is no name of a host.
    #[error("must have a domain name after the @, with A-labels, and a dot in it")]
    Domain,
}

impl EmailError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "email-too-long",
            Self::LocalPart => "email-local-part",
            Self::Domain => "email-domain",
        }
    }
}

/// An address with a dot-atom before the `@` (RFC 5321 §4.1.2) and A-labels after it: what stands in it can break neither a
/// header nor a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// As it was written, but for the domain, which is in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// By which it is known again: in lower case. Nearly nobody tells addresses apart that differ in that alone.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for EmailAddress {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        let (local, domain) = text.rsplit_once('@').ok_or(EmailError::LocalPart)?;
        let atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atext);
        if local.len() > MAX_LOCAL_PART || text.len() > MAX_ADDRESS {
            return Err(EmailError::TooLong);
        }
        if !local.split('.').all(atom) {
            return Err(EmailError::LocalPart);
        }
        let domain = HostName::parse(domain).map_err(|_| EmailError::Domain)?;
        if !domain.as_str().contains('.') {
            return Err(EmailError::Domain);
        }
        Ok(Self(format!("{local}@{domain}")))
    }
}

/// RFC 5322 §3.2.3.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_people_have_are_read_and_nothing_that_breaks_a_header_is() {
        for (text, shown) in [
            ("ops@example.com", "ops@example.com"),
            ("Ops+mta.sts@EXAMPLE.com", "Ops+mta.sts@example.com"),
            ("o'neil@xn--bcher-kva.example", "o'neil@xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse::<EmailAddress>().unwrap().as_str(), shown);
        }
        assert_eq!("Ops@Example.com".parse::<EmailAddress>().unwrap().key(), "ops@example.com");
        for bad in [
            "",
            "@",
            "ops",
            "ops@",
            "@example.com",
            "ops@localhost",
            ".a@example.com",
            "a..b@example.com",
            "a.@example.com",
            "\"a b\"@example.com",
            "a b@example.com",
            "a\r\nBcc: x@example.com",
            "a@example.com\r\n",
            "a@exam\nple.com",
            "a@example.com>",
            "<a@example.com",
            "a,b@example.com",
            "a@b@example.com",
            "ü@example.com",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a@exa_mple.com",
        ] {
            assert!(bad.parse::<EmailAddress>().is_err(), "{bad:?}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        assert_eq!(long.parse::<EmailAddress>(), Err(EmailError::TooLong));
    }
}
