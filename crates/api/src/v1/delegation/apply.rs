//! `POST /v1/domains/{domain_id}/delegation:apply`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post, rt};
use mtasts_model::{DnsCredentialId, DomainId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::Instrument;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{
    look::{Action, Plan, PlanToken, PlannedRecordBody, Subject, TTL},
    plan::credential_id,
};
use crate::{
    auth::TenantScope,
    customer_dns::{CustomerDnsError, OpenZone, within},
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once, PathId},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::{domains::body::DomainBody, fields::Faults},
};

/// What to apply.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "dns_credential_id": "dns_0190c3a0b1c27d3e8f4051627384950a",
    "plan": "required.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
}))]
pub(crate) struct ApplyDelegation {
    /// The credential that the plan was made with.
    #[schema(pattern = "^dns_[0-9a-f]{32}$")]
    dns_credential_id: String,
    /// `plan` of the answer to `delegation:plan`.
    #[schema(pattern = "^(required|all)[.][A-Za-z0-9_-]{43}$")]
    plan: String,
}

impl ApplyDelegation {
    fn parse(&self) -> Result<(DnsCredentialId, PlanToken), Problem> {
        let mut faults = Faults::default();
        let credential = faults.keep(credential_id(&self.dns_credential_id));
        let malformed = || FieldError::at("/plan", "invalid-plan", "must be `plan` as `delegation:plan` answered it");
        let token = faults.keep(PlanToken::parse(&self.plan).ok_or_else(malformed));
        credential.zip(token).ok_or_else(|| faults.into_problem())
    }
}

/// What became of the plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppliedDelegation {
    /// Whether all CNAMEs stand in your zone now.
    complete: bool,
    /// What became of each CNAME.
    records: Vec<AppliedRecordBody>,
    /// The domain, which is looked at again at once.
    domain: DomainBody,
}

/// What became of one CNAME.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AppliedRecord)]
struct AppliedRecordBody {
    /// The name in your zone.
    #[schema(example = "mta-sts.example.com")]
    name: String,
    /// Where it is to lead.
    #[schema(example = "4xk7n2d3e5pzk7qn2wq4lq3m6y.edge.sts.example.net")]
    target: String,
    /// `created`, `kept` or `failed`.
    outcome: AppliedOutcome,
    /// Why it failed, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// What became of one CNAME.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AppliedOutcome {
    Created,
    Kept,
    Failed,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::DelegationChanged, ProblemKind::DelegationRefused];
        documented(&[
            groups::CALL,
            groups::BODY,
            groups::OBJECT,
            groups::ONCE,
            groups::CUSTOMER_DNS,
            groups::DELEGATION,
            own,
        ])
    }
}

/// Apply a plan
///
/// Looks again first. If anything changed since the plan, or other records stand in the way, nothing is written. Then
/// the missing CNAMEs are created one by one; nothing is ever overwritten or removed. To apply a plan again after a
/// failure, make a new one: what was created is kept.
#[utoipa::path(
    tag = "delegation",
    operation_id = "apply_delegation",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = ApplyDelegation,
    responses((status = 200, description = "What became of each CNAME.", body = AppliedDelegation), Errors),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/delegation:apply")]
pub(crate) async fn apply_delegation(
    scope: TenantScope,
    id: PathId<DomainId>,
    key: IdempotencyKey,
    body: Json<ApplyDelegation>,
) -> Result<HttpResponse, Problem> {
    // A task of its own: a caller who hangs up half-way must not keep what was written out of the audit log.
    let work = rt::spawn(apply(scope, id.0, key, body).in_current_span());
    work.await.map_err(Problem::internal)?
}

async fn apply(
    scope: TenantScope,
    id: DomainId,
    key: IdempotencyKey,
    body: Json<ApplyDelegation>,
) -> Result<HttpResponse, Problem> {
    let (credential, token) = body.value.parse()?;
    let once = Once::new(&key, body.hash, scope.now());
    if let Some(answer) = once.peek(scope.begin().await?).await? {
        return Ok(answer.respond());
    }
    let subject = Subject::take(&scope, id, credential, "apply").await?;
    let state = scope.state();
    let place = state.places.take(scope.home())?;
    let deadline = Instant::now() + state.config.customer_dns_deadline;
    let (zone, plan) = subject.look(&scope, token.scope, deadline).await?;
    if let Some(refusal) = plan.refusal() {
        return Err(refusal);
    }
    if plan.token != token {
        let detail = "What stands in the zone is not what the plan was made from; nothing was written";
        return Err(Problem::new(ProblemKind::DelegationChanged, detail).with("records", plan.shown()));
    }
    let records = carry_out(&*zone, plan, deadline).await;
    drop(place);
    let answer = once
        .run(scope.begin().await?, async |tx| {
            let any_created = records.iter().any(|record| record.outcome == AppliedOutcome::Created);
            let outcome = serde_json::to_value(&records).map_err(Problem::internal)?;
            let actor = scope.actor();
            let view =
                tx.note_delegation_applied((id, credential), (any_created, outcome), &actor, scope.now()).await?;
            let complete = records.iter().all(|record| record.outcome != AppliedOutcome::Failed);
            let domain = DomainBody::of(view, &scope.state().config);
            Answer::new(StatusCode::OK, &AppliedDelegation { complete, records, domain })
        })
        .await?;
    Ok(answer.respond())
}

/// Creates what is missing, one by one. Once the provider is away or refuses the credential, the others are not tried.
async fn carry_out(zone: &dyn OpenZone, plan: Plan, deadline: Instant) -> Vec<AppliedRecordBody> {
    let mut stopped = false;
    let mut applied = Vec::with_capacity(plan.records.len());
    for PlannedRecordBody { name, target, action, .. } in plan.records {
        let (outcome, message) = match action {
            Action::Keep => (AppliedOutcome::Kept, None),
            _ if stopped => (AppliedOutcome::Failed, Some("It was not tried after the failure before it".to_owned())),
            _ => match within(deadline, "create", zone.create_cname(&name, &target, TTL)).await {
                Ok(()) => (AppliedOutcome::Created, None),
                Err(error) => {
                    stopped = !matches!(error, CustomerDnsError::Occupied { .. } | CustomerDnsError::Rejected { .. });
                    tracing::warn!(name, error = %mtasts_model::causes(&error), "a customer's CNAME was not created");
                    (AppliedOutcome::Failed, Some(failure(error)))
                }
            },
        };
        applied.push(AppliedRecordBody { name, target, outcome, message });
    }
    applied
}

fn failure(error: CustomerDnsError) -> String {
    match error {
        CustomerDnsError::Unavailable { reason, .. } => {
            format!("{reason}. The CNAME may stand there or not: make a new plan to see")
        }
        CustomerDnsError::Occupied { found } => {
            format!("{found} stands there by now, and is not touched: remove it, and make a new plan")
        }
        CustomerDnsError::Unauthorized { reason }
        | CustomerDnsError::ZoneNotCovered { reason }
        | CustomerDnsError::ServerUnusable { reason }
        | CustomerDnsError::Rejected { reason } => reason,
    }
}
