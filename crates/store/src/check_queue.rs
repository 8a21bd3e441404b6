//! Looks at any domain, as workers see them: the claim under a fencing token, what came of it, and the pace at which
//! all of them together connect to a host.

use std::{net::IpAddr, time::Duration};

use mtasts_model::{CheckId, MailDomain, TenantId, Timestamp, check::CheckWanted};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    check::{CHECKS_KEPT, first_id},
    sql,
    stored::At,
};

/// The most that one transaction forgets.
const PRUNED_AT_ONCE: i64 = 2_000;

/// A check that a worker has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueCheck {
    /// Which.
    pub id: CheckId,
    /// Whose.
    pub tenant: TenantId,
    /// The fencing token.
    pub token: i64,
    /// Of which domain.
    pub domain: MailDomain,
    /// What is asked for.
    pub wanted: CheckWanted,
    /// How often it was claimed, this time included.
    pub attempts: u32,
}

/// What came of a check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckOutcome {
    /// The worst that was found.
    pub severity: Option<&'static str>,
    /// The inspector's report.
    pub report: Option<Json>,
    /// The policy and its records.
    pub generated: Option<Json>,
    /// Why there is not what was asked for: a stable word and a sentence.
    pub problem: Option<(&'static str, String)>,
}

#[derive(Debug, FromQueryResult)]
struct Claimed {
    id: Uuid,
    tenant_id: Uuid,
    lease_token: i64,
    domain: String,
    wanted: Json,
    attempts: i32,
}

impl TryFrom<Claimed> for DueCheck {
    type Error = StoreError;

    fn try_from(row: Claimed) -> Result<Self, StoreError> {
        let at = At { table: "checks", row: row.id };
        Ok(Self {
            id: CheckId::from_uuid(row.id),
            tenant: TenantId::from_uuid(row.tenant_id),
            token: row.lease_token,
            domain: at.mail_domain("domain", &row.domain)?,
            wanted: at.json("wanted", row.wanted)?,
            attempts: at.number("attempts", row.attempts)?,
        })
    }
}

/// The longest due first, of each tenant no more than `$4` beside those that are under way, whichever worker has them.
/// What is under way is not due before its lease ends. Nobody waits for anybody's locks.
const CLAIM: &str = "
    WITH under_way AS (
        SELECT tenant_id, count(*) AS held FROM checks WHERE finished_at IS NULL AND due_at > $1 GROUP BY tenant_id
    ), near AS MATERIALIZED (
        SELECT id, tenant_id, due_at FROM checks WHERE finished_at IS NULL AND due_at <= $1 ORDER BY due_at LIMIT 1000
    ), ranked AS (
        SELECT n.id, n.due_at,
            row_number() OVER (PARTITION BY n.tenant_id ORDER BY n.due_at) + COALESCE(u.held, 0) AS place
        FROM near n LEFT JOIN under_way u ON u.tenant_id = n.tenant_id
    ), chosen AS MATERIALIZED (
        SELECT ARRAY(SELECT id FROM ranked WHERE place <= $4 ORDER BY due_at LIMIT $2) AS ids
    ), due AS MATERIALIZED (
        SELECT id FROM checks
        WHERE id = ANY ((SELECT ids FROM chosen)::uuid[]) AND finished_at IS NULL AND due_at <= $1
        FOR UPDATE SKIP LOCKED
    )
    UPDATE checks c SET due_at = $3, lease_token = nextval('lease_tokens'), attempts = c.attempts + 1,
        started_at = COALESCE(c.started_at, $1)
    FROM due WHERE c.id = due.id
    RETURNING c.id, c.tenant_id, c.lease_token, c.domain, c.wanted, c.attempts";

const FINISH: &str = "
    UPDATE checks SET finished_at = $3, lease_token = NULL, severity = $4, report = $5, generated = $6, code = $7,
        message = $8
    WHERE id = $1 AND lease_token = $2";

