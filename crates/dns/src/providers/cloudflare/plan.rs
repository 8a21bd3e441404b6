//! From a wanted set and the records that stand at its name to the fewest writes. No I/O.

use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
};

use super::{
    endpoint::Id,
    record::{Record, RecordBody, applied, canonical, clamped, ids},
};
use crate::provider::{Applied, Known, ProviderError, RecordChange, check_name};

/// One write of one record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    Delete(Id),
    Patch(Id, RecordBody),
    Post(RecordBody),
}

/// The writes that make one set right. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// Which change this is for.
    pub(super) index: usize,
    pub(super) writes: Vec<Write>,
    /// Records of the set that are right already.
    pub(super) kept: Vec<Id>,
    /// Whether what stands there was looked at.
    pub(super) looked: bool,
}

impl Plan {
    /// Whether the zone has more records afterwards.
    pub(super) fn grows(&self) -> bool {
        let posts = self.writes.iter().filter(|write| matches!(write, Write::Post(_))).count();
        let deletes = self.writes.iter().filter(|write| matches!(write, Write::Delete(_))).count();
        posts > deletes
    }
}

/// What is to be done about a change.
#[derive(Debug)]
pub(super) enum Decision {
    /// It is so already.
    Right(Applied),
    Wrong(ProviderError),
    Write(Plan),
}

/// A change that can be asked for, in canonical spelling.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) index: usize,
    pub(super) name: String,
    record_type: RecordType,
    /// Empty: the set shall be gone.
    values: Vec<String>,
    ttl: u32,
    known: Known,
}

impl Wanted {
    pub(super) fn of(index: usize, change: &RecordChange, zone: &ZoneName) -> Result<Self, ProviderError> {
        check_name(&change.name, zone)?;
        let (mut values, mut ttl) = (Vec::new(), 0);
        if let Some(set) = &change.set {
            ttl = clamped(set.ttl);
            for value in &set.values {
                let value = canonical(change.record_type, value)
                    .map_err(|error| ProviderError::Refused { reason: error.to_string() })?;
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        let (name, record_type, known) = (change.name.clone(), change.record_type, change.known.clone());
        Ok(Self { index, name, record_type, values, ttl, known })
    }

    /// Whether this creates without a look at what is there.
    pub(super) fn is_new(&self) -> bool {
        self.known == Known::Never && !self.values.is_empty()
    }

    /// The writes that need no look at what is there. A set of several records is looked at, because which of them has
    /// which value is not known.
    pub(super) fn without_look(&self, marker: &str) -> Option<Plan> {
        let writes = match (&self.known, self.values.as_slice()) {
            (Known::Never, values) if !values.is_empty() => {
                values.iter().map(|value| Write::Post(self.body(value, marker))).collect()
            }
            (Known::At(reference), []) => ids(reference)?.into_iter().map(Write::Delete).collect(),
            (Known::At(reference), [value]) => match <[Id; 1]>::try_from(ids(reference)?) {
                Ok([id]) => vec![Write::Patch(id, self.body(value, marker))],
                Err(_) => return None,
            },
            _ => return None,
        };
        Some(Plan { index: self.index, writes, kept: Vec::new(), looked: false })
    }

    /// What to do now that all records at the name are known.
    pub(super) fn decide(&self, found: &[Record], marker: &str, zone: &ZoneName) -> Decision {
        let (same, others): (Vec<&Record>, Vec<&Record>) =
            found.iter().partition(|record| record.record_type() == Some(self.record_type));
        if let Some(clash) = others.iter().find(|other| self.clashes(other, zone)) {
            return Decision::Wrong(ProviderError::TypeClash {
                name: self.name.clone(),
                record_type: self.record_type,
                found: format!("{} {}", clash.kind, clash.value()),
            });
        }
        if same.iter().any(|record| record.comment() != Some(marker)) && !self.may_adopt(&same, marker) {
            return Decision::Wrong(self.conflict(&same, marker));
        }
        self.difference(&same, marker)
    }

    /// RFC 1034 §3.6.2, which this API keeps for addresses only: it takes a TXT beside a CNAME, and then answers with
    /// the CNAME. What stands at a delegation is not answered at all.
    fn clashes(&self, other: &Record, zone: &ZoneName) -> bool {
        let delegated = other.kind == "NS" && self.name != zone.as_str();
        !self.values.is_empty() && (self.record_type == RecordType::Cname || other.kind == "CNAME" || delegated)
    }

    /// A set without any mark, with exactly the wanted values. A comment of somebody else is a mark too.
    fn may_adopt(&self, same: &[&Record], marker: &str) -> bool {
        let unmarked = same.iter().all(|record| record.comment().is_none_or(|comment| comment == marker));
        let mut values: Vec<_> = same.iter().map(|record| record.value()).collect();
        let mut wanted = self.values.clone();
        values.sort_unstable();
        wanted.sort_unstable();
        unmarked && values == wanted
    }

    fn conflict(&self, same: &[&Record], marker: &str) -> ProviderError {
        let shown = |values| RecordData { ttl: self.ttl, values }.shown();
        let found = shown(same.iter().map(|record| record.value()).collect());
        let foreign = same.iter().filter_map(|record| record.comment()).find(|comment| *comment != marker);
        let found = match foreign {
            Some(comment) => format!("{found} (with the comment {:?})", comment.chars().take(100).collect::<String>()),
            None => found,
        };
        let wanted = if self.values.is_empty() { "nothing".to_owned() } else { shown(self.values.clone()) };
        ProviderError::Conflict { name: self.name.clone(), record_type: self.record_type, wanted, found }
    }

    /// All of these are ours. Values that stay keep their records; the others' records take the new values in place, so
    /// that the name is never without an answer: the edges of the provider do not see a batch as one change.
    fn difference(&self, same: &[&Record], marker: &str) -> Decision {
        let mut spare: Vec<&Record> = same.to_vec();
        let (mut kept, mut writes, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for value in &self.values {
            match spare.iter().position(|record| record.value() == *value) {
                Some(at) => {
                    let record = spare.remove(at);
                    if record.seconds() == self.ttl && record.comment() == Some(marker) {
                        kept.push(record.id.clone());
                    } else {
                        writes.push(Write::Patch(record.id.clone(), self.body(value, marker)));
                    }
                }
                None => missing.push(value),
            }
        }
        let mut spare = spare.into_iter();
        for value in missing {
            let body = self.body(value, marker);
            writes.push(
                spare
                    .next()
                    .map_or_else(|| Write::Post(body.clone()), |record| Write::Patch(record.id.clone(), body.clone())),
            );
        }
        writes.extend(spare.map(|record| Write::Delete(record.id.clone())));
        if writes.is_empty() {
            return Decision::Right(applied(&kept));
        }
        Decision::Write(Plan { index: self.index, writes, kept, looked: true })
    }

    fn body(&self, value: &str, marker: &str) -> RecordBody {
        RecordBody::new(&self.name, self.record_type, value, self.ttl, marker)
    }
}
