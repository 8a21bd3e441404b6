//! What tenants have and use, day by day: for billing, and to be kept longer than what it was counted from.

use chrono::{NaiveDate, TimeDelta};
use mtasts_model::{Timestamp, feed::ServedLine};
use sea_orm::{ConnectionTrait, FromQueryResult};
use std::collections::BTreeMap;
use uuid::Uuid;

use crate::{Store, StoreError, sql};

/// How long days are kept.
const KEPT: TimeDelta = TimeDelta::days(400);

/// Tenants that one statement looks at, and rows that one forgets.
const TENANTS_AT_ONCE: i64 = 100;
const PRUNED_AT_ONCE: i64 = 10_000;

/// How many domains a tenant had at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainCounts {
    /// When.
    pub at: Timestamp,
    /// All that were not gone.
    pub domains: u64,
    /// Of these, those whose policy had mode `none`.
    pub none: u64,
    /// Of these, those whose policy had mode `testing`.
    pub testing: u64,
    /// Of these, those whose policy had mode `enforce`.
    pub enforce: u64,
}

/// What is known of one day (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageDay {
    /// The day.
    pub day: NaiveDate,
    /// The last counts of the day, or of the last day before that has any; None if there never were any.
    pub counts: Option<DomainCounts>,
    /// Domains whose policy was fetched.
    pub served_domains: u64,
    /// How often a policy was fetched.
    pub policy_fetches: u64,
    /// Mails and POSTs with reports that were taken.
    pub reports: u64,
}

#[derive(Debug, FromQueryResult)]
struct Seen {
    tenant_id: Uuid,
}

#[derive(Debug, FromQueryResult)]
struct NewlyServed {
    tenant_id: Uuid,
    day: NaiveDate,
}

impl Store {
    /// Notes how many domains each tenant has at this moment, for this day: what is noted last stands. In steps of 100
    /// tenants, from counts that are kept up anyway: nothing of it grows with the number of domains.
    pub async fn roll_up_usage(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut after = Uuid::nil();
        let mut noted = 0;
        loop {
            let values = vec![after.into(), TENANTS_AT_ONCE.into(), now.date_naive().into(), now.into()];
            let seen = sql::all::<Seen>(self.db(), ROLL_UP, values).await?;
            noted += u64::try_from(seen.len()).unwrap_or(0);
            match seen.iter().map(|row| row.tenant_id).max() {
                Some(last) => after = last,
                None => return Ok(noted),
            }
        }
    }

    /// Forgets days of more than 400 days ago, 10,000 at most. Returns how many went: call again while there are any.
    pub async fn prune_usage(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut rows = 0;
        for statement in [OLD_DAYS, OLD_SERVED_DAYS] {
            let values = vec![(now - KEPT).date_naive().into(), PRUNED_AT_ONCE.into()];
            rows += sql::execute(self.db(), statement, values).await?;
        }
        Ok(rows)
    }
}

/// In order of the tenants, as all who write several of these rows.
const ROLL_UP: &str = "
    INSERT INTO usage_days (tenant_id, day, counted_at, domains, mode_none, mode_testing, mode_enforce)
    SELECT tenant_id, $3, $4, domains, mode_none, mode_testing, mode_enforce
    FROM domain_counts WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2
    ON CONFLICT (tenant_id, day) DO UPDATE SET counted_at = excluded.counted_at, domains = excluded.domains,
        mode_none = excluded.mode_none, mode_testing = excluded.mode_testing, mode_enforce = excluded.mode_enforce
    RETURNING tenant_id";

const OLD_DAYS: &str = "
    DELETE FROM usage_days WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM usage_days WHERE day < $1 ORDER BY day LIMIT $2))";

const OLD_SERVED_DAYS: &str = "
    DELETE FROM domain_served_days WHERE domain_id = ANY (ARRAY(
        SELECT domain_id FROM domain_served_days WHERE day < $1 ORDER BY day LIMIT $2))";

/// Whoever writes the row first on a day counts the domain; who comes at the same time waits for that, and does not. What
/// has counted already is left out before anything is locked.
const NEWLY_SERVED: &str = "
    INSERT INTO domain_served_days AS old (domain_id, tenant_id, day)
    SELECT l.domain_id, l.tenant_id, max(l.day)
    FROM unnest($1::uuid[], $2::uuid[], $3::date[]) AS l (domain_id, tenant_id, day)
    LEFT JOIN domain_served_days k ON k.domain_id = l.domain_id
    WHERE k.day IS NULL OR k.day < l.day
    GROUP BY l.domain_id, l.tenant_id ORDER BY l.domain_id
    ON CONFLICT (domain_id) DO UPDATE SET day = excluded.day WHERE old.day < excluded.day
    RETURNING tenant_id, day";

const ADD: &str = "
    INSERT INTO usage_days AS old (tenant_id, day, served_domains, policy_fetches)
    SELECT * FROM unnest($1::uuid[], $2::date[], $3::bigint[], $4::bigint[]) AS l (tenant_id, day, domains, fetches)
    ORDER BY l.tenant_id, l.day
    ON CONFLICT (tenant_id, day) DO UPDATE SET served_domains = old.served_domains + excluded.served_domains,
        policy_fetches = old.policy_fetches
            + LEAST(excluded.policy_fetches, 9223372036854775807 - old.policy_fetches)";

/// Adds up what an edge reports, in the transaction in which the ledger takes it. A line counts for the day on which it
/// was last served, so what was served shortly before midnight may count for the day after.
pub(crate) async fn add_served(db: &impl ConnectionTrait, lines: &[ServedLine]) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let day = |line: &ServedLine| line.last_served_at.date_naive();
    let mut days: BTreeMap<(Uuid, NaiveDate), (i64, i64)> = BTreeMap::new();
    for line in lines {
        let requests = i64::try_from(line.requests).unwrap_or(i64::MAX);
        let (_, fetches) = days.entry((line.tenant_id.as_uuid(), day(line))).or_default();
        *fetches = fetches.saturating_add(requests);
    }
    let domains: Vec<Uuid> = lines.iter().map(|line| line.domain_id.as_uuid()).collect();
    let tenants: Vec<Uuid> = lines.iter().map(|line| line.tenant_id.as_uuid()).collect();
    let served: Vec<NaiveDate> = lines.iter().map(day).collect();
    let newly = sql::all::<NewlyServed>(db, NEWLY_SERVED, vec![domains.into(), tenants.into(), served.into()]).await?;
    for row in newly {
        days.entry((row.tenant_id, row.day)).or_default().0 += 1;
    }
    let values = vec![
        days.keys().map(|(tenant, _)| *tenant).collect::<Vec<_>>().into(),
        days.keys().map(|(_, day)| *day).collect::<Vec<_>>().into(),
        days.values().map(|(domains, _)| *domains).collect::<Vec<_>>().into(),
        days.values().map(|(_, fetches)| *fetches).collect::<Vec<_>>().into(),
    ];
    sql::execute(db, ADD, values).await?;
    Ok(())
}
