//! Making a policy version, for tenants and for the worker alike.

use mtasts_model::{
    DomainId, Mode, PolicyVersionId, TenantId, Timestamp,
    event::{EventDomain, PolicyChanged},
};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait};
use uuid::Uuid;

use crate::{
    Actor, NewVersion, PolicyVersion, StoreError,
    entity::policy_version,
    host, sql,
    stored::{At, seconds_column},
};

/// The domain for which a version is made. Its row is locked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) domain: DomainId,
    pub(crate) tenant: TenantId,
    pub(crate) name: &'a str,
    /// The newest version until now.
    pub(crate) newest: Option<Uuid>,
}

/// What was made.
pub(crate) struct Made {
    pub(crate) version: PolicyVersion,
    /// Whether the edges were told at once.
    pub(crate) fed: bool,
    /// The mode of the version before.
    pub(crate) mode_before: Option<Mode>,
}

impl Made {
    /// What the tenant is told of it.
    pub(crate) fn event(&self, domain: EventDomain) -> PolicyChanged {
        let PolicyVersion { id, policy_id, policy, .. } = &self.version;
        PolicyChanged {
            domain,
            version_id: *id,
            policy_id: policy_id.clone(),
            mode_before: self.mode_before,
            mode: policy.mode(),
        }
    }
}

pub(crate) async fn newest(
    db: &impl ConnectionTrait,
    version: Option<Uuid>,
) -> Result<Option<policy_version::Model>, StoreError> {
    match version {
        Some(id) => Ok(policy_version::Entity::find_by_id(id).one(db).await?),
        None => Ok(None),
    }
}

/// Adds a version after the newest one; the edges get it at once if they serve the domain.
/// [`StoreError::Taken`] when an id was drawn before.
pub(crate) async fn make(
    db: &impl ConnectionTrait,
    target: Target<'_>,
    new: NewVersion,
    by: &Actor,
    now: Timestamp,
) -> Result<Made, StoreError> {
    let before = newest(db, target.newest).await?;
    let row = policy_version::ActiveModel {
        id: Set(new.id.as_uuid()),
        tenant_id: Set(target.tenant.as_uuid()),
        domain_id: Set(target.domain.as_uuid()),
        seq: Set(before.as_ref().map_or(1, |before| before.seq.saturating_add(1))),
        policy_id: Set(new.policy_id.as_str().to_owned()),
        policy_text: Set(new.policy.to_text()),
        mode: Set(new.policy.mode().to_string()),
        max_age: Set(seconds_column(new.policy.max_age())),
        reason: Set(new.reason.as_str().to_owned()),
        forced: Set(new.forced),
        created_by: Set(by.word(target.tenant)),
        created_at: Set(now),
        served_at: Set(None),
        verified_at: Set(None),
        published_at: Set(None),
        superseded_at: Set(None),
        fed_at: Set(None),
        unfed_at: Set(None),
        traceparent: Set(mtasts_telemetry::current().map(|trace| trace.to_string())),
    };
    let version = PolicyVersion::try_from(row.insert(db).await?)?;
    let set = "UPDATE domains SET version_id = $1, mode = $2 WHERE id = $3";
    let mode = version.policy.mode().as_str();
    sql::execute(db, set, vec![version.id.as_uuid().into(), mode.into(), target.domain.as_uuid().into()]).await?;
    // The feed before the older version's row: whoever takes the name over locks them in this order.
    let revision = host::change_version(db, target.name, target.domain, version.id, now).await?;
    let mode_before =
        before.as_ref().map(|before| At { table: "policy_versions", row: before.id }.mode("mode", &before.mode));
    let mode_before = mode_before.transpose()?;
    if let Some(before) = before {
        superseded(db, PolicyVersionId::from_uuid(before.id), now).await?;
    }
    Ok(Made { version, fed: revision.is_some(), mode_before })
}

pub(crate) async fn superseded(
    db: &impl ConnectionTrait,
    version: PolicyVersionId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE policy_versions SET superseded_at = $1 WHERE id = $2";
    sql::execute(db, sql, vec![now.into(), version.as_uuid().into()]).await?;
    Ok(())
}
