//! `GET /v1/domains`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use chrono::{DateTime, Utc};
use mtasts_model::{ConditionKind, Mode, Status};
use mtasts_store::{DomainFilter, DomainState, DomainView};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::body::ConditionBody;
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, Query, limit},
    problem::{Problem, documented, groups},
    v1::fields::ModeSchema,
};

/// Which domains, and which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDomains {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before. Goes with the same filters.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Only those whose policy has this mode.
    #[param(value_type = Option<ModeSchema>, inline)]
    mode: Option<String>,
    /// Only those in this state. All but `gone` where absent.
    #[param(value_type = Option<StateSchema>, inline)]
    state: Option<String>,
    /// Only those with this condition, as `Kind:Status`.
    #[param(example = "MxReady:False", pattern = "^[A-Za-z]+:(True|False|Unknown)$")]
    condition: Option<String>,
    /// Only those whose name begins so (A-labels). The list is ordered by name then, else by id.
    #[param(example = "shop", max_length = 253)]
    name_prefix: Option<String>,
}

/// How far a registration has come.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `DomainState`, which knows nothing of OpenAPI")]
enum StateSchema {
    Pending,
    Active,
    Withdrawing,
    Gone,
}

impl ListDomains {
    fn filter(&self) -> Result<DomainFilter, Problem> {
        let mode = self.mode.as_deref().map(|text| {
            text.parse::<Mode>().map_err(|error| Problem::parameter("mode", error.code(), error.to_string()))
        });
        let state = self.state.as_deref().map(|text| {
            let state = DomainState::ALL.into_iter().find(|state| state.as_str() == text);
            let message = "must be `pending`, `active`, `withdrawing` or `gone`";
            state.ok_or_else(|| Problem::parameter("state", "state-unknown", message))
        });
        let condition = self.condition.as_deref().map(condition);
        let name_prefix = self.name_prefix.as_deref().map(name_prefix);
        Ok(DomainFilter {
            mode: mode.transpose()?,
            state: state.transpose()?,
            condition: condition.transpose()?,
            name_prefix: name_prefix.transpose()?,
        })
    }
}

fn condition(text: &str) -> Result<(ConditionKind, Status), Problem> {
    let parsed = text.split_once(':').and_then(|(kind, status)| {
        let kind = ConditionKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        let status = STATUSES.into_iter().find(|known| status_word(*known) == status)?;
        Some((kind, status))
    });
    parsed.ok_or_else(|| {
        let kinds = ConditionKind::ALL.map(ConditionKind::as_str).join(", ");
        let message = format!("must be `Kind:Status`, with one of {kinds} and one of True, False, Unknown");
        Problem::parameter("condition", "condition-unknown", message)
    })
}

const STATUSES: [Status; 3] = [Status::True, Status::False, Status::Unknown];

pub(super) fn status_word(status: Status) -> &'static str {
    match status {
        Status::True => "True",
        Status::False => "False",
        Status::Unknown => "Unknown",
    }
}

fn name_prefix(text: &str) -> Result<String, Problem> {
    let plain = (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    if plain {
        return Ok(text.to_ascii_lowercase());
    }
    let message = "must be the beginning of a name: 1 to 253 letters, digits, hyphens and dots, A-labels for others";
    Err(Problem::parameter("name_prefix", "name-character", message))
}

/// A domain in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DomainSummary {
    /// Its id.
    #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// The mail domain as A-labels.
    #[schema(example = "example.com")]
    name: String,
    /// `pending`, `active`, `withdrawing` or `gone`.
    #[schema(example = "active")]
    state: &'static str,
    /// The mode of the policy; before there is one, the mode that it will have.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// The `id` in the TXT record of the current version; null until there is one.
    #[schema(required, example = "20261121213000a1b2c3")]
    policy_id: Option<String>,
    /// Since when.
    created_at: DateTime<Utc>,
    /// The domain's health.
    conditions: Vec<ConditionBody>,
}

impl From<DomainView> for DomainSummary {
    fn from(view: DomainView) -> Self {
        Self {
            id: view.id.to_string(),
            name: view.name.to_string(),
            state: view.state.as_str(),
            mode: view.version.as_ref().map_or(view.preferred_mode, |version| version.policy.mode()),
            policy_id: view.version.as_ref().map(|version| version.policy_id.to_string()),
            created_at: view.created_at,
            conditions: view.conditions.into_iter().map(ConditionBody::from).collect(),
        }
    }
}

/// A page of domains.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DomainList {
    /// The domains.
    data: Vec<DomainSummary>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

/// List the domains
///
/// All given filters must hold.
#[utoipa::path(
    tag = "domains",
    operation_id = "list_domains",
    params(ListDomains),
    responses((status = 200, description = "A page of domains.", body = DomainList), Errors),
    security(("api_key" = [])),
)]
#[get("/domains")]
pub(crate) async fn list_domains(scope: TenantScope, query: Query<ListDomains>) -> Result<HttpResponse, Problem> {
    let limit = limit(query.0.limit)?;
    let after = Cursor::read(query.0.cursor.as_deref())?;
    let filter = query.0.filter()?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.list_domains(&filter, after, limit + 1).await?, limit);
    let next_cursor = page.cursor(|domain| domain.id);
    Ok(HttpResponse::Ok().json(DomainList { data: page.map(DomainSummary::from), next_cursor }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_parsed_or_refused_by_name() {
        assert_eq!(condition("MxReady:False").unwrap(), (ConditionKind::MxReady, Status::False));
        assert!(["MxReady", "mxready:False", "MxReady:Maybe", ":"].iter().all(|text| condition(text).is_err()));
        assert_eq!(name_prefix("Shop.").unwrap(), "shop.");
        assert!(["", "a%", "a_b", "bücher", "a\0"].iter().all(|text| name_prefix(text).is_err()));
        let wrong = ListDomains { state: Some("dead".into()), ..ListDomains::default() };
        assert!(wrong.filter().is_err());
        let wrong = ListDomains { mode: Some("Enforce".into()), ..ListDomains::default() };
        assert!(wrong.filter().is_err());
    }
}
