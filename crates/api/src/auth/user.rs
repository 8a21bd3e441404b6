//! Callers that an identity provider vouches for.

use std::{sync::Arc, time::Duration};

use mtasts_model::TenantId;
use mtasts_oidc::{Identity, Refused};
use mtasts_store::{Actor, Admission};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::{Caller, TenantCaller, Who};
use crate::{
    problem::{Problem, ProblemKind},
    state::State,
};

/// An issuer that was away is asked again after this.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Somebody whom an issuer vouches for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    issuer: String,
    subject: String,
}

/// Which claim of a valid token leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacking {
    Role,
    /// Whether it names none, or one that is not there, is told to nobody.
    Tenant,
}

impl User {
    pub(super) fn of(issuer: &str, subject: &str) -> Self {
        Self { issuer: issuer.to_owned(), subject: subject.to_owned() }
    }

    /// What calls of this user are counted under.
    pub(super) fn hash(&self) -> [u8; 32] {
        // The issuer holds no `#`, so that no two users have the same.
        Sha256::new().chain_update(&self.issuer).chain_update("#").chain_update(&self.subject).finalize().into()
    }

    pub(super) fn actor(&self, home: TenantId) -> Actor {
        Actor::user(self.issuer.clone(), self.subject.clone(), home)
    }
}

impl Lacking {
    pub(super) fn problem(self) -> Problem {
        let detail = match self {
            Self::Role => {
                "The token is valid, but its role claim names no role that is known here: `viewer`, `editor`, `admin` or \
                 `owner`, or what the operator has mapped to one of them"
            }
            Self::Tenant => {
                "The token is valid, but its tenant claim names no tenant that it could be for: it is to be the tenant's \
                 id, `ten_…`"
            }
        };
        Problem::new(ProblemKind::IdentityNotAdmitted, detail)
    }
}

/// Whose token it is; None when it is none that counts. `target`: the tenant that the call asks to act for.
pub(super) async fn caller(state: &State, token: &str, target: Option<TenantId>) -> Result<Option<Caller>, Problem> {
    let Some(verifier) = &state.oidc else { return Ok(None) };
    let identity = match verifier.verify(token).await {
        Ok(identity) => identity,
        Err(refused @ Refused::Invalid(_)) => {
            tracing::debug!(reason = %refused, "a token was refused");
            return Ok(None);
        }
        Err(refused @ Refused::Unavailable) => {
            let detail = "The issuer of the token does not answer at the moment, and none of its keys is at hand";
            let problem = Problem::new(ProblemKind::IdentityProviderUnavailable, detail).retry_after(RETRY_AFTER);
            return Err(problem.caused_by(refused));
        }
    };
    let Identity { issuer, subject, tenant, role } = identity;
    let user = Arc::new(User { issuer, subject });
    let Some(role) = role else { return Ok(Some(Caller::NotAdmitted { user, lacking: Lacking::Role })) };
    let scopes = role.scopes();
    let admitted = match tenant {
        Some(home) => state.store.admit(home, scopes, target).await?.map(|admission| (home, admission)),
        None => None,
    };
    let Some((home, Admission { acts_for, suspended })) = admitted else {
        return Ok(Some(Caller::NotAdmitted { user, lacking: Lacking::Tenant }));
    };
    let credential = SecretString::from(token);
    Ok(Some(Caller::Tenant(TenantCaller { home, who: Who::User(user), scopes, acts_for, suspended, credential })))
}
