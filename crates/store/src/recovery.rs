//! After a restore: what the database has forgotten, and others have not.
//!
//! A restored database knows a time that the world has left. Edges and nameservers hold replicas of later revisions,
//! senders hold policies under later ids. So revisions go on far above all that were ever drawn, each policy gets an id
//! that nobody has seen, nameservers read everything anew once that is done, and edges when the operator says so, since what
//! they have and the database does not know is gone then. See docs/backup.md.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use mtasts_model::{DomainId, Label, MailDomain, MaxAge, Policy, PolicyId, TenantId, Timestamp, ZoneName};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Actor, Channel, NewVersion, PolicyVersion, Store, StoreError, audit, new_version, nudge, schedule, sql, stored::At,
};

/// So far above the restored position do revisions go on: more than a service draws in years, and less than half of what
/// a zone's serial counts (RFC 1982), which follows them.
pub(crate) const LEAP: i64 = 1_000_000_000;

/// One recovery, from its first look to the release of the followers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    id: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// Whether an earlier run began it, and came to no end.
    pub resumed: bool,
}

/// A domain that a recovery has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryDomain {
    /// Its id.
    pub id: DomainId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Its name.
    pub name: MailDomain,
    /// Its label.
    pub label: Label,
    /// The zone where its records are.
    pub zone: ZoneName,
    /// The newest policy that the database knows, and its id; None: it has none yet.
    pub policy: Option<(Policy, PolicyId)>,
}

/// What a recovery found out about a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveredDomain {
    /// The policy to serve from now on, under a fresh id; None: the domain has no policy.
    pub version: Option<NewVersion>,
    /// Whether senders may hold a policy that the database does not know.
    pub has_unknown: bool,
    /// The ids that the zone has, for the audit log.
    pub live_ids: Vec<PolicyId>,
}

/// `$1` started, `$2` row after which to go on, `$3` how many.
const PAGE: &str = "
    SELECT d.id, d.tenant_id, d.name, d.label, d.zone, d.version_id FROM domains d
    WHERE d.id > $2 AND d.state <> 'gone' AND (d.recovered_at IS NULL OR d.recovered_at < $1)
    ORDER BY d.id LIMIT $3";

/// `$1` now. All that edges have not reported is taken for served until now.
const EVICT_ALL: &str = "
    WITH gone AS (DELETE FROM nodes RETURNING id, kind, covered_until)
    INSERT INTO ledger_gaps (node_id, from_at, until_at)
    SELECT id, covered_until, GREATEST(covered_until, $1) FROM gone WHERE kind = 'edge'
    ON CONFLICT (node_id, from_at) DO UPDATE SET until_at = GREATEST(ledger_gaps.until_at, excluded.until_at)";

/// The provider may have a set of which this database does not know that it was ever written: it is looked at first.
const EXPECT_RECORDS: &str = "
    INSERT INTO zone_writes (hosting, name, type, arrived)
    SELECT h.id, d.label || kind.middle || d.zone, 'TXT', false
    FROM zone_hostings h JOIN domains d ON d.zone = h.zone AND d.state <> 'gone' AND d.id > $1 AND d.id <= $2
    CROSS JOIN (VALUES ('._mta-sts.'), ('._smtp-tls.'), ('.acme.')) AS kind (middle)
    ON CONFLICT (hosting, name, type) DO UPDATE SET arrived = false";

/// `$1` now, `$2` the domain. Live orders go on where the CA stands, whatever that is by now, and have a day for it. An
/// answer that edges had at the time of the backup may be gone from them: it is published anew before the CA is told to
/// look, or a validation would fail. One in the zone is looked for there before that anyway.
const RESUME_ORDER: &str = "
    UPDATE acme_orders SET since = $1, not_before = NULL,
        state = CASE WHEN state IN ('challenge-published', 'answered') AND challenge ->> 'at' = 'edge'
            THEN 'placed' ELSE state END
    WHERE domain_id = $2 AND closed_at IS NULL";

#[derive(Debug, FromQueryResult)]
struct DomainRow {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    label: String,
    zone: String,
    version_id: Option<Uuid>,
}

/// A registration that the database does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownHost {
    /// Its id.
    pub domain: DomainId,
    /// The name of its tenant; None: that is not known either.
    pub tenant: Option<String>,
}

