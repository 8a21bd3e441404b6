//! From rows to model types. A value that cannot be read names table, column and row.

use mtasts_model::{
    CertificateId, Label, MailDomain, MaxAge, Mode, OrderId, Policy, PolicyVersionId, ReportUri, Revision, Scope,
    Scopes, Status, TenantId,
    ids::{ApiKeyId, AuditEventId},
    lifecycle::{DomainZones, MxSource, OrderState},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    ApiKey, AuditEvent, Certificate, DomainState, Order, PolicyVersion, RemovalGround, StoreError, Tenant,
    VersionReason, der,
    domain_rows::status_word,
    entity::{acme_order, api_key, audit_event, certificate, policy_version, tenant},
};

/// Where a value was read, for the error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) table: &'static str,
    pub(crate) row: Uuid,
}

/// A word in a column that no variant has.
#[derive(Debug, thiserror::Error)]
#[error("unknown word {0:?}")]
struct UnknownWord(String);

impl At {
    pub(crate) fn unreadable(
        self,
        column: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::unreadable(self.table, column, self.row, source)
    }

    /// A text that one of our types reads.
    pub(crate) fn parse<T>(self, column: &'static str, text: &str) -> Result<T, StoreError>
    where
        T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        text.parse().map_err(|error| self.unreadable(column, error))
    }

    /// The words of an API key's scopes.
    pub(crate) fn scopes(self, column: &'static str, words: &[String]) -> Result<Scopes, StoreError> {
        let scopes = words.iter().map(|word| self.parse::<Scope>(column, word)).collect::<Result<Vec<_>, _>>()?;
        Scopes::new(scopes).map_err(|error| self.unreadable(column, error))
    }

    /// A jsonb column.
    pub(crate) fn json<T: DeserializeOwned>(self, column: &'static str, value: Value) -> Result<T, StoreError> {
        serde_json::from_value(value).map_err(|error| self.unreadable(column, error))
    }

    pub(crate) fn json_or_none<T: DeserializeOwned>(
        self,
        column: &'static str,
        value: Option<Value>,
    ) -> Result<Option<T>, StoreError> {
        value.map(|value| self.json(column, value)).transpose()
    }

    pub(crate) fn number<T>(self, column: &'static str, number: impl Into<i64>) -> Result<T, StoreError>
    where
        T: TryFrom<i64, Error: std::error::Error + Send + Sync + 'static>,
    {
        T::try_from(number.into()).map_err(|error| self.unreadable(column, error))
    }

    /// A word that stands for one of `all`.
    pub(crate) fn word<T: Copy>(
        self,
        column: &'static str,
        word: &str,
        all: &[T],
        as_str: impl Fn(T) -> &'static str,
    ) -> Result<T, StoreError> {
        all.iter()
            .copied()
            .find(|variant| as_str(*variant) == word)
            .ok_or_else(|| self.unreadable(column, UnknownWord(word.to_owned())))
    }

    pub(crate) fn revision(self, column: &'static str, number: i64) -> Result<Revision, StoreError> {
        self.number(column, number).map(Revision::new)
    }

    pub(crate) fn mail_domain(self, column: &'static str, text: &str) -> Result<MailDomain, StoreError> {
        MailDomain::from_stored(text).map_err(|error| self.unreadable(column, error))
    }

    pub(crate) fn label(self, text: &str) -> Result<Label, StoreError> {
        self.parse("label", text)
    }

    /// The columns `zone`, `next_zone` and `former_zone`.
    pub(crate) fn zones(self, home: &str, next: Option<&str>, former: Option<&str>) -> Result<DomainZones, StoreError> {
        Ok(DomainZones {
            home: self.parse("zone", home)?,
            next: next.map(|zone| self.parse("next_zone", zone)).transpose()?,
            former: former.map(|zone| self.parse("former_zone", zone)).transpose()?,
        })
    }

    pub(crate) fn mode(self, column: &'static str, text: &str) -> Result<Mode, StoreError> {
        self.parse(column, text)
    }

    pub(crate) fn max_age(self, column: &'static str, seconds: i32) -> Result<MaxAge, StoreError> {
        MaxAge::new(self.number(column, seconds)?).map_err(|error| self.unreadable(column, error))
    }

    pub(crate) fn state(self, word: &str) -> Result<DomainState, StoreError> {
        self.word("state", word, &DomainState::ALL, DomainState::as_str)
    }

    pub(crate) fn removal_ground(self, word: &str) -> Result<RemovalGround, StoreError> {
        self.word("removal_ground", word, &RemovalGround::ALL, RemovalGround::as_str)
    }

    pub(crate) fn status(self, column: &'static str, word: &str) -> Result<Status, StoreError> {
        self.word(column, word, &[Status::True, Status::False, Status::Unknown], status_word)
    }

    pub(crate) fn mx_source(self, word: &str) -> Result<MxSource, StoreError> {
        self.word("mx_source", word, &[MxSource::Auto, MxSource::Listed, MxSource::Follow], mx_source_word)
    }

    pub(crate) fn report_uris(self, value: Value) -> Result<Vec<ReportUri>, StoreError> {
        let texts: Vec<String> = self.json("report_uris", value)?;
        texts.iter().map(|text| self.parse("report_uris", text)).collect()
    }

    pub(crate) fn policy(self, text: &str) -> Result<Policy, StoreError> {
        Policy::parse_strict(text).map_err(|error| self.unreadable("policy_text", error))
    }

    pub(crate) fn order_state(self, word: &str, revision: Option<i64>) -> Result<OrderState, StoreError> {
        Ok(match word {
            "drafted" => OrderState::Drafted,
            "placed" => OrderState::Placed,
            "challenge-published" => OrderState::ChallengePublished {
                revision: self.revision("challenge_revision", revision.unwrap_or_default())?,
            },
            "answered" => OrderState::Answered,
            "ready" => OrderState::Ready,
            "finalizing" => OrderState::Finalizing,
            other => return Err(self.unreadable("state", UnknownWord(other.to_owned()))),
        })
    }
}

/// For a jsonb column.
pub(crate) fn zone_names(zones: &DomainZones) -> Value {
    zones.all().map(|zone| Value::from(zone.as_str())).collect()
}

pub(crate) fn mx_source_word(source: MxSource) -> &'static str {
    match source {
        MxSource::Auto => "auto",
        MxSource::Listed => "listed",
        MxSource::Follow => "follow",
    }
}

