//! Every field of every body, as the document lists them: what does not fit is refused by a pointer to it.

use serde_json::{Value, json};

use crate::{bad_input::reach, service::Service, spec::Spec};

/// Something that a field must not take.
struct Wrong {
    pointer: String,
    value: Value,
}

/// What no field of this schema may take, at the places where its value may stand.
fn wrong(spec: &Spec, schema: &Value, pointer: &str, found: &mut Vec<Wrong>) {
    let schema = spec.resolve(schema);
    for choices in ["oneOf", "anyOf", "allOf"] {
        let real = schema[choices].as_array().into_iter().flatten().filter(|choice| choice["type"] != "null");
        match real.collect::<Vec<_>>()[..] {
            [] => {}
            [one] => return wrong(spec, one, pointer, found),
            // Which choice is meant is told by the value: this is none of the texts and lists, and no object has it.
            _ => return found.push(Wrong { pointer: pointer.to_owned(), value: json!({"\u{0}": 1}) }),
        }
    }
    let mut add = |value: Value| found.push(Wrong { pointer: pointer.to_owned(), value });
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    for kind in kinds {
        match kind.as_str().unwrap_or_default() {
            "string" => {
                let long = schema["maxLength"].as_u64().unwrap_or(4_000) + 1;
                add(json!("a".repeat(usize::try_from(long).unwrap())));
                add(json!("a\u{0}b"));
                add(json!({}));
                add(json!(7));
            }
            "integer" => {
                add(json!("7"));
                add(json!(-1));
                add(json!(1e300));
                add(json!(1.5));
            }
            "boolean" => add(json!("true")),
            "array" => {
                add(json!({}));
                add(json!(vec![Value::Null; 3]));
                let item = spec.resolve(&schema["items"]);
                let one = item["example"].clone();
                let many = schema["maxItems"].as_u64().unwrap_or(1_000) + 1;
                let many = usize::try_from(many).unwrap();
                add(json!(vec![if one.is_null() { json!("mx.example.test") } else { one }; many]));
                wrong(spec, &schema["items"], &format!("{pointer}/0"), found);
                return;
            }
            "object" => {
                add(json!([]));
                for (name, member) in schema["properties"].as_object().into_iter().flatten() {
                    wrong(spec, member, &format!("{pointer}/{name}"), found);
                }
                return;
            }
            _ => {}
        }
    }
}

/// Puts a value at a place; objects and lists on the way there are made.
fn put(body: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    if name == "0" {
        return put(body, parent, json!([value]));
    }
    if !parent.is_empty() && !body.pointer(parent).is_some_and(Value::is_object) {
        put(body, parent, json!({}));
    }
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
}

#[tokio::test]
async fn every_field_of_every_body_refuses_what_does_not_fit_by_its_pointer() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (_, domain) = tenant.domain(json!({"name": "example.test", "mx": ["mx.example.test"]})).await;
    let customer = tenant.send("POST", "/v1/customers", json!({"name": "beneath"})).await;
    let customer = customer.body["id"].as_str().unwrap().to_owned();
    let mut tried = 0;
    for operation in service.spec.operations() {
        let Some(example) = service.spec.example_body(&operation) else { continue };
        let (path, token) = reach(&operation, &tenant, &domain);
        let path = if path.starts_with("/v1/customers/") { path.replace(&tenant.id, &customer) } else { path };
        let schema = &operation.value["requestBody"]["content"]["application/json"]["schema"];
        let mut all = Vec::new();
        wrong(&service.spec, schema, "", &mut all);
        // The body as a whole is the other test's. Lines of a batch are judged later, each by itself.
        let is_line = |wrong: &Wrong| {
            operation.path.ends_with(":batch") && (wrong.pointer.contains("/0") || wrong.value.is_array())
        };
        for Wrong { pointer, value } in all.into_iter().filter(|wrong| !wrong.pointer.is_empty() && !is_line(wrong)) {
            let mut body = example.clone();
            put(&mut body, &pointer, value);
            let at = format!("{} {} {pointer}", operation.method, operation.path);
            let text = body.to_string();
            let answer =
                service.call(&operation.method, &path).token(&token).raw("application/json", text).send().await;
            let given: String = body.to_string().chars().take(200).collect();
            assert!([400, 413, 422].contains(&answer.status), "{at}: {given} gave {} {}", answer.status, answer.text);
            tried += 1;
            if answer.status != 422 {
                continue;
            }
            // The field, what it is in, or what is in it.
            let faults = answer.faults();
            let near = |fault: &str| !fault.is_empty() && (pointer.starts_with(fault) || fault.starts_with(&pointer));
            assert!(faults.iter().any(|(fault, _)| near(fault)), "{at}: {given} gave {faults:?}");
        }
    }
    assert!(tried >= 100, "only {tried} bodies were tried");
}

/// Requests have no text, list or number without a limit that the document tells.
#[test]
fn every_field_of_every_body_has_a_documented_limit() {
    fn walk(spec: &Spec, schema: &Value, at: &str, found: &mut Vec<String>) {
        let schema = spec.resolve(schema);
        let given = |names: &[&str]| names.iter().any(|name| schema.get(name).is_some());
        for choices in ["oneOf", "anyOf", "allOf"] {
            for choice in schema[choices].as_array().into_iter().flatten() {
                walk(spec, choice, at, found);
            }
        }
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            walk(spec, member, &format!("{at}/{name}"), found);
        }
        let is = |kind: &str| {
            schema["type"] == kind || schema["type"].as_array().is_some_and(|all| all.contains(&json!(kind)))
        };
        if is("string") && !given(&["maxLength", "pattern", "enum", "format", "const"]) {
            found.push(format!("{at}: a text without maxLength, pattern, enum or format"));
        }
        if is("integer") && !given(&["maximum"]) {
            found.push(format!("{at}: a number without maximum"));
        }
        if is("array") {
            if !given(&["maxItems"]) {
                found.push(format!("{at}: a list without maxItems"));
            }
            walk(spec, &schema["items"], &format!("{at}/0"), found);
        }
    }
    let spec = Spec::load();
    let mut found = Vec::new();
    for operation in spec.operations() {
        // Lines of an import are those of a batch.
        let content = &operation.value["requestBody"]["content"]["application/json"];
        walk(&spec, &content["schema"], &format!("{} {}", operation.method, operation.path), &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
}
