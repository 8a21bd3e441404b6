//! An example for every body of the document, put together from the examples of its parts, so that an example cannot
//! say what the schema does not.

use serde_json::{Map, Value, json};
use utoipa::openapi::{Content, OpenApi, PathItem, RefOr, path::Operation};

/// What is refused at a depth like this would be a schema that contains itself.
const MAX_DEPTH: usize = 16;
/// Times, where the schema gives none.
const TIME: &str = "2026-11-21T21:30:00Z";

/// Gives each body of a request or a good answer an example, if it has none of its own. Problems have theirs.
pub(super) fn fill(document: &mut OpenApi) {
    let schemas = serde_json::to_value(&document.components).map(|mut value| value["schemas"].take());
    let composer = Composer { schemas: schemas.unwrap_or_default() };
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            body.content.values_mut().for_each(|content| composer.fill(content, Side::Request));
        }
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response {
                response.content.values_mut().for_each(|content| composer.fill(content, Side::Response));
            }
        }
    }
}

/// The operations of a path.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Request,
    Response,
}

struct Composer {
    /// By name.
    schemas: Value,
}

impl Composer {
    fn fill(&self, content: &mut RefOr<Content>, side: Side) {
        let RefOr::T(content) = content else { return };
        if content.example.is_some() || !content.examples.is_empty() {
            return;
        }
        let schema = content.schema.as_ref().and_then(|schema| serde_json::to_value(schema).ok());
        content.example = schema.and_then(|schema| self.of(&schema, side, 0));
    }

    /// An example of what the schema describes; None where a part gives too little to go by.
    fn of(&self, schema: &Value, side: Side, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        // What a reference has beside it outranks what it leads to (JSON Schema 2020-12 §8.2.3.1).
        let given = schema.get("example").or_else(|| schema.get("examples").and_then(|given| given.get(0)));
        if let Some(given) = given.or_else(|| schema.get("const")) {
            return Some(given.clone());
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/")) {
            return self.of(self.schemas.get(name)?, side, depth + 1);
        }
        if let Some(first) = schema["enum"].get(0).or_else(|| schema.get("default")) {
            return Some(first.clone());
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[choice].as_array() {
                let real = choices.iter().find(|choice| choice["type"] != "null")?;
                return self.of(real, side, depth + 1);
            }
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return self.together(parts, side, depth);
        }
        let kinds: Vec<_> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        match *kinds.first()? {
            "object" => self.object(schema, side, depth),
            "array" => Some(json!([self.of(&schema["items"], side, depth + 1)?])),
            "boolean" => Some(json!(true)),
            "integer" | "number" => Some(schema.get("minimum").cloned().unwrap_or_else(|| json!(1))),
            "string" if schema["format"] == "date-time" => Some(json!(TIME)),
            "string" if schema["format"] == "date" => Some(json!(&TIME[..10])),
            _ if kinds.contains(&"null") => Some(Value::Null),
            _ => None,
        }
    }

    /// All members, but those that do not go this way.
    fn object(&self, schema: &Value, side: Side, depth: usize) -> Option<Value> {
        let mut members = Map::new();
        let hidden = if side == Side::Request { "readOnly" } else { "writeOnly" };
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if schema[hidden] != true {
                members.insert(name.clone(), self.of(schema, side, depth + 1)?);
            }
        }
        Some(Value::Object(members))
    }

    /// Members of all parts; what is no object is described by the first part that says enough.
    fn together(&self, parts: &[Value], side: Side, depth: usize) -> Option<Value> {
        let examples = parts.iter().filter_map(|part| self.of(part, side, depth + 1));
        examples.reduce(|whole, part| match (whole, part) {
            (Value::Object(mut whole), Value::Object(part)) => {
                whole.extend(part);
                Value::Object(whole)
            }
            (whole, _) => whole,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_of_a_request_and_of_an_answer_has_an_example() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let mut without = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let answers = operation["responses"].as_object().unwrap().iter();
                let bodies = answers.map(|(status, answer)| (status.as_str(), answer));
                for (name, body) in bodies.chain([("request", &operation["requestBody"])]) {
                    for (media, content) in body["content"].as_object().into_iter().flatten() {
                        if content["example"].is_null() && content["examples"].is_null() {
                            without.push(format!("{method} {path} {name} {media}"));
                        }
                    }
                }
            }
        }
        assert!(without.is_empty(), "give examples to the strings of their schemas: {without:#?}");
    }

    #[test]
    fn an_example_is_put_together_from_the_parts() {
        let schemas = json!({"Name": {"type": "string", "example": "a.test"}});
        let composer = Composer { schemas };
        let schema = json!({"type": "object", "properties": {
            "name": {"$ref": "#/components/schemas/Name"},
            "other": {"$ref": "#/components/schemas/Name", "example": "b.test"},
            "secret": {"type": "string", "example": "s", "writeOnly": true},
            "names": {"type": "array", "items": {"$ref": "#/components/schemas/Name"}},
            "mode": {"oneOf": [{"type": "null"}, {"type": "string", "enum": ["testing"]}]},
            "until": {"type": ["string", "null"], "format": "date-time"},
            "next": {"type": ["string", "null"]},
            "count": {"type": "integer", "minimum": 0},
        }});
        let example = |side| composer.of(&schema, side, 0).unwrap();
        let expected = json!({
            "name": "a.test", "other": "b.test", "names": ["a.test"], "mode": "testing", "until": TIME, "next": null,
            "count": 0,
        });
        assert_eq!(example(Side::Response), expected);
        assert_eq!(example(Side::Request)["secret"], "s");
        assert_eq!(composer.of(&json!({"type": "string"}), Side::Response, 0), None);
        let parts = json!({"allOf": [{"type": "object", "properties": {"a": {"const": 1}}},
            {"type": "object", "properties": {"b": {"const": 2}}}]});
        assert_eq!(composer.of(&parts, Side::Response, 0), Some(json!({"a": 1, "b": 2})));
    }
}
