//! One look at a domain's reports: what there is to tell, what was told, and the events of it, in one transaction.

use std::collections::BTreeSet;

use chrono::{NaiveDate, TimeDelta};
use mtasts_model::{AlertKind, ArrivalId, DomainId, EventData, ReportKind, TenantId, Timestamp, event::EventDomain};
use sea_orm::{DatabaseTransaction, FromQueryResult};
use uuid::Uuid;

use crate::{Channel, DomainState, ReportSettings, Store, StoreError, event, nudge, report_settings, sql, stored::At};

/// Days of sums that are looked at.
const DAYS: TimeDelta = TimeDelta::days(8);

/// A reporter that was not heard of for longer is of no interest any more.
const REPORTERS: TimeDelta = TimeDelta::days(40);

/// The most new kinds of failure, and reporters, that one look takes in.
const FAILURES_AT_ONCE: u32 = 50;
const REPORTERS_AT_ONCE: u32 = 500;

/// Sessions of a day that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct DaySessions {
    /// The day (UTC).
    pub day: NaiveDate,
    /// Sessions that were good.
    pub good: i64,
    /// Sessions that failed.
    pub bad: i64,
}

/// A kind of failure that was not told.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct FailureKind {
    /// Its result type.
    pub result: String,
    /// The MX host; empty: none is named.
    pub receiving_mx: String,
    /// Since when.
    pub first_day: NaiveDate,
    /// How many sessions.
    pub sessions: i64,
    /// Whether a verified report says so.
    pub verified: bool,
}

impl FailureKind {
    /// By what it is remembered.
    pub fn subject(&self) -> String {
        subject(&self.result, &self.receiving_mx)
    }
}

/// On which days somebody reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReporterDays {
    /// Reports of this kind.
    pub kind: ReportKind,
    /// Who.
    pub organization: String,
    /// The last day.
    pub last_day: NaiveDate,
    /// The days before, counted back from `last_day`, which is bit 0.
    pub days: u64,
}

/// Who was told to be silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentReporter {
    /// Reports of this kind.
    pub kind: ReportKind,
    /// Who.
    pub organization: String,
    /// The last day that it reported on.
    pub last_day: NaiveDate,
}

impl SilentReporter {
    /// By what it is remembered.
    pub fn subject(&self) -> String {
        subject(self.kind.as_str(), &self.organization)
    }
}

/// Arrivals that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// How many are not told.
    pub arrivals: u32,
    /// The newest.
    pub arrival: ArrivalId,
    /// What is wrong with it.
    pub reason: String,
}

/// All that a look needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertFacts {
    /// Which domain.
    pub domain: EventDomain,
    /// What its tenant wants.
    pub settings: ReportSettings,
    /// Its sessions of the last days, newest first, of the reports that count.
    pub days: Vec<DaySessions>,
    /// Whether its failure rate is told to be too high, and the day that said so; None: never told of.
    pub rate: Option<(bool, NaiveDate)>,
    /// Kinds of failure that are not told, those with a proof first.
    pub failures: Vec<FailureKind>,
    /// How many kinds of failure were told today.
    pub failures_told_today: u32,
    /// Who reported lately, of the reports that count: one entry for verified and one for unverified reports.
    pub reporters: Vec<ReporterDays>,
    /// Who is told to be silent.
    pub silent: Vec<SilentReporter>,
    /// What could not be read.
    pub quarantined: Option<Quarantined>,
    /// When that was last told.
    pub quarantine_told_at: Option<Timestamp>,
}

/// What is remembered of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertMemory {
    /// Of which kind.
    pub alert: AlertKind,
    /// Of what; empty: of the domain.
    pub subject: String,
    /// Whether it is so now.
    pub raised: bool,
    /// The day that says so.
    pub day: NaiveDate,
}

/// A look. The domain's place in the queue is locked until it ends; dropped, nothing was told.
pub struct AlertTx {
    store: Store,
    tx: DatabaseTransaction,
    tenant: TenantId,
    domain: EventDomain,
    quarantined: Option<Quarantined>,
    now: Timestamp,
    nudges: BTreeSet<Channel>,
}

impl std::fmt::Debug for AlertTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertTx").field("domain", &self.domain).finish_non_exhaustive()
    }
}

#[derive(Debug, FromQueryResult)]
struct QueueRow {
    tenant_id: Uuid,
    quarantined: i32,
    quarantined_arrival: Option<Uuid>,
    quarantined_reason: Option<String>,
}

#[derive(Debug, FromQueryResult)]
struct DomainRow {
    name: String,
    state: String,
}

#[derive(Debug, FromQueryResult)]
struct ReporterRow {
    kind: String,
    organization: String,
    last_day: NaiveDate,
    days: i64,
}

#[derive(Debug, FromQueryResult)]
struct ToldRow {
    alert: String,
    subject: String,
    raised: bool,
    day: NaiveDate,
    at: Timestamp,
}

