//! What senders report on a tenant's domains, and what it adds up to.

pub(crate) mod breakdown;
mod cells;
pub(crate) mod export;
pub(crate) mod failures;
pub(crate) mod figures;
pub(crate) mod list;
pub(crate) mod place;
pub(crate) mod raw;
pub(crate) mod read;
pub(crate) mod report_results;
pub(crate) mod results;
pub(crate) mod rows;
pub(crate) mod summary;
pub(crate) mod words;

use chrono::{Days, NaiveDate};
use mtasts_model::{DomainId, ReportGrade, ReportKind, Timestamp};
use mtasts_store::{ReportRange, TenantTx};
use utoipa::ToSchema;

use crate::{auth::TenantScope, problem::Problem};

/// Where no beginning is given: the last day and 29 days before.
const DEFAULT_DAYS: u64 = 29;
/// Days of one answer, which is as many as sums are kept.
const MOST_DAYS: i64 = 400;
/// The longest text that a filter compares with: as long as what is kept of any value.
const MAX_TEXT: usize = 300;

/// Of which kind a report is.
#[derive(ToSchema)]
#[schema(as = ReportKind, rename_all = "kebab-case")]
#[expect(dead_code, reason = "the schema of `mtasts_model::ReportKind`, which knows nothing of OpenAPI")]
pub(crate) enum KindSchema {
    /// SMTP TLS reporting (RFC 8460): figures are sessions.
    TlsRpt,
    /// DMARC aggregate (RFC 7489, RFC 9990): figures are messages.
    Dmarc,
}

/// What is known of who sent a report.
#[derive(ToSchema)]
#[schema(as = ReportGrade, rename_all = "kebab-case")]
#[expect(dead_code, reason = "the schema of `mtasts_model::ReportGrade`, which knows nothing of OpenAPI")]
pub(crate) enum GradeSchema {
    /// A mail with a valid DKIM signature of the reporting organisation (RFC 8460 §3).
    Verified,
    /// A mail without a DKIM signature.
    Unsigned,
    /// A mail whose DKIM signatures are invalid, or of somebody else.
    Failed,
    /// It came by HTTPS, where nobody proves who they are.
    Anonymous,
}

/// By which way it came.
#[derive(ToSchema)]
#[schema(as = ReportVia, rename_all = "kebab-case")]
#[expect(dead_code, reason = "the schema of `mtasts_model::ReportVia`, which knows nothing of OpenAPI")]
pub(crate) enum ViaSchema {
    /// A POST (RFC 8460 §5.4).
    Https,
    /// A mail (RFC 8460 §5.3).
    Smtp,
}

/// Query parameters of an operation on reports: days and grades, and its own. A parameter that is not there is refused, and
/// what is flattened into a struct cannot be told from it; hence a macro.
macro_rules! report_query {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
        #[serde(deny_unknown_fields, default)]
        #[into_params(parameter_in = Query)]
        pub(crate) struct $name {
            /// The first day (UTC). 30 days up to `to` where absent.
            #[param(value_type = Option<String>, format = Date, example = "2026-11-01", pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
            from: Option<String>,
            /// The last day (UTC), included. This day where absent. At most 400 days are possible.
            #[param(value_type = Option<String>, format = Date, example = "2026-11-30", pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
            to: Option<String>,
            /// Only what comes from reports with this grade. Can be given several times, or with commas between.
            #[param(value_type = Vec<String>, example = json!(["verified"]), pattern = "^(verified|unsigned|failed|anonymous)(,(verified|unsigned|failed|anonymous))*$")]
            grade: Vec<String>,
            $($(#[$field_doc])* $field: $type,)*
        }

        impl $name {
            fn days(&self, now: mtasts_model::Timestamp) -> Result<(chrono::NaiveDate, chrono::NaiveDate), crate::problem::Problem> {
                $crate::v1::reports::days(self.from.as_deref(), self.to.as_deref(), now)
            }

            fn grades(&self) -> Result<Vec<mtasts_model::ReportGrade>, crate::problem::Problem> {
                $crate::v1::reports::grades(&self.grade)
            }
        }
    };
}
pub(crate) use report_query;

fn days(from: Option<&str>, to: Option<&str>, now: Timestamp) -> Result<(NaiveDate, NaiveDate), Problem> {
    let to = to.map(|text| date("to", text)).transpose()?.unwrap_or_else(|| now.date_naive());
    let from = match from {
        Some(text) => date("from", text)?,
        None => to.checked_sub_days(Days::new(DEFAULT_DAYS)).unwrap_or(to),
    };
    let refuse = |message: String| Err(Problem::parameter("from", "out-of-range", message));
    match (to - from).num_days() {
        ..0 => refuse("is after `to`".to_owned()),
        0..MOST_DAYS => Ok((from, to)),
        MOST_DAYS.. => refuse(format!("at most {MOST_DAYS} days are possible at once")),
    }
}

fn date(name: &str, text: &str) -> Result<NaiveDate, Problem> {
    let plain = text.len() == 10 && text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-');
    let date = plain.then(|| text.parse().ok()).flatten();
    date.ok_or_else(|| Problem::parameter(name, "invalid-date", "must be a day such as 2026-11-30"))
}

fn grades(given: &[String]) -> Result<Vec<ReportGrade>, Problem> {
    let words = given.iter().flat_map(|text| text.split(','));
    let mut grades: Vec<ReportGrade> = Vec::new();
    for word in words {
        let message = "must be `verified`, `unsigned`, `failed` or `anonymous`";
        let grade = word.parse().map_err(|_| Problem::parameter("grade", "grade-unknown", message))?;
        if !grades.contains(&grade) {
            grades.push(grade);
        }
    }
    Ok(grades)
}

fn kind(given: Option<&str>) -> Result<Option<ReportKind>, Problem> {
    let message = "must be `tls-rpt` or `dmarc`";
    let parse = |text: &str| text.parse().map_err(|_| Problem::parameter("kind", "kind-unknown", message));
    given.map(parse).transpose()
}

/// What a filter compares with.
fn text(name: &str, given: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(text) = given else { return Ok(None) };
    if text.is_empty() || text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
        let message = format!("must have 1 to {MAX_TEXT} characters, and no control characters");
        return Err(Problem::parameter(name, "invalid-text", message));
    }
    Ok(Some(text.to_owned()))
}

