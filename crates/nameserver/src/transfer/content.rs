//! What a transfer consists of, in the order in which it is sent.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use hickory_proto::{
    ProtoError,
    rr::{RData, RecordType as WireType},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};
use mtasts_dns::wire::wire_type;
use mtasts_model::feed::RecordType;

use crate::{
    fixed::WILDCARD,
    journal::{Delta, View, ViewLost},
    records::{Contents, Owner, SHARDS, raw_records},
    zone::Zone,
};

/// Record sets that are made into records at a time: bounds what a transfer holds in memory.
const CHUNK: usize = 4096;

/// One record; the owner relative to the zone, the data without compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WireRecord {
    pub(super) owner: Owner,
    pub(super) record_type: WireType,
    pub(super) ttl: u32,
    pub(super) data: Vec<u8>,
}

/// A set before the first of several changes and after the last.
type Whole<'a> = (Option<&'a Contents>, Option<&'a Contents>);

/// What a secondary lacks: the records of one set that are to be removed, and to be added.
type Difference = (Vec<WireRecord>, Vec<WireRecord>);

enum Step {
    Soa(u32),
    /// The operator's records.
    Fixed,
    Shard(Arc<View>, usize),
    Removed(Arc<Vec<Difference>>, usize),
    Added(Arc<Vec<Difference>>, usize),
}

/// Why a transfer cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error(transparent)]
    Lost(#[from] ViewLost),
    #[error("a record cannot be written")]
    Record(#[from] ProtoError),
}

/// The records of one transfer, some at a time.
pub(super) struct Content(VecDeque<Step>);

impl Content {
    /// The SOA alone: nothing newer is there, or it would not fit (RFC 1995 §2, §4).
    pub(super) fn soa(serial: u32) -> Self {
        Self([Step::Soa(serial)].into())
    }

    /// The whole zone (RFC 5936 §2.2).
    pub(super) fn whole(view: &Arc<View>) -> Self {
        let soa = || [Step::Soa(view.serial())];
        let shards = (0..SHARDS).map(|shard| Step::Shard(Arc::clone(view), shard));
        Self(soa().into_iter().chain([Step::Fixed]).chain(shards).chain(soa()).collect())
    }

    /// The difference as one sequence (RFC 1995 §4, §5). `None` when the whole zone would be shorter.
    pub(super) fn difference(
        zone: &Zone,
        theirs: u32,
        ours: u32,
        deltas: &[Arc<Delta>],
    ) -> Result<Option<Self>, ContentError> {
        // Each set once, however often it changed.
        let mut changes: HashMap<(&Owner, RecordType), Whole<'_>> = HashMap::new();
        for delta in deltas {
            for ((owner, record_type), change) in &delta.changes {
                let known = changes.entry((owner, *record_type));
                known.or_insert((change.before.as_ref(), None)).1 = change.after.as_ref();
            }
        }
        let whole = zone.records.load().as_ref().map_or(0, |records| records.len());
        if changes.len() > whole.max(CHUNK) {
            return Ok(None);
        }
        let mut differences = Vec::with_capacity(changes.len());
        for ((owner, record_type), (before, after)) in changes {
            let mut removed = visible(zone, owner, record_type, before)?;
            let mut added = visible(zone, owner, record_type, after)?;
            removed
                .retain(|record| added.iter().position(|other| other == record).map(|at| added.remove(at)).is_none());
            if !removed.is_empty() || !added.is_empty() {
                differences.push((removed, added));
            }
        }
        let differences = Arc::new(differences);
        let chunks = || (0..differences.len()).step_by(CHUNK);
        let mut steps: VecDeque<_> = [Step::Soa(ours), Step::Soa(theirs)].into();
        steps.extend(chunks().map(|first| Step::Removed(Arc::clone(&differences), first)));
        steps.push_back(Step::Soa(ours));
        steps.extend(chunks().map(|first| Step::Added(Arc::clone(&differences), first)));
        steps.push_back(Step::Soa(ours));
        Ok(Some(Self(steps)))
    }

    /// The next records; `None` at the end.
    pub(super) fn next(&mut self, zone: &Zone) -> Result<Option<Vec<WireRecord>>, ContentError> {
        let Some(step) = self.0.pop_front() else { return Ok(None) };
        let chunk = |differences: &[Difference], first: usize, of: fn(&Difference) -> &Vec<WireRecord>| {
            differences.iter().skip(first).take(CHUNK).flat_map(|difference| of(difference).clone()).collect()
        };
        Ok(Some(match step {
            Step::Soa(serial) => {
                let (ttl, soa) = zone.soa_at(serial);
                vec![record(&[], ttl, &soa)?]
            }
            Step::Fixed => fixed(zone)?,
            Step::Shard(view, shard) => shard_records(zone, &view, shard)?,
            Step::Removed(differences, first) => chunk(&differences, first, |(removed, _)| removed),
            Step::Added(differences, first) => chunk(&differences, first, |(_, added)| added),
        }))
    }
}

fn record(owner: &[u8], ttl: u32, data: &RData) -> Result<WireRecord, ContentError> {
    let mut octets = Vec::new();
    // Without compression: the SOA's second name would point into the first, at a place that is another in a message.
    data.emit(&mut BinEncoder::new(&mut octets).with_name_encoding(NameEncoding::Uncompressed))?;
    Ok(WireRecord { owner: owner.to_vec(), record_type: data.record_type(), ttl, data: octets })
}

fn fixed(zone: &Zone) -> Result<Vec<WireRecord>, ContentError> {
    let mut records = Vec::new();
    for (owner, held) in zone.fixed().owners() {
        for (ttl, data) in held {
            records.push(record(owner, *ttl, data)?);
        }
    }
    Ok(records)
}

fn shard_records(zone: &Zone, view: &View, shard: usize) -> Result<Vec<WireRecord>, ContentError> {
    let sets = view.shard(shard)?;
    let mut records = Vec::with_capacity(sets.len());
    if view.shard_of(WILDCARD) == shard {
        // What is configured for the wildcard stands where the feed gives nothing of the type.
        for record_type in RecordType::ALL {
            let is_given = sets.iter().any(|(owner, of_type, _)| owner == WILDCARD && *of_type == record_type);
            if !is_given {
                records.extend(visible(zone, WILDCARD, record_type, None)?);
            }
        }
    }
    for (owner, record_type, contents) in &sets {
        records.extend(visible(zone, owner, *record_type, Some(contents))?);
    }
    Ok(records)
}

/// The records of one type at a name, when the feed has this set there; of the operator's only those that stand in for
/// the feed's, since the others never change.
fn visible(
    zone: &Zone,
    owner: &[u8],
    record_type: RecordType,
    contents: Option<&Contents>,
) -> Result<Vec<WireRecord>, ContentError> {
    let of_type = wire_type(record_type);
    let configured = if owner == WILDCARD { zone.fixed().wildcard() } else { zone.fixed().at(owner) };
    let hidden = match record_type {
        RecordType::Cname => !configured.is_empty(),
        _ => owner != WILDCARD && configured.iter().any(|(_, data)| data.record_type() == of_type),
    };
    match contents {
        Some(contents) if !hidden => {
            let (ttl, data) = raw_records(contents);
            let record =
                |data: &[u8]| WireRecord { owner: owner.to_vec(), record_type: of_type, ttl, data: data.to_vec() };
            Ok(data.map(record).collect())
        }
        None if owner == WILDCARD => configured
            .iter()
            .filter(|(_, data)| data.record_type() == of_type)
            .map(|(ttl, data)| record(owner, *ttl, data))
            .collect(),
        _ => Ok(Vec::new()),
    }
}
