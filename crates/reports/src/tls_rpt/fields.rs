//! Fields of JSON objects, read as what they should be, with what they are noted.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::{
    DeviationCode, Deviations,
    deviation::excerpt,
    json::{Json, object},
};

/// An object whose fields are taken out one by one. What is left is `extra`.
pub(super) struct Fields<'a> {
    /// Its JSON pointer.
    pub(super) place: String,
    fields: Vec<(Cow<'a, str>, Json<'a>)>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(place: String, fields: Vec<(Cow<'a, str>, Json<'a>)>) -> Self {
        Self { place, fields }
    }

    /// The pointer of a field.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }

    /// Whether there is such a field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(key, _)| is_spelt(key, name))
    }

    /// Takes a field, as it is or in another spelling.
    pub(super) fn take(&mut self, name: &str, deviations: &mut Deviations) -> Option<Json<'a>> {
        let exact = self.fields.iter().position(|(key, _)| key == name);
        let index = exact.or_else(|| self.fields.iter().position(|(key, _)| is_spelt(key, name)))?;
        let (key, value) = self.fields.remove(index);
        if key != name {
            deviations.note(
                DeviationCode::MisspeltField,
                self.at(&key),
                format!("{} is read as {name}", excerpt(&key)),
            );
        }
        if self.fields.iter().any(|(key, _)| key == name) {
            deviations.note(DeviationCode::DuplicateField, self.at(name), "it is there twice; the first counts");
        }
        Some(value)
    }

    /// Takes a text that may be absent.
    pub(super) fn optional_text(&mut self, name: &str, deviations: &mut Deviations) -> Option<String> {
        let value = self.take(name, deviations)?;
        let place = self.at(name);
        text(value, &place, deviations)
    }

    /// Takes a text that has to be there.
    pub(super) fn text(&mut self, name: &str, deviations: &mut Deviations) -> Option<String> {
        if !self.has(name) {
            self.missing(name, deviations);
        }
        self.optional_text(name, deviations)
    }

    /// Takes a count of sessions that has to be there.
    pub(super) fn count(&mut self, name: &str, deviations: &mut Deviations) -> Option<u64> {
        let place = self.at(name);
        let Some(value) = self.take(name, deviations) else {
            self.missing(name, deviations);
            return None;
        };
        match &value {
            Json::Number(number) => {
                if let Some(count) = number.as_u64() {
                    return Some(count);
                }
                deviations.note(DeviationCode::NotACount, place, format!("{number} is not a count"));
                None
            }
            Json::Text(text) => {
                let count = text.trim().parse().ok();
                let (code, what) = match count {
                    Some(_) => (DeviationCode::NumberAsText, "is a text and not a number"),
                    None => (DeviationCode::NotACount, "is not a count"),
                };
                deviations.note(code, place, format!("{} {what}", excerpt(text)));
                count
            }
            Json::Null => {
                deviations.note(DeviationCode::NullField, place, "it is null");
                None
            }
            other => {
                deviations.note(DeviationCode::NotACount, place, format!("{} is not a count", other.kind()));
                None
            }
        }
    }

    pub(super) fn missing(&self, name: &str, deviations: &mut Deviations) {
        deviations.note(DeviationCode::MissingField, self.at(name), format!("{name} is missing"));
    }

    /// What nobody took.
    pub(super) fn rest(self) -> Map<String, Value> {
        object(self.fields)
    }
}

/// The same name with other letters in capitals, or underscores in place of hyphens.
fn is_spelt(key: &str, name: &str) -> bool {
    key.len() == name.len()
        && key.bytes().zip(name.bytes()).all(|(a, b)| a.eq_ignore_ascii_case(&b) || (a == b'_' && b == b'-'))
}

/// A text, trimmed. What is not one is kept as JSON.
pub(super) fn text(value: Json<'_>, place: &str, deviations: &mut Deviations) -> Option<String> {
    match value {
        Json::Text(text) if text.trim().is_empty() => {
            deviations.note(DeviationCode::EmptyField, place, "it is empty");
            None
        }
        Json::Text(text) => Some(text.trim().to_owned()),
        Json::Null => {
            deviations.note(DeviationCode::NullField, place, "it is null");
            None
        }
        Json::List(mut list) if list.len() == 1 && matches!(list[0], Json::Text(_)) => {
            deviations.note(DeviationCode::WrongType, place, "a list of one text, and not a text");
            text(list.remove(0), place, deviations)
        }
        other => {
            deviations.note(DeviationCode::WrongType, place, format!("{} and not a text", other.kind()));
            Some(other.into_value().to_string())
        }
    }
}
