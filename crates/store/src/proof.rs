//! What `enforce` is proven by: the looks at the MX hosts over days, and what verified reports say.

use chrono::{Days, NaiveDate, TimeDelta};
use mtasts_model::{
    DomainId, HostName, TenantId, Timestamp,
    lifecycle::MxSeen,
    readiness::{MxDay, REPORT_DAYS, ReportSums},
};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::{Store, StoreError, sql, stored::At};

/// How long looks are remembered.
pub const MX_HISTORY_KEPT: TimeDelta = TimeDelta::days(60);

/// The most that one transaction forgets.
const PRUNED_AT_ONCE: i64 = 2_000;

/// The proof of one domain, beside its latest look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// The looks of the last 60 days at the hosts that are MX hosts now.
    pub history: Vec<MxDay>,
    /// Since when a policy in another mode than `none` has been published without a break.
    pub published_since: Option<Timestamp>,
    /// What verified reports of the last days say.
    pub reports: ReportSums,
}

/// One host on one day, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxDayView {
    /// Which day (UTC).
    pub day: NaiveDate,
    /// The looks.
    pub looks: MxDay,
    /// Why it last failed on that day: a stable word and a sentence.
    pub failure: Option<(String, String)>,
}

#[derive(Debug, FromQueryResult)]
struct DayRow {
    host: String,
    day: NaiveDate,
    first_seen_at: Timestamp,
    last_seen_at: Timestamp,
    last_failed_at: Option<Timestamp>,
    failure: Option<String>,
    message: Option<String>,
}

#[derive(Debug, FromQueryResult)]
struct SumsRow {
    good: i64,
    bad: i64,
    reporters: i64,
    published_since: Option<Timestamp>,
}

/// Notes a look: one row for each host and day, whatever the number of looks. It counts at the time at which each host was
/// connected to: one look that several steps, or domains, go by stays one.
pub(crate) async fn note_look(
    db: &impl ConnectionTrait,
    (tenant, domain): (TenantId, DomainId),
    seen: &MxSeen,
) -> Result<(), StoreError> {
    if seen.hosts.is_empty() {
        return Ok(());
    }
    // A host that stands in two MX records is looked at once for each; it fails if either does.
    let mut hosts: Vec<_> = seen.hosts.iter().collect();
    hosts.sort_by(|a, b| (&a.host, a.failure.is_none()).cmp(&(&b.host, b.failure.is_none())));
    hosts.dedup_by(|a, b| a.host == b.host);
    let names: Vec<_> = hosts.iter().map(|mx| mx.host.to_string()).collect();
    // An array of texts cannot have nulls here; a failure always has a code.
    let (codes, messages): (Vec<_>, Vec<_>) = hosts
        .iter()
        .map(|mx| {
            mx.failure.as_ref().map_or_else(Default::default, |failure| (failure.code.clone(), failure.message.clone()))
        })
        .unzip();
    let times: Vec<Timestamp> = hosts.iter().map(|mx| seen.looked_at(mx)).collect();
    let sql = "INSERT INTO mx_days AS old (domain_id, tenant_id, day, host, first_seen_at, last_seen_at,
            last_failed_at, failure, message)
        SELECT $1, $2, (at AT TIME ZONE 'UTC')::date, host, at, at,
            CASE WHEN failure <> '' THEN at END, NULLIF(failure, ''),
            CASE WHEN failure <> '' THEN message END
        FROM unnest($3::timestamptz[], $4::text[], $5::text[], $6::text[]) AS looks (at, host, failure, message)
        ON CONFLICT (domain_id, day, host) DO UPDATE SET
            first_seen_at = LEAST(old.first_seen_at, excluded.first_seen_at),
            last_seen_at = GREATEST(old.last_seen_at, excluded.last_seen_at),
            last_failed_at = GREATEST(old.last_failed_at, excluded.last_failed_at),
            failure = COALESCE(excluded.failure, old.failure), message = COALESCE(excluded.message, old.message)";
    let values = vec![
        domain.as_uuid().into(),
        tenant.as_uuid().into(),
        times.into(),
        names.into(),
        codes.into(),
        messages.into(),
    ];
    sql::execute(db, sql, values).await?;
    Ok(())
}

