//! What the zone holds at a name: the operator's records, the edges' wildcard, and the feed's record sets.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use arc_swap::ArcSwapOption;
use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, CAA, HINFO, MX, NS, SOA, TXT},
};

use super::{
    config::{BindError, CaaValue, NameserverConfig, StaticRecord},
    records::{Owner, Records, ancestors, owner_of, parent},
};
use crate::name;

/// `edge`, the parent of the wildcard.
const EDGE: &[u8] = b"\x04edge";

/// The parents of tenants' names. They exist also while they are empty: a resolver that has seen NXDOMAIN for one of
/// them may deny everything beneath it (RFC 8020), so the first tenant's records would stay unseen.
const TENANT_PARENTS: [&[u8]; 4] = [EDGE, b"\x04acme", b"\x08_mta-sts", b"\x09_smtp-tls"];

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

/// The zone.
pub(super) struct Zone {
    origin: Name,
    soa: SOA,
    ttl: super::config::Ttls,
    serial: AtomicU32,
    /// Records that do not come by the feed, by owner.
    fixed: HashMap<Owner, Vec<(u32, RData)>>,
    /// Names that exist because something is, or may come to be, beneath them.
    between: HashSet<Owner>,
    /// At `*.edge`.
    wildcard: Vec<(u32, RData)>,
    /// `None` until the feed or the replica has been read.
    pub(super) records: ArcSwapOption<Records>,
}

impl Zone {
    /// Reads the configuration.
    pub(super) fn new(config: &NameserverConfig) -> Result<Self, BindError> {
        let origin = named("zone", config.zone.as_str())?.to_lowercase();
        let ttl = config.ttl;
        if [ttl.zone, ttl.edge, ttl.negative].iter().any(|ttl| *ttl > i32::MAX.cast_unsigned()) {
            return Err(BindError::Ttl);
        }
        let soa = SOA::new(
            named("soa_mname", &config.soa_mname)?,
            named("soa_rname", &config.soa_rname)?,
            0,
            // For secondaries, of which the feed makes none needed.
            3600,
            600,
            604_800,
            ttl.negative,
        );
        let mut zone = Self {
            soa,
            ttl,
            serial: AtomicU32::new(0),
            fixed: HashMap::new(),
            between: TENANT_PARENTS.iter().map(|owner| owner.to_vec()).collect(),
            wildcard: Vec::new(),
            records: ArcSwapOption::empty(),
            origin,
        };
        zone.add_name_servers(config)?;
        for record in &config.static_records {
            zone.add_static(record)?;
        }
        zone.wildcard.extend(config.edge_addresses.iter().map(|address| (ttl.edge, address_data(*address))));
        for value in &config.caa {
            let data = caa_data(value).map_err(|reason| BindError::Record {
                name: format!("*.edge.{}", config.zone.as_str()),
                record_type: "CAA".to_owned(),
                reason,
            })?;
            zone.wildcard.push((ttl.edge, data));
        }
        Ok(zone)
    }

    fn add_name_servers(&mut self, config: &NameserverConfig) -> Result<(), BindError> {
        if config.name_servers.is_empty() {
            return Err(BindError::NoNameServers);
        }
        for server in &config.name_servers {
            let name = named("name_servers", &server.name)?;
            self.add(Owner::new(), self.ttl.zone, RData::NS(NS(name.clone())));
            match (owner_of(&name, &self.origin), server.addresses.is_empty()) {
                (Some(_), true) => return Err(BindError::GlueMissing { name: server.name.clone() }),
                (None, false) => return Err(BindError::GlueOutside { name: server.name.clone() }),
                (None, true) => {}
                (Some(owner), false) => {
                    for address in &server.addresses {
                        self.add(owner.clone(), self.ttl.zone, address_data(*address));
                    }
                }
            }
        }
        Ok(())
    }

