//! Names of mail domains and hosts, held as A-labels (RFC 5890 §2.3.2.1) in lower case without the dot at the end.

mod error;
mod rules;
mod syntax;
pub(crate) mod text;

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

pub use error::NameError;
pub use rules::NameRules;
pub(crate) use rules::is_public_suffix;
pub(crate) use syntax::{MAX_NAME, check_name};

use text::text_traits;

/// What comes before a mail domain in the name of its policy host (RFC 8461 §3.3).
const POLICY_HOST_PREFIX: &str = "mta-sts.";
/// What comes before a mail domain in the name of its MTA-STS record (RFC 8461 §3.1).
const STS_RECORD_PREFIX: &str = "_mta-sts.";
/// What comes before a mail domain in the name of its TLS reporting record (RFC 8460 §3).
const TLS_RPT_RECORD_PREFIX: &str = "_smtp._tls.";
/// What comes before a mail domain in the name at which a CA validates its policy host (RFC 8555 §8.4).
const ACME_CHALLENGE_PREFIX: &str = "_acme-challenge.mta-sts.";

/// Octets that a mail domain may have, so that its longest prefixed name still is a name.
const MAX_MAIL_DOMAIN: usize = MAX_NAME - ACME_CHALLENGE_PREFIX.len();

/// Octets of input that are looked at: no code point takes more than four octets of UTF-8, or less than one of ASCII.
const MAX_INPUT: usize = 4 * MAX_NAME;

/// A domain that receives mail and that a tenant may register.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailDomain(String);

impl MailDomain {
    /// Reads what a customer typed: U-labels or A-labels in any case, one dot at the end tolerated.
    ///
    /// Refuses what nobody can register (public suffixes, names reserved by RFC 6761 and its like that `rules` do not
    /// allow), IP addresses, names of policy hosts, and names that leave no room for `_acme-challenge.mta-sts.`.
    pub fn parse(input: &str, rules: &NameRules) -> Result<Self, NameError> {
        let ascii = to_a_labels(input)?;
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        check_name(name, MAX_MAIL_DOMAIN)?;
        if name.starts_with(POLICY_HOST_PREFIX) {
            return Err(NameError::PolicyHost);
        }
        rules.check(name)?;
        Ok(Self(name.to_owned()))
    }

    /// For repositories: reads what [`Self::as_str`] gave. Only the syntax is checked, because the rules may have
    /// changed since the domain was registered; any other spelling of the name is an error, because a row under it
    /// would never be found again.
    pub fn from_stored(text: &str) -> Result<Self, NameError> {
        check_name(text, MAX_MAIL_DOMAIN)?;
        Ok(Self(text.to_owned()))
    }

    /// The A-labels, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The U-labels, for showing to people. A name that does not decode stays as it is.
    pub fn unicode(&self) -> String {
        let (unicode, valid) = Uts46::new().to_unicode(self.0.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow);
        valid.map_or_else(|_| self.0.clone(), |()| unicode.into_owned())
    }

    /// `mta-sts.<domain>`, which serves the policy (RFC 8461 §3.3).
    pub fn policy_host(&self) -> HostName {
        HostName(format!("{POLICY_HOST_PREFIX}{self}"))
    }

    /// `_mta-sts.<domain>`, where the TXT record stands (RFC 8461 §3.1).
    pub fn sts_record_name(&self) -> String {
        format!("{STS_RECORD_PREFIX}{self}")
    }

    /// `_smtp._tls.<domain>`, where the TLS reporting record stands (RFC 8460 §3).
    pub fn tls_rpt_record_name(&self) -> String {
        format!("{TLS_RPT_RECORD_PREFIX}{self}")
    }

    /// `_acme-challenge.mta-sts.<domain>`, where a CA looks for the answer to dns-01 (RFC 8555 §8.4).
    pub fn acme_challenge_name(&self) -> String {
        format!("{ACME_CHALLENGE_PREFIX}{self}")
    }
}

text_traits!(MailDomain, NameError, MailDomain::from_stored);

/// The name of a host: letters, digits and hyphens (RFC 1123 §2.1), such as an MX host or a policy host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// Reads A-labels in any case, one dot at the end tolerated. IP addresses are no host names (RFC 5321 §2.3.5).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        check_name(&name, MAX_NAME)?;
        Ok(Self(name))
    }

    /// The A-labels, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_traits!(HostName, NameError, HostName::parse);

/// IDNA (UTS 46, not transitional: `ß` stays itself), with the reasons of our own syntax check where it has one.
fn to_a_labels(input: &str) -> Result<Cow<'_, str>, NameError> {
    if input.len() > MAX_INPUT {
        return Err(NameError::TooLong { octets: input.len(), limit: MAX_MAIL_DOMAIN });
    }
    if syntax::is_ip_address(input) {
        return Err(NameError::IpAddress);
    }
    // The deny list is empty because what comes out is checked more strictly, and with a better message, afterwards.
    Uts46::new()
        .to_ascii(input.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast, DnsLength::Ignore)
        .map_err(|_| syntax::first_fault_of_ascii(input).unwrap_or(NameError::Idna))
}

#[cfg(test)]
mod tests;