/// Days of one domain, newest first. `hosts`: those only, if they are named.
async fn days(
    db: &impl ConnectionTrait,
    domain: DomainId,
    hosts: Option<Vec<String>>,
    now: Timestamp,
) -> Result<Vec<MxDayView>, StoreError> {
    let sql = "SELECT host, day, first_seen_at, last_seen_at, last_failed_at, failure, message FROM mx_days
        WHERE domain_id = $1 AND day > $2 AND ($3::text[] IS NULL OR host = ANY ($3)) ORDER BY day DESC, host";
    let oldest = (now - MX_HISTORY_KEPT).date_naive();
    let rows = sql::all::<DayRow>(db, sql, vec![domain.as_uuid().into(), oldest.into(), hosts.into()]).await?;
    let at = At { table: "mx_days", row: domain.as_uuid() };
    rows.into_iter()
        .map(|row| {
            let host = HostName::parse(&row.host).map_err(|error| at.unreadable("host", error))?;
            let (first_seen_at, last_seen_at) = (row.first_seen_at, row.last_seen_at);
            Ok(MxDayView {
                day: row.day,
                looks: MxDay { host, first_seen_at, last_seen_at, last_failed_at: row.last_failed_at },
                failure: row.failure.zip(row.message),
            })
        })
        .collect()
}

/// The proof of one domain: rows of this domain alone, and of a few days.
pub(crate) async fn of(
    db: &impl ConnectionTrait,
    (tenant, domain): (TenantId, DomainId),
    seen: Option<&MxSeen>,
    now: Timestamp,
) -> Result<Proof, StoreError> {
    let hosts: Vec<_> = seen.iter().flat_map(|seen| &seen.hosts).map(|mx| mx.host.to_string()).collect();
    let history = days(db, domain, Some(hosts), now).await?.into_iter().map(|day| day.looks).collect();
    let (reports, published_since) = sums(db, (tenant, domain), now).await?;
    Ok(Proof { history, published_since, reports })
}

/// Reports of today and of as many days before as are summed up. Only verified ones: anybody can send the others.
async fn sums(
    db: &impl ConnectionTrait,
    (tenant, domain): (TenantId, DomainId),
    now: Timestamp,
) -> Result<(ReportSums, Option<Timestamp>), StoreError> {
    let sql = "SELECT
        (SELECT COALESCE(sum(good), 0)::bigint FROM report_days WHERE tenant_id = $1 AND domain_id = $2
            AND kind = 'tls-rpt' AND dimension = 'total' AND day >= $3 AND grade = 'verified') AS good,
        (SELECT COALESCE(sum(bad), 0)::bigint FROM report_days WHERE tenant_id = $1 AND domain_id = $2
            AND kind = 'tls-rpt' AND dimension = 'total' AND day >= $3 AND grade = 'verified') AS bad,
        (SELECT count(DISTINCT value) FROM report_days WHERE tenant_id = $1 AND domain_id = $2
            AND kind = 'tls-rpt' AND dimension = 'organization' AND day >= $3 AND grade = 'verified') AS reporters,
        (SELECT min(published_at) FROM policy_versions WHERE domain_id = $2 AND seq > COALESCE(
            (SELECT max(seq) FROM policy_versions WHERE domain_id = $2 AND mode = 'none'), 0)) AS published_since";
    let first = now.date_naive().checked_sub_days(Days::new(u64::from(REPORT_DAYS))).unwrap_or_default();
    let values = vec![tenant.as_uuid().into(), domain.as_uuid().into(), first.into()];
    let row = sql::one::<SumsRow>(db, sql, values).await?.ok_or(StoreError::NotFound)?;
    let at = At { table: "report_days", row: domain.as_uuid() };
    let reports = ReportSums {
        good: at.number("good", row.good)?,
        bad: at.number("bad", row.bad)?,
        reporters: at.number("reporters", row.reporters)?,
    };
    Ok((reports, row.published_since))
}

impl crate::TenantTx {
    /// What `enforce` is proven by, for a domain whose latest look was this.
    pub async fn proof(&self, domain: DomainId, seen: Option<&MxSeen>, now: Timestamp) -> Result<Proof, StoreError> {
        of(self.db(), (self.tenant(), domain), seen, now).await
    }

    /// The looks at a domain's MX hosts by day, newest first: of 60 days.
    pub async fn mx_history(&self, domain: DomainId, now: Timestamp) -> Result<Vec<MxDayView>, StoreError> {
        days(self.db(), domain, None, now).await
    }
}

const OLD_DAYS: &str = "
    DELETE FROM mx_days WHERE (domain_id, day, host) IN (
        SELECT domain_id, day, host FROM mx_days WHERE day < $1 ORDER BY day LIMIT $2)";

impl Store {
    /// Forgets looks that are 60 days old: 2,000 rows at most. Returns how many went: call again while there are any.
    pub async fn prune_mx_history(&self, now: Timestamp) -> Result<u64, StoreError> {
        let before = (now - MX_HISTORY_KEPT).date_naive();
        sql::execute(self.db(), OLD_DAYS, vec![before.into(), PRUNED_AT_ONCE.into()]).await
    }
}
