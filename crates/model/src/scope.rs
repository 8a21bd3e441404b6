//! What an API key may do.

use std::{fmt, str::FromStr};

/// Why a text is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the scope must be `domains:read`, `domains:write`, `policy:write`, `reports:read`, `keys:write`, \
     `webhooks:write`, `audit:read`, `customers:act` or `customers:write`"
)]
pub struct ScopeError;

impl ScopeError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        "scope-unknown"
    }
}

/// A list of scopes that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key needs at least one scope")]
pub struct NoScope;

/// One right of an API key. None contains another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Read domains, their policies and their delegation.
    DomainsRead,
    /// Register, change and remove domains, and set their delegation.
    DomainsWrite,
    /// Change policies.
    PolicyWrite,
    /// Read what senders report.
    ReportsRead,
    /// See, make, rotate and revoke API keys.
    KeysWrite,
    /// See and change webhooks.
    WebhooksWrite,
    /// Read the audit log.
    AuditRead,
    /// See the tenants beneath, and act for them, within the other scopes.
    CustomersAct,
    /// Make and rename tenants beneath, and make keys for them.
    CustomersWrite,
}

impl Scope {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::DomainsRead,
        Self::DomainsWrite,
        Self::PolicyWrite,
        Self::ReportsRead,
        Self::KeysWrite,
        Self::WebhooksWrite,
        Self::AuditRead,
        Self::CustomersAct,
        Self::CustomersWrite,
    ];

    /// The word in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DomainsRead => "domains:read",
            Self::DomainsWrite => "domains:write",
            Self::PolicyWrite => "policy:write",
            Self::ReportsRead => "reports:read",
            Self::KeysWrite => "keys:write",
            Self::WebhooksWrite => "webhooks:write",
            Self::AuditRead => "audit:read",
            Self::CustomersAct => "customers:act",
            Self::CustomersWrite => "customers:write",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(ScopeError)
    }
}

/// The scopes of an API key: a set that is never empty, as a key without any could do nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(u16);

impl Scopes {
    /// All that a tenant may have.
    pub const ALL: Self = {
        let (mut bits, mut index) = (0, 0);
        while index < Scope::ALL.len() {
            bits |= Scope::ALL[index].bit();
            index += 1;
        }
        Self(bits)
    };

    /// What a key has for which none were named: all but those that reach other tenants.
    pub const USUAL: Self = Self(Self::ALL.0 & !Scope::CustomersAct.bit() & !Scope::CustomersWrite.bit());

    /// These; one that is named twice counts once.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, NoScope> {
        match scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()) {
            0 => Err(NoScope),
            bits => Ok(Self(bits)),
        }
    }

    /// Whether this scope is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// In the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    /// These and this one.
    #[must_use]
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// Those that are among `others` too. None: there are none.
    pub fn within(self, others: Self) -> Option<Self> {
        let common = self.0 & others.0;
        (common != 0).then_some(Self(common))
    }

    /// Those that `holder` lacks. None: `holder` has them all.
    pub fn beyond(self, holder: Self) -> Option<Self> {
        let lacking = self.0 & !holder.0;
        (lacking != 0).then_some(Self(lacking))
    }
}

impl From<Scope> for Scopes {
    /// This one alone.
    fn from(scope: Scope) -> Self {
        Self(scope.bit())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            // Separated as in RFC 6749 §3.3.
            write!(f, "{}{scope}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_reads_back_and_is_among_all() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert!(Scopes::ALL.contains(scope));
            assert!(ScopeError.to_string().contains(scope.as_str()), "the refusal does not offer {scope}");
        }
        assert_eq!(Scopes::new(Scope::ALL), Ok(Scopes::ALL));
        for bad in ["", "domains", "Domains:read", " domains:read", "domains:read domains:write", "operator"] {
            assert_eq!(bad.parse::<Scope>(), Err(ScopeError), "{bad:?}");
        }
    }

    #[test]
    fn scopes_are_a_set_that_is_never_empty() {
        assert_eq!(Scopes::new([]), Err(NoScope));
        let read = Scopes::new([Scope::DomainsRead, Scope::DomainsRead]).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), [Scope::DomainsRead]);
        let two = Scopes::new([Scope::AuditRead, Scope::DomainsRead]).unwrap();
        assert_eq!(two.to_string(), "domains:read audit:read");
        assert_eq!(two.beyond(read), Scopes::new([Scope::AuditRead]).ok());
        assert_eq!(read.beyond(two), None);
        assert_eq!(read.beyond(read), None);
        assert_eq!((two.within(read), read.within(Scope::AuditRead.into())), (Some(read), None));
    }

    #[test]
    fn what_reaches_other_tenants_is_never_had_without_being_named() {
        let named: Vec<_> = Scopes::ALL.beyond(Scopes::USUAL).into_iter().flat_map(Scopes::iter).collect();
        assert_eq!(named, [Scope::CustomersAct, Scope::CustomersWrite]);
    }
}
