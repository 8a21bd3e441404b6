//! `GET /v1/events`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::{DomainId, EventType};
use mtasts_store::EventFilter;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{EventBody, EventTypeSchema};
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, Query, limit},
    problem::{Problem, documented, groups},
};

/// Which events, and which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListEvents {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before. Goes with the same filters.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Only those of this type.
    #[param(value_type = Option<EventTypeSchema>, inline)]
    r#type: Option<String>,
    /// Only those about this domain.
    #[param(example = "dom_0190c3a0b1c27d3e8f4051627384950a", pattern = "^dom_[0-9a-f]{32}$")]
    domain_id: Option<String>,
}

impl ListEvents {
    fn filter(&self) -> Result<EventFilter, Problem> {
        let event_type = self.r#type.as_deref().map(|text| {
            let message = "must be a type of event, such as `policy.changed`";
            text.parse::<EventType>().map_err(|_| Problem::parameter("type", "event-type-unknown", message))
        });
        let domain = self.domain_id.as_deref().map(|text| {
            text.parse::<DomainId>().map_err(|error| Problem::parameter("domain_id", "invalid-id", error.to_string()))
        });
        Ok(EventFilter { event_type: event_type.transpose()?, domain: domain.transpose()? })
    }
}

/// A page of events, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    /// The events.
    data: Vec<EventBody>,
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

/// List events
///
/// What happened to your domains in the last 30 days, newest first, whether or not a webhook was told. The filters can
/// be combined.
#[utoipa::path(
    tag = "events",
    operation_id = "list_events",
    params(ListEvents),
    responses((status = 200, description = "A page of events.", body = EventList), Errors),
    security(("api_key" = [])),
)]
#[get("/events")]
pub(crate) async fn list_events(scope: TenantScope, query: Query<ListEvents>) -> Result<HttpResponse, Problem> {
    let (filter, limit) = (query.0.filter()?, limit(query.0.limit)?);
    let before = Cursor::read(query.0.cursor.as_deref())?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.events(&filter, before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|event| event.id);
    Ok(HttpResponse::Ok().json(EventList { data: page.map(EventBody::from), next_cursor }))
}
