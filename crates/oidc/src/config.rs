//! What is known of an issuer beforehand.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::TimeDelta;
use mtasts_model::Role;
use serde_json::Value;
use url::{Host, Url};

const MAX_URL: usize = 500;
const MAX_CLAIM: usize = 200;

/// An issuer, and what its tokens mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerConfig {
    /// The operator's name for it, in logs and metrics.
    pub name: String,
    /// As tokens have it in `iss`.
    pub issuer: IssuerUrl,
    /// What `aud` must name: the id under which the issuer knows this service.
    pub audience: String,
    /// Where a token says for which tenant it is: `ten_…`.
    pub tenant_claim: ClaimPath,
    /// Where a token says in which role.
    pub role_claim: ClaimPath,
    /// How far the issuer's clock may be off.
    pub leeway: TimeDelta,
    /// Which values of the role claim mean which role; empty: the roles' own names.
    pub roles: BTreeMap<String, Role>,
}

impl IssuerConfig {
    /// The highest role among the values; None where none is known.
    pub(crate) fn role(&self, value: &Value) -> Option<Role> {
        let known = |value: &Value| {
            let word = value.as_str()?;
            if self.roles.is_empty() { word.parse().ok() } else { self.roles.get(word).copied() }
        };
        match value {
            Value::Array(values) => values.iter().filter_map(known).max(),
            value => known(value),
        }
    }
}

/// An issuer's identifier: a URL with `https`, or with `http` on loopback. Compared as a text, to the last character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl(String);

/// Why a text identifies no issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerUrlError {
    /// It is no URL.
    #[error("is not a URL")]
    Url,
    /// Keys that come over a line that others can write on are nobody's.
    #[error("must begin with https:// (http:// is possible on loopback alone)")]
    Scheme,
    /// OpenID Connect Discovery 1.0 §2.
    #[error("must have neither a user, a query nor a fragment")]
    Parts,
    /// It goes into audit lines.
    #[error("must have at most 500 characters")]
    TooLong,
}

impl IssuerUrl {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its metadata are (OpenID Connect Discovery 1.0 §4: a path's last slash counts once).
    pub(crate) fn metadata(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.trim_end_matches('/'))
    }
}

impl FromStr for IssuerUrl {
    type Err = IssuerUrlError;

    fn from_str(text: &str) -> Result<Self, IssuerUrlError> {
        if text.len() > MAX_URL {
            return Err(IssuerUrlError::TooLong);
        }
        let url: Url = text.parse().map_err(|_| IssuerUrlError::Url)?;
        if !is_safe(&url) {
            return Err(IssuerUrlError::Scheme);
        }
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(IssuerUrlError::Parts);
        }
        // The parser forgives blanks and line ends, which no token would have.
        if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return Err(IssuerUrlError::Url);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether nobody on the way can change what comes from there.
pub(crate) fn is_safe(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

/// Where a claim stands: the name of a member, or a JSON pointer (RFC 6901) such as `/realm_access/roles`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(String);

/// Why a text names no claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the name of a claim or a JSON pointer such as /realm_access/roles, of 1 to 200 characters")]
pub struct ClaimPathError;

impl ClaimPath {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The claim's value.
    pub(crate) fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&self.0) }
    }
}

impl FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<Self, ClaimPathError> {
        if (1..=MAX_CLAIM).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(ClaimPathError) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_is_reached_over_a_line_that_nobody_else_writes_on() {
        for text in ["https://id.example/realms/a", "https://id.example/", "http://127.0.0.1:8080", "http://[::1]/x"] {
            assert_eq!(text.parse::<IssuerUrl>().unwrap().as_str(), text);
        }
        for (text, error) in [
            ("http://id.example", IssuerUrlError::Scheme),
            ("ftp://id.example", IssuerUrlError::Scheme),
            ("id.example", IssuerUrlError::Url),
            ("https://u@id.example", IssuerUrlError::Parts),
            ("https://id.example?a", IssuerUrlError::Parts),
            ("https://id.example#a", IssuerUrlError::Parts),
            (" https://id.example", IssuerUrlError::Url),
            ("", IssuerUrlError::Url),
        ] {
            assert_eq!(text.parse::<IssuerUrl>(), Err(error), "{text}");
        }
        assert_eq!(format!("https://{}", "a".repeat(500)).parse::<IssuerUrl>(), Err(IssuerUrlError::TooLong));
        let metadata = |text: &str| text.parse::<IssuerUrl>().unwrap().metadata();
        for text in ["https://id.example/a", "https://id.example/a/"] {
            assert_eq!(metadata(text), "https://id.example/a/.well-known/openid-configuration");
        }
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_by_a_pointer() {
        let claims = json!({"https://a.example/role": "x", "realm_access": {"roles": ["y"]}});
        let find = |text: &str| text.parse::<ClaimPath>().unwrap().find(&claims).cloned();
        assert_eq!(find("https://a.example/role"), Some(json!("x")));
        assert_eq!(find("/realm_access/roles"), Some(json!(["y"])));
        assert_eq!((find("roles"), find("/realm_access/none")), (None, None));
        assert!("".parse::<ClaimPath>().is_err());
    }
}
