//! A tenant's usage.

use chrono::NaiveDate;
use mtasts_model::Timestamp;
use sea_orm::FromQueryResult;

use super::TenantTx;
use crate::{DomainCounts, StoreError, UsageDay, sql, stored::At};

#[derive(Debug, FromQueryResult)]
struct Row {
    day: NaiveDate,
    counted_at: Option<Timestamp>,
    domains: Option<i64>,
    mode_none: Option<i64>,
    mode_testing: Option<i64>,
    mode_enforce: Option<i64>,
    served_domains: i64,
    policy_fetches: i64,
    reports: i64,
}

const COLUMNS: &str =
    "day, counted_at, domains, mode_none, mode_testing, mode_enforce, served_domains, policy_fetches, reports";

impl TenantTx {
    /// The days from `from` to `to`, both included, from the first on of which anything is known. On a day on which nobody
    /// counted, the counts of the last day before stand.
    pub async fn usage(&self, from: NaiveDate, to: NaiveDate) -> Result<Vec<UsageDay>, StoreError> {
        let tenant = self.tenant.as_uuid();
        let before = format!(
            "SELECT {COLUMNS} FROM usage_days WHERE tenant_id = $1 AND day < $2 AND counted_at IS NOT NULL
            ORDER BY day DESC LIMIT 1"
        );
        let before = sql::one::<Row>(&self.tx, &before, vec![tenant.into(), from.into()]).await?;
        let mut counts = before.as_ref().map(|row| self.counts(row)).transpose()?.flatten();
        let within =
            format!("SELECT {COLUMNS} FROM usage_days WHERE tenant_id = $1 AND day BETWEEN $2 AND $3 ORDER BY day");
        let rows = sql::all::<Row>(&self.tx, &within, vec![tenant.into(), from.into(), to.into()]).await?;
        let mut rows = rows.into_iter().peekable();
        let mut days = Vec::new();
        for day in from.iter_days().take_while(|day| *day <= to) {
            let row = rows.next_if(|row| row.day == day);
            if let Some(row) = &row {
                counts = self.counts(row)?.or(counts);
            }
            let (served, fetches, reports) =
                row.map_or((0, 0, 0), |row| (row.served_domains, row.policy_fetches, row.reports));
            if counts.is_some() || fetches > 0 || reports > 0 || !days.is_empty() {
                days.push(UsageDay {
                    day,
                    counts,
                    served_domains: u64::try_from(served).unwrap_or(0),
                    policy_fetches: u64::try_from(fetches).unwrap_or(0),
                    reports: u64::try_from(reports).unwrap_or(0),
                });
            }
        }
        Ok(days)
    }

    fn counts(&self, row: &Row) -> Result<Option<DomainCounts>, StoreError> {
        let Some(at) = row.counted_at else { return Ok(None) };
        let place = At { table: "usage_days", row: self.tenant.as_uuid() };
        let number = |column, value: Option<i64>| place.number(column, value.unwrap_or(0));
        Ok(Some(DomainCounts {
            at,
            domains: number("domains", row.domains)?,
            none: number("mode_none", row.mode_none)?,
            testing: number("mode_testing", row.mode_testing)?,
            enforce: number("mode_enforce", row.mode_enforce)?,
        }))
    }
}
