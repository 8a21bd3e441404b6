//! `POST /v1/tenants/{tenant_id}/domains/{domain_id}/force-removal`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::{DomainId, PolicyId, PolicyVersionId, TenantId};
use mtasts_store::{NewVersion, RemovalGround, VersionReason};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use crate::{
    auth::Operator,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once, PathId},
    problem::{FieldError, Problem, documented, groups},
    v1::{
        domains::{body::DomainBody, delete::no_policy},
        fields::{Faults, override_reason},
    },
};

/// Why a domain must go at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"ground": "law", "reason": "Order 4711 of the district court"}))]
pub(crate) struct ForceRemoval {
    /// On which ground: `law` (an order of a court or an authority) or `abuse`.
    #[schema(value_type = GroundSchema)]
    ground: String,
    /// Why, in your words. It stands in the tenant's audit log.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// On which ground a removal is forced.
#[derive(ToSchema)]
#[schema(as = RemovalGround, rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `RemovalGround`, which knows nothing of OpenAPI")]
enum GroundSchema {
    /// An order of a court or an authority.
    Law,
    /// The domain or its tenant harms others.
    Abuse,
}

impl ForceRemoval {
    fn parse(&self) -> Result<(RemovalGround, String), Problem> {
        let mut faults = Faults::default();
        let ground = RemovalGround::ALL.into_iter().find(|ground| ground.as_str() == self.ground);
        let unknown = || FieldError::at("/ground", "ground-unknown", "must be `law` or `abuse`");
        let ground = faults.keep(ground.ok_or_else(unknown));
        let reason = faults.keep(override_reason(true, Some(&self.reason))).flatten();
        ground.zip(reason).ok_or_else(|| faults.into_problem())
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE])
    }
}

/// Remove a domain at once
///
/// Takes the operator token: for orders of a court, and for abuse. Records, policy host and certificate go without waiting for
/// senders that may hold a policy of the domain; those in `enforce` go on holding its MX hosts to it until it ends. The tenant
/// sees it in the domain and in its audit log. To force it again changes nothing.
#[utoipa::path(
    tag = "tenants",
    operation_id = "force_domain_removal",
    params(
        ("tenant_id" = String, Path, description = "The tenant's id", pattern = "^ten_[0-9a-f]{32}$"),
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = ForceRemoval,
    responses((status = 202, description = "The domain, on its way out or gone.", body = DomainBody), Errors),
    security(("operator_token" = [])),
)]
#[post("/tenants/{tenant_id}/domains/{domain_id}/force-removal")]
pub(crate) async fn force_domain_removal(
    operator: Operator,
    tenant: PathId<TenantId>,
    id: PathId<DomainId>,
    key: IdempotencyKey,
    body: Json<ForceRemoval>,
) -> Result<HttpResponse, Problem> {
    let (ground, reason) = body.value.parse()?;
    let (now, state) = (operator.now(), operator.state());
    let none = NewVersion {
        id: PolicyVersionId::draw(now, &*state.entropy),
        policy_id: PolicyId::draw(now, &*state.entropy),
        policy: no_policy()?,
        reason: VersionReason::Withdrawn,
        forced: None,
    };
    let answer = Once::new(&key, body.hash, now)
        .run(operator.begin(tenant.0).await?, async |tx| {
            tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
            let view = tx.force_removal(id.0, none, (ground, &reason), &operator.actor(), now).await?;
            Answer::new(StatusCode::ACCEPTED, &DomainBody::of(view, &state.config))
        })
        .await?;
    Ok(answer.respond())
}
