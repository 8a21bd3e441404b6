//! What the zone holds at a name: the operator's records, the edges' wildcard, and the feed's record sets.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use arc_swap::ArcSwapOption;
use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{HINFO, SOA},
};
use mtasts_dns::wire;
use mtasts_model::{Clock, feed};

use super::{
    config::{BindError, NameserverConfig, Ttls},
    dnssec::Signing,
    fixed::{EDGE, Fixed, WILDCARD, named},
    records::{Held, Records, owner_of, parent},
};

/// More aliases in a row than any zone of ours has; the asker follows the rest itself.
const MAX_ALIASES: usize = 8;

/// What there is to say on a question.
pub(super) enum Outcome {
    /// These records, with additional ones for convenience.
    Answer { records: Vec<Record>, additional: Vec<Record> },
    /// The name exists without records of the type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The name is not in the zone.
    Outside,
    /// The feed has not been read yet, so that absence cannot be told.
    NotLoaded,
}

/// What one name holds of one type.
enum Found {
    Set(u32, Vec<RData>),
    NoData,
    NxDomain,
    NotLoaded,
}

/// The zone.
pub(super) struct Zone {
    origin: Name,
    soa: SOA,
    ttl: Ttls,
    serial: AtomicU32,
    fixed: Fixed,
    signing: Option<Signing>,
    /// `None` until the feed or the replica has been read.
    pub(super) records: ArcSwapOption<Records>,
}

impl Zone {
    /// Reads the configuration. `clock` says when signatures are made.
    pub(super) fn new(config: &NameserverConfig, clock: Arc<dyn Clock>) -> Result<Self, BindError> {
        let origin = named("zone", config.zone.as_str())?.to_lowercase();
        let ttl = config.ttl;
        let fixed = Fixed::new(config, &origin)?;
        let soa = SOA::new(
            named("soa_mname", &config.soa_mname)?,
            named("soa_rname", &config.soa_rname)?,
            0,
            // For secondaries: how often they ask unasked, how soon again, and for how long they serve on.
            3600,
            600,
            604_800,
            ttl.negative,
        );
        let signing = config.dnssec.as_ref().map(|dnssec| Signing::new(dnssec, &origin, ttl, clock)).transpose()?;
        let records = ArcSwapOption::empty();
        Ok(Self { origin, soa, ttl, serial: AtomicU32::new(0), fixed, signing, records })
    }

    /// Its name, lower-case.
    pub(super) fn origin(&self) -> &Name {
        &self.origin
    }

    /// Whether answers are signed. Transfers never hold signatures, which are made for each answer.
    pub(super) fn is_signed(&self) -> bool {
        self.signing.is_some()
    }

