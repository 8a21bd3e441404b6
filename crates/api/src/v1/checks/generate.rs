//! `POST /v1/policies:generate`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, post};
use mtasts_model::{HostName, MailDomain, Mode, check::CheckWanted};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{CheckBody, ask, domain};
use crate::{
    auth::TenantScope,
    extract::{IdempotencyHeader, IdempotencyKey, Json, Once},
    problem::{FieldError, Problem, documented, groups},
    state::State,
    v1::fields::{Faults, ModeSchema, TlsRpt, max_age, object, report_uris},
};

/// For which domain, and what is wished for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"domain": "example.com", "mode": "testing"}))]
pub(crate) struct GeneratePolicy {
    /// The mail domain: any, whether you have registered it or not.
    #[schema(min_length = 1, max_length = 1012)]
    domain: String,
    /// The mode: `testing` where absent.
    #[schema(value_type = Option<ModeSchema>)]
    mode: Option<Mode>,
    /// How long senders may keep the policy, in seconds: a day, and with `enforce` a week, where absent.
    #[schema(minimum = 0, maximum = 31_557_600)]
    max_age: Option<u64>,
    /// Where senders' reports go: to `tls-reports@` the domain where absent.
    #[serde(default, deserialize_with = "object")]
    tls_rpt: Option<TlsRpt>,
    /// The web server that is to serve the policy, for the CNAME of `mta-sts.` the domain.
    #[schema(min_length = 1, max_length = 253, example = "web.example.net")]
    policy_host: Option<String>,
}

impl GeneratePolicy {
    fn parse(&self, state: &State) -> Result<(MailDomain, CheckWanted), Problem> {
        let mut faults = Faults::default();
        let domain = faults.keep(domain(&self.domain, state));
        let max_age = match self.max_age {
            Some(seconds) => faults.keep(max_age(seconds)).map(Some),
            None => Some(None),
        };
        let rua = report_uris(self.tls_rpt.as_ref().map_or(&[], |tls_rpt| &tls_rpt.rua), &mut faults);
        let policy_host = match &self.policy_host {
            Some(text) => faults
                .keep(
                    HostName::parse(text)
                        .map_err(|error| FieldError::at("/policy_host", error.code(), error.to_string())),
                )
                .map(Some),
            None => Some(None),
        };
        match (domain, max_age, rua, policy_host) {
            (Some(domain), Some(max_age), Some(rua), Some(policy_host)) => {
                Ok((domain, CheckWanted::Policy { mode: self.mode, max_age, rua, policy_host }))
            }
            _ => Err(faults.into_problem()),
        }
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::ONCE])
    }
}

/// Build a policy for any domain
///
/// From its live MX hosts, with the records that belong to it and what to mind: for those who host their policy themselves
/// too. Nothing is changed anywhere. The answer is a check; read it until its `state` is `done`, then `generated` has the
/// policy. It counts as a check.
#[utoipa::path(
    tag = "checks",
    operation_id = "generate_policy",
    params(IdempotencyHeader),
    request_body = GeneratePolicy,
    responses(
        (status = 202, description = "The check, which waits for a worker.", body = CheckBody,
            headers(("Location" = String, description = "Where it is."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/policies:generate")]
pub(crate) async fn generate_policy(
    scope: TenantScope,
    key: IdempotencyKey,
    body: Json<GeneratePolicy>,
) -> Result<HttpResponse, Problem> {
    let (domain, wanted) = body.value.parse(scope.state())?;
    ask(&scope, Once::new(&key, body.hash, scope.now()), domain, wanted).await
}