/// An address in a filter.
fn address(name: &str, given: Option<&str>) -> Result<Option<std::net::IpAddr>, Problem> {
    let message = "must be an IPv4 or IPv6 address";
    given.map(|text| text.parse().map_err(|_| Problem::parameter(name, "invalid-address", message))).transpose()
}

/// A transaction of a caller who asks for one of its domains, or for all.
async fn begin(scope: &TenantScope, domain: Option<DomainId>) -> Result<TenantTx, Problem> {
    let tx = scope.begin().await?;
    match domain {
        Some(domain) if !tx.has_domain(domain).await? => Err(Problem::not_found("domain")),
        _ => Ok(tx),
    }
}

fn range(
    domain: Option<DomainId>,
    kind: Option<ReportKind>,
    (from, to): (NaiveDate, NaiveDate),
    grades: Vec<ReportGrade>,
) -> ReportRange {
    ReportRange { domain, kind: kind.unwrap_or(ReportKind::TlsRpt), from, to, grades }
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Clock, clock::ManualClock};

    use super::*;

    #[test]
    fn days_have_a_default_and_a_limit_and_an_order() {
        let now = ManualClock::default().now();
        let read = |from, to| days(from, to, now).map(|(from, to)| (from.to_string(), to.to_string()));
        let expected = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(read(None, None).unwrap(), expected("2025-12-03", "2026-01-01"));
        assert_eq!(read(None, Some("2025-11-30")).unwrap(), expected("2025-11-01", "2025-11-30"));
        assert_eq!(read(Some("2025-12-31"), Some("2026-01-03")).unwrap(), expected("2025-12-31", "2026-01-03"));
        assert!(read(Some("2024-11-28"), None).is_ok(), "400 days");
        for from in ["2024-11-27", "2026-01-02", "2025-02-30", "yesterday", "+2025-1-1", ""] {
            assert!(read(Some(from), None).is_err(), "{from}");
        }
    }

    #[test]
    fn grades_are_given_one_by_one_or_together() {
        let read = |given: &[&str]| grades(&given.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(read(&[]).unwrap(), []);
        let both = [ReportGrade::Verified, ReportGrade::Failed];
        assert_eq!(read(&["verified,failed"]).unwrap(), both);
        assert_eq!(read(&["verified", "failed,verified"]).unwrap(), both);
        for bad in [&[""][..], &["Verified"], &["verified,"], &["verified failed"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn texts_and_addresses_of_filters_have_limits() {
        assert!(text("mx", Some(&"a".repeat(300))).is_ok() && text("mx", None).unwrap().is_none());
        for bad in ["", "a\0b", "a\nb", &"a".repeat(301)] {
            assert!(text("mx", Some(bad)).is_err(), "{bad:?}");
        }
        assert!(address("sending_ip", Some("2001:db8::1")).is_ok());
        assert!(address("sending_ip", Some("192.0.2.1/24")).is_err() && kind(Some("tls")).is_err());
    }
}
