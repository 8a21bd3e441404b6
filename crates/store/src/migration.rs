//! Migrations from old MX hosts to new ones.

use chrono::TimeDelta;
use mtasts_model::{
    DomainId, MigrationId, PolicyVersionId, Timestamp,
    lifecycle::MxSeen,
    migration::{Action, Migration, MigrationFacts},
};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{
    Actor, DomainState, DomainView, LeaseTx, NewVersion, SpareIds, StoreError, TenantTx, VersionReason, sql,
    stored::{At, to_json},
};

/// How a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MigrationState {
    /// The policy has the old hosts and the new ones.
    UnderWay,
    /// The old hosts have left the policy.
    Done,
    /// The tenant has ended it; the policy has both.
    Cancelled,
    /// Somebody has set a policy without some of the hosts.
    Overruled,
}

impl MigrationState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::UnderWay, Self::Done, Self::Cancelled, Self::Overruled];

    /// The word that the API and the store use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnderWay => "under-way",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Overruled => "overruled",
        }
    }
}

/// A migration, under way or over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationView {
    /// Its id.
    pub id: MigrationId,
    /// How it stands.
    pub state: MigrationState,
    /// What it is, and when what is safe.
    pub migration: Migration,
    /// The first version with both.
    pub version_id: PolicyVersionId,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Which state of it this is.
    pub revision: i64,
}

#[derive(Debug, FromQueryResult)]
struct Row {
    id: Uuid,
    from_mx: Json,
    to_mx: Json,
    state: String,
    version_id: Uuid,
    created_at: Timestamp,
    safe_to_point_mx_at: Option<Timestamp>,
    absent_since: Option<Timestamp>,
    confirmed_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    revision: i64,
}

#[derive(Debug, FromQueryResult)]
struct LedgerRow {
    served_at: Option<Timestamp>,
    published_at: Option<Timestamp>,
    needed_until: Option<Timestamp>,
    lapsed_until: Option<Timestamp>,
    complete_until: Option<Timestamp>,
}

async fn read(db: &impl ConnectionTrait, domain: Uuid) -> Result<Option<MigrationView>, StoreError> {
    let sql =
        "SELECT id, from_mx, to_mx, state, version_id, created_at, safe_to_point_mx_at, absent_since, confirmed_at,
            ended_at, revision FROM mx_migrations WHERE domain_id = $1";
    let Some(row) = sql::one::<Row>(db, sql, vec![domain.into()]).await? else { return Ok(None) };
    let at = At { table: "mx_migrations", row: row.id };
    Ok(Some(MigrationView {
        id: MigrationId::from_uuid(row.id),
        state: at.word("state", &row.state, &MigrationState::ALL, MigrationState::as_str)?,
        migration: Migration {
            from: at.json("from_mx", row.from_mx)?,
            to: at.json("to_mx", row.to_mx)?,
            created_at: row.created_at,
            safe_to_point_mx_at: row.safe_to_point_mx_at,
            absent_since: row.absent_since,
            confirmed_at: row.confirmed_at,
        },
        version_id: PolicyVersionId::from_uuid(row.version_id),
        ended_at: row.ended_at,
        revision: row.revision,
    }))
}

async fn under_way(db: &impl ConnectionTrait, domain: Uuid) -> Result<Option<MigrationView>, StoreError> {
    Ok(read(db, domain).await?.filter(|view| view.state == MigrationState::UnderWay))
}

