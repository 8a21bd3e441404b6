//! The operator's records: what the configuration says about the zone, read once.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use hickory_proto::rr::{
    Name, RData,
    rdata::{A, AAAA, MX, NS},
};
use mtasts_dns::{name, wire};
use mtasts_model::feed::RecordType;

use super::{
    config::{BindError, NameserverConfig, StaticRecord},
    records::{Owner, ancestors, owner_of},
};

/// `edge`, the parent of the wildcard.
pub(super) const EDGE: &[u8] = b"\x04edge";

/// The wildcard.
pub(super) const WILDCARD: &[u8] = b"\x01*\x04edge";

/// The parents of tenants' names. They exist also while they are empty: a resolver that has seen NXDOMAIN for one of
/// them may deny everything beneath it (RFC 8020), so the first tenant's records would stay unseen.
const TENANT_PARENTS: [&[u8]; 4] = [EDGE, b"\x04acme", b"\x08_mta-sts", b"\x09_smtp-tls"];

/// Records that do not come by the feed. A set has one TTL (RFC 2181 §5.2).
pub(super) struct Fixed {
    by_owner: HashMap<Owner, Vec<(u32, RData)>>,
    /// Names that exist because something is, or may come to be, beneath them.
    between: HashSet<Owner>,
    /// At `*.edge`, for the types that the feed does not give.
    wildcard: Vec<(u32, RData)>,
}

impl Fixed {
    /// Reads the configuration.
    pub(super) fn new(config: &NameserverConfig, origin: &Name) -> Result<Self, BindError> {
        let ttl = config.ttl;
        if [ttl.zone, ttl.edge, ttl.negative].iter().any(|ttl| *ttl > i32::MAX.cast_unsigned()) {
            return Err(BindError::Ttl);
        }
        let mut fixed = Self {
            by_owner: HashMap::new(),
            between: TENANT_PARENTS.iter().map(|owner| owner.to_vec()).collect(),
            wildcard: config.edge_addresses.iter().map(|address| (ttl.edge, address_data(*address))).collect(),
        };
        fixed.add_name_servers(config, origin)?;
        for record in &config.static_records {
            fixed.add_static(record, ttl.zone, origin)?;
        }
        for value in &config.caa {
            let data = wire::caa(value.flags, &value.tag, &value.value).map_err(|reason| BindError::Record {
                name: format!("*.edge.{}", config.zone.as_str()),
                record_type: "CAA".to_owned(),
                reason: reason.to_owned(),
            })?;
            fixed.wildcard.push((ttl.edge, data));
        }
        Ok(fixed)
    }

    fn add_name_servers(&mut self, config: &NameserverConfig, origin: &Name) -> Result<(), BindError> {
        if config.name_servers.is_empty() {
            return Err(BindError::NoNameServers);
        }
        for server in &config.name_servers {
            let name = named("name_servers", &server.name)?;
            self.add(Owner::new(), config.ttl.zone, RData::NS(NS(name.clone())));
            match (owner_of(&name, origin), server.addresses.is_empty()) {
                (Some(_), true) => return Err(BindError::GlueMissing { name: server.name.clone() }),
                (None, false) => return Err(BindError::GlueOutside { name: server.name.clone() }),
                (None, true) => {}
                (Some(owner), false) => {
                    for address in &server.addresses {
                        self.add(owner.clone(), config.ttl.zone, address_data(*address));
                    }
                }
            }
        }
        Ok(())
    }

    fn add_static(&mut self, record: &StaticRecord, default_ttl: u32, origin: &Name) -> Result<(), BindError> {
        let refused = |reason: &str| BindError::Record {
            name: record.name.clone(),
            record_type: record.record_type.clone(),
            reason: reason.to_owned(),
        };
        let owner = owner_of(&named("static_records", &record.name)?, origin)
            .ok_or_else(|| refused("the name is outside of the zone"))?;
        let reserved = |owner: &[u8]| TENANT_PARENTS.contains(&owner);
        if reserved(&owner) || ancestors(&owner).any(reserved) {
            return Err(refused("names here belong to the service"));
        }
        if owner == b"\x01*" {
            return Err(refused("a wildcard beneath the zone itself would stand for every name of nobody's"));
        }
        let ttl = record.ttl.unwrap_or(default_ttl);
        if ttl > i32::MAX.cast_unsigned() {
            return Err(BindError::Ttl);
        }
        let data = static_data(&record.record_type, &record.value).map_err(|reason| refused(&reason))?;
        // RFC 2181 §5.2: one TTL for the records of a set.
        let others = self.by_owner.get(&owner).into_iter().flatten();
        if others.filter(|(_, other)| other.record_type() == data.record_type()).any(|(other, _)| *other != ttl) {
            return Err(refused("records of one name and type need the same TTL"));
        }
        self.add(owner, ttl, data);
        Ok(())
    }

    fn add(&mut self, owner: Owner, ttl: u32, data: RData) {
        self.between.extend(ancestors(&owner).map(<[u8]>::to_vec));
        let records = self.by_owner.entry(owner).or_default();
        if !records.iter().any(|(_, other)| *other == data) {
            records.push((ttl, data));
        }
    }

    /// The records at this owner.
    pub(super) fn at(&self, owner: &[u8]) -> &[(u32, RData)] {
        self.by_owner.get(owner).map_or(&[], Vec::as_slice)
    }

    /// The records of every owner.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&[u8], &[(u32, RData)])> {
        self.by_owner.iter().map(|(owner, records)| (owner.as_slice(), records.as_slice()))
    }

    /// Whether the name exists because of what is, or may come to be, beneath it.
    pub(super) fn is_between(&self, owner: &[u8]) -> bool {
        self.between.contains(owner)
    }

    /// The records of the wildcard that stands for a name, if it does not exist itself (RFC 4592 §3.3.1): that beneath
    /// its nearest ancestor that exists.
    pub(super) fn synthesized(&self, owner: &[u8], exists: impl Fn(&[u8]) -> bool) -> &[(u32, RData)] {
        let is_there = |above: &&[u8]| !self.at(above).is_empty() || self.is_between(above) || exists(above);
        let Some(encloser) = ancestors(owner).find(is_there) else { return &[] };
        self.at(&[b"\x01*", encloser].concat())
    }

    /// The records at `*.edge`.
    pub(super) fn wildcard(&self) -> &[(u32, RData)] {
        &self.wildcard
    }
}

pub(super) fn named(field: &'static str, text: &str) -> Result<Name, BindError> {
    name::parse(text).map_err(|source| BindError::Name { field, source })
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn static_data(record_type: &str, value: &str) -> Result<RData, String> {
    let of_type = |record_type| wire::data(record_type, value).map_err(|error| error.reason);
    match record_type.to_ascii_uppercase().as_str() {
        "A" => of_type(RecordType::A),
        "AAAA" => of_type(RecordType::Aaaa),
        "CAA" => of_type(RecordType::Caa),
        "TXT" if value.len() > 4096 => Err("longer than 4096 octets".to_owned()),
        "TXT" => of_type(RecordType::Txt),
        "MX" => {
            let (preference, host) = value.split_once(' ').ok_or("not like `10 mail.example.net`")?;
            let preference = preference.parse().map_err(|_| "the preference is not a number up to 65535")?;
            let host = name::parse(host.trim()).map_err(|error| error.to_string())?;
            Ok(RData::MX(MX::new(preference, host)))
        }
        _ => Err("only A, AAAA, CAA, MX and TXT can be static".to_owned()),
    }
}
