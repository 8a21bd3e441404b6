//! `POST /v1/domains/{domain_id}/delegation:plan`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::{DnsCredentialId, DomainId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::look::{Action, Plan, PlannedRecordBody, Scope, Subject};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once, PathId},
    problem::{FieldError, Problem, documented, groups},
};

/// What to plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"dns_credential_id": "dns_0190c3a0b1c27d3e8f4051627384950a"}))]
pub(crate) struct PlanDelegation {
    /// The credential of the zone.
    #[schema(pattern = "^dns_[0-9a-f]{32}$")]
    dns_credential_id: String,
    /// Whether the CNAMEs that only some need are meant too.
    #[serde(default)]
    #[schema(default = false)]
    include_optional: bool,
}

/// What would be done in your zone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DelegationPlan {
    /// What `delegation:apply` takes: it stands for exactly this plan, and for what stands in the zone now.
    #[schema(example = "required.C9JgNhqb9Yv0bTt5mXeAk3S1nJm8l0zY1d2c3b4a5e6")]
    plan: String,
    /// The zone that would be written to.
    #[schema(example = "example.com")]
    zone: String,
    /// Whether the plan can be applied: nothing is refused.
    applicable: bool,
    /// How many CNAMEs would be created.
    #[schema(example = 3)]
    to_create: usize,
    /// Each CNAME, what stands at its name, and what is done there.
    records: Vec<PlannedRecordBody>,
    /// A sentence for people.
    #[schema(example = "3 CNAMEs are created, and nothing else is touched")]
    message: String,
}

impl DelegationPlan {
    fn of(plan: Plan, zone: &str) -> Self {
        let (to_create, refused) = (plan.count(Action::Create), plan.count(Action::Refuse));
        let message = match (to_create, refused) {
            (0, 0) => "Nothing is to be done: all CNAMEs stand there already".to_owned(),
            (1, 0) => "1 CNAME is created, and nothing else is touched".to_owned(),
            (many, 0) => format!("{many} CNAMEs are created, and nothing else is touched"),
            (_, refused) => format!("Nothing can be done: other records stand at {refused} of the names"),
        };
        Self {
            plan: plan.token.to_string(),
            zone: zone.to_owned(),
            applicable: refused == 0,
            to_create,
            records: plan.records,
            message,
        }
    }
}

/// The credential's id in a body.
pub(super) fn credential_id(text: &str) -> Result<DnsCredentialId, FieldError> {
    text.parse().map_err(|error: mtasts_model::ids::IdError| {
        FieldError::at("/dns_credential_id", "invalid-id", error.to_string())
    })
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[
            groups::CALL,
            groups::BODY,
            groups::OBJECT,
            groups::ONCE,
            groups::CUSTOMER_DNS,
            groups::DELEGATION,
        ])
    }
}

/// Plan the delegation
///
/// Looks into your zone with a credential of yours, and says for each CNAME what would be done: `create`, `keep`, or
/// `refuse` where something else stands. Nothing is written.
#[utoipa::path(
    tag = "delegation",
    operation_id = "plan_delegation",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = PlanDelegation,
    responses((status = 200, description = "What would be done.", body = DelegationPlan), Errors),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/delegation:plan")]
pub(crate) async fn plan_delegation(
    scope: TenantScope,
    id: PathId<DomainId>,
    key: IdempotencyKey,
    body: Json<PlanDelegation>,
) -> Result<HttpResponse, Problem> {
    let credential = credential_id(&body.value.dns_credential_id).map_err(|fault| Problem::fields(vec![fault]))?;
    let once = Once::new(&key, body.hash, scope.now());
    if let Some(answer) = once.peek(scope.begin().await?).await? {
        return Ok(answer.respond());
    }
    let subject = Subject::take(&scope, id.0, credential, "plan").await?;
    let state = scope.state();
    let place = state.places.take(scope.home())?;
    let deadline = Instant::now() + state.config.customer_dns_deadline;
    let (zone, plan) = subject.look(&scope, Scope::of(body.value.include_optional), deadline).await?;
    drop(place);
    let plan = DelegationPlan::of(plan, zone.name());
    let answer = once.run(scope.begin().await?, async |_| Answer::new(StatusCode::OK, &plan)).await?;
    Ok(answer.respond())
}
