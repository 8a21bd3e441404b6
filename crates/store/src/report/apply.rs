//! Puts in what was read of arrivals: all of it or nothing, and each report once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::NaiveDate;
use mtasts_model::{ArrivalId, DomainId, ReportGrade, ReportId, ReportKind, TenantId, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{
    NewReport, ReadArrival, figure,
    known::{Decision, Known},
    rows::{AT_ONCE, DmarcRow, INSERT_DMARC, INSERT_REPORTS, INSERT_TLS, ReportRow, TlsRow, pieces, text},
    sums::{OTHERS, StoredReport, Sums},
};
use crate::{Channel, Store, StoreError, nudge, report_alert, schedule, sql};

/// Kinds of failure that are kept of a domain; more count as [`OTHERS`].
const KINDS: i64 = 300;
/// Organisations that are kept of a domain and a kind of report; more count as [`OTHERS`].
const REPORTERS: i64 = 500;
/// Whoever has not been heard of for longer is news to the planner.
const QUIET_DAYS: i64 = 3;

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Which.
    pub arrival: ArrivalId,
    /// Reports that were put in; None: another worker has the arrival by now, and nothing of it was put in.
    pub new: Option<u32>,
    /// Reports that were there already.
    pub repeated: u32,
}

impl Store {
    /// Puts in what was read of these arrivals, in one transaction. Only one transaction at a time puts in reports of a
    /// tenant, so that sums, limits and copies are exact. `read_by` is the version of the service.
    pub async fn apply_arrivals(
        &self,
        arrivals: Vec<ReadArrival>,
        read_by: &str,
        now: Timestamp,
    ) -> Result<Vec<Applied>, StoreError> {
        let tx = self.begin().await?;
        let held = hold(&tx, &arrivals).await?;
        lock_tenants(&tx, &arrivals).await?;
        let reports = || arrivals.iter().filter(|read| held.contains(&read.arrival.id)).flat_map(|read| &read.reports);
        let known = Known::of(&tx, reports()).await?;
        let (outcomes, accepted) = decide(known, &tx, arrivals, &held, now).await?;
        let news = News::of(&accepted.0, &outcomes);
        put_in(&tx, accepted, now).await?;
        news.tell(&tx, now).await?;
        finish(&tx, &outcomes, read_by, now).await?;
        tx.commit().await?;
        Ok(outcomes.into_iter().map(|outcome| outcome.applied).collect())
    }
}

/// Those that are still this worker's; nobody else can take them until the end of the transaction.
async fn hold(db: &impl ConnectionTrait, arrivals: &[ReadArrival]) -> Result<HashSet<ArrivalId>, StoreError> {
    #[derive(FromQueryResult)]
    struct Held {
        id: Uuid,
    }
    let rows: Vec<Json> = arrivals
        .iter()
        .map(|read| json!({ "arrival": read.arrival.id.as_uuid(), "token": read.arrival.token }))
        .collect();
    let sql = "SELECT a.id FROM jsonb_to_recordset($1::jsonb) AS q (arrival uuid, token bigint)
        JOIN report_arrivals a ON a.id = q.arrival AND a.lease_token = q.token AND a.state = 'waiting'
        ORDER BY a.id FOR UPDATE OF a";
    let mut held = HashSet::new();
    for piece in pieces(&rows)? {
        let rows = sql::all::<Held>(db, sql, vec![piece.into()]).await?;
        held.extend(rows.into_iter().map(|row| ArrivalId::from_uuid(row.id)));
    }
    Ok(held)
}

async fn lock_tenants(db: &impl ConnectionTrait, arrivals: &[ReadArrival]) -> Result<(), StoreError> {
    let tenants: BTreeSet<TenantId> =
        arrivals.iter().flat_map(|read| read.reports.iter().map(|report| report.tenant)).collect();
    for tenant in tenants {
        let sql = "SELECT pg_advisory_xact_lock(hashtextextended('mtasts reports ' || $1::text, 0))";
        sql::row(db, sql, vec![tenant.as_uuid().to_string().into()]).await?;
    }
    Ok(())
}

/// What somebody has to look at afterwards, by domain: days whose sums have changed, arrivals that could not be read.
#[derive(Default)]
struct News(BTreeMap<(DomainId, TenantId), DomainNews>);

#[derive(Default)]
struct DomainNews {
    days: BTreeSet<NaiveDate>,
    unread: Vec<(ArrivalId, String)>,
}

