//! What happened to a tenant's domains.

pub(crate) mod catalogue;
pub(crate) mod list;
pub(crate) mod payload;

use chrono::{DateTime, Utc};
use mtasts_model::EventType;
use mtasts_store::Event;
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventBody {
    /// Its id: the `webhook-id` of its deliveries.
    #[schema(example = "evt_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// What kind of thing.
    #[schema(value_type = EventTypeSchema)]
    r#type: &'static str,
    /// When it happened.
    timestamp: DateTime<Utc>,
    /// The domain that it is about; null where it is about none.
    #[schema(required, example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    domain_id: Option<String>,
    /// Its content, by its type: as in the section `webhooks` of this document.
    #[schema(value_type = Object)]
    data: Value,
}

impl From<Event> for EventBody {
    fn from(event: Event) -> Self {
        Self {
            id: event.id.to_string(),
            r#type: event.event_type.as_str(),
            timestamp: event.at,
            domain_id: event.domain.map(|domain| domain.to_string()),
            data: event.data,
        }
    }
}

/// The schema of [`EventType`], which knows nothing of OpenAPI.
pub(crate) struct EventTypeSchema;

impl PartialSchema for EventTypeSchema {
    fn schema() -> RefOr<Schema> {
        let words = EventType::ALL.iter().map(|event_type| event_type.as_str());
        let description = "What an event is about. Later versions add further types.";
        let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        RefOr::T(Schema::Object(text.description(Some(description)).build()))
    }
}

impl ToSchema for EventTypeSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "EventType".into()
    }
}
