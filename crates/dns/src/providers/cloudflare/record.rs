//! The API's records, between their JSON and our values.

use std::fmt::Write as _;

use mtasts_model::feed::{RecordData, RecordType};
use serde::{Deserialize, Serialize};

use super::endpoint::Id;
use crate::{
    provider::{Applied, Mark, Observed},
    wire::{self, InvalidValue},
};

/// What the API calls automatic, and what it then answers with.
const AUTOMATIC: (u32, u32) = (1, 300);
/// Seconds that a record of ours may live. Enterprise zones go down to 30, but not every zone is one.
const TTL: (u32, u32) = (60, 86_400);

/// A record as the API gives it: only what is needed, and nothing that an unusual record could lack.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Record {
    pub(super) id: Id,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    pub(super) ttl: Option<f64>,
    #[serde(default)]
    proxied: Option<bool>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    priority: Option<u16>,
    #[serde(default)]
    data: Option<serde_json::Value>,
}

impl Record {
    /// Which of the types that the service writes this is.
    pub(super) fn record_type(&self) -> Option<RecordType> {
        RecordType::ALL.into_iter().find(|known| known.as_str() == self.kind)
    }

    /// Lower-case, without the trailing dot.
    pub(super) fn owner_name(&self) -> String {
        self.name.trim_end_matches('.').to_ascii_lowercase()
    }

    /// Seconds.
    pub(super) fn seconds(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let ttl = self.ttl.unwrap_or(f64::from(AUTOMATIC.0)) as u32;
        if ttl == AUTOMATIC.0 { AUTOMATIC.1 } else { ttl }
    }

    /// What somebody wrote beside it.
    pub(super) fn comment(&self) -> Option<&str> {
        self.comment.as_deref().filter(|comment| !comment.is_empty())
    }

    pub(super) fn is_proxied(&self) -> bool {
        self.proxied == Some(true)
    }

    /// The value as in [`RecordData::values`]; of types that the service does not write, and of what cannot be read,
    /// as the API tells it. A proxied record is not answered with its content, so its value says so and equals nothing
    /// that anybody wants.
    pub(super) fn value(&self) -> String {
        let content = self.content.as_deref().unwrap_or_default();
        let value = match self.record_type() {
            Some(RecordType::Txt) => joined(content).unwrap_or_else(|| content.to_owned()),
            Some(RecordType::Caa) => self.caa().unwrap_or_else(|| content.to_owned()),
            Some(_) => content.to_owned(),
            None => self.priority.map_or_else(|| content.to_owned(), |priority| format!("{priority} {content}")),
        };
        let value = self.record_type().and_then(|kind| canonical(kind, &value).ok()).unwrap_or(value);
        if self.is_proxied() { format!("{value} (proxied)") } else { value }
    }

    fn caa(&self) -> Option<String> {
        let data = self.data.as_ref()?;
        let (flags, tag, value) =
            (data.get("flags")?.as_f64()?, data.get("tag")?.as_str()?, data.get("value")?.as_str()?);
        Some(format!("{flags} {tag} \"{value}\""))
    }
}

/// One of the records of a wanted set, as a request has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RecordBody {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) ttl: u32,
    pub(super) proxied: bool,
    pub(super) comment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<CaaData>,
    /// What the record will read back as.
    #[serde(skip)]
    pub(super) value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CaaData {
    flags: u8,
    tag: String,
    value: String,
}

impl RecordBody {
    /// A record of this canonical value.
    pub(super) fn new(name: &str, record_type: RecordType, value: &str, ttl: u32, comment: &str) -> Self {
        let data = (record_type == RecordType::Caa).then(|| caa_data(value)).flatten();
        let content = data.is_none().then(|| match record_type {
            RecordType::Txt => quoted(value),
            _ => value.to_owned(),
        });
        let (kind, name, comment) = (record_type.as_str(), name.to_owned(), comment.to_owned());
        Self { kind, name, ttl, proxied: false, comment, content, data, value: value.to_owned() }
    }
}

fn caa_data(value: &str) -> Option<CaaData> {
    let mut parts = value.splitn(3, ' ');
    let (flags, tag, text) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Some(CaaData { flags, tag: tag.to_owned(), value: text.to_owned() })
}

/// The one spelling of a value, so that values can be compared.
pub(super) fn canonical(record_type: RecordType, value: &str) -> Result<String, InvalidValue> {
    let data = wire::data(record_type, value)?;
    Ok(wire::value(&data).map_or_else(|| value.to_owned(), |(_, value)| value))
}

/// The TTL that the API will take.
pub(super) fn clamped(ttl: u32) -> u32 {
    ttl.clamp(TTL.0, TTL.1)
}

/// The records of one set, as one.
pub(super) fn observed(records: &[&Record], marker: &str) -> Option<Observed> {
    let first = records.first()?;
    let ours = records.iter().all(|record| record.comment() == Some(marker));
    let ids = records.iter().map(|record| &record.id);
    Some(Observed {
        name: first.owner_name(),
        record_type: first.record_type()?,
        data: RecordData {
            ttl: records.iter().map(|record| record.seconds()).min().unwrap_or(AUTOMATIC.1),
            values: records.iter().map(|record| record.value()).collect(),
        },
        mark: if ours { Mark::Ours } else { Mark::NotOurs },
        reference: reference(ids),
    })
}

/// Names all records of a set.
pub(super) fn reference<'a>(ids: impl IntoIterator<Item = &'a Id>) -> Option<String> {
    let ids: Vec<_> = ids.into_iter().map(Id::as_str).collect();
    if ids.is_empty() { None } else { Some(ids.join(",")) }
}

