//! What requests may say, as the API's documentation and the official SDK's types have it.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::{Refusal, zone::strings};

/// A record in a request.
#[derive(Debug, Default)]
pub(super) struct RecordInput {
    pub(super) id: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) content: Option<String>,
    pub(super) data: Option<Value>,
    pub(super) ttl: Option<u64>,
    pub(super) proxied: Option<bool>,
    pub(super) comment: Option<String>,
    pub(super) priority: Option<u64>,
}

/// Where a record stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it, without an id.
    Whole,
    /// Some of it, without an id.
    Part,
    /// All of it, with its id.
    WholeWithId,
    /// Some of it, with its id.
    PartWithId,
}

/// A JSON object, and nothing but these fields.
pub(super) fn object<'a>(value: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, Refusal> {
    let object = value.as_object().ok_or_else(|| Refusal::complaint(9207, "Request body is invalid: no object."))?;
    for field in object.keys() {
        if !known.contains(&field.as_str()) {
            return Err(Refusal::complaint(9207, format!("Request body is invalid: unknown field {field}.")));
        }
    }
    Ok(object)
}

/// Parameters of a query, each known and given once.
pub(super) fn query(text: &str, known: &[&str]) -> Result<Vec<(String, String)>, Refusal> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()).into_owned() {
        if !known.contains(&name.as_str()) || parameters.iter().any(|(other, _)| *other == name) {
            return Err(Refusal::complaint(6003, format!("Unknown or repeated parameter {name}.")));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

fn text(object: &Map<String, Value>, field: &str) -> Result<Option<String>, Refusal> {
    match object.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong_type(field)),
    }
}

fn number(object: &Map<String, Value>, field: &str) -> Result<Option<u64>, Refusal> {
    object.get(field).map(|value| value.as_u64().ok_or_else(|| wrong_type(field))).transpose()
}

fn flag(object: &Map<String, Value>, field: &str) -> Result<Option<bool>, Refusal> {
    object.get(field).map(|value| value.as_bool().ok_or_else(|| wrong_type(field))).transpose()
}

fn wrong_type(field: &str) -> Refusal {
    Refusal::complaint(9207, format!("Request body is invalid: {field} has the wrong type."))
}

impl RecordInput {
    /// What the JSON says of a record, if a record may be so.
    pub(super) fn read(value: &Value, form: Form) -> Result<Self, Refusal> {
        let mut known =
            vec!["type", "name", "content", "data", "ttl", "proxied", "comment", "priority", "settings", "tags"];
        let has_id = matches!(form, Form::WholeWithId | Form::PartWithId);
        if has_id {
            known.push("id");
        }
        let object = object(value, &known)?;
        let input = Self {
            id: text(object, "id")?,
            kind: text(object, "type")?,
            name: text(object, "name")?,
            content: text(object, "content")?,
            data: object.get("data").cloned(),
            ttl: number(object, "ttl")?,
            proxied: flag(object, "proxied")?,
            comment: text(object, "comment")?,
            priority: number(object, "priority")?,
        };
        if has_id && input.id.is_none() {
            return Err(Refusal::complaint(9207, "Request body is invalid: id is missing."));
        }
        if matches!(form, Form::Whole | Form::WholeWithId) {
            for (field, is_missing) in [
                ("type", input.kind.is_none()),
                ("name", input.name.is_none()),
                ("ttl", input.ttl.is_none()),
                ("content", input.content.is_none() && input.data.is_none()),
            ] {
                if is_missing {
                    return Err(Refusal::complaint(9207, format!("Request body is invalid: {field} is missing.")));
                }
            }
        }
        if let Some(settings) = object.get("settings") {
            self::object(settings, &["ipv4_only", "ipv6_only", "flatten_cname"])?;
        }
        match object.get("tags").map(|tags| tags.as_array().map(Vec::len)) {
            None | Some(Some(0)) => {}
            Some(None) => return Err(wrong_type("tags")),
            // What a free plan allows.
            Some(Some(tags)) => {
                let reason = format!("DNS record has {tags} tags, exceeding the quota of 0.");
                return Err(validation(9300, &reason));
            }
        }
        input.check()?;
        Ok(input)
    }

    fn check(&self) -> Result<(), Refusal> {
        let name = self.name.as_deref().unwrap_or("x");
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic());
        if name.len() > 253 || !name.trim_end_matches('.').split('.').all(is_label) {
            return Err(Refusal::new(400, 9000, "DNS name is invalid."));
        }
        if let Some(ttl) = self.ttl
            && ttl != 1
            && !(60..=86_400).contains(&ttl)
        {
            return Err(Refusal::complaint(
                9021,
                "Invalid TTL. Must be between 60 and 86,400 seconds, or 1 for Automatic.",
            ));
        }
        if self.comment.as_deref().is_some_and(|comment| comment.chars().count() > 100) {
            // The real number of this error is not documented.
            return Err(validation(9313, "DNS record comment exceeds the quota of 100 characters."));
        }
        let Some(kind) = &self.kind else { return Ok(()) };
        if self.proxied == Some(true) && !matches!(kind.as_str(), "A" | "AAAA" | "CNAME") {
            return Err(Refusal::complaint(9004, "This record type cannot be proxied."));
        }
        if (kind == "CAA") != self.data.is_some() {
            return Err(Refusal::complaint(9207, "CAA records have data, and no other record here does."));
        }
        self.content.as_deref().map_or(Ok(()), |content| content_of(kind, content))?;
        self.data.as_ref().map_or(Ok(()), caa)
    }
}

fn validation(code: u32, reason: &str) -> Refusal {
    Refusal { chain: Some((code, reason.to_owned())), ..Refusal::new(400, 1004, "DNS Validation Error") }
}

fn content_of(kind: &str, content: &str) -> Result<(), Refusal> {
    let invalid = |code, reason: &str| Err(Refusal::new(400, code, reason));
    match kind {
        "A" if content.parse::<Ipv4Addr>().is_err() => {
            invalid(9005, "Content for A record must be a valid IPv4 address.")
        }
        "AAAA" if content.parse::<Ipv6Addr>().is_err() => {
            invalid(9006, "Content for AAAA record must be a valid IPv6 address.")
        }
        "CNAME" if content.is_empty() || content.contains([' ', '"']) => {
            invalid(9007, "Content for CNAME record is invalid.")
        }
        "TXT" if content.len() > 4096 => invalid(9008, "Content for TXT record is too long."),
        "TXT" => match strings(content) {
            None => Err(Refusal::complaint(9009, "Content for TXT record must be in quotation marks.")),
            Some(strings) if strings.iter().any(|string| string.len() > 255) => {
                Err(Refusal::complaint(9009, "a string of more than 255 octets, which only the fake does not split"))
            }
            Some(_) => Ok(()),
        },
        "A" | "AAAA" | "CNAME" | "MX" | "NS" => Ok(()),
        kind => Err(Refusal::complaint(9001, format!("the fake has no records of type {kind}"))),
    }
}

fn caa(data: &Value) -> Result<(), Refusal> {
    let data = object(data, &["flags", "tag", "value"])?;
    let flags = number(data, "flags")?.unwrap_or(256);
    if flags > 255 || text(data, "tag")?.is_none_or(|tag| tag.is_empty()) || text(data, "value")?.is_none() {
        return Err(Refusal::complaint(9207, "CAA data needs flags, tag and value."));
    }
    Ok(())
}
