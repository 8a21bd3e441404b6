//! What a webhook's body may say.

use mtasts_model::EventType;
use mtasts_store::WebhookUrl;

use crate::{
    problem::FieldError,
    v1::fields::{Faults, name},
};

/// Where to.
pub(super) fn url(text: &str, allow_http: bool) -> Result<WebhookUrl, FieldError> {
    WebhookUrl::parse(text, allow_http).map_err(|error| FieldError::at("/url", error.code(), error.to_string()))
}

/// For people; may be empty.
pub(super) fn description(text: &str) -> Result<String, FieldError> {
    if text.trim().is_empty() { Ok(String::new()) } else { name("/description", text) }
}

/// More than there are, so that a new type needs no other client.
const MAX_TYPES: usize = 100;

/// Of which types: at least one, each at most once.
pub(super) fn event_types(words: &[String], faults: &mut Faults) -> Option<Vec<EventType>> {
    if words.is_empty() || words.len() > MAX_TYPES {
        let message = format!("must name 1 to {MAX_TYPES} types; null for all");
        return faults.keep(Err(FieldError::at("/event_types", "wrong-length", message)));
    }
    let mut types = faults.keep_all(words.iter().enumerate().map(|(index, word)| {
        let at = format!("/event_types/{index}");
        word.parse::<EventType>()
            .map_err(|_| FieldError::at(at, "event-type-unknown", "must be a type of event, such as `policy.changed`"))
    }))?;
    types.sort_unstable();
    types.dedup();
    Some(types)
}
