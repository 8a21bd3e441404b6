//! `PUT /v1/report-settings`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, put};
use mtasts_model::AlertKind;
use mtasts_store::ReportSettings;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{AlertKindSchema, ReportSettingsBody};
use crate::{
    auth::TenantScope,
    extract::{EntityTag, IfMatch, Json, SettingsIfMatchHeader},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::fields::Faults,
};

/// More than there are, so that a new kind needs no other client.
const MAX_ALERTS: usize = 20;

/// All settings; what is absent has its default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "alerts": ["failure_new", "failure_rate", "reporter_silent"],
    "threshold_percent": 2,
    "least_sessions": 500,
}))]
pub(crate) struct ReplaceReportSettings {
    /// Of what there are events; an empty list: of nothing. Absent: of all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<AlertKindSchema>>, max_items = 20)]
    alerts: Option<Vec<String>>,
    /// Above this share of failed sessions of a day, in percent, `report.failure_rate` is raised.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100, default = 5)]
    threshold_percent: Option<u64>,
    /// A day with fewer sessions says nothing.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000_000, default = 100)]
    least_sessions: Option<u64>,
    /// After so many days without a report whoever used to report on most days counts as silent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 14, default = 3)]
    silence_days: Option<u64>,
    /// Whether reports that have not proved where they come from move the failure rate and silence: anybody can send such.
    #[serde(default)]
    #[schema(default = false)]
    count_unverified: Option<bool>,
}

impl ReplaceReportSettings {
    fn parse(self) -> Result<ReportSettings, Problem> {
        let mut faults = Faults::default();
        let defaults = ReportSettings::default();
        let alerts = match &self.alerts {
            None => Some(defaults.alerts),
            Some(words) => alerts(words, &mut faults),
        };
        let mut number = |pointer: &str, value: Option<u64>, default: u64, most: u64| {
            let value = value.unwrap_or(default);
            let fault = || FieldError::at(pointer, "out-of-range", format!("must be 1 to {most}"));
            faults.keep(if (1..=most).contains(&value) { Ok(value) } else { Err(fault()) })
        };
        let threshold =
            number("/threshold_percent", self.threshold_percent, u64::from(defaults.threshold_percent), 100);
        let least_sessions = number("/least_sessions", self.least_sessions, defaults.least_sessions, 1_000_000_000);
        let silence_days = number("/silence_days", self.silence_days, u64::from(defaults.silence_days), 14);
        match (alerts, threshold, least_sessions, silence_days) {
            (Some(alerts), Some(threshold), Some(least_sessions), Some(silence_days)) => Ok(ReportSettings {
                alerts,
                threshold_percent: u32::try_from(threshold).map_err(Problem::internal)?,
                least_sessions,
                silence_days: u32::try_from(silence_days).map_err(Problem::internal)?,
                count_unverified: self.count_unverified.unwrap_or(defaults.count_unverified),
                changed_at: None,
            }),
            _ => Err(faults.into_problem()),
        }
    }
}

/// In their order, each once.
fn alerts(words: &[String], faults: &mut Faults) -> Option<Vec<AlertKind>> {
    if words.len() > MAX_ALERTS {
        let message = format!("must name at most {MAX_ALERTS}");
        return faults.keep(Err(FieldError::at("/alerts", "too-many", message)));
    }
    let mut alerts = faults.keep_all(words.iter().enumerate().map(|(index, word)| {
        word.parse::<AlertKind>()
            .map_err(|error| FieldError::at(format!("/alerts/{index}"), "alert-unknown", error.to_string()))
    }))?;
    alerts.sort_unstable();
    alerts.dedup();
    Some(alerts)
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::PreconditionFailed, ProblemKind::PreconditionRequired];
        documented(&[groups::CALL, groups::BODY, own])
    }
}

/// Set what you are told of reports
///
/// All settings at once. They hold for each domain from the next look at its reports on; what was told stands.
#[utoipa::path(
    tag = "alerts",
    operation_id = "replace_report_settings",
    params(SettingsIfMatchHeader),
    request_body = ReplaceReportSettings,
    responses(
        (status = 200, description = "The settings.", body = ReportSettingsBody,
            headers(("ETag" = String, description = "Their tag, for `If-Match`."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[put("/report-settings")]
pub(crate) async fn replace_report_settings(
    scope: TenantScope,
    if_match: IfMatch,
    body: Json<ReplaceReportSettings>,
) -> Result<HttpResponse, Problem> {
    let new = body.value.parse()?;
    let mut tx = scope.begin().await?;
    let before = tx.lock_report_settings().await?;
    let were_set = before.changed_at.is_some();
    let tag = EntityTag::of(&ReportSettingsBody::from(before))?;
    if were_set {
        if_match.require_tag(&tag)?;
    }
    if_match.check_tag(&tag)?;
    let settings = tx.set_report_settings(&new, &scope.actor(), scope.now()).await?;
    tx.commit().await?;
    ReportSettingsBody::answer(settings)
}