impl News {
    fn of(accepted: &[Accepted], outcomes: &[Outcome]) -> Self {
        let mut news = Self::default();
        for Accepted { report, .. } in accepted.iter().filter(|accepted| accepted.report.counts) {
            news.0.entry((report.domain, report.tenant)).or_default().days.insert(report.day);
        }
        for Outcome { applied, at, problem, .. } in outcomes {
            if let (Some(_), Some((reason, _))) = (applied.new, problem) {
                news.0.entry(*at).or_default().unread.push((applied.arrival, text(reason, 100)));
            }
        }
        news
    }

    /// In the order of the domains, so that two workers never wait for each other.
    async fn tell(self, tx: &DatabaseTransaction, now: Timestamp) -> Result<(), StoreError> {
        for ((domain, tenant), DomainNews { days, unread }) in self.0 {
            // The newest day is news if any of them is.
            if let Some(day) = days.last() {
                report_alert::touched(tx, domain, tenant, *day, now).await?;
            }
            for (arrival, reason) in unread {
                report_alert::quarantined(tx, (domain, tenant), (arrival, &reason), now).await?;
            }
        }
        Ok(())
    }
}

/// An arrival that is done with.
struct Outcome {
    applied: Applied,
    /// To whose address it was sent.
    at: (DomainId, TenantId),
    token: i64,
    problem: Option<(String, String)>,
}

/// A report that is put in, and what it came in.
struct Accepted {
    report: NewReport,
    arrival: super::DueArrival,
}

async fn decide(
    mut known: Known,
    db: &impl ConnectionTrait,
    arrivals: Vec<ReadArrival>,
    held: &HashSet<ArrivalId>,
    now: Timestamp,
) -> Result<(Vec<Outcome>, (Vec<Accepted>, BTreeSet<ReportId>)), StoreError> {
    let mut outcomes = Vec::with_capacity(arrivals.len());
    let mut accepted: Vec<Accepted> = Vec::new();
    let mut displaced = BTreeSet::new();
    for ReadArrival { arrival, problem, reports } in arrivals {
        let mut outcome = Outcome {
            applied: Applied { arrival: arrival.id, new: None, repeated: 0 },
            at: (arrival.domain, arrival.tenant),
            token: arrival.token,
            problem,
        };
        if held.contains(&arrival.id) {
            let mut new = 0;
            for report in reports {
                match known.decide(&report, arrival.id) {
                    Decision::New { displaced: others } => {
                        new += 1;
                        displaced.extend(others);
                        accepted.push(Accepted { report, arrival: arrival.clone() });
                    }
                    Decision::Repeated => outcome.applied.repeated += 1,
                    Decision::Again => {}
                }
            }
            outcome.applied.new = Some(new);
        }
        outcomes.push(outcome);
    }
    // A copy that came in this very transaction, and a better one behind it, leaves nothing.
    accepted.retain(|accepted| !displaced.remove(&accepted.report.id));
    known.write(db, now).await?;
    Ok((outcomes, (accepted, displaced)))
}

