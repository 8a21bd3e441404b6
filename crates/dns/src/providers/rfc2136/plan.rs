//! From a wanted set and what stands to what is to be written. No I/O.

use hickory_proto::rr::{Name, RData, RecordType as WireType};
use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
};

use super::{
    standing::{Owner, Standing},
    update::{self, Write},
};
use crate::{
    name,
    provider::{Marker, ProviderError, RecordChange, check_name},
    wire,
};

/// RFC 2181 §8.
pub(super) const LONGEST_TTL: u32 = i32::MAX.cast_unsigned();

/// Characters of what stands in the way, in an error.
const MOST_SHOWN: usize = 500;

/// A change that can be written.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) name: Name,
    pub(super) marker_name: Name,
    pub(super) record_type: RecordType,
    wanted: Option<Wanted>,
    marker: RData,
}

#[derive(Debug, Clone)]
struct Wanted {
    /// Without doubles.
    data: RecordData,
    records: Vec<(u32, RData)>,
}

/// What is to be done about a change.
#[derive(Debug)]
pub(super) enum Step {
    /// It is as it was wanted.
    Done,
    Write(Write),
    /// It must not be written. Worth a second look if what is in the way may come from a wildcard.
    Blocked(ProviderError),
}

impl Target {
    pub(super) fn parse(change: &RecordChange, zone: &ZoneName, marker: &Marker) -> Result<Self, ProviderError> {
        check_name(&change.name, zone)?;
        let refused = |reason: String| ProviderError::Refused { reason };
        let wanted = match &change.set {
            None => None,
            Some(set) => {
                let mut data = RecordData { ttl: set.ttl.min(LONGEST_TTL), values: set.values.clone() };
                data.values.sort_unstable();
                data.values.dedup();
                if data.values.is_empty() || (change.record_type == RecordType::Cname && data.values.len() > 1) {
                    let name = &change.name;
                    return Err(refused(format!(
                        "{} values are no {} set at {name}",
                        data.values.len(),
                        change.record_type
                    )));
                }
                let records = data.values.iter().map(|value| wire::data(change.record_type, value));
                let records = records.map(|record| record.map(|record| (data.ttl, record)));
                let records = records.collect::<Result<_, _>>().map_err(|error| refused(error.to_string()))?;
                Some(Wanted { data, records })
            }
        };
        Ok(Self {
            name: name::parse(&change.name)?,
            marker_name: name::parse(&marker.name_for(&change.name, change.record_type))?,
            record_type: change.record_type,
            wanted,
            marker: wire::data(RecordType::Txt, &marker.to_string()).map_err(|error| refused(error.to_string()))?,
        })
    }

    pub(super) fn wire_type(&self) -> WireType {
        wire::wire_type(self.record_type)
    }

    /// A removal must find out what stands; a set can be created without a look.
    pub(super) fn is_removal(&self) -> bool {
        self.wanted.is_none()
    }

    fn is_alias(&self) -> bool {
        self.record_type == RecordType::Cname
    }

    pub(super) fn plan(&self, standing: &Standing, marker: &Marker) -> Step {
        let (owner, found) = (standing.owner(marker), standing.values());
        match (&self.wanted, owner) {
            (None, Owner::Ours) => Step::Write(self.removal(standing, marker)),
            (None, Owner::Nobody | Owner::Another(_)) => match found {
                Some(found) => Step::Blocked(self.conflict(&found.shown())),
                None => Step::Done,
            },
            (Some(_), _) if !self.is_alias() && standing.alias.is_some() => {
                let target = standing.alias.as_ref().map(name::text).unwrap_or_default();
                Step::Blocked(self.type_clash(format!("CNAME {target}")))
            }
            (Some(wanted), Owner::Ours) => {
                let is_right = found.is_some_and(|found| found.ttl == wanted.data.ttl && wanted.matches(&found));
                if is_right { Step::Done } else { Step::Write(self.replacement(wanted, standing)) }
            }
            (Some(wanted), Owner::Nobody) => match found {
                Some(found) if !wanted.matches(&found) => Step::Blocked(self.conflict(&found.shown())),
                Some(_) | None => Step::Write(self.replacement(wanted, standing)),
            },
            (Some(_), Owner::Another(theirs)) => {
                let values = found.map_or_else(|| "nothing".to_owned(), |found| found.shown());
                let at = name::text(&self.marker_name);
                Step::Blocked(self.conflict(&format!("{values}, and {at} holds {theirs}")))
            }
        }
    }

