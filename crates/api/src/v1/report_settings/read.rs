//! `GET /v1/report-settings`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::ReportSettingsBody;
use crate::{
    auth::TenantScope,
    extract::{EntityTag, IfNoneMatch, IfNoneMatchHeader, not_modified},
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

/// Read what you are told of reports
///
/// The defaults where you have set nothing.
#[utoipa::path(
    tag = "alerts",
    operation_id = "read_report_settings",
    params(IfNoneMatchHeader),
    responses(
        (status = 200, description = "The settings.", body = ReportSettingsBody,
            headers(("ETag" = String, description = "Their tag, for `If-Match`."))),
        (status = 304, description = "They are still so."),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/report-settings")]
pub(crate) async fn read_report_settings(
    scope: TenantScope,
    if_none_match: IfNoneMatch,
) -> Result<HttpResponse, Problem> {
    let settings = scope.begin().await?.report_settings().await?;
    let tag = EntityTag::of(&ReportSettingsBody::from(settings.clone()))?;
    if if_none_match.has(&tag) {
        return Ok(not_modified(&tag));
    }
    ReportSettingsBody::answer(settings)
}