/// `$1` registrations, `$2` their tenants.
const UNKNOWN: &str = "
    SELECT h.domain_id, t.name AS tenant
    FROM unnest($1::uuid[], $2::uuid[]) AS h (domain_id, tenant_id) LEFT JOIN tenants t ON t.id = h.tenant_id
    WHERE NOT EXISTS (SELECT FROM domains d WHERE d.id = h.domain_id AND d.state <> 'gone')";

impl Store {
    /// Which of these registrations the database does not know, or knows to be gone. As the operator.
    pub async fn unknown_registrations(&self, hosts: &[(DomainId, TenantId)]) -> Result<Vec<UnknownHost>, StoreError> {
        let domains: Vec<Uuid> = hosts.iter().map(|(domain, _)| domain.as_uuid()).collect();
        let tenants: Vec<Uuid> = hosts.iter().map(|(_, tenant)| tenant.as_uuid()).collect();
        let rows = sql::rows(self.db(), UNKNOWN, vec![domains.into(), tenants.into()]).await?;
        let mut unknown = Vec::with_capacity(rows.len());
        for row in rows {
            let domain = DomainId::from_uuid(row.try_get("", "domain_id")?);
            unknown.push(UnknownHost { domain, tenant: row.try_get("", "tenant")? });
        }
        Ok(unknown)
    }

    /// Begins a recovery, or takes up one that came to no end: draws revisions far above all that followers have seen, and
    /// forgets all edges and nameservers, which register again by themselves. As the owner.
    pub async fn begin_recovery(&self, now: Timestamp) -> Result<Recovery, StoreError> {
        let tx = self.begin().await?;
        lock_feeds(&tx).await?;
        let open = "SELECT id, started_at FROM recoveries WHERE finished_at IS NULL";
        if let Some(row) = sql::row(&tx, open, vec![]).await? {
            let (id, started_at) = (row.try_get("", "id")?, row.try_get("", "started_at")?);
            return Ok(Recovery { id, started_at, resumed: true });
        }
        for sequence in ["edge_revisions", "zone_revisions"] {
            let leap = format!("SELECT setval('{sequence}', (SELECT last_value FROM {sequence}) + $1)");
            sql::row(&tx, &leap, vec![LEAP.into()]).await?;
        }
        sql::execute(&tx, EVICT_ALL, vec![now.into()]).await?;
        let begin = "INSERT INTO recoveries (started_at) VALUES ($1) RETURNING id, started_at";
        let row = sql::row(&tx, begin, vec![now.into()]).await?.ok_or(StoreError::NotFound)?;
        let recovery =
            Recovery { id: row.try_get("", "id")?, started_at: row.try_get("", "started_at")?, resumed: false };
        tx.commit().await?;
        Ok(recovery)
    }

    /// Ends a recovery. Nameservers that have read something of before it read everything anew, because a record that is
    /// wanted as before comes to them in no other way. Edges are told of each host that changed, and keep what the
    /// database does not know, which may be all that a customer has: until [`Self::release_edges`]. As the owner.
    pub async fn finish_recovery(&self, recovery: Recovery, now: Timestamp) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        lock_feeds(&tx).await?;
        raise_floor(&tx, "zone").await?;
        let finish = "UPDATE recoveries SET finished_at = $1 WHERE id = $2";
        sql::execute(&tx, finish, vec![now.into(), recovery.id.into()]).await?;
        nudge::notify(&tx, &BTreeSet::from([Channel::Edge, Channel::Zone])).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets edges read everything anew, and so stop serving what the database does not know. As the owner.
    pub async fn release_edges(&self) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        lock_feeds(&tx).await?;
        raise_floor(&tx, "edge").await?;
        nudge::notify(&tx, &BTreeSet::from([Channel::Edge])).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Domains that this recovery has yet to look at, in the order of their ids. As the worker.
    pub async fn domains_to_recover(
        &self,
        recovery: Recovery,
        after: Option<DomainId>,
        limit: u32,
    ) -> Result<Vec<RecoveryDomain>, StoreError> {
        let after = after.map_or(Uuid::nil(), DomainId::as_uuid);
        let values = vec![recovery.started_at.into(), after.into(), i64::from(limit).into()];
        let rows = sql::all::<DomainRow>(self.db(), PAGE, values).await?;
        let mut domains = Vec::with_capacity(rows.len());
        for row in rows {
            domains.push(self.recovery_domain(row).await?);
        }
        Ok(domains)
    }

