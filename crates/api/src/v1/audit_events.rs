//! The audit log of a tenant.

pub(crate) mod list;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use mtasts_model::TenantId;
use mtasts_store::{ActorKind, AuditLine};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A line of the audit log. No line is ever changed or removed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent, example = json!({
    "id": "aud_0190c3a0b1c27d3e8f4051627384950a",
    "seq": 17,
    "hash": "7d1a54127b222502f5b79b5fb0803061152a44f92b37e23c6527baf665d4da9a",
    "at": "2026-11-21T21:30:00Z",
    "actor": {
        "kind": "api-key",
        "id": "key_0190c3a0b1c27d3e8f4051627384950a",
        "issuer": null,
        "tenant_id": "ten_0190c3a0b1c27d3e8f4051627384950a",
    },
    "source": "192.0.2.17",
    "request_id": "0190c3a0b1c27d3e8f4051627384950a",
    "action": "policy.set",
    "object": "dom_0190c3a0b1c27d3e8f4051627384950a",
    "before": {"mode": "testing"},
    "after": {"mode": "enforce"},
}))]
pub(crate) struct AuditEventBody {
    /// Its id.
    #[schema(example = "aud_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// Its number in your tenant's log: from 1, in the order in which the changes took effect, without gaps.
    #[schema(minimum = 1, example = 17)]
    seq: u64,
    /// SHA-256 over the line, its number and the hash of line `seq - 1`: whoever keeps one can tell later that nothing
    /// up to it was changed.
    #[schema(pattern = "^[0-9a-f]{64}$", example = "7d1a54127b222502f5b79b5fb0803061152a44f92b37e23c6527baf665d4da9a")]
    hash: String,
    /// When.
    at: DateTime<Utc>,
    /// Who.
    actor: AuditActor,
    /// The address from which the request came; null where there was none.
    #[schema(required, example = "192.0.2.17")]
    source: Option<String>,
    /// The `X-Request-Id` of the request; null where there was none.
    #[schema(required, example = "0190c3a0b1c27d3e8f4051627384950a")]
    request_id: Option<String>,
    /// What was done.
    #[schema(example = "policy.set")]
    action: String,
    /// To what: an id or a name.
    #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    object: String,
    /// What it was before; null where there is nothing to tell. Never holds a secret.
    #[schema(required)]
    before: Option<Value>,
    /// What it is since; null where there is nothing to tell. Never holds a secret.
    #[schema(required)]
    after: Option<Value>,
}

/// Who did it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct AuditActor {
    kind: AuditActorKind,
    /// The API key's id, or the user's `sub`; null for the operator and for the service itself.
    #[schema(required, example = "key_0190c3a0b1c27d3e8f4051627384950a")]
    id: Option<String>,
    /// The issuer that vouches for the user; null for others.
    #[schema(required, example = "https://id.example.com/realms/acme")]
    issuer: Option<String>,
    /// The provider whose API key or user it is, where it acted for your tenant; null for your own.
    #[schema(required, example = "ten_0190c3a0b1c27d3e8f4051627384950b")]
    tenant_id: Option<String>,
}

/// Of which kind the actor is.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AuditActorKind {
    /// Whoever runs the service.
    Operator,
    /// The holder of an API key.
    ApiKey,
    /// Somebody whom an identity provider vouches for.
    User,
    /// The service itself.
    Service,
    /// Somebody whose kind a newer version of the service knows.
    Other,
}

impl AuditActor {
    /// By the word that the store keeps of this tenant.
    fn of(word: String, tenant: TenantId) -> Self {
        let plain = |kind, id| Self { kind, id, issuer: None, tenant_id: None };
        let provider = |home: TenantId| (home != tenant).then(|| home.to_string());
        match ActorKind::read(&word, tenant) {
            Some(ActorKind::Operator) => plain(AuditActorKind::Operator, None),
            Some(ActorKind::Worker) => plain(AuditActorKind::Service, None),
            Some(ActorKind::ApiKey { id, home }) => {
                Self { tenant_id: provider(home), ..plain(AuditActorKind::ApiKey, Some(id.to_string())) }
            }
            Some(ActorKind::User { issuer, subject, home }) => {
                Self { issuer: Some(issuer), tenant_id: provider(home), ..plain(AuditActorKind::User, Some(subject)) }
            }
            None => plain(AuditActorKind::Other, Some(word)),
        }
    }
}

impl AuditEventBody {
    pub(crate) fn of(line: AuditLine, tenant: TenantId) -> Self {
        let event = line.event;
        Self {
            id: event.id.to_string(),
            seq: line.seq,
            hash: HEXLOWER.encode(&line.hash),
            at: event.at,
            actor: AuditActor::of(event.actor, tenant),
            source: event.source,
            request_id: event.request_id,
            action: event.action,
            object: event.object,
            before: event.before,
            after: event.after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_of_the_kind_that_its_word_says() {
        let tenant = TenantId::from_uuid(uuid::Uuid::nil());
        let of = |word: &str| AuditActor::of(word.to_owned(), tenant);
        let actor = |kind, id: Option<&str>, provider: Option<&str>| AuditActor {
            kind,
            id: id.map(str::to_owned),
            issuer: None,
            tenant_id: provider.map(str::to_owned),
        };
        assert_eq!(of("operator"), actor(AuditActorKind::Operator, None, None));
        assert_eq!(of("worker"), actor(AuditActorKind::Service, None, None));
        let (key, provider) = ("key_0190c3a0b1c27d3e8f4051627384950a", "ten_0190c3a0b1c27d3e8f4051627384950b");
        assert_eq!(of(key), actor(AuditActorKind::ApiKey, Some(key), None));
        assert_eq!(of(&format!("{key} of {provider}")), actor(AuditActorKind::ApiKey, Some(key), Some(provider)));
        for (word, tenant_id) in [("oidc", None), (&*format!("oidc of {provider}"), Some(provider))] {
            let user = actor(AuditActorKind::User, Some("a:b# of ten_1"), tenant_id);
            let user = AuditActor { issuer: Some("https://id.test:8443/a".to_owned()), ..user };
            assert_eq!(of(&format!("{word}:https://id.test:8443/a#a:b# of ten_1")), user);
        }
        for other in [
            "oidc of mine:https://id.test#a",
            "oidc:https://id.test",
            "oidcx:https://id.test#a",
            "user:somebody",
            "somebody of something",
            &format!("{key} of mine"),
        ] {
            assert_eq!(of(other), actor(AuditActorKind::Other, Some(other), None));
        }
    }
}
