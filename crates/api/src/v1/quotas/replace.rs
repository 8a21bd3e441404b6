//! `PUT /v1/tenants/{tenant_id}/quotas`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, put};
use mtasts_model::TenantId;
use mtasts_store::GrantedQuotas;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::QuotasBody;
use crate::{
    auth::Operator,
    extract::{Json, PathId},
    problem::{FieldError, Problem, documented, groups},
    v1::fields::Faults,
};

/// More than anybody has, and few enough to be counted.
const MOST: u64 = 1_000_000_000;
/// Days for which reports can be kept.
const RETENTION: std::ops::RangeInclusive<u32> = 1..=3_650;

/// What the tenant may have; where nothing is given, what all have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "domains": 250_000,
    "operations": null,
    "api_keys": null,
    "reports_a_day": 50_000,
    "report_retention_days": null,
}))]
pub(crate) struct ReplaceQuotas {
    /// Domains that are not gone.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    domains: Option<u64>,
    /// Bulk operations that have not ended.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    operations: Option<u64>,
    /// API keys that work.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    api_keys: Option<u64>,
    /// Mails and POSTs with reports that are taken on a day (UTC).
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    reports_a_day: Option<u64>,
    /// For how many days reports, and what they add up to, are kept at most: never longer than this service keeps them.
    #[schema(minimum = 1, maximum = 3_650)]
    report_retention_days: Option<u32>,
}

impl ReplaceQuotas {
    fn parse(&self) -> Result<GrantedQuotas, Problem> {
        let mut faults = Faults::default();
        let mut quota = |pointer: &str, value: Option<u64>| match value {
            Some(value) if value > MOST => {
                faults.keep(Err(FieldError::at(pointer, "out-of-range", format!("must be 0 to {MOST}"))))
            }
            value => Some(value),
        };
        let (domains, operations) = (quota("/domains", self.domains), quota("/operations", self.operations));
        let (api_keys, reports_a_day) =
            (quota("/api_keys", self.api_keys), quota("/reports_a_day", self.reports_a_day));
        let report_retention_days = match self.report_retention_days {
            Some(days) if !RETENTION.contains(&days) => {
                let message = format!("must be {} to {}", RETENTION.start(), RETENTION.end());
                faults.keep(Err(FieldError::at("/report_retention_days", "out-of-range", message)))
            }
            days => Some(days),
        };
        match (domains, operations, api_keys, reports_a_day, report_retention_days) {
            (Some(domains), Some(operations), Some(api_keys), Some(reports_a_day), Some(report_retention_days)) => {
                Ok(GrantedQuotas { domains, operations, api_keys, reports_a_day, report_retention_days })
            }
            _ => Err(faults.into_problem()),
        }
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT])
    }
}

/// Set a tenant's quotas
///
/// All of them: where nothing or null is given, the tenant has what all have. A limit below what the tenant has takes
/// nothing away; nothing more can be added then. Takes the operator token.
#[utoipa::path(
    tag = "tenants",
    operation_id = "replace_tenant_quotas",
    params(("tenant_id" = String, Path, description = "The tenant's id", pattern = "^ten_[0-9a-f]{32}$")),
    request_body = ReplaceQuotas,
    responses((status = 200, description = "The quotas.", body = QuotasBody), Errors),
    security(("operator_token" = [])),
)]
#[put("/tenants/{tenant_id}/quotas")]
pub(crate) async fn replace_tenant_quotas(
    operator: Operator,
    id: PathId<TenantId>,
    body: Json<ReplaceQuotas>,
) -> Result<HttpResponse, Problem> {
    let quotas = body.value.parse()?;
    let tx = operator.begin(id.0).await?;
    tx.commit().await?;
    operator.state().store.set_quotas(id.0, quotas, &operator.actor(), operator.now()).await?;
    let tx = operator.begin(id.0).await?;
    Ok(HttpResponse::Ok().json(QuotasBody::of(&tx, operator.state().config.quotas, operator.now()).await?))
}
