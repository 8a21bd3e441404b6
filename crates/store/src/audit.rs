//! Who did what to which object: append-only, and one hash chain for each tenant.
//!
//! Whoever writes a line does no more than insert it: the database chains it as the transaction commits (migration
//! `0007_audit_chain`), so that no lock is held before that and no code can forget it.

mod canonical;
mod list;
mod verify;

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU16, Ordering},
};

use mtasts_model::{ApiKeyId, AuditEventId, Entropy, SystemEntropy, TenantId, Timestamp};
use sea_orm::ConnectionTrait;

pub(crate) use list::list;
pub use list::{AuditFilter, AuditLine};
pub use verify::{ChainFault, ChainReport};

use crate::{StoreError, sql};

/// Octets of a SHA-256.
const HASH_LENGTH: usize = 32;

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActorKind {
    /// Whoever holds the operator's token.
    Operator,
    /// A tenant's program or person, by its key.
    ApiKey {
        /// The key.
        id: ApiKeyId,
        /// The key's tenant: the one in which it acts, or a provider above.
        home: TenantId,
    },
    /// A person or program that came with a token of an identity provider.
    User {
        /// The token's `iss`: a URL without a fragment.
        issuer: String,
        /// Its `sub`.
        subject: String,
        /// Its tenant: the one in which it acts, or a provider above.
        home: TenantId,
    },
    /// The service itself.
    Worker,
}

/// Who acts, and through which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub kind: ActorKind,
    /// From which address the request came.
    pub source: Option<IpAddr>,
    /// The id under which the request is in the logs.
    pub request_id: Option<String>,
}

impl Actor {
    /// The operator.
    pub fn operator() -> Self {
        Self { kind: ActorKind::Operator, source: None, request_id: None }
    }

    /// The holder of a key of this tenant.
    pub fn api_key(id: ApiKeyId, home: TenantId) -> Self {
        Self { kind: ActorKind::ApiKey { id, home }, source: None, request_id: None }
    }

    /// The holder of an identity provider's token for this tenant.
    pub fn user(issuer: String, subject: String, home: TenantId) -> Self {
        Self { kind: ActorKind::User { issuer, subject, home }, source: None, request_id: None }
    }

    /// The service itself.
    pub fn worker() -> Self {
        Self { kind: ActorKind::Worker, source: None, request_id: None }
    }

    /// The same actor, by this request.
    #[must_use]
    pub fn by_request(mut self, source: Option<IpAddr>, request_id: Option<String>) -> Self {
        self.source = source;
        self.request_id = request_id;
        self
    }

    /// The word for it in what is kept of this tenant: `operator`, `worker`, `key_…` or `oidc:<issuer>#<subject>`; of a
    /// provider above: `key_… of ten_…` or `oidc of ten_…:<issuer>#<subject>`.
    pub fn word(&self, tenant: TenantId) -> String {
        match &self.kind {
            ActorKind::Operator => "operator".to_owned(),
            ActorKind::ApiKey { id, home } if *home == tenant => id.to_string(),
            ActorKind::ApiKey { id, home } => format!("{id} of {home}"),
            ActorKind::User { issuer, subject, home } if *home == tenant => format!("oidc:{issuer}#{subject}"),
            ActorKind::User { issuer, subject, home } => format!("oidc of {home}:{issuer}#{subject}"),
            ActorKind::Worker => "worker".to_owned(),
        }
    }
}

impl ActorKind {
    /// Reads what [`Actor::word`] has written for this tenant; None where a later version of the service has.
    pub fn read(word: &str, tenant: TenantId) -> Option<Self> {
        match word {
            "operator" => return Some(Self::Operator),
            "worker" => return Some(Self::Worker),
            _ => {}
        }
        let Some(user) = word.strip_prefix("oidc") else {
            let (id, home) = match word.split_once(" of ") {
                Some((id, home)) => (id, home.parse().ok()?),
                None => (word, tenant),
            };
            return Some(Self::ApiKey { id: id.parse().ok()?, home });
        };
        let (home, user) = match user.strip_prefix(" of ") {
            Some(user) => user.split_once(':').and_then(|(home, user)| Some((home.parse().ok()?, user)))?,
            None => (tenant, user.strip_prefix(':')?),
        };
        // No issuer holds a `#`.
        let (issuer, subject) = user.split_once('#')?;
        Some(Self::User { issuer: issuer.to_owned(), subject: subject.to_owned(), home })
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// Its id, ordered by time.
    pub id: AuditEventId,
    /// When.
    pub at: Timestamp,
    /// As [`Actor::word`] gives it.
    pub actor: String,
    /// From which address.
    pub source: Option<String>,
    /// Which request.
    pub request_id: Option<String>,
    /// What was done, such as `domain.create`.
    pub action: String,
    /// To what: an id or a name.
    pub object: String,
    /// What it was before.
    pub before: Option<serde_json::Value>,
    /// What it is since.
    pub after: Option<serde_json::Value>,
}

/// What is about to be written into the audit log.
pub(crate) struct Entry<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) action: &'a str,
    pub(crate) object: String,
    pub(crate) before: Option<serde_json::Value>,
    pub(crate) after: Option<serde_json::Value>,
}

/// Lines that this process writes within one millisecond are listed in their order as well: the first bits after the
/// time count (RFC 9562 §6.2, method 1). They wrap, so that one line in 4096 may stand before its neighbour; `seq` never
/// does.
pub(crate) struct InOrder;

impl Entropy for InOrder {
    fn fill(&self, bytes: &mut [u8]) {
        static DRAWN: AtomicU16 = AtomicU16::new(0);
        SystemEntropy.fill(bytes);
        if let Some(count) = bytes.first_chunk_mut() {
            *count = DRAWN.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        }
    }
}

/// Writes a line within the transaction of what it tells.
pub(crate) async fn record(
    db: &impl ConnectionTrait,
    actor: &Actor,
    entry: Entry<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Nothing ever depends on this id but its order and uniqueness, so nobody needs to choose the bytes.
    let id = AuditEventId::draw(now, &InOrder);
    let sql = "INSERT INTO audit_events (id, tenant_id, at, actor, source, request_id, action, object, before, after)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let values = vec![
        id.as_uuid().into(),
        entry.tenant.as_uuid().into(),
        now.into(),
        actor.word(entry.tenant).into(),
        actor.source.map(|source| source.to_string()).into(),
        actor.request_id.clone().into(),
        entry.action.into(),
        entry.object.into(),
        entry.before.into(),
        entry.after.into(),
    ];
    sql::execute(db, sql, values).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Clock, clock::ManualClock};

    use super::*;

    #[test]
    fn ids_of_one_millisecond_are_in_order_and_never_the_same() {
        let now = ManualClock::default().now();
        let ids: Vec<_> = (0..100).map(|_| AuditEventId::draw(now, &InOrder)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    }
}
