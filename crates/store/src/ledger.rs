//! The served ledger: when an edge last served which version (invariant 5).

use std::collections::BTreeMap;

use mtasts_model::{NodeId, Timestamp, feed::ServedLine};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{Store, StoreError, sql, usage};

/// Parameters are arrays, so this bounds the size of one statement and not their number.
const LINES_AT_ONCE: usize = 5_000;

impl Store {
    /// Keeps what an edge has served; `lines` may be empty. `covered_until`: with these lines the edge has reported all
    /// that it served before that moment; None while more follow. `requests` are added up; the latest
    /// `last_served_at` stays.
    pub async fn flush_served(
        &self,
        lines: &[ServedLine],
        covered_until: Option<Timestamp>,
        node: NodeId,
    ) -> Result<(), StoreError> {
        // One line per version, in order of their ids: edges that flush at the same time lock rows in the same order.
        let mut merged: BTreeMap<Uuid, ServedLine> = BTreeMap::new();
        for line in lines {
            let sum =
                merged.entry(line.version_id.as_uuid()).or_insert_with(|| ServedLine { requests: 0, ..line.clone() });
            sum.last_served_at = sum.last_served_at.max(line.last_served_at);
            sum.requests = sum.requests.saturating_add(line.requests);
        }
        let lines: Vec<ServedLine> = merged.into_values().collect();
        let tx = self.begin().await?;
        for chunk in lines.chunks(LINES_AT_ONCE) {
            upsert(&tx, chunk).await?;
        }
        // All at once, so that edges that flush at the same time lock these rows in the same order too.
        usage::add_served(&tx, &lines).await?;
        // GREATEST passes over NULL.
        let covered = "UPDATE nodes SET covered_until = GREATEST(covered_until, $1) WHERE id = $2";
        sql::execute(&tx, covered, vec![covered_until.into(), node.as_uuid().into()]).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn upsert(db: &impl ConnectionTrait, lines: &[ServedLine]) -> Result<(), StoreError> {
    let sql = "INSERT INTO served_ledger AS old (version_id, domain_id, tenant_id, last_served_at, requests)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::bigint[])
        ON CONFLICT (version_id) DO UPDATE SET
            last_served_at = GREATEST(old.last_served_at, excluded.last_served_at),
            requests = old.requests + LEAST(excluded.requests, 9223372036854775807 - old.requests)";
    let ids = |of: fn(&ServedLine) -> Uuid| lines.iter().map(of).collect::<Vec<_>>();
    let requests = |line: &ServedLine| i64::try_from(line.requests).unwrap_or(i64::MAX);
    let values = vec![
        ids(|line| line.version_id.as_uuid()).into(),
        ids(|line| line.domain_id.as_uuid()).into(),
        ids(|line| line.tenant_id.as_uuid()).into(),
        lines.iter().map(|line| line.last_served_at).collect::<Vec<_>>().into(),
        lines.iter().map(requests).collect::<Vec<_>>().into(),
    ];
    sql::execute(db, sql, values).await?;
    Ok(())
}
