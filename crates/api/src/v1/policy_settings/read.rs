//! `GET /v1/policy-settings`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::PolicySettingsBody;
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

/// Read how much proof for `enforce` you want
///
/// What readiness is measured by: the service's own figures where you have chosen no others. Rollout plans have theirs in
/// their steps.
#[utoipa::path(
    tag = "policy",
    operation_id = "read_policy_settings",
    params(IfNoneMatchHeader),
    responses(
        (status = 200, description = "The settings.", body = PolicySettingsBody,
            headers(("ETag" = String, description = "Their tag, for `If-Match`."))),
        (status = 304, description = "They are still so."),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/policy-settings")]
pub(crate) async fn read_policy_settings(
    scope: TenantScope,
    if_none_match: IfNoneMatch,
) -> Result<HttpResponse, Problem> {
    let config = &scope.state().config;
    let settings = scope.begin().await?.policy_settings().await?;
    let tag = EntityTag::of(&PolicySettingsBody::of(settings, config))?;
    if if_none_match.has(&tag) {
        return Ok(not_modified(&tag));
    }
    PolicySettingsBody::answer(settings, config)
}
