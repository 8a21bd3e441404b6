//! UPDATE messages (RFC 2136 §2): a set and its marker change together, if both still are as they were read.
//!
//! The library's own builders assert that names are inside of the zone, and know no prerequisites for two sets.

use hickory_proto::{
    ProtoError,
    op::{Message, OpCode, Query},
    rr::{DNSClass, Name, RData, Record, RecordType as WireType},
    serialize::binary::BinEncodable,
};

/// What must be so, and what then changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Write {
    pub(super) prerequisites: Vec<Record>,
    pub(super) updates: Vec<Record>,
}

impl Write {
    /// Octets of all records without compression.
    pub(super) fn length(&self) -> Result<usize, ProtoError> {
        let mut length = 0;
        for record in self.prerequisites.iter().chain(&self.updates) {
            length += record.to_bytes()?.len();
        }
        Ok(length)
    }
}

/// The whole message. Without updates it changes nothing, and still tells whether the prerequisites hold.
pub(super) fn message(zone: &Name, prerequisites: Vec<Record>, updates: Vec<Record>) -> Message {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(zone.clone(), WireType::SOA));
    message.answers = prerequisites;
    message.authorities = updates;
    message
}

fn without_data(name: &Name, kind: WireType, class: DNSClass) -> Record {
    let mut record = Record::update0(name.clone(), 0, kind);
    record.dns_class = class;
    record
}

/// §2.4.2, once for each record: the set is exactly this.
pub(super) fn exactly(name: &Name, records: &[(u32, RData)]) -> impl Iterator<Item = Record> {
    records.iter().map(|(_, data)| Record::from_rdata(name.clone(), 0, data.clone()))
}

/// §2.4.3: there is no set of this type.
pub(super) fn absent(name: &Name, kind: WireType) -> Record {
    without_data(name, kind, DNSClass::NONE)
}

/// §2.4.4: there is a record of some type.
pub(super) fn in_use(name: &Name) -> Record {
    without_data(name, WireType::ANY, DNSClass::ANY)
}

/// §2.4.5: there is no record of any type.
pub(super) fn not_in_use(name: &Name) -> Record {
    without_data(name, WireType::ANY, DNSClass::NONE)
}

/// §2.5.1.
pub(super) fn add(name: &Name, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name.clone(), ttl, data)
}

/// §2.5.2.
pub(super) fn delete_set(name: &Name, kind: WireType) -> Record {
    without_data(name, kind, DNSClass::ANY)
}

/// §2.5.4.
pub(super) fn delete(name: &Name, data: RData) -> Record {
    let mut record = Record::from_rdata(name.clone(), 0, data);
    record.dns_class = DNSClass::NONE;
    record
}
