//! Zones and records, and the rules about what may stand beside what.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::{Refusal, schema::RecordInput};

/// A record, as the API shows it.
#[derive(Debug, Clone)]
pub struct CloudflareRecord {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Lower-case, without the trailing dot.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// A TXT's in quotes, if it was given so.
    pub content: String,
    /// Seconds; 1 is automatic.
    pub ttl: u64,
    /// Whether Cloudflare answers with its own addresses.
    pub proxied: bool,
    /// What somebody wrote beside it.
    pub comment: Option<String>,
    /// Of an MX.
    pub priority: Option<u64>,
    /// The parts of a CAA.
    pub data: Option<Value>,
    created: u64,
    modified: u64,
}

impl CloudflareRecord {
    pub(super) fn by_hand(tick: u64, kind: &str, name: &str, content: &str, comment: Option<&str>) -> Self {
        let data = (kind == "CAA").then(|| {
            let parts: Vec<_> = content.splitn(3, ' ').collect();
            let [flags, tag, value] = parts.as_slice() else { panic!("no CAA record: {content}") };
            json!({"flags": flags.parse::<u64>().unwrap_or_default(), "tag": tag, "value": value.trim_matches('"')})
        });
        Self {
            id: id('3', tick),
            name: name.to_owned(),
            kind: kind.to_owned(),
            content: content.to_owned(),
            ttl: 1,
            proxied: false,
            comment: comment.map(str::to_owned),
            priority: None,
            data,
            created: tick,
            modified: tick,
        }
    }

    fn new(tick: u64, zone: &str, input: &RecordInput) -> Self {
        let mut record = Self {
            id: id('3', tick),
            name: String::new(),
            kind: String::new(),
            content: String::new(),
            ttl: 1,
            proxied: false,
            comment: None,
            priority: None,
            data: None,
            created: tick,
            modified: tick,
        };
        record.change(tick, zone, input);
        record
    }

    /// Takes over what the input has.
    fn change(&mut self, tick: u64, zone: &str, input: &RecordInput) {
        self.modified = tick;
        if let Some(kind) = &input.kind {
            self.kind.clone_from(kind);
        }
        if let Some(name) = &input.name {
            self.name = absolute(name, zone);
        }
        if let Some(content) = &input.content {
            self.content.clone_from(content);
        }
        if let Some(data) = &input.data {
            let part = |name: &str| data.get(name).cloned().unwrap_or_default();
            let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
            self.content = format!("{} {} \"{}\"", part("flags"), text(part("tag")), text(part("value")));
            self.data = Some(data.clone());
        }
        self.ttl = input.ttl.unwrap_or(self.ttl);
        self.proxied = input.proxied.unwrap_or(self.proxied);
        self.priority = input.priority.or(self.priority);
        if let Some(comment) = &input.comment {
            self.comment = Some(comment.clone()).filter(|comment| !comment.is_empty());
        }
    }

    pub(super) fn json(&self) -> Value {
        let is_proxiable = matches!(self.kind.as_str(), "A" | "AAAA" | "CNAME");
        let mut json = json!({
            "id": self.id, "name": self.name, "type": self.kind, "content": self.content, "proxiable": is_proxiable,
            "proxied": self.proxied, "ttl": self.ttl, "settings": {}, "meta": {}, "comment": self.comment, "tags": [],
            "created_on": stamp(self.created), "modified_on": stamp(self.modified),
        });
        if self.comment.is_some() {
            json["comment_modified_on"] = stamp(self.modified).into();
        }
        if let Some(priority) = self.priority {
            json["priority"] = priority.into();
        }
        if let Some(data) = &self.data {
            json["data"] = data.clone();
        }
        json
    }

    /// What makes two records the same.
    fn identity(&self) -> Vec<u8> {
        match self.kind.as_str() {
            "TXT" => {
                strings(&self.content).map_or_else(|| self.content.clone().into_bytes(), |strings| strings.concat())
            }
            _ => self.content.trim_end_matches('.').to_ascii_lowercase().into_bytes(),
        }
    }
}

/// A zone and its records.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) quota: usize,
    by_name: BTreeMap<String, Vec<CloudflareRecord>>,
    /// From a record's id to its name.
    names: HashMap<String, String>,
}

impl Zone {
    pub(super) fn new(id: String, name: &str) -> Self {
        Self { id, name: name.to_owned(), quota: usize::MAX, by_name: BTreeMap::new(), names: HashMap::new() }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &CloudflareRecord> {
        self.by_name.values().flatten()
    }

    pub(super) fn records_mut(&mut self) -> impl Iterator<Item = &mut CloudflareRecord> {
        self.by_name.values_mut().flatten()
    }

    pub(super) fn at(&self, name: &str) -> &[CloudflareRecord] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether something stands at or beneath the name, so that it exists (RFC 8020).
    pub(super) fn has_name(&self, name: &str) -> bool {
        let beneath = format!(".{name}");
        self.by_name.keys().any(|known| known == name || known.ends_with(&beneath))
    }

    pub(super) fn insert(&mut self, record: CloudflareRecord) {
        self.names.insert(record.id.clone(), record.name.clone());
        self.by_name.entry(record.name.clone()).or_default().push(record);
    }

    fn take(&mut self, id: &str) -> Option<CloudflareRecord> {
        let name = self.names.remove(id)?;
        let records = self.by_name.get_mut(&name)?;
        let record = records.remove(records.iter().position(|record| record.id == id)?);
        if records.is_empty() {
            self.by_name.remove(&name);
        }
        Some(record)
    }

    pub(super) fn record(&self, id: &str) -> Option<&CloudflareRecord> {
        self.at(self.names.get(id)?).iter().find(|record| record.id == id)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&CloudflareRecord) -> bool) {
        let gone: Vec<_> = self.records().filter(|record| !keep(record)).map(|record| record.id.clone()).collect();
        for id in gone {
            self.take(&id);
        }
    }

