//! Forgetting what has been gone for long.

use chrono::TimeDelta;
use mtasts_model::Timestamp;
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use crate::{Store, StoreError, sql, tenant_tx::IDEMPOTENCY_KEPT};

/// The most that one call forgets of one feed, since nobody can write to it meanwhile.
const AT_ONCE: i64 = 10_000;

/// The longest `max_age` (RFC 8461 §3.2), and then some: what a node served longer ago concerns nobody.
const NODES_KEPT: TimeDelta = TimeDelta::days(400);

/// A host without content is a tombstone only if nobody holds it: the place of a living domain stays.
const EDGE_TOMBSTONES: &str = "
    DELETE FROM edge_entries WHERE (name, kind) IN (
        SELECT e.name, e.kind FROM edge_entries e LEFT JOIN domains d ON d.id = e.domain_id
        WHERE e.version_id IS NULL AND e.challenge IS NULL AND e.changed_at < $1
            AND (e.kind = 'challenge' OR e.domain_id IS NULL OR d.state = 'gone')
        ORDER BY e.changed_at LIMIT $2)
    RETURNING revision";

const ZONE_TOMBSTONES: &str = "
    DELETE FROM zone_records WHERE (name, type) IN (
        SELECT name, type FROM zone_records WHERE ttl IS NULL AND changed_at < $1
        ORDER BY changed_at LIMIT $2)
    RETURNING revision";

#[derive(Debug, FromQueryResult)]
struct Forgotten {
    revision: i64,
}

impl Store {
    /// Forgets what has been gone from the feeds for `older_than`, at most 10,000 rows of each, and raises their
    /// floors. Returns how many rows went: call again while there are any.
    pub async fn prune_tombstones(&self, older_than: TimeDelta, now: Timestamp) -> Result<u64, StoreError> {
        let edge = self.prune("edge", "SELECT pg_advisory_xact_lock(1836344435, 1)", EDGE_TOMBSTONES, now - older_than);
        let zone = self.prune("zone", "SELECT pg_advisory_xact_lock(1836344435, 2)", ZONE_TOMBSTONES, now - older_than);
        Ok(edge.await? + zone.await?)
    }

    /// Under the feed's lock, as every writer: see `next_edge_revision` in the migrations.
    async fn prune(&self, feed: &str, lock: &str, delete: &str, before: Timestamp) -> Result<u64, StoreError> {
        let tx = self.begin().await?;
        tx.execute_unprepared(lock).await?;
        let forgotten = sql::all::<Forgotten>(&tx, delete, vec![before.into(), AT_ONCE.into()]).await?;
        if let Some(highest) = forgotten.iter().map(|row| row.revision).max() {
            let floor = "UPDATE feed_floors SET floor = GREATEST(floor, $1) WHERE feed = $2";
            sql::execute(&tx, floor, vec![highest.into(), feed.into()]).await?;
        }
        tx.commit().await?;
        Ok(u64::try_from(forgotten.len()).unwrap_or(u64::MAX))
    }

    /// Forgets answers to requests that are a day old, nodes that died more than 400 days ago, and gaps in their
    /// ledgers.
    pub async fn prune_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        let keys = "DELETE FROM idempotency_keys WHERE created_at < $1";
        sql::execute(self.db(), keys, vec![(now - IDEMPOTENCY_KEPT).into()]).await?;
        let nodes = "DELETE FROM nodes WHERE lease_until < $1";
        sql::execute(self.db(), nodes, vec![(now - NODES_KEPT).into()]).await?;
        let gaps = "DELETE FROM ledger_gaps WHERE until_at < $1";
        sql::execute(self.db(), gaps, vec![(now - NODES_KEPT).into()]).await?;
        Ok(())
    }

    /// Forgets sealed keys that nobody needs any more: certificates that were superseded and have been expired for 30
    /// days, orders that were closed as long ago, and all that domains which are gone have left; 1,000 of each at most.
    /// Returns how many rows went: call again while there are any.
    pub async fn prune_issued(&self, now: Timestamp) -> Result<u64, StoreError> {
        let before = now - ISSUED_KEPT;
        let tx = self.begin().await?;
        let gone = sql::all::<Gone>(&tx, GONE_WITH_CERTIFICATE, vec![PRUNED_AT_ONCE.into()]).await?;
        let gone: Vec<Uuid> = gone.into_iter().map(|row| row.id).collect();
        let mut rows = 0;
        if !gone.is_empty() {
            for statement in LEFT_BY_GONE {
                rows += sql::execute(&tx, statement, vec![gone.clone().into()]).await?;
            }
        }
        for statement in [SUPERSEDED_CERTIFICATES, CLOSED_ORDERS] {
            rows += sql::execute(&tx, statement, vec![before.into(), PRUNED_AT_ONCE.into()]).await?;
        }
        tx.commit().await?;
        Ok(rows)
    }
}

/// How long a closed order, or an expired certificate, may still be of use to whoever looks into a failure.
const ISSUED_KEPT: TimeDelta = TimeDelta::days(30);

/// The most that one transaction deletes of keys.
const PRUNED_AT_ONCE: i64 = 1_000;

const GONE_WITH_CERTIFICATE: &str = "
    SELECT id FROM domains WHERE state = 'gone' AND certificate_id IS NOT NULL LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED";

/// In the order of their foreign keys. A domain is gone only after its host has left the feed.
const LEFT_BY_GONE: [&str; 3] = [
    "UPDATE domains SET certificate_id = NULL WHERE id = ANY ($1::uuid[])",
    "DELETE FROM certificates WHERE domain_id = ANY ($1::uuid[]) AND NOT in_feed",
    "DELETE FROM acme_orders o WHERE domain_id = ANY ($1::uuid[]) AND closed_at IS NOT NULL
        AND (SELECT true FROM certificates c WHERE c.order_id = o.id LIMIT 1) IS NULL",
];

/// Sub-selects with LIMIT are looked up by index, row for row; an anti-join may read the other table as a whole.
const SUPERSEDED_CERTIFICATES: &str = "
    DELETE FROM certificates WHERE id = ANY (ARRAY(
        SELECT c.id FROM certificates c
        WHERE c.not_after < $1 AND NOT c.in_feed
            AND (SELECT true FROM domains d WHERE d.certificate_id = c.id LIMIT 1) IS NULL
        ORDER BY c.not_after LIMIT $2))";

const CLOSED_ORDERS: &str = "
    DELETE FROM acme_orders WHERE id = ANY (ARRAY(
        SELECT o.id FROM acme_orders o
        WHERE o.closed_at < $1 AND (SELECT true FROM certificates c WHERE c.order_id = o.id LIMIT 1) IS NULL
        ORDER BY o.closed_at LIMIT $2))";

#[derive(Debug, FromQueryResult)]
struct Gone {
    id: Uuid,
}
