//! `PATCH /v1/domains/{domain_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, patch};
use mtasts_model::DomainId;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{body::DomainBody, matching};
use crate::{
    auth::TenantScope,
    extract::{DomainIfMatchHeader, IfMatch, Json, PathId},
    problem::{Problem, ProblemKind, documented, groups},
    v1::fields::{Faults, TagSchema, TlsRpt, object, report_uris, tags},
};

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tls_rpt": {"rua": ["mailto:tls-reports@example.com"]}}))]
pub(crate) struct UpdateDomain {
    /// TLS reporting.
    #[serde(default, deserialize_with = "object")]
    tls_rpt: Option<TlsRpt>,
    /// `follow`: new MX hosts in DNS that pass every check are taken into the policy by themselves (in mode `enforce` only
    /// those beneath the domain). `listed`: they make a proposal.
    mx_source: Option<MxSourceChoice>,
    /// Tags of your own, to find the domain by in lists: these and no others. Up to 20 words of letters, digits, `:`, `.`,
    /// `_` and `-`.
    #[schema(value_type = Option<Vec<TagSchema>>, max_items = 20)]
    tags: Option<Vec<String>>,
}

/// Who chooses the MX patterns.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MxSourceChoice {
    /// New hosts that pass are taken in.
    Follow,
    /// You.
    Listed,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[
            groups::CALL,
            groups::BODY,
            groups::OBJECT,
            &[ProblemKind::DomainWithdrawing, ProblemKind::PreconditionFailed],
        ])
    }
}

/// Change a domain's settings
///
/// The policy is changed by the operations on it.
#[utoipa::path(
    tag = "domains",
    operation_id = "update_domain",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        DomainIfMatchHeader,
    ),
    request_body = UpdateDomain,
    responses(
        (status = 200, description = "The domain.", body = DomainBody, headers(("ETag" = String, description = "Its tag, for `If-Match`."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[patch("/domains/{domain_id}")]
pub(crate) async fn update_domain(
    scope: TenantScope,
    id: PathId<DomainId>,
    if_match: IfMatch,
    body: Json<UpdateDomain>,
) -> Result<HttpResponse, Problem> {
    let mut faults = Faults::default();
    let uris = match &body.value.tls_rpt {
        Some(tls_rpt) => report_uris(&tls_rpt.rua, &mut faults).map(Some),
        None => Some(None),
    };
    let tags = match &body.value.tags {
        Some(texts) => tags(texts, &mut faults).map(Some),
        None => Some(None),
    };
    let (Some(uris), Some(tags)) = (uris, tags) else { return Err(faults.into_problem()) };
    let mut tx = scope.begin().await?;
    let mut view = matching(&tx, &scope, id.0, &if_match).await?;
    if let Some(uris) = uris {
        view = tx.set_report_uris(id.0, &uris, &scope.actor(), scope.now()).await?;
    }
    if let Some(source) = body.value.mx_source {
        let follow = matches!(source, MxSourceChoice::Follow);
        view = tx.set_mx_follow(id.0, follow, &scope.actor(), scope.now()).await?;
    }
    if let Some(tags) = tags {
        view = tx.set_tags(id.0, &tags, &scope.actor(), scope.now()).await?;
    }
    tx.commit().await?;
    DomainBody::answer(view, StatusCode::OK, &scope.state().config)
}