    pub(super) fn create(&mut self, tick: u64, input: &RecordInput) -> Result<CloudflareRecord, Refusal> {
        let record = CloudflareRecord::new(tick, &self.name, input);
        self.check(&record)?;
        if self.names.len() >= self.quota {
            return Err(Refusal::new(400, 81045, "Record quota exceeded."));
        }
        self.insert(record.clone());
        Ok(record)
    }

    /// Changes what the input has.
    pub(super) fn edit(&mut self, tick: u64, id: &str, input: &RecordInput) -> Result<CloudflareRecord, Refusal> {
        self.replace(id, |record, zone| record.change(tick, zone, input))
    }

    /// Replaces all but the id.
    pub(super) fn overwrite(&mut self, tick: u64, id: &str, input: &RecordInput) -> Result<CloudflareRecord, Refusal> {
        self.replace(id, |record, zone| {
            let (id, created) = (record.id.clone(), record.created);
            *record = CloudflareRecord { id, created, ..CloudflareRecord::new(tick, zone, input) };
        })
    }

    fn replace(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut CloudflareRecord, &str),
    ) -> Result<CloudflareRecord, Refusal> {
        let before = self.take(id).ok_or_else(gone)?;
        let mut after = before.clone();
        change(&mut after, &self.name);
        if let Err(refusal) = self.check(&after) {
            self.insert(before);
            return Err(refusal);
        }
        self.insert(after.clone());
        Ok(after)
    }

    pub(super) fn delete(&mut self, id: &str) -> Result<CloudflareRecord, Refusal> {
        self.take(id).ok_or_else(gone)
    }

    /// Puts a record back as it was, or away if it was not.
    pub(super) fn restore(&mut self, id: &str, before: Option<CloudflareRecord>) {
        self.take(id);
        if let Some(record) = before {
            self.insert(record);
        }
    }

    /// What stands at the same name. A CNAME keeps addresses out and nothing else: the real one takes a TXT beside it.
    fn check(&self, new: &CloudflareRecord) -> Result<(), Refusal> {
        let is_address = |kind: &str| matches!(kind, "A" | "AAAA");
        for old in self.at(&new.name) {
            let (old_kind, new_kind) = (old.kind.as_str(), new.kind.as_str());
            if old_kind == new_kind && old.identity() == new.identity() {
                return Err(if old.ttl == new.ttl && old.proxied == new.proxied {
                    Refusal::new(400, 81058, "An identical record already exists.")
                } else {
                    Refusal::new(400, 81057, "The record already exists.")
                });
            }
            let message = match (old_kind, new_kind) {
                (old, "CNAME") if is_address(old) || old == "CNAME" => {
                    (81053, "An A, AAAA, or CNAME record with that host already exists.")
                }
                ("CNAME", new) if is_address(new) => (81054, "A CNAME record with that host already exists."),
                ("NS", new) if is_address(new) || new == "CNAME" => (81056, "NS records with that host already exist."),
                _ => continue,
            };
            return Err(Refusal::new(400, message.0, message.1));
        }
        Ok(())
    }
}

pub(super) fn gone() -> Refusal {
    Refusal::new(404, 81044, "Record does not exist.")
}

/// A name that does not end in the zone is taken for one relative to it.
fn absolute(name: &str, zone: &str) -> String {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match name.strip_suffix(zone) {
        Some(rest) if rest.is_empty() || rest.ends_with('.') => name,
        _ if name == "@" => zone.to_owned(),
        _ => format!("{name}.{zone}"),
    }
}

/// The character strings of a TXT's content (RFC 1035 §5.1); `None` if it is not in quotes.
pub(super) fn strings(content: &str) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    let mut bytes = content.trim().bytes().peekable();
    bytes.peek()?;
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' => continue,
            b'"' => {}
            _ => return None,
        }
        let mut string = Vec::new();
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => {
                    let first = bytes.next()?;
                    if first.is_ascii_digit() {
                        let digits = [first, bytes.next()?, bytes.next()?];
                        string.push(std::str::from_utf8(&digits).ok()?.parse().ok()?);
                    } else {
                        string.push(first);
                    }
                }
                byte => string.push(byte),
            }
        }
        strings.push(string);
    }
    Some(strings)
}

/// 32 hexadecimal digits that tell what they are of.
pub(super) fn id(kind: char, number: u64) -> String {
    format!("{kind}{number:031x}")
}

/// A time that only goes forward; which one does not matter.
pub(super) fn stamp(tick: u64) -> String {
    let (seconds, millis) = (tick / 1000, tick % 1000);
    let (day, hour, minute, second) = (1 + seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}000Z")
}
