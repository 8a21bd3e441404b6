//! Record sets as the API tells and takes them.

use mtasts_model::feed::{RecordData, RecordType};
use serde::{Deserialize, Serialize};

use super::content;

/// A record set as the API tells it.
#[derive(Debug, Deserialize)]
pub(super) struct RrSet {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ttl: u32,
    #[serde(default)]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    content: String,
    /// In the database, but not answered.
    #[serde(default)]
    disabled: bool,
}

/// The records of one type at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) kind: String,
    pub(super) ttl: u32,
    /// What is answered.
    pub(super) contents: Vec<String>,
    /// Records that are in the database only. Not all versions tell of them.
    pub(super) disabled: usize,
}

impl Standing {
    pub(super) fn is(&self, record_type: RecordType) -> bool {
        self.kind.eq_ignore_ascii_case(record_type.as_str())
    }

    /// The answered values.
    pub(super) fn data(&self, record_type: RecordType) -> RecordData {
        let values = self.contents.iter().map(|text| content::read(record_type, text)).collect();
        RecordData { ttl: self.ttl, values }
    }

    /// Whether this is the one text that is answered.
    pub(super) fn is_text(&self, text: &str) -> bool {
        matches!(self.contents.as_slice(), [one] if content::read(RecordType::Txt, one) == text)
    }

    /// Its values in one line, for messages.
    pub(super) fn shown(&self, record_type: RecordType) -> String {
        let shown = self.data(record_type).shown();
        match (self.disabled, shown.is_empty()) {
            (0, _) => shown,
            (disabled, true) => format!("{disabled} disabled"),
            (disabled, false) => format!("{shown} and {disabled} disabled"),
        }
    }

    /// Type and values in one line, for messages.
    pub(super) fn told(&self) -> String {
        let known = RecordType::ALL.into_iter().find(|&known| self.is(known));
        let values = known.map_or_else(|| self.contents.clone(), |record_type| self.data(record_type).values);
        format!("{} {}", self.kind, values.join(", "))
    }
}

impl RrSet {
    /// The name, lower-case and without the trailing dot, and what stands there; `None` for comments alone.
    pub(super) fn into_standing(self) -> Option<(String, Standing)> {
        if self.records.is_empty() {
            return None;
        }
        let mut name = self.name.to_ascii_lowercase();
        if name.ends_with('.') {
            name.pop();
        }
        let all = self.records.len();
        let contents: Vec<_> = self.records.into_iter().filter(|r| !r.disabled).map(|r| r.content).collect();
        let disabled = all - contents.len();
        Some((name, Standing { kind: self.kind, ttl: self.ttl, contents, disabled }))
    }
}

/// A record set to be replaced or deleted.
#[derive(Debug, Serialize)]
pub(super) struct SetChange {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    changetype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    records: Vec<NewRecord>,
}

#[derive(Debug, Serialize)]
struct NewRecord {
    content: String,
    disabled: bool,
}

impl SetChange {
    pub(super) fn replace(name: &str, record_type: RecordType, ttl: u32, contents: Vec<String>) -> Self {
        let records = contents.into_iter().map(|content| NewRecord { content, disabled: false }).collect();
        let (name, kind) = (format!("{name}."), record_type.as_str());
        Self { name, kind, changetype: "REPLACE", ttl: Some(ttl), records }
    }

    pub(super) fn delete(name: &str, record_type: RecordType) -> Self {
        let (name, kind) = (format!("{name}."), record_type.as_str());
        Self { name, kind, changetype: "DELETE", ttl: None, records: Vec::new() }
    }

    /// Whether a refusal of the server is about this set. It says `RRset NAME IN TYPE…` or `Record NAME/TYPE 'CONTENT'…`.
    pub(super) fn is_named_in(&self, refusal: &str) -> bool {
        let Self { name, kind, .. } = self;
        [format!("RRset {name} IN {kind}"), format!("Record {name}/{kind} ")].iter().any(|text| refusal.contains(text))
    }

    /// What is done, in one line.
    #[cfg(test)]
    pub(super) fn told(&self) -> String {
        format!("{} {}", self.changetype, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_sets() {
        let set = SetChange::replace("*.edge.sts.test", RecordType::A, 60, vec!["::1".to_owned()]);
        assert!(set.is_named_in("Record *.edge.sts.test./A '::1': Parsing record content"));
        assert!(set.is_named_in("RRset *.edge.sts.test. IN A: Conflicts with pre-existing RRset"));
        for other in
            ["RRset x.edge.sts.test. IN A: Conflicts", "Record *.edge.sts.test./AAAA 'x': Parsing", "Bad Request"]
        {
            assert!(!set.is_named_in(other), "{other}");
        }
    }
}
