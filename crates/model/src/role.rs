//! What people may do who come with a token of an identity provider: a role each, and its scopes.

use std::{fmt, str::FromStr};

use crate::{Scope, Scopes};

/// Why a text is not a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the role must be `viewer`, `editor`, `admin` or `owner`")]
pub struct RoleError;

/// A role within a tenant. Each may do all that those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Runs the domains and their policies.
    Editor,
    /// Runs the account too, and acts for customers.
    Admin,
    /// May do all that a tenant may.
    Owner,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Editor, Self::Admin, Self::Owner];

    /// The word in tokens and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// What it may do: the one table.
    pub fn scopes(self) -> Scopes {
        let had = Scope::ALL.into_iter().filter(|scope| self >= Self::least_for(*scope));
        had.fold(Scopes::from(Scope::DomainsRead), Scopes::with)
    }

    /// The least role that has a scope.
    fn least_for(scope: Scope) -> Self {
        match scope {
            Scope::DomainsRead | Scope::ReportsRead => Self::Viewer,
            Scope::DomainsWrite | Scope::PolicyWrite => Self::Editor,
            Scope::KeysWrite | Scope::WebhooksWrite | Scope::AuditRead | Scope::CustomersAct => Self::Admin,
            Scope::CustomersWrite => Self::Owner,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(RoleError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_one_before_it_may_and_more() {
        for pair in Role::ALL.windows(2) {
            assert_eq!(pair[0].scopes().beyond(pair[1].scopes()), None, "{pair:?}");
            assert!(pair[1].scopes().beyond(pair[0].scopes()).is_some(), "{pair:?}");
        }
        assert_eq!(Role::Viewer.scopes().to_string(), "domains:read reports:read");
        assert_eq!(Role::Owner.scopes(), Scopes::ALL);
        let acting: Vec<_> = Role::ALL.into_iter().filter(|role| role.scopes().contains(Scope::CustomersAct)).collect();
        assert_eq!(acting, [Role::Admin, Role::Owner]);
    }

    #[test]
    fn a_role_reads_back_and_nothing_else_is_one() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert!(RoleError.to_string().contains(role.as_str()), "the refusal does not offer {role}");
        }
        for bad in ["", "Owner", "root", "owner "] {
            assert_eq!(bad.parse::<Role>(), Err(RoleError), "{bad:?}");
        }
    }
}
