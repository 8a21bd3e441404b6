//! What a tenant has and uses, day by day.

pub(crate) mod own;
pub(crate) mod tenant;

use chrono::{DateTime, Days, NaiveDate, Utc};
use mtasts_model::Timestamp;
use mtasts_store::{Quotas, TenantTx, UsageDay};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::quotas::QuotasBody;
use crate::problem::Problem;

/// Where no beginning is given: this day and 29 days before.
const DEFAULT_DAYS: u64 = 29;
/// Days of one answer, which is as many as are kept.
const MOST_DAYS: i64 = 400;

/// Which days.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageDays {
    /// The first day (UTC). 30 days up to `to` where absent.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-01", pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    from: Option<String>,
    /// The last day (UTC), included. This day where absent.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-30", pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    to: Option<String>,
}

impl UsageDays {
    fn read(&self, now: Timestamp) -> Result<(NaiveDate, NaiveDate), Problem> {
        let today = now.date_naive();
        // What is yet to come is not known.
        let to = self.to.as_deref().map(|text| date("to", text)).transpose()?.unwrap_or(today).min(today);
        let from = match self.from.as_deref() {
            Some(text) => date("from", text)?,
            None => to.checked_sub_days(Days::new(DEFAULT_DAYS)).unwrap_or(to),
        };
        if (to - from).num_days() >= MOST_DAYS {
            let message = format!("at most {MOST_DAYS} days are possible at once");
            return Err(Problem::parameter("from", "out-of-range", message));
        }
        Ok((from, to))
    }
}

fn date(name: &str, text: &str) -> Result<NaiveDate, Problem> {
    let plain = text.len() == 10 && text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-');
    let date = plain.then(|| text.parse().ok()).flatten();
    date.ok_or_else(|| Problem::parameter(name, "invalid-date", "must be a day such as 2026-11-30"))
}

/// Days of usage.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageBody {
    /// The days, the earliest first, from the first on of which anything is known.
    data: Vec<UsageDayBody>,
    /// What the tenant may have, and has at this moment.
    quotas: QuotasBody,
}

/// What the tenant had and used on one day.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageDay)]
struct UsageDayBody {
    /// The day (UTC).
    #[schema(value_type = String, format = Date, example = "2026-11-21")]
    day: NaiveDate,
    /// Domains that were registered and not gone when they were last counted; null if they never were.
    #[schema(required, example = 1_234)]
    domains: Option<u64>,
    /// These by the mode of their policy; null if they never were counted.
    #[schema(required)]
    domains_by_mode: Option<ModesBody>,
    /// When they were last counted: within the last hour of the day; earlier on this day, and if nobody could count.
    #[schema(required)]
    counted_at: Option<DateTime<Utc>>,
    /// Domains whose policy was fetched on the day.
    #[schema(example = 1_100)]
    served_domains: u64,
    /// How often a policy was fetched on the day.
    #[schema(example = 56_789)]
    policy_fetches: u64,
    /// Mails and POSTs with reports that were taken on the day.
    #[schema(example = 345)]
    reports: u64,
}

/// Domains by the mode of their policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DomainsByMode)]
struct ModesBody {
    /// Mode `none`.
    none: u64,
    /// Mode `testing`.
    testing: u64,
    /// Mode `enforce`.
    enforce: u64,
    /// No policy yet, as the MX hosts were not found.
    no_policy: u64,
}

impl From<UsageDay> for UsageDayBody {
    fn from(day: UsageDay) -> Self {
        let modes = day.counts.map(|counts| ModesBody {
            none: counts.none,
            testing: counts.testing,
            enforce: counts.enforce,
            no_policy: counts.domains.saturating_sub(counts.none + counts.testing + counts.enforce),
        });
        Self {
            day: day.day,
            domains: day.counts.map(|counts| counts.domains),
            domains_by_mode: modes,
            counted_at: day.counts.map(|counts| counts.at),
            served_domains: day.served_domains,
            policy_fetches: day.policy_fetches,
            reports: day.reports,
        }
    }
}

async fn usage(
    tx: &TenantTx,
    (from, to): (NaiveDate, NaiveDate),
    quotas: Quotas,
    now: Timestamp,
) -> Result<UsageBody, Problem> {
    let days = tx.usage(from, to).await?;
    Ok(UsageBody {
        data: days.into_iter().map(UsageDayBody::from).collect(),
        quotas: QuotasBody::of(tx, quotas, now).await?,
    })
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Clock, clock::ManualClock};

    use super::*;

    #[test]
    fn days_have_a_default_and_a_limit_and_none_is_in_the_future() {
        let now = ManualClock::default().now();
        let read = |from: Option<&str>, to: Option<&str>| {
            let days = UsageDays { from: from.map(str::to_owned), to: to.map(str::to_owned) };
            days.read(now).map(|(from, to)| (from.to_string(), to.to_string()))
        };
        let days = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(read(None, None).unwrap(), days("2025-12-03", "2026-01-01"));
        assert_eq!(read(None, Some("2025-11-30")).unwrap(), days("2025-11-01", "2025-11-30"));
        assert_eq!(read(Some("2025-12-31"), Some("2099-01-01")).unwrap(), days("2025-12-31", "2026-01-01"));
        assert!(read(Some("2024-11-28"), None).is_ok(), "400 days");
        for from in ["2024-11-27", "2025-02-30", "yesterday", "+2025-1-1", "", "0000-00-00"] {
            assert!(read(Some(from), None).is_err(), "{from}");
        }
    }
}
