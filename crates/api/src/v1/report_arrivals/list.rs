//! `GET /v1/report-arrivals`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_store::ArrivalState;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{ArrivalBody, StateSchema};
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, Query, limit},
    problem::{Problem, documented, groups},
};

/// Which arrivals, and which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListArrivals {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before. Goes with the same filter.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Only those of which this has become.
    #[param(value_type = Option<StateSchema>, inline)]
    state: Option<String>,
}

impl ListArrivals {
    fn state(&self) -> Result<Option<ArrivalState>, Problem> {
        let state = self.state.as_deref().map(|text| {
            let state = ArrivalState::ALL.into_iter().find(|state| state.as_str() == text);
            let message = "must be `waiting`, `read` or `quarantined`";
            state.ok_or_else(|| Problem::parameter("state", "state-unknown", message))
        });
        state.transpose()
    }
}

/// A page of arrivals, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportArrivalList)]
struct ArrivalList {
    /// The arrivals.
    #[schema(max_items = 100)]
    data: Vec<ArrivalBody>,
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

/// List what arrived
///
/// Mails and POSTs to the addresses of your domains for reports, newest first, and what became of them. Those that could
/// not be read are `quarantined`, with the reason and what to do; their octets are kept.
#[utoipa::path(
    tag = "reports",
    operation_id = "list_report_arrivals",
    params(ListArrivals),
    responses((status = 200, description = "A page of arrivals.", body = ArrivalList), Errors),
    security(("api_key" = [])),
)]
#[get("/report-arrivals")]
pub(crate) async fn list_report_arrivals(
    scope: TenantScope,
    query: Query<ListArrivals>,
) -> Result<HttpResponse, Problem> {
    let (state, limit) = (query.0.state()?, limit(query.0.limit)?);
    let before = Cursor::read(query.0.cursor.as_deref())?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.report_arrivals(state, before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|arrival| arrival.id);
    Ok(HttpResponse::Ok().json(ArrivalList { data: page.map(ArrivalBody::from), next_cursor }))
}