/// As in the facts of a domain, but of the older versions in `enforce` alone: senders deliver to any host by all others.
/// `$1` domain, `$2` the first version with both, `$3` now, `$4` the edges' grace in seconds.
const LEDGER: &str = "
    WITH widened AS MATERIALIZED (SELECT seq FROM policy_versions WHERE id = $2 AND domain_id = $1),
    older AS MATERIALIZED (
        SELECT id, max_age, fed_at, unfed_at FROM policy_versions
        WHERE domain_id = $1 AND mode = 'enforce' AND seq < (SELECT seq FROM widened))
    SELECT
        (SELECT min(served_at) FROM policy_versions
            WHERE domain_id = $1 AND seq >= (SELECT seq FROM widened)) AS served_at,
        (SELECT min(published_at) FROM policy_versions
            WHERE domain_id = $1 AND seq >= (SELECT seq FROM widened)) AS published_at,
        (SELECT max(l.last_served_at + w.max_age * interval '1 second')
            FROM served_ledger l JOIN older w ON w.id = l.version_id WHERE l.domain_id = $1) AS needed_until,
        GREATEST((SELECT max(n.lease_until + $4 * interval '1 second' + w.max_age * interval '1 second')
            FROM older w CROSS JOIN nodes n
            WHERE n.kind = 'edge'
                AND n.lease_until + $4 * interval '1 second' <= $3 AND n.covered_until < n.lease_until
                AND w.fed_at < n.lease_until + $4 * interval '1 second'
                AND (w.unfed_at IS NULL OR w.unfed_at + $4 * interval '1 second' > n.covered_until)),
            (SELECT max(g.until_at + w.max_age * interval '1 second')
            FROM older w CROSS JOIN ledger_gaps g
            WHERE w.fed_at < g.until_at
                AND (w.unfed_at IS NULL OR w.unfed_at + $4 * interval '1 second' > g.from_at))) AS lapsed_until,
        (SELECT min(n.covered_until) FROM nodes n
            WHERE n.kind = 'edge' AND n.lease_until + $4 * interval '1 second' > $3) AS complete_until";

/// What the migration under way is judged by, if there is one.
pub(crate) async fn facts(
    db: &impl ConnectionTrait,
    domain: Uuid,
    (now, edge_grace): (Timestamp, TimeDelta),
) -> Result<Option<MigrationFacts>, StoreError> {
    let Some(view) = under_way(db, domain).await? else { return Ok(None) };
    let values = vec![domain.into(), view.version_id.as_uuid().into(), now.into(), edge_grace.as_seconds_f64().into()];
    let row = sql::one::<LedgerRow>(db, LEDGER, values).await?.ok_or(StoreError::NotFound)?;
    Ok(Some(MigrationFacts {
        migration: view.migration,
        revision: view.revision,
        served_at: row.served_at,
        published_at: row.published_at,
        needed_until: row.needed_until.max(row.lapsed_until),
        complete_until: row.complete_until,
    }))
}

/// Ends the migration that is under way.
async fn end(db: &impl ConnectionTrait, domain: Uuid, state: MigrationState, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE mx_migrations SET state = $2, ended_at = $3, revision = nextval('mx_migration_revisions')
        WHERE domain_id = $1 AND state = 'under-way'";
    sql::execute(db, sql, vec![domain.into(), state.as_str().into(), now.into()]).await?;
    Ok(())
}

impl LeaseTx {
    /// Notes whether a look has found an old host.
    pub(crate) async fn note_absence(&mut self, seen: &MxSeen) -> Result<(), StoreError> {
        let Some(view) = under_way(self.db(), self.id()).await? else { return Ok(()) };
        let since =
            if view.migration.is_pointed_at(seen) { None } else { view.migration.absent_since.or(Some(seen.at)) };
        if since != view.migration.absent_since {
            // What the tenant has confirmed is over if the host is back.
            let sql = "UPDATE mx_migrations SET absent_since = $2, confirmed_at = CASE WHEN $2 IS NOT NULL THEN
                    confirmed_at END, revision = nextval('mx_migration_revisions') WHERE domain_id = $1";
            sql::execute(self.db(), sql, vec![self.id().into(), since.into()]).await?;
        }
        Ok(())
    }