    /// The set and the marker that stands with it, from whatever stands now.
    fn replacement(&self, wanted: &Wanted, standing: &Standing) -> Write {
        let (name, kind) = (&self.name, self.wire_type());
        let mut write = Write::default();
        if standing.set.is_empty() {
            if self.is_alias() {
                write.prerequisites.push(update::not_in_use(name));
            } else {
                // A server ignores what is added beside a CNAME, without an error (RFC 2136 §3.4.2.2).
                write.prerequisites.extend([update::absent(name, kind), update::absent(name, WireType::CNAME)]);
            }
        } else {
            write.prerequisites.extend(update::exactly(name, &standing.set));
            write.updates.push(update::delete_set(name, kind));
        }
        write.updates.extend(wanted.records.iter().map(|(ttl, data)| update::add(name, *ttl, data.clone())));
        let at = &self.marker_name;
        if standing.marker.is_empty() {
            let nothing = [WireType::TXT, WireType::CNAME].map(|kind| update::absent(at, kind));
            write.prerequisites.extend(nothing);
            write.updates.push(update::add(at, wanted.data.ttl, self.marker.clone()));
        } else {
            write.prerequisites.extend(update::exactly(at, &standing.marker));
        }
        write
    }

    fn removal(&self, standing: &Standing, marker: &Marker) -> Write {
        let (name, kind) = (&self.name, self.wire_type());
        let mut write = Write::default();
        if standing.set.is_empty() {
            write.prerequisites.push(update::absent(name, kind));
        } else {
            write.prerequisites.extend(update::exactly(name, &standing.set));
            write.updates.push(update::delete_set(name, kind));
        }
        write.prerequisites.extend(update::exactly(&self.marker_name, &standing.marker));
        let text = marker.to_string();
        let ours = standing.marker.iter().filter(|(_, data)| wire::value(data).is_some_and(|(_, value)| value == text));
        write.updates.extend(ours.map(|(_, data)| update::delete(&self.marker_name, data.clone())));
        write
    }

    fn conflict(&self, found: &str) -> ProviderError {
        let found = cut(found);
        ProviderError::Conflict {
            name: name::text(&self.name),
            record_type: self.record_type,
            wanted: self.wanted.as_ref().map_or_else(|| "nothing".to_owned(), |wanted| wanted.data.shown()),
            found,
        }
    }

    pub(super) fn type_clash(&self, found: String) -> ProviderError {
        ProviderError::TypeClash { name: name::text(&self.name), record_type: self.record_type, found }
    }

    /// Whether only an alias is wanted, for which nothing else may stand at the name.
    pub(super) fn wants_alias(&self) -> bool {
        self.is_alias() && self.wanted.is_some()
    }

    pub(super) fn keeps_changing(&self) -> ProviderError {
        let reason =
            format!("{} {} is changed by somebody else again and again", name::text(&self.name), self.record_type);
        ProviderError::Unavailable { retry_after: None, source: reason.into() }
    }
}

/// What a stranger wrote, for a message.
pub(super) fn cut(text: &str) -> String {
    if text.chars().nth(MOST_SHOWN).is_none() {
        return text.to_owned();
    }
    text.chars().take(MOST_SHOWN).chain(['…']).collect()
}

impl Wanted {
    /// Doubles within a set do not count: the zone has each record once.
    fn matches(&self, found: &RecordData) -> bool {
        self.data.same_values(found)
    }
}