    fn add_static(&mut self, record: &StaticRecord) -> Result<(), BindError> {
        let refused = |reason: &str| BindError::Record {
            name: record.name.clone(),
            record_type: record.record_type.clone(),
            reason: reason.to_owned(),
        };
        let owner = owner_of(&named("static_records", &record.name)?, &self.origin)
            .ok_or_else(|| refused("the name is outside of the zone"))?;
        let reserved = |owner: &[u8]| TENANT_PARENTS.contains(&owner);
        if reserved(&owner) || ancestors(&owner).any(reserved) {
            return Err(refused("names here belong to the service"));
        }
        if owner.starts_with(b"\x01*") {
            return Err(refused("wildcards are not for static records"));
        }
        let ttl = record.ttl.unwrap_or(self.ttl.zone);
        if ttl > i32::MAX.cast_unsigned() {
            return Err(BindError::Ttl);
        }
        let data = static_data(&record.record_type, &record.value).map_err(|reason| refused(&reason))?;
        // RFC 2181 §5.2: one TTL for the records of a set.
        let others = self.fixed.get(&owner).into_iter().flatten();
        if others.filter(|(_, other)| other.record_type() == data.record_type()).any(|(other, _)| *other != ttl) {
            return Err(refused("records of one name and type need the same TTL"));
        }
        self.add(owner, ttl, data);
        Ok(())
    }

    fn add(&mut self, owner: Owner, ttl: u32, data: RData) {
        self.between.extend(ancestors(&owner).map(<[u8]>::to_vec));
        let records = self.fixed.entry(owner).or_default();
        if !records.iter().any(|(_, other)| *other == data) {
            records.push((ttl, data));
        }
    }

    /// Its name, lower-case.
    pub(super) fn origin(&self) -> &Name {
        &self.origin
    }

    /// Sets the SOA's serial: the revision's low 32 bits (RFC 1982 lets it wrap).
    pub(super) fn set_serial(&self, revision: u64) {
        let serial = u32::try_from(revision & u64::from(u32::MAX)).unwrap_or(0);
        self.serial.store(serial, Ordering::Relaxed);
    }

    /// The SOA for negative answers, whose TTL is how long they may be kept (RFC 2308 §5).
    pub(super) fn negative_soa(&self) -> Record {
        Record::from_rdata(self.origin.clone(), self.ttl.negative.min(self.ttl.zone), self.soa())
    }

    fn soa(&self) -> RData {
        let mut soa = self.soa.clone();
        soa.serial = self.serial.load(Ordering::Relaxed);
        RData::SOA(soa)
    }

    /// Looks a name up (RFC 1034 §4.3.2, RFC 4592 §3).
    pub(super) fn look_up(&self, name: &Name, record_type: RecordType) -> Outcome {
        let Some(owner) = owner_of(name, &self.origin) else { return Outcome::Outside };
        let feed = self.records.load();
        let feed = feed.as_ref();
        let fixed = self.fixed.get(&owner);
        let set = |records: &[(u32, RData)]| -> Vec<Record> {
            let of_type = records.iter().filter(|(_, data)| data.record_type() == record_type);
            of_type.map(|(ttl, data)| Record::from_rdata(name.clone(), *ttl, data.clone())).collect()
        };

        let mut records = if owner.is_empty() && record_type == RecordType::SOA {
            vec![Record::from_rdata(name.clone(), self.ttl.zone, self.soa())]
        } else {
            fixed.map(|fixed| set(fixed)).unwrap_or_default()
        };
        // The operator's TXT, where there is one, stands before the feed's: one set has one source.
        if records.is_empty() && record_type == RecordType::TXT {
            match feed {
                Some(feed) => {
                    if let Some((ttl, texts)) = feed.text(&owner) {
                        records.extend(texts.into_iter().map(|text| Record::from_rdata(name.clone(), ttl, text)));
                    }
                }
                None if !is_edge_label(&owner) => return Outcome::NotLoaded,
                None => {}
            }
        }
        if !records.is_empty() {
            let additional = self.glue(&records);
            return Outcome::Answer { records, additional };
        }

        let in_feed = feed.is_some_and(|feed| feed.exists(&owner));
        if fixed.is_some() || self.between.contains(&owner) || in_feed {
            return if record_type == RecordType::ANY { minimal_any(name) } else { Outcome::NoData };
        }
        // RFC 4592 §3.3.1 takes the wildcard only for names that do not exist. One label beneath `edge` exists for
        // every label a tenant may have, so that a deeper name's closest encloser is that label, without a wildcard.
        if is_edge_label(&owner) && !self.wildcard.is_empty() {
            let records = set(&self.wildcard);
            return match record_type {
                RecordType::ANY => minimal_any(name),
                _ if records.is_empty() => Outcome::NoData,
                _ => Outcome::Answer { records, additional: Vec::new() },
            };
        }
        if feed.is_none() { Outcome::NotLoaded } else { Outcome::NxDomain }
    }

