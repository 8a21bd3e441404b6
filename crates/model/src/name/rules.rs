//! Which names may be registered.

use super::NameError;

/// Suffixes that are not in the public DNS, or not anybody's to register.
const RESERVED: [&str; 13] = [
    // RFC 6761 §6.2 to §6.5
    "test",
    "localhost",
    "invalid",
    "example",
    "example.com",
    "example.net",
    "example.org",
    // RFC 6762 §3
    "local",
    // RFC 7686 §2
    "onion",
    // RFC 9476 §2
    "alt",
    // ICANN Board resolution 2024.07.29.06
    "internal",
    // RFC 8375 §4: a suffix of its own, so that a private network can be allowed it without the rest of `arpa`
    "home.arpa",
    // RFC 3172 §2: infrastructure, no mail
    "arpa",
];

/// Which reserved names may be registered all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameRules {
    allowed: Vec<String>,
    any: bool,
}

impl NameRules {
    /// For the internet: no reserved name.
    pub fn strict() -> Self {
        Self::default()
    }

    /// For looking at a domain, which anybody may do at any: reserved names and public suffixes too.
    pub fn any() -> Self {
        Self { allowed: Vec::new(), any: true }
    }

    /// For demonstrations and private networks: names under these reserved suffixes (RFC 6761), such as `test` or
    /// `home.arpa`, may be registered. A suffix that is not reserved changes nothing.
    pub fn allowing<S: AsRef<str>>(suffixes: impl IntoIterator<Item = S>) -> Self {
        let canonical = |suffix: S| suffix.as_ref().trim_matches('.').to_ascii_lowercase();
        let allowed = suffixes.into_iter().map(canonical).filter(|suffix| !suffix.is_empty()).collect();
        Self { allowed, any: false }
    }

    /// Checks a name whose syntax is right.
    pub(super) fn check(&self, name: &str) -> Result<(), NameError> {
        if self.any {
            return Ok(());
        }
        let reserved = RESERVED.into_iter().find(|suffix| is_under(name, suffix));
        if let Some(suffix) = reserved
            && !self.allowed.iter().any(|allowed| is_under(name, allowed))
        {
            return Err(NameError::Reserved { suffix });
        }
        if is_public_suffix(name) {
            return Err(NameError::PublicSuffix { suffix: name.to_owned() });
        }
        Ok(())
    }
}

/// Whether the list of Mozilla, its private section included, has this name as a suffix. A single label always is one.
pub(crate) fn is_public_suffix(name: &str) -> bool {
    psl::suffix_str(name) == Some(name)
}

fn is_under(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