pub(crate) fn report_uri_texts(uris: &[ReportUri]) -> Value {
    uris.iter().map(|uri| Value::from(uri.as_str())).collect()
}

/// For a jsonb column. None of the types that we store can fail to be written (string keys, finite numbers).
pub(crate) fn to_json(value: &impl Serialize) -> Result<Value, StoreError> {
    serde_json::to_value(value).map_err(|error| StoreError::Database(sea_orm::DbErr::Json(error.to_string())))
}

/// `max_age` is at most a year in seconds (RFC 8461 §3.2), which fits.
pub(crate) fn seconds_column(max_age: MaxAge) -> i32 {
    i32::try_from(max_age.seconds()).unwrap_or(i32::MAX)
}

/// Revisions are drawn from a bigint sequence.
pub(crate) fn revision_column(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(i64::MAX)
}

impl From<tenant::Model> for Tenant {
    fn from(row: tenant::Model) -> Self {
        Self {
            id: TenantId::from_uuid(row.id),
            name: row.name,
            parent: row.parent_id.map(TenantId::from_uuid),
            created_at: row.created_at,
        }
    }
}

impl TryFrom<api_key::Model> for ApiKey {
    type Error = StoreError;

    fn try_from(row: api_key::Model) -> Result<Self, StoreError> {
        let at = At { table: "api_keys", row: row.id };
        Ok(Self {
            id: ApiKeyId::from_uuid(row.id),
            name: row.name,
            prefix: row.prefix,
            scopes: at.scopes("scopes", &row.scopes)?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
            successor: row.successor_id.map(ApiKeyId::from_uuid),
        })
    }
}

impl From<audit_event::Model> for AuditEvent {
    fn from(row: audit_event::Model) -> Self {
        Self {
            id: AuditEventId::from_uuid(row.id),
            at: row.at,
            actor: row.actor,
            source: row.source,
            request_id: row.request_id,
            action: row.action,
            object: row.object,
            before: row.before,
            after: row.after,
        }
    }
}

impl TryFrom<policy_version::Model> for PolicyVersion {
    type Error = StoreError;

    fn try_from(row: policy_version::Model) -> Result<Self, StoreError> {
        let at = At { table: "policy_versions", row: row.id };
        Ok(Self {
            id: PolicyVersionId::from_uuid(row.id),
            seq: at.number("seq", row.seq)?,
            policy_id: at.parse("policy_id", &row.policy_id)?,
            policy: at.policy(&row.policy_text)?,
            reason: at.word("reason", &row.reason, &VersionReason::ALL, VersionReason::as_str)?,
            forced: row.forced,
            created_by: row.created_by,
            created_at: row.created_at,
            served_at: row.served_at,
            verified_at: row.verified_at,
            published_at: row.published_at,
            superseded_at: row.superseded_at,
        })
    }
}

impl TryFrom<acme_order::Model> for Order {
    type Error = StoreError;

    fn try_from(row: acme_order::Model) -> Result<Self, StoreError> {
        let at = At { table: "acme_orders", row: row.id };
        Ok(Self {
            id: OrderId::from_uuid(row.id),
            issuer: row.issuer,
            state: at.order_state(&row.state, row.challenge_revision)?,
            since: row.since,
            url: row.url,
            sealed_key: row.sealed_key,
            challenge: at.json_or_none("challenge", row.challenge)?,
            not_before: row.not_before,
            expires_at: row.expires_at,
            closed_at: row.closed_at,
        })
    }
}

impl TryFrom<certificate::Model> for Certificate {
    type Error = StoreError;

    fn try_from(row: certificate::Model) -> Result<Self, StoreError> {
        let at = At { table: "certificates", row: row.id };
        Ok(Self {
            id: CertificateId::from_uuid(row.id),
            chain_der: der::split(&row.chain).map_err(|error| at.unreadable("chain", error))?,
            sealed_key: row.sealed_key,
            not_before: row.not_before,
            not_after: row.not_after,
            serial: row.serial,
            issuer: row.issuer,
            renew_at: row.renew_at,
            advice_due_at: row.advice_due_at,
            ari_id: row.ari_id,
        })
    }
}