    /// What signs answers, if anything does.
    pub(super) fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
    }

    /// Sets the SOA's serial, which the journal makes of the revision.
    pub(super) fn set_serial(&self, serial: u32) {
        self.serial.store(serial, Ordering::Relaxed);
    }

    /// The SOA for negative answers, whose TTL is how long they may be kept (RFC 2308 §5).
    pub(super) fn negative_soa(&self) -> Record {
        Record::from_rdata(self.origin.clone(), self.negative_ttl(), self.soa())
    }

    /// For how long absence may be remembered, in seconds.
    pub(super) fn negative_ttl(&self) -> u32 {
        self.ttl.negative.min(self.ttl.zone)
    }

    fn soa(&self) -> RData {
        self.soa_at(self.serial.load(Ordering::Relaxed)).1
    }

    /// Looks a name up (RFC 1034 §4.3.2, RFC 4592 §3).
    ///
    /// Aliases are followed as far as there are records in the zone; that there are none at their end is for the
    /// asker to find out with a question of its own.
    pub(super) fn look_up(&self, name: &Name, record_type: RecordType) -> Outcome {
        let Some(owner) = owner_of(name, &self.origin) else { return Outcome::Outside };
        let feed = self.records.load();
        let feed = feed.as_deref();
        let (ttl, data) = match self.find(&owner, record_type, feed) {
            Found::Set(ttl, data) => (ttl, data),
            Found::NoData if record_type == RecordType::ANY => return minimal_any(name),
            Found::NoData => return Outcome::NoData,
            Found::NxDomain => return Outcome::NxDomain,
            Found::NotLoaded => return Outcome::NotLoaded,
        };
        let mut records: Vec<Record> =
            data.into_iter().map(|data| Record::from_rdata(name.clone(), ttl, data)).collect();
        if record_type != RecordType::CNAME {
            self.follow_aliases(&mut records, record_type, feed);
        }
        let additional = self.glue(&records);
        Outcome::Answer { records, additional }
    }

    fn follow_aliases(&self, records: &mut Vec<Record>, record_type: RecordType, feed: Option<&Records>) {
        for _ in 0..MAX_ALIASES {
            let Some(RData::CNAME(alias)) = records.last().map(|record| &record.data) else { return };
            let target = alias.0.clone();
            let Some(owner) = owner_of(&target, &self.origin) else { return };
            let Found::Set(ttl, data) = self.find(&owner, record_type, feed) else { return };
            if records.iter().any(|record| record.name == target) {
                return;
            }
            records.extend(data.into_iter().map(|data| Record::from_rdata(target.clone(), ttl, data)));
        }
    }

    fn find(&self, owner: &[u8], record_type: RecordType, feed: Option<&Records>) -> Found {
        if owner.is_empty() && record_type == RecordType::SOA {
            return Found::Set(self.ttl.zone, vec![self.soa()]);
        }
        if owner.is_empty()
            && let Some(signing) = &self.signing
            && let Some(data) = signing.apex(record_type)
        {
            return Found::Set(self.ttl.zone, data);
        }
        if owner != WILDCARD
            && let Some(found) = self.find_own(owner, record_type, feed)
        {
            return found;
        }
        // RFC 4592 §3.3.1 takes the wildcard only for names that do not exist. One label beneath `edge` exists for
        // every label a tenant may have, so that a deeper name's closest encloser is that label, without a wildcard.
        if is_edge_label(owner)
            && let Some(found) = self.find_wildcard(record_type, feed)
        {
            return found;
        }
        let synthesized = self.synthesized(owner, feed);
        if !synthesized.is_empty() {
            return of_type(synthesized, record_type).unwrap_or(Found::NoData);
        }
        if feed.is_none() { Found::NotLoaded } else { Found::NxDomain }
    }

    /// The operator's wildcard for a name that does not exist itself. None is beneath tenants' names.
    fn synthesized(&self, owner: &[u8], feed: Option<&Records>) -> &[(u32, RData)] {
        self.fixed.synthesized(owner, |above| feed.is_some_and(|feed| feed.exists(above)))
    }

    /// What the name itself says; `None` when it does not exist, as far as is known.
    fn find_own(&self, owner: &[u8], record_type: RecordType, feed: Option<&Records>) -> Option<Found> {
        // The operator's records stand before the feed's: one set has one source.
        let fixed = self.fixed.at(owner);
        if let Some(set) = of_type(fixed, record_type) {
            return Some(set);
        }
        match feed.map(|feed| feed.look_up(owner, record_type)) {
            Some(Held::Set(ttl, data)) if fixed.is_empty() || !is_alias(&data) => return Some(Found::Set(ttl, data)),
            Some(Held::Set(..) | Held::Other) => return Some(Found::NoData),
            Some(Held::Nothing) | None => {}
        }
        if fixed.is_empty() && !self.fixed.is_between(owner) {
            return None;
        }
        // A signed denial tells of all types at once, also of those that the feed would bring.
        let of_config_alone = !fixed.is_empty() && !of_feed(record_type) && self.signing.is_none();
        let is_known = feed.is_some() || of_config_alone;
        Some(if is_known { Found::NoData } else { Found::NotLoaded })
    }

    /// `None` when there is no wildcard.
    fn find_wildcard(&self, record_type: RecordType, feed: Option<&Records>) -> Option<Found> {
        let configured = self.fixed.wildcard();
        let held = feed.map(|feed| feed.look_up(WILDCARD, record_type));
        // What the feed gives takes the place of what is configured, type by type.
        if let Some(Held::Set(ttl, data)) = held {
            if configured.is_empty() || !is_alias(&data) {
                return Some(Found::Set(ttl, data));
            }
            return Some(of_type(configured, record_type).unwrap_or(Found::NoData));
        }
        if let Some(set) = of_type(configured, record_type) {
            return Some(set);
        }
        let exists = !configured.is_empty() || matches!(held, Some(Held::Other));
        exists.then_some(if feed.is_none() { Found::NotLoaded } else { Found::NoData })
    }

    /// The types at a name that exists: what an NSEC record says of it (RFC 4034 §4.1.2), without those of the
    /// signing itself.
    pub(super) fn types(&self, name: &Name) -> Vec<RecordType> {
        let Some(owner) = owner_of(name, &self.origin) else { return Vec::new() };
        let feed = self.records.load();
        let in_feed = |owner: &[u8]| feed.as_ref().map(|feed| feed.types(owner)).unwrap_or_default();
        let (mut fixed, mut types) = (self.fixed.at(&owner), in_feed(&owner));
        let exists_itself =
            !fixed.is_empty() || self.fixed.is_between(&owner) || feed.as_ref().is_some_and(|feed| feed.exists(&owner));
        if owner == WILDCARD || (is_edge_label(&owner) && !exists_itself) {
            (fixed, types) = (self.fixed.wildcard(), in_feed(WILDCARD));
        } else if !exists_itself {
            fixed = self.synthesized(&owner, feed.as_deref());
        }
        if !fixed.is_empty() {
            types.retain(|record_type| *record_type != RecordType::CNAME);
        }
        types.extend(fixed.iter().map(|(_, data)| data.record_type()));
        if owner.is_empty() {
            types.push(RecordType::SOA);
            types.extend(self.signing.iter().flat_map(Signing::apex_types));
        }
        types
    }

    /// The operator's records.
    pub(super) fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    /// TTL and data of the SOA with that serial, for transfers.
    pub(super) fn soa_at(&self, serial: u32) -> (u32, RData) {
        let mut soa = self.soa.clone();
        soa.serial = serial;
        (self.ttl.zone, RData::SOA(soa))
    }

    /// Addresses, as far as we have them, of the name servers in an answer.
    fn glue(&self, records: &[Record]) -> Vec<Record> {
        let mut glue = Vec::new();
        for record in records {
            let RData::NS(server) = &record.data else { continue };
            let Some(owner) = owner_of(&server.0, &self.origin) else { continue };
            for (ttl, data) in self.fixed.at(&owner) {
                if data.ip_addr().is_some() {
                    glue.push(Record::from_rdata(server.0.clone(), *ttl, data.clone()));
                }
            }
        }
        glue
    }
}

/// The records of one type.
fn of_type(records: &[(u32, RData)], record_type: RecordType) -> Option<Found> {
    let mut matching = records.iter().filter(|(_, data)| data.record_type() == record_type);
    let (ttl, first) = matching.next()?;
    let data = std::iter::once(first).chain(matching.map(|(_, data)| data)).cloned().collect();
    Some(Found::Set(*ttl, data))
}

fn is_alias(data: &[RData]) -> bool {
    matches!(data.first(), Some(RData::CNAME(_)))
}

/// Whether the feed may bring sets of this type beside others.
fn of_feed(record_type: RecordType) -> bool {
    let alias = feed::RecordType::Cname;
    feed::RecordType::ALL.into_iter().any(|known| known != alias && wire::wire_type(known) == record_type)
}

fn is_edge_label(owner: &[u8]) -> bool {
    parent(owner) == Some(EDGE)
}

/// RFC 8482 §4.2: one small record instead of all, so that ANY is of no use for amplification.
fn minimal_any(name: &Name) -> Outcome {
    let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
    Outcome::Answer { records: vec![Record::from_rdata(name.clone(), 3600, data)], additional: Vec::new() }
}
