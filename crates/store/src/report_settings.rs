//! What a tenant wants to be told of reports.

use mtasts_model::{AlertKind, TenantId, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use crate::{StoreError, sql, stored::At};

const TABLE: &str = "report_settings";

/// What a tenant wants to be told of by itself, and what moves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSettings {
    /// Of what, in the order of [`AlertKind::ALL`], each once.
    pub alerts: Vec<AlertKind>,
    /// Above this share of failed sessions of a day the alarm is raised: in percent, 1 to 100.
    pub threshold_percent: u32,
    /// A day with fewer sessions says nothing. At least 1.
    pub least_sessions: u64,
    /// After so many days without a report a regular reporter counts as silent: 1 to 14.
    pub silence_days: u32,
    /// Whether reports that have not proved where they come from move the failure rate and silence.
    pub count_unverified: bool,
    /// When the tenant set them; None: they are the defaults.
    pub changed_at: Option<Timestamp>,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            alerts: AlertKind::ALL.to_vec(),
            threshold_percent: 5,
            least_sessions: 100,
            silence_days: 3,
            count_unverified: false,
            changed_at: None,
        }
    }
}

#[derive(Debug, FromQueryResult)]
struct Row {
    tenant_id: Uuid,
    alerts: Vec<String>,
    threshold_percent: i32,
    least_sessions: i64,
    silence_days: i32,
    count_unverified: bool,
    changed_at: Timestamp,
}

impl TryFrom<Row> for ReportSettings {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let at = At { table: TABLE, row: row.tenant_id };
        let alerts: Result<Vec<AlertKind>, _> = row.alerts.iter().map(|word| at.parse("alerts", word)).collect();
        Ok(Self {
            alerts: alerts?,
            threshold_percent: at.number("threshold_percent", row.threshold_percent)?,
            least_sessions: at.number("least_sessions", row.least_sessions)?,
            silence_days: at.number("silence_days", row.silence_days)?,
            count_unverified: row.count_unverified,
            changed_at: Some(row.changed_at),
        })
    }
}

/// Those of a tenant; the defaults where it has set none. `lock`: nobody else changes them until the transaction ends.
pub(crate) async fn read(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    lock: bool,
) -> Result<ReportSettings, StoreError> {
    let sql = "SELECT tenant_id, alerts, threshold_percent, least_sessions, silence_days, count_unverified, changed_at
        FROM report_settings WHERE tenant_id = $1";
    let sql = if lock { format!("{sql} FOR NO KEY UPDATE") } else { sql.to_owned() };
    let row = sql::one::<Row>(db, &sql, vec![tenant.as_uuid().into()]).await?;
    row.map_or_else(|| Ok(ReportSettings::default()), ReportSettings::try_from)
}