const OLD: &str = "DELETE FROM checks WHERE id = ANY (ARRAY(SELECT id FROM checks WHERE id < $1 ORDER BY id LIMIT $2))";

/// Takes a token, if there is one (GCRA): `$3` seconds bring one back, `$4` is the burst.
const PACE: &str = "
    INSERT INTO probe_paces AS old (host, full_at) VALUES ($1::inet, $2::timestamptz + $3 * interval '1 second')
    ON CONFLICT (host) DO UPDATE SET full_at = GREATEST(old.full_at, $2) + $3 * interval '1 second'
    WHERE GREATEST(old.full_at, $2) + $3 * interval '1 second' <= $2 + $4 * $3 * interval '1 second'
    RETURNING host";

const WAIT: &str = "
    SELECT EXTRACT(EPOCH FROM full_at - $2::timestamptz)::float8 AS until_full FROM probe_paces WHERE host = $1::inet";

const RESTED: &str = "
    DELETE FROM probe_paces WHERE host = ANY (ARRAY(
        SELECT host FROM probe_paces WHERE full_at < $1 ORDER BY full_at LIMIT $2))";

impl Store {
    /// Claims up to `limit` checks until `until`, and of no tenant so many that it has more than `per_tenant` under way.
    pub async fn claim_checks(
        &self,
        limit: u32,
        per_tenant: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<DueCheck>, StoreError> {
        let values = vec![now.into(), i64::from(limit).into(), until.into(), i64::from(per_tenant).into()];
        let rows = sql::all::<Claimed>(self.db(), CLAIM, values).await?;
        rows.into_iter().map(DueCheck::try_from).collect()
    }

    /// Records what came of a check. [`StoreError::Fenced`] when another worker has it by now.
    pub async fn finish_check(
        &self,
        check: &DueCheck,
        outcome: CheckOutcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (code, message) = outcome.problem.unzip();
        let values = vec![
            check.id.as_uuid().into(),
            check.token.into(),
            now.into(),
            outcome.severity.into(),
            outcome.report.into(),
            outcome.generated.into(),
            code.into(),
            message.into(),
        ];
        if sql::execute(self.db(), FINISH, values).await? == 0 { Err(StoreError::Fenced) } else { Ok(()) }
    }

    /// Takes part in the pace of all workers: `per_minute` connections to this host, a third of them at once. The inner
    /// error is how long to wait before asking again.
    pub async fn pace_probe(
        &self,
        host: IpAddr,
        per_minute: u32,
        now: Timestamp,
    ) -> Result<Result<(), Duration>, StoreError> {
        let interval = 60.0 / f64::from(per_minute.max(1));
        let burst = f64::from((per_minute / 3).max(1));
        let (host, values) = (host.to_string(), |more: &[f64]| -> Vec<sea_orm::Value> {
            let mut values: Vec<sea_orm::Value> = vec![host.to_string().into(), now.into()];
            values.extend(more.iter().map(|number| sea_orm::Value::from(*number)));
            values
        });
        if sql::row(self.db(), PACE, values(&[interval, burst])).await?.is_some() {
            return Ok(Ok(()));
        }
        let row = sql::row(self.db(), WAIT, vec![host.into(), now.into()]).await?;
        let until_full: f64 = row.map(|row| row.try_get("", "until_full")).transpose()?.unwrap_or_default();
        let wait = (until_full + interval - burst * interval).clamp(0.05, 60.0);
        Ok(Err(Duration::from_secs_f64(wait)))
    }

    /// Forgets checks that are a week old, and paces of hosts that have rested: 2,000 rows of each at most. Returns how
    /// many went: call again while there are any.
    pub async fn prune_checks(&self, now: Timestamp) -> Result<u64, StoreError> {
        let before = first_id(now - CHECKS_KEPT);
        let old = sql::execute(self.db(), OLD, vec![before.into(), PRUNED_AT_ONCE.into()]).await?;
        Ok(old + sql::execute(self.db(), RESTED, vec![now.into(), PRUNED_AT_ONCE.into()]).await?)
    }
}