async fn put_in(
    tx: &DatabaseTransaction,
    (mut accepted, displaced): (Vec<Accepted>, BTreeSet<ReportId>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut sums = Sums::default();
    for stored in take_out(tx, &displaced).await? {
        sums.take_back(&stored);
    }
    sums.make_room(tx, accepted.iter().map(|accepted| &accepted.report)).await?;
    note_kinds(tx, &accepted, now).await?;
    note_reporters(tx, &accepted, now).await?;
    let mut reports = Vec::new();
    let (mut tls, mut dmarc) = (Vec::new(), Vec::new());
    for Accepted { report, arrival } in &mut accepted {
        let applied = sums.add(report);
        reports.push(ReportRow::of(report, arrival, applied));
        for (seq, row) in std::mem::take(&mut report.tls).iter().enumerate() {
            tls.push(TlsRow::of(report, seq, row));
            if tls.len() >= AT_ONCE {
                insert(tx, INSERT_TLS, &mut tls).await?;
            }
        }
        for (seq, row) in std::mem::take(&mut report.dmarc).into_iter().enumerate() {
            dmarc.push(DmarcRow::of(report, seq, row));
            if dmarc.len() >= AT_ONCE {
                insert(tx, INSERT_DMARC, &mut dmarc).await?;
            }
        }
        // Bodies are large: few at a time.
        if reports.len() >= 10 {
            insert(tx, INSERT_REPORTS, &mut reports).await?;
        }
    }
    insert(tx, INSERT_REPORTS, &mut reports).await?;
    insert(tx, INSERT_TLS, &mut tls).await?;
    insert(tx, INSERT_DMARC, &mut dmarc).await?;
    sums.write(tx).await
}

async fn insert<T: serde::Serialize>(tx: &DatabaseTransaction, sql: &str, rows: &mut Vec<T>) -> Result<(), StoreError> {
    for piece in pieces(rows)? {
        sql::execute(tx, sql, vec![piece.into()]).await?;
    }
    rows.clear();
    Ok(())
}

/// Deletes reports that better copies displace, and says what they had added.
async fn take_out(db: &impl ConnectionTrait, displaced: &BTreeSet<ReportId>) -> Result<Vec<StoredReport>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        domain_id: Uuid,
        kind: String,
        day: NaiveDate,
        grade: String,
        applied: Option<Json>,
    }
    if displaced.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = displaced.iter().map(|report| report.as_uuid()).collect();
    for table in ["tls_results", "dmarc_results"] {
        let sql = format!("DELETE FROM {table} WHERE report_id = ANY ($1::uuid[])");
        sql::execute(db, &sql, vec![ids.clone().into()]).await?;
    }
    let sql =
        "DELETE FROM reports WHERE id = ANY ($1::uuid[]) RETURNING tenant_id, domain_id, kind, day, grade, applied";
    let rows = sql::all::<Row>(db, sql, vec![ids.into()]).await?;
    let stored = |row: Row| StoredReport {
        tenant: TenantId::from_uuid(row.tenant_id),
        domain: DomainId::from_uuid(row.domain_id),
        kind: row.kind,
        day: row.day,
        grade: row.grade,
        applied: row.applied.unwrap_or_default(),
    };
    Ok(rows.into_iter().map(stored).collect())
}

/// Kinds of failure, and since when each is known. What a displaced copy has noted here stays: these say "seen", and do
/// not count.
async fn note_kinds(db: &impl ConnectionTrait, accepted: &[Accepted], now: Timestamp) -> Result<(), StoreError> {
    #[derive(Default)]
    struct Kind {
        days: Option<(NaiveDate, NaiveDate)>,
        sessions: i64,
        verified: bool,
    }
    let mut kinds: BTreeMap<(DomainId, TenantId, String, String), Kind> = BTreeMap::new();
    for Accepted { report, .. } in accepted.iter().filter(|accepted| accepted.report.counts) {
        for row in report.tls.iter().filter(|row| row.counts) {
            let mx = row.receiving_mx.as_deref().unwrap_or_default();
            let key = (report.domain, report.tenant, text(&row.result, 100), text(mx, 255));
            let kind = kinds.entry(key).or_default();
            let (first, last) = kind.days.unwrap_or((report.day, report.day));
            kind.days = Some((first.min(report.day), last.max(report.day)));
            kind.sessions = kind.sessions.saturating_add(figure(row.sessions));
            kind.verified |= report.grade == ReportGrade::Verified;
        }
    }
    let rows: Vec<Json> = kinds
        .into_iter()
        .filter_map(|((domain, tenant, result, mx), kind)| {
            let (first, last) = kind.days?;
            Some(json!({ "domain": domain.as_uuid(), "tenant": tenant.as_uuid(), "result": result, "mx": mx,
                "first": first, "last": last, "sessions": kind.sessions, "verified": kind.verified }))
        })
        .collect();
    // Beyond the limit a kind that is new is put together with all others that are, under one name.
    let sql = "
        WITH q AS MATERIALIZED (
            SELECT q.*, EXISTS (SELECT FROM failure_kinds k
                    WHERE k.domain_id = q.domain AND k.result = q.result AND k.receiving_mx = q.mx) AS known
            FROM jsonb_to_recordset($1::jsonb) AS q (domain uuid, tenant uuid, result text, mx text, first date, last date,
                sessions bigint, verified boolean)),
        there AS MATERIALIZED (
            SELECT d.domain, (SELECT count(*) FROM failure_kinds k WHERE k.domain_id = d.domain) AS number
            FROM (SELECT DISTINCT domain FROM q WHERE NOT known) d),
        placed AS (
            SELECT q.*, known OR there.number + row_number() OVER (PARTITION BY q.domain, known ORDER BY sessions DESC) <= $3
                AS has_room
            FROM q LEFT JOIN there USING (domain))
        INSERT INTO failure_kinds AS k (tenant_id, domain_id, result, receiving_mx, first_day, last_day, first_seen_at,
            last_seen_at, sessions, verified)
        SELECT tenant, domain, CASE WHEN has_room THEN result ELSE $4 END AS kept_result,
            CASE WHEN has_room THEN mx ELSE $4 END AS kept_mx,
            min(first), max(last), $2, $2, LEAST(sum(sessions), 1000000000000)::bigint, bool_or(verified)
        FROM placed GROUP BY tenant, domain, kept_result, kept_mx ORDER BY domain, kept_result, kept_mx
        ON CONFLICT (domain_id, result, receiving_mx) DO UPDATE SET
            first_day = LEAST(k.first_day, EXCLUDED.first_day), last_day = GREATEST(k.last_day, EXCLUDED.last_day),
            last_seen_at = EXCLUDED.last_seen_at, verified = k.verified OR EXCLUDED.verified,
            sessions = LEAST(k.sessions + EXCLUDED.sessions, 1000000000000000)";
    for piece in pieces(&rows)? {
        sql::execute(db, sql, vec![piece.into(), now.into(), KINDS.into(), OTHERS.into()]).await?;
    }
    Ok(())
}