    /// Carries an action of the migration out, with the version that it makes. [`StoreError::VersionConflict`] when migration
    /// or policy are no longer those that it was decided on.
    pub async fn advance_migration(
        &mut self,
        action: &Action,
        (revision, expected): (i64, PolicyVersionId),
        ids: SpareIds,
    ) -> Result<(), StoreError> {
        let kept = !matches!(self.at().state(self.state_word())?, DomainState::Withdrawing | DomainState::Gone);
        let stored = under_way(self.db(), self.id()).await?.filter(|view| kept && view.revision == revision);
        let current = self.version_id().map(PolicyVersionId::from_uuid);
        if stored.is_none() || current != Some(expected) {
            return Err(StoreError::VersionConflict { current });
        }
        let (id, now) = (self.id(), self.now());
        match action {
            Action::Schedule { safe_to_point_mx_at } => {
                let sql = "UPDATE mx_migrations SET safe_to_point_mx_at = $2,
                    revision = nextval('mx_migration_revisions') WHERE domain_id = $1";
                sql::execute(self.db(), sql, vec![id.into(), (*safe_to_point_mx_at).into()]).await?;
                let detail = json!({ "safe_to_point_mx_at": safe_to_point_mx_at });
                self.audit("migration.schedule", detail).await
            }
            Action::Narrow { policy } => {
                let (policy, reason) = (policy.clone(), VersionReason::MigrationNarrowed);
                let new = NewVersion { id: ids.version, policy_id: ids.policy, policy, reason, forced: None };
                self.replace_version(new).await?;
                end(self.db(), id, MigrationState::Done, now).await?;
                self.audit("migration.done", json!({})).await
            }
            Action::Overrule => {
                end(self.db(), id, MigrationState::Overruled, now).await?;
                self.audit("migration.overruled", json!({})).await
            }
        }
    }
}

impl TenantTx {
    /// A domain's latest migration, under way or over.
    pub async fn migration(&self, domain: DomainId) -> Result<Option<MigrationView>, StoreError> {
        read(self.db(), domain.as_uuid()).await
    }

    /// Begins a migration of a locked domain whose policy, in this version, has both. One that is under way must be over
    /// before. `pointed_at`: whether the latest look has found an old host.
    pub async fn begin_migration(
        &mut self,
        domain: &DomainView,
        (id, version): (MigrationId, PolicyVersionId),
        migration: &Migration,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO mx_migrations (domain_id, tenant_id, id, from_mx, to_mx, state, version_id, created_at,
                absent_since, revision)
            VALUES ($1, $2, $3, $4, $5, 'under-way', $6, $7, $8, nextval('mx_migration_revisions'))
            ON CONFLICT (domain_id) DO UPDATE SET id = excluded.id, from_mx = excluded.from_mx,
                to_mx = excluded.to_mx, state = excluded.state, version_id = excluded.version_id,
                created_at = excluded.created_at, safe_to_point_mx_at = NULL, absent_since = excluded.absent_since,
                confirmed_at = NULL, ended_at = NULL, revision = excluded.revision";
        let (from, to) = (to_json(&migration.from)?, to_json(&migration.to)?);
        let values = vec![
            domain.id.as_uuid().into(),
            self.tenant().as_uuid().into(),
            id.as_uuid().into(),
            from.clone().into(),
            to.clone().into(),
            version.as_uuid().into(),
            now.into(),
            migration.absent_since.into(),
        ];
        sql::execute(self.db(), sql, values).await?;
        let after = json!({ "from": from, "to": to, "version": version });
        self.audit(by, "migration.begin", domain.id.to_string(), (None, Some(after)), now).await?;
        self.wake(domain.id, now).await
    }

    /// Notes the tenant's word that no MX record leads to an old host any more.
    pub async fn confirm_migration(&mut self, domain: DomainId, by: &Actor, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE mx_migrations SET confirmed_at = COALESCE(confirmed_at, $2),
            revision = nextval('mx_migration_revisions') WHERE domain_id = $1 AND state = 'under-way'";
        sql::execute(self.db(), sql, vec![domain.as_uuid().into(), now.into()]).await?;
        self.audit(by, "migration.confirm", domain.to_string(), (None, None), now).await?;
        self.wake(domain, now).await
    }

    /// A domain that is taken back has nothing to migrate.
    pub(crate) async fn cancel_migrations(&self, domain: DomainId, now: Timestamp) -> Result<(), StoreError> {
        end(self.db(), domain.as_uuid(), MigrationState::Cancelled, now).await
    }

    /// Ends a migration; the policy keeps both.
    pub async fn cancel_migration(&mut self, domain: DomainId, by: &Actor, now: Timestamp) -> Result<(), StoreError> {
        end(self.db(), domain.as_uuid(), MigrationState::Cancelled, now).await?;
        self.audit(by, "migration.cancel", domain.to_string(), (None, None), now).await
    }
}
