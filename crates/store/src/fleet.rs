//! Figures of the whole installation, for metrics. Each comes from an index and looks at so many rows at most, whatever the
//! number of domains. One worker takes them; the others read what it took.

use chrono::TimeDelta;
use mtasts_model::Timestamp;
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{Store, StoreError, operation::suspended, sql};

/// Nothing is counted beyond this: whoever has so many has enough to do.
pub const FIGURES_COUNTED: u32 = 10_000;

/// Days for which [`FleetFigures::expiring`] counts; 0: ended already.
pub const EXPIRY_DAYS: [u32; 5] = [0, 1, 7, 14, 30];

/// What is known of the whole installation at one time. Counts end at [`FIGURES_COUNTED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetFigures {
    /// Certificates that are served and whose renewal was due.
    pub renewals_due: u64,
    /// Those among them with at most so many days left, in the order of [`EXPIRY_DAYS`]. As only those count whose renewal
    /// is due, a certificate that never lives for 30 days is no alarm.
    pub expiring: Vec<u64>,
    /// What waits in each queue.
    pub queues: Vec<QueueFigures>,
    /// What waits for somebody to look at it: reports that could not be read.
    pub quarantined: u64,
    /// The followers of each feed.
    pub feeds: Vec<FeedFigures>,
    /// The places where zones are hosted elsewhere.
    pub hostings: Vec<HostingFigures>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueFigures {
    /// Its name: a stable word.
    pub queue: String,
    /// How much is due.
    pub depth: u64,
    /// How long what is due the longest has been due, in milliseconds; 0: nothing is.
    pub age_ms: u64,
}

/// A feed and the nodes that follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedFigures {
    /// `edge` or `nameserver`: who follows it.
    pub kind: String,
    /// The newest revision.
    pub head: u64,
    /// Nodes that gave a sign of life lately.
    pub alive: u64,
    /// Nodes that gave none and have not retired: what is published waits for them during their grace.
    pub silent: u64,
    /// The lowest position among those alive; the head where there is none.
    pub lowest: u64,
}

/// A zone's hosting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostingFigures {
    /// The operator's name for it.
    pub hosting: String,
    /// Record sets that it refused and that are tried again.
    pub refused: u64,
}

#[derive(Debug, FromQueryResult)]
struct FiguresRow {
    taken_at: Option<Timestamp>,
    figures: Option<Json>,
}

#[derive(Debug, FromQueryResult)]
struct RenewalRow {
    not_after: Timestamp,
}

#[derive(Debug, FromQueryResult)]
struct QueueRow {
    depth: i64,
    since: Option<Timestamp>,
}

#[derive(Debug, FromQueryResult)]
struct FeedRow {
    kind: String,
    head: i64,
    alive: i64,
    silent: i64,
    lowest: Option<i64>,
}

#[derive(Debug, FromQueryResult)]
struct HostingRow {
    hosting: String,
    refused: i64,
}

/// `$1` now, `$2` how many. Over the index of those that are served and due: soonest due first.
const RENEWALS: &str = "SELECT not_after FROM certificates WHERE in_feed AND renew_at <= $1 ORDER BY renew_at LIMIT $2";

