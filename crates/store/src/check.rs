//! Looks at any domain, as tenants ask for them and read them.

use chrono::TimeDelta;
use mtasts_model::{CheckId, MailDomain, Timestamp, check::CheckWanted};
use sea_orm::FromQueryResult;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{
    Actor, Channel, StoreError, TenantTx,
    sql::{self, MAX_LIST},
    stored::{At, to_json},
};

/// How long a check is kept.
pub const CHECKS_KEPT: TimeDelta = TimeDelta::days(7);

/// A check that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCheck {
    /// Drawn by the caller.
    pub id: CheckId,
    /// Of which mail domain: any, whether it is registered or not.
    pub domain: MailDomain,
    /// What is asked for.
    pub wanted: CheckWanted,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// No worker has come to it yet.
    Waiting,
    /// A worker is looking.
    Running,
    /// There is what was asked for.
    Done,
    /// There is not, and why is told.
    Failed,
}

impl CheckState {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Its id.
    pub id: CheckId,
    /// Of which mail domain.
    pub domain: MailDomain,
    /// What was asked for.
    pub wanted: CheckWanted,
    /// When.
    pub created_at: Timestamp,
    /// When a worker first came to it.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
    /// The worst that was found, as the inspector's word.
    pub severity: Option<String>,
    /// The inspector's report; None in lists.
    pub report: Option<Json>,
    /// The policy and its records; None in lists.
    pub generated: Option<Json>,
    /// Why there is not what was asked for: a stable word and a sentence.
    pub problem: Option<(String, String)>,
}

impl Check {
    /// How far it has come.
    pub fn state(&self) -> CheckState {
        match (self.finished_at, self.started_at, &self.problem) {
            (Some(_), _, Some(_)) => CheckState::Failed,
            (Some(_), _, None) => CheckState::Done,
            (None, Some(_), _) => CheckState::Running,
            (None, None, _) => CheckState::Waiting,
        }
    }
}

/// What became of the wish for a check.
#[derive(Debug, Clone, PartialEq)]
pub enum AskedCheck {
    /// It will be carried out.
    Made(Box<Check>),
    /// There were as many within the last hour as may be; another is possible at this time.
    TooMany {
        /// When.
        free_at: Timestamp,
    },
}

#[derive(Debug, FromQueryResult)]
struct Row {
    id: Uuid,
    domain: String,
    wanted: Json,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    severity: Option<String>,
    report: Option<Json>,
    generated: Option<Json>,
    code: Option<String>,
    message: Option<String>,
}

impl TryFrom<Row> for Check {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let at = At { table: "checks", row: row.id };
        Ok(Self {
            id: CheckId::from_uuid(row.id),
            domain: at.mail_domain("domain", &row.domain)?,
            wanted: at.json("wanted", row.wanted)?,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            severity: row.severity,
            report: row.report,
            generated: row.generated,
            problem: row.code.zip(row.message),
        })
    }
}

const SUMMARY: &str = "id, domain, wanted, created_at, started_at, finished_at, severity, code, message";

/// Ids begin with their time in milliseconds (RFC 9562 §5.7): the first one of a moment.
pub(crate) fn first_id(at: Timestamp) -> Uuid {
    Uuid::from_u128(u128::try_from(at.timestamp_millis()).unwrap_or(0) << 80)
}

impl TenantTx {
    /// Asks for a check, unless the tenant has asked for `per_hour` within the last hour. Requests that come at the same
    /// time are counted one after the other. [`StoreError::Taken`] when its id is taken.
    pub async fn ask_for_check(
        &mut self,
        new: &NewCheck,
        per_hour: u32,
        by: &Actor,
        now: Timestamp,
    ) -> Result<AskedCheck, StoreError> {
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('checks ' || $1, 0))";
        sql::execute(self.db(), lock, vec![self.tenant().to_string().into()]).await?;
        // No more are counted than may be: the oldest of those must be an hour old before there is room again.
        let count = "SELECT count(*) AS count, min(created_at) AS oldest FROM (
            SELECT created_at FROM checks WHERE tenant_id = $1 AND id >= $2 ORDER BY id DESC LIMIT $3) within";
        let hour = TimeDelta::hours(1);
        let values = vec![self.tenant().as_uuid().into(), first_id(now - hour).into(), i64::from(per_hour).into()];
        let row = sql::row(self.db(), count, values).await?.ok_or(StoreError::NotFound)?;
        if row.try_get::<i64>("", "count")? >= i64::from(per_hour) {
            let oldest: Option<Timestamp> = row.try_get("", "oldest")?;
            return Ok(AskedCheck::TooMany { free_at: oldest.unwrap_or(now) + hour });
        }
        let insert = "INSERT INTO checks (id, tenant_id, domain, wanted, created_at, due_at)
            VALUES ($1, $2, $3, $4, $5, $5)";
        let values = vec![
            new.id.as_uuid().into(),
            self.tenant().as_uuid().into(),
            new.domain.as_str().into(),
            to_json(&new.wanted)?.into(),
            now.into(),
        ];
        sql::execute(self.db(), insert, values).await?;
        self.nudge(Channel::Checks);
        let detail = json!({ "domain": new.domain.as_str(), "wanted": new.wanted });
        self.audit(by, "check.create", new.id.to_string(), (None, Some(detail)), now).await?;
        Ok(AskedCheck::Made(Box::new(self.check(new.id).await?.ok_or(StoreError::NotFound)?)))
    }

    /// One check; None when there is none, or it is another tenant's.
    pub async fn check(&self, id: CheckId) -> Result<Option<Check>, StoreError> {
        let sql = format!("SELECT {SUMMARY}, report, generated FROM checks WHERE id = $1 AND tenant_id = $2");
        let values = vec![id.as_uuid().into(), self.tenant().as_uuid().into()];
        sql::one::<Row>(self.db(), &sql, values).await?.map(Check::try_from).transpose()
    }

    /// Checks without their reports, newest first, at most 201, with ids below `before`.
    pub async fn checks(&self, before: Option<CheckId>, limit: u32) -> Result<Vec<Check>, StoreError> {
        let sql = format!(
            "SELECT {SUMMARY}, NULL::jsonb AS report, NULL::jsonb AS generated FROM checks
            WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
        );
        let before = before.map_or(Uuid::max(), CheckId::as_uuid);
        let values = vec![self.tenant().as_uuid().into(), before.into(), i64::from(limit.min(MAX_LIST + 1)).into()];
        sql::all::<Row>(self.db(), &sql, values).await?.into_iter().map(Check::try_from).collect()
    }
}