const UNTOLD: &str = "
    SELECT k.result, k.receiving_mx, k.first_day, k.sessions, k.verified FROM failure_kinds k
    WHERE k.domain_id = $1 AND NOT EXISTS (
        SELECT FROM report_alerts a WHERE a.domain_id = $1 AND a.alert = 'failure_new'
            AND a.subject = left(k.result || chr(10) || k.receiving_mx, 600))
    ORDER BY k.verified DESC, k.sessions DESC, k.result, k.receiving_mx LIMIT $2";

/// Of one domain there are a few hundred at most, as there are kinds of failure.
const TOLD_TODAY: &str =
    "SELECT count(*) AS told FROM report_alerts WHERE domain_id = $1 AND alert = 'failure_new' AND at >= $2";

impl Store {
    /// Begins a look at a domain that is due; None when it is not any more, or another worker is at it. A domain that is
    /// gone is taken out of the queue.
    pub async fn alert_tx(&self, domain: DomainId, now: Timestamp) -> Result<Option<AlertTx>, StoreError> {
        let tx = self.begin().await?;
        let sql = "SELECT tenant_id, quarantined, quarantined_arrival, quarantined_reason FROM report_alert_queue
            WHERE domain_id = $1 AND due_at <= $2 FOR UPDATE SKIP LOCKED";
        let row = sql::one::<QueueRow>(&tx, sql, vec![domain.as_uuid().into(), now.into()]).await?;
        let Some(row) = row else { return Ok(None) };
        let sql = "SELECT name, state FROM domains WHERE id = $1 AND tenant_id = $2";
        let found = sql::one::<DomainRow>(&tx, sql, vec![domain.as_uuid().into(), row.tenant_id.into()]).await?;
        let at = At { table: "domains", row: domain.as_uuid() };
        let found = match found {
            Some(found) if at.state(&found.state)? != DomainState::Gone => found,
            _ => {
                dequeue(&tx, domain).await?;
                tx.commit().await?;
                return Ok(None);
            }
        };
        let quarantined = row.quarantined_arrival.zip(row.quarantined_reason).map(|(arrival, reason)| Quarantined {
            arrivals: u32::try_from(row.quarantined).unwrap_or(0),
            arrival: ArrivalId::from_uuid(arrival),
            reason,
        });
        Ok(Some(AlertTx {
            store: self.clone(),
            tx,
            tenant: TenantId::from_uuid(row.tenant_id),
            domain: event::domain(domain, &found.name)?,
            quarantined,
            now,
            nudges: BTreeSet::new(),
        }))
    }
}

impl AlertTx {
    /// What is known, in a handful of indexed looks.
    pub async fn facts(&self) -> Result<AlertFacts, StoreError> {
        let settings = report_settings::read(&self.tx, self.tenant, false).await?;
        let today = self.now.date_naive();
        let mut facts = AlertFacts {
            domain: self.domain.clone(),
            days: self.days(settings.count_unverified).await?,
            rate: None,
            failures: sql::all(&self.tx, UNTOLD, vec![self.id().into(), i64::from(FAILURES_AT_ONCE).into()]).await?,
            failures_told_today: 0,
            reporters: self.reporters(settings.count_unverified).await?,
            silent: Vec::new(),
            quarantined: self.quarantined.clone(),
            quarantine_told_at: None,
            settings,
        };
        let midnight = today.and_time(chrono::NaiveTime::MIN).and_utc();
        let row = sql::row(&self.tx, TOLD_TODAY, vec![self.id().into(), midnight.into()]).await?;
        let told: i64 = row.ok_or(StoreError::NotFound)?.try_get("", "told")?;
        facts.failures_told_today = u32::try_from(told).unwrap_or(u32::MAX);
        for told in self.told().await? {
            match told.alert.as_str() {
                "failure_rate" => facts.rate = Some((told.raised, told.day)),
                "quarantined" => facts.quarantine_told_at = Some(told.at),
                _ => facts.silent.extend(silent(self.at(), &told)?),
            }
        }
        Ok(facts)
    }

    async fn days(&self, unverified: bool) -> Result<Vec<DaySessions>, StoreError> {
        let sql = "SELECT day, least(sum(good), 4e18)::bigint AS good, least(sum(bad), 4e18)::bigint AS bad
            FROM report_days
            WHERE tenant_id = $1 AND domain_id = $2 AND kind = 'tls-rpt' AND dimension = 'total'
                AND day BETWEEN $3 AND $4 AND ($5 OR grade = 'verified')
            GROUP BY day ORDER BY day DESC";
        let today = self.now.date_naive();
        let values = vec![
            self.tenant.as_uuid().into(),
            self.id().into(),
            (today - DAYS).into(),
            today.into(),
            unverified.into(),
        ];
        sql::all(&self.tx, sql, values).await
    }