/// Each with `$1` now, `$2` how many.
const QUEUES: [(&str, &str); 6] = [
    (
        "domains",
        "SELECT count(*) AS depth, min(due_at) AS since FROM
            (SELECT due_at FROM domain_schedule WHERE due_at <= $1 ORDER BY due_at LIMIT $2) due",
    ),
    (
        "reports",
        "SELECT count(*) AS depth, min(due_at) AS since FROM
            (SELECT due_at FROM report_arrivals WHERE state = 'waiting' AND due_at <= $1 ORDER BY due_at LIMIT $2) due",
    ),
    (
        "alerts",
        "SELECT count(*) AS depth, min(due_at) AS since FROM
            (SELECT due_at FROM report_alert_queue WHERE due_at <= $1 ORDER BY due_at LIMIT $2) due",
    ),
    (
        "digests",
        "SELECT count(*) AS depth, min(due_at) AS since FROM
            (SELECT due_at FROM digest_mails WHERE state = 'pending' AND due_at <= $1 ORDER BY due_at LIMIT $2) due",
    ),
    // What was sent to a webhook that is switched off waits until it is switched on, and that is nobody's fault.
    (
        "webhooks",
        "SELECT count(*) AS depth, min(due.due_at) AS since FROM
            (SELECT due_at, webhook_id FROM webhook_deliveries WHERE state = 'pending' AND due_at <= $1
                ORDER BY due_at LIMIT $2) due
            CROSS JOIN LATERAL (SELECT FROM webhooks w WHERE w.id = due.webhook_id AND w.enabled LIMIT 1) on_",
    ),
    // What waits for the end of a suspension is nobody's fault either.
    (
        "operations",
        concat!(
            "SELECT count(*) AS depth, min(created_at) AS since FROM
            (SELECT o.created_at FROM operations o WHERE o.finished_at IS NULL AND o.created_at <= $1 AND NOT ",
            suspended!("o"),
            " LIMIT $2) due"
        ),
    ),
];

/// `$1` how many.
const QUARANTINED: &str = "SELECT count(*) AS count FROM
    (SELECT FROM report_arrivals WHERE state = 'quarantined' LIMIT $1) arrivals";

/// `$1` now. There are as many nodes as processes.
const FEEDS: &str = "
    SELECT feeds.kind, feeds.head, count(n.id) FILTER (WHERE n.lease_until > $1) AS alive,
        count(n.id) FILTER (WHERE n.lease_until <= $1) AS silent,
        min(n.position) FILTER (WHERE n.lease_until > $1) AS lowest
    FROM (SELECT 'edge' AS kind, (SELECT COALESCE(max(revision), 0) FROM edge_entries) AS head
        UNION ALL SELECT 'nameserver', (SELECT COALESCE(max(revision), 0) FROM zone_records)) feeds
    LEFT JOIN nodes n ON n.kind = feeds.kind GROUP BY feeds.kind, feeds.head ORDER BY feeds.kind";

/// `$1` how many of each. There are as many hostings as an operator has configured.
const HOSTINGS: &str = "
    SELECT h.id AS hosting, (SELECT count(*) FROM
        (SELECT FROM zone_writes w WHERE w.hosting = h.id AND w.retry_at IS NOT NULL LIMIT $1) writes) AS refused
    FROM zone_hostings h ORDER BY h.id";

impl Store {
    /// Takes the figures if nobody has for this long. False: somebody has, or is just doing so.
    pub async fn take_figures(&self, every: TimeDelta, now: Timestamp) -> Result<bool, StoreError> {
        let claim = "UPDATE fleet_figures SET due_at = $1 WHERE due_at <= $2";
        if sql::execute(self.db(), claim, vec![(now + every).into(), now.into()]).await? == 0 {
            return Ok(false);
        }
        let figures = self.count_fleet(now).await?;
        let figures = serde_json::to_value(figures)
            .map_err(|error| StoreError::unreadable("fleet_figures", "figures", "singleton", error))?;
        let keep = "UPDATE fleet_figures SET taken_at = $1, figures = $2";
        sql::execute(self.db(), keep, vec![now.into(), figures.into()]).await?;
        Ok(true)
    }

    /// The figures that were taken last, and when. None: none were, or those of another version cannot be read.
    pub async fn figures(&self) -> Result<Option<(Timestamp, FleetFigures)>, StoreError> {
        let row = sql::one::<FiguresRow>(self.db(), "SELECT taken_at, figures FROM fleet_figures", vec![]).await?;
        let Some(FiguresRow { taken_at: Some(taken_at), figures: Some(figures) }) = row else { return Ok(None) };
        Ok(serde_json::from_value(figures).ok().map(|figures| (taken_at, figures)))
    }

    async fn count_fleet(&self, now: Timestamp) -> Result<FleetFigures, StoreError> {
        let db = self.db();
        let most = i64::from(FIGURES_COUNTED);
        let renewals = sql::all::<RenewalRow>(db, RENEWALS, vec![now.into(), most.into()]).await?;
        let within = |days: u32| {
            let until = now + TimeDelta::days(days.into());
            renewals.iter().filter(|row| row.not_after <= until).count() as u64
        };
        let mut queues = Vec::with_capacity(QUEUES.len());
        for (queue, query) in QUEUES {
            let row = sql::one::<QueueRow>(db, query, vec![now.into(), most.into()]).await?;
            let QueueRow { depth, since } = row.ok_or(StoreError::NotFound)?;
            let age = since.map_or(TimeDelta::zero(), |since| now - since).num_milliseconds();
            queues.push(QueueFigures { queue: queue.to_owned(), depth: unsigned(depth), age_ms: unsigned(age) });
        }
        let row = sql::row(db, QUARANTINED, vec![most.into()]).await?.ok_or(StoreError::NotFound)?;
        let quarantined = unsigned(row.try_get("", "count")?);
        let feeds = sql::all::<FeedRow>(db, FEEDS, vec![now.into()]).await?;
        let hostings = sql::all::<HostingRow>(db, HOSTINGS, vec![most.into()]).await?;
        Ok(FleetFigures {
            renewals_due: renewals.len() as u64,
            expiring: EXPIRY_DAYS.map(within).to_vec(),
            queues,
            quarantined,
            feeds: feeds.into_iter().map(FeedFigures::from).collect(),
            hostings: hostings
                .into_iter()
                .map(|row| HostingFigures { hosting: row.hosting, refused: unsigned(row.refused) })
                .collect(),
        })
    }
}

impl From<FeedRow> for FeedFigures {
    fn from(row: FeedRow) -> Self {
        let head = unsigned(row.head);
        Self {
            kind: row.kind,
            head,
            alive: unsigned(row.alive),
            silent: unsigned(row.silent),
            lowest: row.lowest.map_or(head, unsigned),
        }
    }
}

/// What Postgres counts is never below zero, but for an age by a clock that was stepped.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