/// Who reports, and on which days. A domain of which nobody was heard for days is looked at again.
async fn note_reporters(tx: &DatabaseTransaction, accepted: &[Accepted], now: Timestamp) -> Result<(), StoreError> {
    #[derive(FromQueryResult)]
    struct News {
        domain: Uuid,
    }
    let mut days: BTreeMap<(DomainId, TenantId, ReportKind, String, bool), BTreeSet<NaiveDate>> = BTreeMap::new();
    for Accepted { report, .. } in accepted.iter().filter(|accepted| accepted.report.counts) {
        let verified = report.grade == ReportGrade::Verified;
        let key = (report.domain, report.tenant, report.kind, text(&report.organization, 255), verified);
        days.entry(key).or_default().insert(report.day);
    }
    let since = now.date_naive() - chrono::TimeDelta::days(QUIET_DAYS);
    let fresh: HashMap<DomainId, Uuid> = days
        .iter()
        .filter(|((_, _, kind, ..), days)| *kind == ReportKind::TlsRpt && days.last().is_some_and(|day| *day >= since))
        .map(|((domain, ..), _)| (*domain, domain.as_uuid()))
        .collect();
    let quiet = "SELECT q.domain FROM unnest($1::uuid[]) AS q (domain)
        WHERE NOT EXISTS (SELECT FROM reporters r
            WHERE r.domain_id = q.domain AND r.kind = 'tls-rpt' AND r.last_day >= $2) ORDER BY 1";
    let fresh: Vec<Uuid> = fresh.into_values().collect();
    let news = if fresh.is_empty() {
        Vec::new()
    } else {
        sql::all::<News>(tx, quiet, vec![fresh.into(), since.into()]).await?
    };
    let rows: Vec<Json> = days
        .into_iter()
        .filter_map(|((domain, tenant, kind, organization, verified), days)| {
            let (first, last) = (*days.first()?, *days.last()?);
            Some(json!({ "domain": domain.as_uuid(), "tenant": tenant.as_uuid(), "kind": kind.as_str(),
                "organization": organization, "verified": verified, "first": first, "last": last,
                "days": bitmap(last, &days) }))
        })
        .collect();
    // `days` counts back from `last_day`: the older of the two is moved by as many bits as there are days between them.
    let sql = "
        WITH q AS MATERIALIZED (
            SELECT q.*, EXISTS (SELECT FROM reporters r WHERE r.domain_id = q.domain AND r.kind = q.kind
                    AND r.organization = q.organization AND r.verified = q.verified) AS known
            FROM jsonb_to_recordset($1::jsonb) AS q (domain uuid, tenant uuid, kind text, organization text,
                verified boolean, first date, last date, days bigint)),
        there AS MATERIALIZED (
            SELECT d.*, (SELECT count(*) FROM reporters r WHERE r.domain_id = d.domain AND r.kind = d.kind
                    AND r.verified = d.verified) AS number
            FROM (SELECT DISTINCT domain, kind, verified FROM q WHERE NOT known) d),
        placed AS (
            SELECT q.*, known OR there.number
                + row_number() OVER (PARTITION BY q.domain, q.kind, q.verified, known ORDER BY organization) <= $3 AS has_room
            FROM q LEFT JOIN there USING (domain, kind, verified)),
        grouped AS (
            SELECT domain, tenant, kind, CASE WHEN has_room THEN organization ELSE $4 END AS organization, verified,
                min(first) AS first, max(last) AS last, bit_or(days) AS days
            FROM placed GROUP BY 1, 2, 3, 4, 5)
        INSERT INTO reporters AS r (tenant_id, domain_id, kind, organization, verified, first_day, last_day, days,
            last_seen_at)
        SELECT tenant, domain, kind, organization, verified, first, last, days, $2 FROM grouped
        ORDER BY domain, kind, organization, verified
        ON CONFLICT (domain_id, kind, organization, verified) DO UPDATE SET
            first_day = LEAST(r.first_day, EXCLUDED.first_day), last_day = GREATEST(r.last_day, EXCLUDED.last_day),
            last_seen_at = EXCLUDED.last_seen_at,
            days = CASE WHEN EXCLUDED.last_day >= r.last_day
                THEN EXCLUDED.days | CASE WHEN EXCLUDED.last_day - r.last_day < 64
                    THEN r.days << (EXCLUDED.last_day - r.last_day) ELSE 0 END
                ELSE r.days | CASE WHEN r.last_day - EXCLUDED.last_day < 64
                    THEN EXCLUDED.days << (r.last_day - EXCLUDED.last_day) ELSE 0 END END";
    for piece in pieces(&rows)? {
        sql::execute(tx, sql, vec![piece.into(), now.into(), REPORTERS.into(), OTHERS.into()]).await?;
    }
    for domain in &news {
        schedule::wake(tx, DomainId::from_uuid(domain.domain), now).await?;
    }
    if !news.is_empty() {
        nudge::notify(tx, &BTreeSet::from([Channel::Worker])).await?;
    }
    Ok(())
}