    async fn reporters(&self, unverified: bool) -> Result<Vec<ReporterDays>, StoreError> {
        // A statement of its own for each, so that each has the index: nobody can crowd out those that are verified.
        let sql = format!(
            "SELECT kind, organization, last_day, days FROM reporters
             WHERE domain_id = $1 AND {} AND last_day >= $2 ORDER BY last_day DESC LIMIT $3",
            if unverified { "verified IN (true, false)" } else { "verified" }
        );
        let since = (self.now - REPORTERS).date_naive();
        let values = vec![self.id().into(), since.into(), i64::from(REPORTERS_AT_ONCE).into()];
        let rows = sql::all::<ReporterRow>(&self.tx, &sql, values).await?;
        let at = At { table: "reporters", row: self.id() };
        let read = |row: ReporterRow| {
            Ok(ReporterDays {
                kind: at.parse("kind", &row.kind)?,
                organization: row.organization,
                last_day: row.last_day,
                days: row.days.cast_unsigned(),
            })
        };
        rows.into_iter().map(read).collect()
    }

    async fn told(&self) -> Result<Vec<ToldRow>, StoreError> {
        let sql = "SELECT alert, subject, raised, day, at FROM report_alerts
            WHERE domain_id = $1 AND alert IN ('failure_rate', 'reporter_silent', 'quarantined') LIMIT $2";
        sql::all(&self.tx, sql, vec![self.id().into(), i64::from(2 * REPORTERS_AT_ONCE).into()]).await
    }

    /// Tells the tenant.
    pub async fn tell(&mut self, data: EventData) -> Result<(), StoreError> {
        if event::emit(&self.tx, self.tenant, data, self.now).await? {
            self.nudges.insert(Channel::Webhooks);
        }
        Ok(())
    }

    /// Remembers what was told, or is not to be told.
    pub async fn remember(&mut self, memory: &AlertMemory) -> Result<(), StoreError> {
        let sql = "INSERT INTO report_alerts (domain_id, alert, subject, tenant_id, raised, day, at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (domain_id, alert, subject) DO UPDATE SET raised = excluded.raised, day = excluded.day,
                at = excluded.at";
        let values = vec![
            self.id().into(),
            memory.alert.as_str().into(),
            memory.subject.clone().into(),
            self.tenant.as_uuid().into(),
            memory.raised.into(),
            memory.day.into(),
            self.now.into(),
        ];
        sql::execute(&self.tx, sql, values).await?;
        Ok(())
    }

    /// Forgets what was told, since it is so no more.
    pub async fn forget(&mut self, alert: AlertKind, subject: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM report_alerts WHERE domain_id = $1 AND alert = $2 AND subject = $3";
        sql::execute(&self.tx, sql, vec![self.id().into(), alert.as_str().into(), subject.into()]).await?;
        Ok(())
    }

    /// Ends the look: all that it told and remembered holds from now on. The next one is at `next`, or sooner when
    /// reports arrive; None: only then. `quarantine_told`: what could not be read is told.
    pub async fn settle(self, next: Option<Timestamp>, quarantine_told: bool) -> Result<(), StoreError> {
        let domain = self.domain.domain_id;
        match next {
            None => dequeue(&self.tx, domain).await?,
            Some(next) => {
                let sql =
                    "UPDATE report_alert_queue SET due_at = $2, quarantined = CASE WHEN $3 THEN 0 ELSE quarantined END,
                        quarantined_arrival = CASE WHEN $3 THEN NULL ELSE quarantined_arrival END,
                        quarantined_reason = CASE WHEN $3 THEN NULL ELSE quarantined_reason END
                    WHERE domain_id = $1";
                sql::execute(&self.tx, sql, vec![domain.as_uuid().into(), next.into(), quarantine_told.into()]).await?;
            }
        }
        nudge::notify(&self.tx, &self.nudges).await?;
        self.tx.commit().await?;
        self.store.nudge_source().publish(&self.nudges);
        Ok(())
    }

    fn id(&self) -> Uuid {
        self.domain.domain_id.as_uuid()
    }

    fn at(&self) -> At {
        At { table: "report_alerts", row: self.id() }
    }
}

async fn dequeue(tx: &DatabaseTransaction, domain: DomainId) -> Result<(), StoreError> {
    sql::execute(tx, "DELETE FROM report_alert_queue WHERE domain_id = $1", vec![domain.as_uuid().into()]).await?;
    Ok(())
}

/// As the statement above has it. Two parts, the first without a line feed; cut, since a sender wrote them.
fn subject(first: &str, second: &str) -> String {
    format!("{first}\n{second}").chars().take(600).collect()
}

fn silent(at: At, told: &ToldRow) -> Result<Option<SilentReporter>, StoreError> {
    let Some((kind, organization)) = told.subject.split_once('\n') else { return Ok(None) };
    let kind = at.parse("subject", kind)?;
    Ok(Some(SilentReporter { kind, organization: organization.to_owned(), last_day: told.day }))
}
