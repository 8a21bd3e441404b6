//! `POST /v1/checks`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, post};
use mtasts_model::check::CheckWanted;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{CheckBody, ask, domain};
use crate::{
    auth::TenantScope,
    extract::{IdempotencyHeader, IdempotencyKey, Json, Once},
    problem::{Problem, documented, groups},
    v1::fields::{Faults, object},
};

/// A look that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"domain": "example.com", "options": {"mx_hosts": true}}))]
pub(crate) struct CreateCheck {
    /// The mail domain: any, whether you have registered it or not.
    #[schema(min_length = 1, max_length = 1012)]
    domain: String,
    /// How it is looked at.
    #[serde(default, deserialize_with = "object")]
    options: Option<CheckOptions>,
}

/// How a domain is looked at.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckOptions {
    /// Whether MX hosts are connected to. Without it they are named and held against the policy: that is faster.
    #[serde(default)]
    #[schema(default = true)]
    mx_hosts: Option<bool>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::ONCE])
    }
}

/// Look at any domain
///
/// As a sending MTA does: record, policy host, certificate, policy, MX hosts with STARTTLS, TLS reporting. A worker looks, for a
/// minute at most; read the check until its `state` is `done` or `failed`. Each tenant has a budget of checks an hour of its
/// own (429 `rate-limited`), and all together connect to a mail server a few times a minute at most.
#[utoipa::path(
    tag = "checks",
    operation_id = "create_check",
    params(IdempotencyHeader),
    request_body = CreateCheck,
    responses(
        (status = 202, description = "The check, which waits for a worker.", body = CheckBody,
            headers(("Location" = String, description = "Where it is."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/checks")]
pub(crate) async fn create_check(
    scope: TenantScope,
    key: IdempotencyKey,
    body: Json<CreateCheck>,
) -> Result<HttpResponse, Problem> {
    let mut faults = Faults::default();
    let Some(domain) = faults.keep(domain(&body.value.domain, scope.state())) else {
        return Err(faults.into_problem());
    };
    let mx_hosts = body.value.options.as_ref().and_then(|options| options.mx_hosts).unwrap_or(true);
    let wanted = CheckWanted::Inspection { mx_hosts };
    ask(&scope, Once::new(&key, body.hash, scope.now()), domain, wanted).await
}