    /// Addresses, as far as we have them, of the name servers in an answer.
    fn glue(&self, records: &[Record]) -> Vec<Record> {
        let mut glue = Vec::new();
        for record in records {
            let RData::NS(server) = &record.data else { continue };
            let addresses = owner_of(&server.0, &self.origin).and_then(|owner| self.fixed.get(&owner));
            for (ttl, data) in addresses.into_iter().flatten() {
                if data.ip_addr().is_some() {
                    glue.push(Record::from_rdata(server.0.clone(), *ttl, data.clone()));
                }
            }
        }
        glue
    }
}

fn is_edge_label(owner: &[u8]) -> bool {
    parent(owner) == Some(EDGE)
}

/// RFC 8482 §4.2: one small record instead of all, so that ANY is of no use for amplification.
fn minimal_any(name: &Name) -> Outcome {
    let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
    Outcome::Answer { records: vec![Record::from_rdata(name.clone(), 3600, data)], additional: Vec::new() }
}

fn named(field: &'static str, text: &str) -> Result<Name, BindError> {
    name::parse(text).map_err(|source| BindError::Name { field, source })
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn caa_data(caa: &CaaValue) -> Result<RData, String> {
    if caa.flags & !0x80 != 0 {
        return Err("only the critical flag (128) is defined".to_owned());
    }
    let tag_is_good = (1..=15).contains(&caa.tag.len()) && caa.tag.bytes().all(|b| b.is_ascii_alphanumeric());
    if !tag_is_good {
        return Err("the tag needs 1 to 15 letters or digits".to_owned());
    }
    if caa.value.len() > 1024 || !caa.value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Err("the value needs at most 1024 printable ASCII characters".to_owned());
    }
    // Built from an empty `issue` because the library has no constructor for a tag of one's own.
    let mut data = CAA::new_issue(caa.flags & 0x80 != 0, None, Vec::new());
    data.tag = caa.tag.to_ascii_lowercase();
    data.value = caa.value.clone().into_bytes();
    Ok(RData::CAA(data))
}

fn static_data(record_type: &str, value: &str) -> Result<RData, String> {
    match record_type.to_ascii_uppercase().as_str() {
        "A" => value.parse().map(|address| RData::A(A(address))).map_err(|_| "not an IPv4 address".to_owned()),
        "AAAA" => value.parse().map(|address| RData::AAAA(AAAA(address))).map_err(|_| "not an IPv6 address".to_owned()),
        "MX" => {
            let (preference, host) = value.split_once(' ').ok_or("not like `10 mail.example.net`")?;
            let preference = preference.parse().map_err(|_| "the preference is not a number up to 65535")?;
            let host = name::parse(host.trim()).map_err(|error| error.to_string())?;
            Ok(RData::MX(MX::new(preference, host)))
        }
        "TXT" => {
            if value.len() > 4096 {
                return Err("longer than 4096 octets".to_owned());
            }
            let strings = if value.is_empty() { vec![&b""[..]] } else { value.as_bytes().chunks(255).collect() };
            Ok(RData::TXT(TXT::from_bytes(strings)))
        }
        "CAA" => {
            let mut parts = value.splitn(3, ' ');
            let (Some(flags), Some(tag), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
                return Err("not like `0 issue letsencrypt.org`".to_owned());
            };
            let flags = flags.parse().map_err(|_| "the flags are not a number up to 255")?;
            caa_data(&CaaValue { flags, tag: tag.to_owned(), value: value.trim_matches('"').to_owned() })
        }
        _ => Err("only A, AAAA, CAA, MX and TXT can be static".to_owned()),
    }
}
