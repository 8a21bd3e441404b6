//! What a tenant is told of reports by itself, and what moves it.

pub(crate) mod read;
pub(crate) mod replace;

use actix_web::{HttpResponse, http::header};
use chrono::{DateTime, Utc};
use mtasts_store::ReportSettings;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{extract::EntityTag, problem::Problem};

/// What you are told of reports by itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportSettings)]
pub(crate) struct ReportSettingsBody {
    /// Of what there are events.
    #[schema(value_type = Vec<AlertKindSchema>, max_items = 4)]
    alerts: Vec<&'static str>,
    /// Above this share of failed sessions of a day, in percent, `report.failure_rate` is raised.
    #[schema(minimum = 1, maximum = 100, example = 5)]
    threshold_percent: u32,
    /// A day with fewer sessions says nothing.
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 100)]
    least_sessions: u64,
    /// After so many days without a report whoever used to report on most days counts as silent.
    #[schema(minimum = 1, maximum = 14, example = 3)]
    silence_days: u32,
    /// Whether reports that have not proved where they come from move the failure rate and silence.
    count_unverified: bool,
    /// When you last set them; null: these are the defaults.
    #[schema(required)]
    changed_at: Option<DateTime<Utc>>,
}

/// What there are events of.
#[derive(ToSchema)]
#[schema(as = AlertKind, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of `AlertKind`, which knows nothing of OpenAPI")]
enum AlertKindSchema {
    FailureNew,
    FailureRate,
    ReporterSilent,
    Quarantined,
}

impl ReportSettingsBody {
    /// With their tag.
    fn answer(settings: ReportSettings) -> Result<HttpResponse, Problem> {
        let body = Self::from(settings);
        let tag = EntityTag::of(&body)?;
        Ok(HttpResponse::Ok().insert_header((header::ETAG, tag.quoted())).json(body))
    }
}

impl From<ReportSettings> for ReportSettingsBody {
    fn from(settings: ReportSettings) -> Self {
        Self {
            alerts: settings.alerts.iter().map(|alert| alert.as_str()).collect(),
            threshold_percent: settings.threshold_percent,
            least_sessions: settings.least_sessions,
            silence_days: settings.silence_days,
            count_unverified: settings.count_unverified,
            changed_at: settings.changed_at,
        }
    }
}
