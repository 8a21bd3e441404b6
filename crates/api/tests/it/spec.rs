//! The OpenAPI document as the judge of every answer.

use serde_json::Value;

use crate::service::Answer;

pub(crate) struct Spec(pub(crate) Value);

/// One operation of the document.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) value: Value,
}

impl Spec {
    pub(crate) fn load() -> Self {
        Self(serde_json::to_value(mtasts_api::openapi()).expect("serialises"))
    }

    pub(crate) fn operations(&self) -> Vec<Operation> {
        let paths = self.0["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, value)| Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                value: value.clone(),
            })
        });
        operations.collect()
    }

    /// Asserts that the answer is documented, and that problems are well-formed.
    pub(crate) fn check(&self, method: &str, path: &str, answer: &Answer) {
        let at = format!("{method} {path} gave {} {}", answer.status, answer.text);
        let request_id = answer.header("x-request-id").unwrap_or_else(|| panic!("{at}: no X-Request-Id"));
        // Pages for people are no part of the document.
        if path.starts_with("/digest/") {
            return;
        }
        if answer.status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{at}");
            let code = answer.body["code"].as_str().unwrap_or_else(|| panic!("{at}: no code"));
            assert_eq!(answer.body["type"], format!("https://api.example.net/problems/{code}"), "{at}");
            assert_eq!(answer.body["status"], answer.status, "{at}");
            assert_eq!(answer.body["request_id"], request_id, "{at}");
        }
        let documented = self
            .operations()
            .into_iter()
            .find(|operation| operation.method == method.replace("HEAD", "GET") && operation.matches(path));
        let Some(operation) = documented else { return };
        let response = &operation.value["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{at}: this status is not documented");
        if answer.status == 304 {
            // RFC 9110 §15.4.5.
            assert!(answer.text.is_empty() && answer.header("etag").is_some(), "{at}: no 304");
            return;
        }
        let media_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap();
        let content = &response["content"][media_type];
        assert!(content.is_object(), "{at}: {media_type} is not documented");
        if answer.status >= 400 {
            let code = answer.body["code"].as_str().unwrap();
            assert!(content["examples"][code].is_object(), "{at}: this problem is not documented");
        }
        if media_type.ends_with("json") && method != "HEAD" {
            self.conforms(&content["schema"], &answer.body, &at);
        }
    }

    /// The parts of JSON Schema that the document uses.
    fn conforms(&self, schema: &Value, value: &Value, at: &str) {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.conforms(&self.0.pointer(&reference[1..]).unwrap().clone(), value, at);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let has_all = |choice: &Value| {
                let required = self.resolve(choice)["required"].as_array().cloned().unwrap_or_default();
                required.iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            };
            let fits = |choice: &&Value| (choice["type"] == "null") == value.is_null() && has_all(choice);
            // Where none does, the first tells what it lacks.
            let fitting = choices.iter().find(fits).or(choices.iter().find(|choice| choice["type"] != "null"));
            return self.conforms(fitting.unwrap_or_else(|| panic!("{at}: {value} fits none")), value, at);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            // Only flattened structs have it; each part knows some of the members.
            for part in parts {
                let part = self.resolve(part);
                for name in part["required"].as_array().into_iter().flatten() {
                    assert!(value.get(name.as_str().unwrap()).is_some(), "{at}: no {name}");
                }
            }
            return;
        }
        if value.is_null() && schema["type"].as_array().is_some_and(|types| types.contains(&"null".into())) {
            return;
        }
        if let Some(item) = schema.get("items") {
            for value in value.as_array().unwrap_or_else(|| panic!("{at}: {value} is no list")) {
                self.conforms(item, value, at);
            }
        }
        if let Some(values) = schema["enum"].as_array() {
            assert!(values.contains(value), "{at}: {value} is none of {values:?}");
        }
        let Some(properties) = schema["properties"].as_object() else { return };
        let members = value.as_object().unwrap_or_else(|| panic!("{at}: {value} is no object"));
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(members.contains_key(name.as_str().unwrap()), "{at}: no {name}");
        }
        for (name, member) in members {
            let schema = properties.get(name).unwrap_or_else(|| panic!("{at}: {name} is not documented"));
            self.conforms(schema, member, at);
        }
    }

    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        schema["$ref"].as_str().map_or(schema, |reference| self.0.pointer(&reference[1..]).unwrap())
    }

    /// The documented example of an operation's body.
    pub(crate) fn example_body(&self, operation: &Operation) -> Option<Value> {
        let schema = operation.value.pointer("/requestBody/content/application~1json/schema")?;
        let example = self.resolve(schema)["example"].clone();
        assert!(example.is_object(), "{} {} has no example body", operation.method, operation.path);
        Some(example)
    }
}

impl Operation {
    pub(crate) fn matches(&self, path: &str) -> bool {
        let (wanted, given) = (self.path.split('/'), path.split('/'));
        wanted.clone().count() == given.clone().count()
            && wanted
                .zip(given)
                .all(|(wanted, given)| wanted == given || (wanted.starts_with('{') && !given.is_empty()))
    }

    /// The names of the path parameters.
    pub(crate) fn parameters(&self) -> Vec<&str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
    }

    /// The path with all parameters filled in.
    pub(crate) fn path_with(&self, value_of: impl Fn(&str) -> String) -> String {
        self.parameters()
            .iter()
            .fold(self.path.clone(), |path, name| path.replace(&format!("{{{name}}}"), &value_of(name)))
    }

    /// The security scheme that it asks for.
    pub(crate) fn scheme(&self) -> &str {
        self.value["security"][0].as_object().unwrap().keys().next().unwrap()
    }
}

#[test]
fn the_written_document_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi/openapi.json");
    let written = std::fs::read_to_string(path).expect("openapi/openapi.json is there: run `mtasts openapi`");
    let written: Value = serde_json::from_str(&written).expect("JSON");
    assert!(written == Spec::load().0, "openapi/openapi.json is stale: run `mtasts openapi` and commit it");
}

#[test]
fn the_document_is_the_same_each_time() {
    assert_eq!(mtasts_api::openapi().to_pretty_json().unwrap(), mtasts_api::openapi().to_pretty_json().unwrap());
}