/// The days counted back from the last, which is bit 0.
fn bitmap(last: NaiveDate, days: &BTreeSet<NaiveDate>) -> i64 {
    days.iter().fold(0_i64, |bits, day| {
        let back = u32::try_from((last - *day).num_days()).unwrap_or(u32::MAX);
        bits | 1_i64.checked_shl(back).unwrap_or(0)
    })
}

async fn finish(
    db: &impl ConnectionTrait,
    outcomes: &[Outcome],
    read_by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows: Vec<Json> = outcomes
        .iter()
        .filter_map(|Outcome { applied, token, problem, .. }| {
            let new = applied.new?;
            let (reason, words) =
                problem.as_ref().map(|(reason, words)| (text(reason, 100), text(words, 1_000))).unzip();
            let state = if reason.is_some() { "quarantined" } else { "read" };
            Some(
                json!({ "arrival": applied.arrival.as_uuid(), "token": token, "new_state": state, "new_reason": reason,
                "new_problem": words, "new_reports": new, "new_repeated": applied.repeated }),
            )
        })
        .collect();
    let sql =
        "UPDATE report_arrivals a SET state = q.new_state, due_at = NULL, lease_token = NULL, reason = q.new_reason,
            problem = q.new_problem, reports = COALESCE(a.reports, 0) + q.new_reports,
            repeated = COALESCE(a.repeated, 0) + q.new_repeated, read_at = $2, read_by = $3
        FROM jsonb_to_recordset($1::jsonb) AS q (arrival uuid, token bigint, new_state text, new_reason text,
            new_problem text, new_reports integer, new_repeated integer)
        WHERE a.id = q.arrival AND a.lease_token = q.token";
    for piece in pieces(&rows)? {
        sql::execute(db, sql, vec![piece.into(), now.into(), read_by.into()]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_back_from_the_last_and_those_beyond_64_are_forgotten() {
        let last: NaiveDate = "2026-03-10".parse().unwrap();
        let day = |back: i64| last - chrono::TimeDelta::days(back);
        assert_eq!(bitmap(last, &BTreeSet::from([last, day(1), day(3)])), 0b1011);
        assert_eq!(bitmap(last, &BTreeSet::from([last, day(63)])), i64::MIN | 1);
        assert_eq!(bitmap(last, &BTreeSet::from([last, day(64), day(1000)])), 1);
    }
}
