//! `GET /v1/webhooks/{webhook_id}/deliveries`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::WebhookId;
use mtasts_store::{DeliveryFilter, DeliveryState};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{DeliveryBody, StatusSchema, not_found};
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, PathId, Query, limit},
    problem::{Problem, documented, groups},
};

/// Which deliveries, and which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDeliveries {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before. Goes with the same filter.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Only those of which this has become.
    #[param(value_type = Option<StatusSchema>, inline)]
    status: Option<String>,
}

impl ListDeliveries {
    fn filter(&self) -> Result<DeliveryFilter, Problem> {
        let state = self.status.as_deref().map(|text| {
            let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == text);
            let message = "must be `pending`, `delivered` or `failed`";
            state.ok_or_else(|| Problem::parameter("status", "status-unknown", message))
        });
        Ok(DeliveryFilter { state: state.transpose()? })
    }
}

/// A page of deliveries, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    /// The deliveries.
    data: Vec<DeliveryBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// List a webhook's deliveries
///
/// Those of the last 30 days, newest first: what became of each, what was answered last, and when it is tried next.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "list_webhook_deliveries",
    params(
        ("webhook_id" = String, Path, description = "The webhook's id", pattern = "^whk_[0-9a-f]{32}$"),
        ListDeliveries,
    ),
    responses((status = 200, description = "A page of deliveries.", body = DeliveryList), Errors),
    security(("api_key" = [])),
)]
#[get("/webhooks/{webhook_id}/deliveries")]
pub(crate) async fn list_webhook_deliveries(
    scope: TenantScope,
    id: PathId<WebhookId>,
    query: Query<ListDeliveries>,
) -> Result<HttpResponse, Problem> {
    let (filter, limit) = (query.0.filter()?, limit(query.0.limit)?);
    let before = Cursor::read(query.0.cursor.as_deref())?;
    let tx = scope.begin().await?;
    tx.webhook(id.0).await?.ok_or_else(not_found)?;
    let page = Page::of(tx.deliveries(id.0, filter, before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|delivery| delivery.id);
    Ok(HttpResponse::Ok().json(DeliveryList { data: page.map(DeliveryBody::from), next_cursor }))
}