    async fn recovery_domain(&self, row: DomainRow) -> Result<RecoveryDomain, StoreError> {
        let at = At { table: "domains", row: row.id };
        let version = new_version::newest(self.db(), row.version_id).await?;
        let version = version.map(PolicyVersion::try_from).transpose()?;
        Ok(RecoveryDomain {
            id: DomainId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            name: at.mail_domain("name", &row.name)?,
            label: at.label(&row.label)?,
            zone: at.parse("zone", &row.zone)?,
            policy: version.map(|version| (version.policy, version.policy_id)),
        })
    }

    /// The records of these domains may be in the zones already, whatever is noted: writers look before they write. From
    /// `after` to `last`, as [`Self::domains_to_recover`] gave them. As the worker.
    pub async fn expect_records(&self, after: Option<DomainId>, last: DomainId) -> Result<(), StoreError> {
        let after = after.map_or(Uuid::nil(), DomainId::as_uuid);
        sql::execute(self.db(), EXPECT_RECORDS, vec![after.into(), last.as_uuid().into()]).await?;
        Ok(())
    }

    /// Whether the domain ever had a version with this id, as far as the database knows. As the worker.
    pub async fn knows_policy_id(&self, domain: DomainId, id: &PolicyId) -> Result<bool, StoreError> {
        let look = "SELECT 1 AS there FROM policy_versions WHERE policy_id = $1 AND domain_id = $2";
        Ok(sql::row(self.db(), look, vec![id.as_str().into(), domain.as_uuid().into()]).await?.is_some())
    }

    /// Gives the domain its fresh version and makes it due, with nothing held against it that failed before the backup;
    /// its live order is taken up where the CA has it by now.
    /// Where senders may hold a policy that the database does not know, the host stays for as long as they might: the
    /// longest `max_age` that there is. As the worker.
    pub async fn recover_domain(
        &self,
        domain: &RecoveryDomain,
        found: RecoveredDomain,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = domain.id.as_uuid();
        let tx = self.begin().await?;
        let lock = "SELECT version_id FROM domains WHERE id = $1 AND state <> 'gone' FOR NO KEY UPDATE";
        let Some(row) = sql::row(&tx, lock, vec![id.into()]).await? else { return Ok(()) };
        let held = found.has_unknown.then(|| now + TimeDelta::seconds(i64::from(MaxAge::MAX.seconds())));
        let mut after = json!({ "live_ids": found.live_ids, "held_until": held });
        if let Some(version) = found.version {
            let (name, newest) = (domain.name.as_str(), row.try_get("", "version_id")?);
            let target = new_version::Target { domain: domain.id, tenant: domain.tenant_id, name, newest };
            let made = new_version::make(&tx, target, version, by, now).await?;
            after["version"] = json!(made.version.id);
            after["policy_id"] = json!(made.version.policy_id);
            after["mode"] = json!(made.version.policy.mode());
        }
        let note = "UPDATE domains SET recovered_at = $1, held_until = GREATEST(held_until, $2) WHERE id = $3";
        sql::execute(&tx, note, vec![now.into(), held.into(), id.into()]).await?;
        sql::execute(&tx, "DELETE FROM step_failures WHERE domain_id = $1", vec![id.into()]).await?;
        sql::execute(&tx, RESUME_ORDER, vec![now.into(), id.into()]).await?;
        schedule::wake(&tx, domain.id, now).await?;
        let entry = audit::Entry {
            tenant: domain.tenant_id,
            action: "domain.recover",
            object: domain.id.to_string(),
            before: None,
            after: Some(after),
        };
        audit::record(&tx, by, entry, now).await?;
        nudge::notify(&tx, &BTreeSet::from([Channel::Edge, Channel::Worker])).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Revisions are drawn by nobody else until the transaction ends.
async fn lock_feeds(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    tx.execute_unprepared("SELECT pg_advisory_xact_lock(1836344435, 1), pg_advisory_xact_lock(1836344435, 2)").await?;
    Ok(())
}

/// Above whatever a follower has read: one that stood exactly at the floor would not begin again. Under [`lock_feeds`], so
/// that all that was drawn is committed.
async fn raise_floor(tx: &DatabaseTransaction, feed: &str) -> Result<(), StoreError> {
    let raise = format!("UPDATE feed_floors SET floor = nextval('{feed}_revisions') WHERE feed = $1");
    sql::execute(tx, &raise, vec![feed.into()]).await?;
    Ok(())
}