/// The ids in a reference; `None` if it is none of ours.
pub(super) fn ids(reference: &str) -> Option<Vec<Id>> {
    reference.split(',').map(|id| Id::try_from(id.to_owned()).ok()).collect()
}

/// What is known of a set with these records.
pub(super) fn applied<'a>(ids: impl IntoIterator<Item = &'a Id>) -> Applied {
    Applied { reference: reference(ids) }
}

/// A text as character strings of at most 255 octets (RFC 1035 §5.1), which the API asks for.
fn quoted(text: &str) -> String {
    let strings: Vec<&[u8]> = if text.is_empty() { vec![b""] } else { text.as_bytes().chunks(255).collect() };
    let mut content = String::with_capacity(text.len() + 2);
    for string in strings {
        content.push_str(if content.is_empty() { "\"" } else { " \"" });
        for &byte in string {
            match byte {
                b'"' | b'\\' => content.extend(['\\', char::from(byte)]),
                0x20..0x7f => content.push(char::from(byte)),
                // Writing to a String cannot fail.
                _ => drop(write!(content, "\\{byte:03}")),
            }
        }
        content.push('"');
    }
    content
}

/// The text of character strings. `None` for what was never quoted: the API keeps what it was given.
fn joined(content: &str) -> Option<String> {
    let mut text = Vec::with_capacity(content.len());
    let mut rest = content.trim().as_bytes();
    while !rest.is_empty() {
        rest = rest.strip_prefix(b"\"")?;
        loop {
            match rest {
                [b'"', after @ ..] => {
                    rest = after.trim_ascii_start();
                    break;
                }
                [b'\\', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', after @ ..] => {
                    let byte = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
                    text.push(u8::try_from(byte).ok()?);
                    rest = after;
                }
                [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                    text.push(*byte);
                    rest = after;
                }
                [] => return None,
            }
        }
    }
    if content.trim().is_empty() { None } else { Some(String::from_utf8_lossy(&text).into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> Record {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_text_reads_back_as_it_was() {
        let long = "x".repeat(600);
        for text in ["", "v=STSv1; id=1;", "a\"b\\c", "tab\tand ü", "\\\"", long.as_str()] {
            assert_eq!(joined(&quoted(text)).as_deref(), Some(text));
        }
        assert_eq!(quoted(&long).matches("\" \"").count(), 2);
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(quoted("\t"), r#""\009""#);
    }

    #[test]
    fn a_text_that_was_never_quoted_is_taken_as_it_is() {
        for content in ["v=spf1 -all", "\"open", "\"a\" b", "", "\"\\999\""] {
            assert_eq!(joined(content), None, "{content}");
        }
        let record = record(r#"{"id":"a1","name":"X.test.","type":"TXT","content":"v=spf1 \"-all","ttl":1}"#);
        assert_eq!((record.value().as_str(), record.seconds()), ("v=spf1 \"-all", 300));
        assert_eq!(record.owner_name(), "x.test");
    }

    #[test]
    fn unusual_records_are_read_too() {
        let caa = record(
            r#"{"id":"a1","name":"x","type":"CAA","content":"0 issue \"ca.test\"","ttl":60,"proxied":false,
                "data":{"flags":0,"tag":"ISSUE","value":"ca.test"},"comment":null,"settings":{},"tags":[],"meta":{}}"#,
        );
        assert_eq!(caa.value(), "0 issue \"ca.test\"");
        let without_data = record(r#"{"id":"a1","name":"x","type":"CAA","content":"0 issue \"ca.test\""}"#);
        assert_eq!(without_data.value(), "0 issue \"ca.test\"");
        let mx = record(r#"{"id":"a1","name":"x","type":"MX","content":"mail.test","priority":10,"ttl":60.0}"#);
        assert_eq!((mx.value().as_str(), mx.record_type(), mx.seconds()), ("10 mail.test", None, 60));
        let bare = record(r#"{"id":"a1","name":"x","type":"LOC"}"#);
        assert_eq!(bare.value(), "");
        let aaaa = record(r#"{"id":"a1","name":"x","type":"AAAA","content":"2001:DB8:0:0::1"}"#);
        assert_eq!(aaaa.value(), "2001:db8::1");
    }

    #[test]
    fn a_proxied_record_equals_no_wanted_value() {
        let record = record(r#"{"id":"a1","name":"x","type":"A","content":"192.0.2.1","ttl":1,"proxied":true}"#);
        assert_eq!(record.value(), "192.0.2.1 (proxied)");
    }

    #[test]
    fn a_caa_record_is_written_as_data() {
        let body = RecordBody::new("x.test", RecordType::Caa, "0 issue \"ca.test; a=b\"", 60, "c");
        let json = serde_json::to_value(&body).unwrap();
        assert_eq!(json["data"], serde_json::json!({"flags": 0, "tag": "issue", "value": "ca.test; a=b"}));
        assert!(json.get("content").is_none());
        let text = RecordBody::new("x.test", RecordType::Txt, "a b", 60, "c");
        assert_eq!(serde_json::to_value(&text).unwrap()["content"], "\"a b\"");
    }

    #[test]
    fn ids_come_back_out_of_a_reference_and_nothing_else_does() {
        let one = ids("a1,B2").unwrap();
        assert_eq!(reference(&one).as_deref(), Some("a1,B2"));
        for bad in ["", "a1,", "../zones", "a b", &"a".repeat(33)] {
            assert_eq!(ids(bad), None, "{bad:?}");
        }
    }
}
