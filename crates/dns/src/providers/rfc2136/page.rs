//! One message of a zone transfer, of which no more is read than a listing needs: a zone is a stranger's too, and one odd
//! record of a type that we have no use for must not hide all the others.

use hickory_proto::{
    op::{Header, Metadata, Query},
    rr::{DNSClass, Name, RData, RecordType as WireType},
    serialize::binary::{BinDecodable, BinDecoder, DecodeError, Restrict},
};
use mtasts_model::feed::RecordType;

use crate::wire;

/// The answer section.
pub(super) struct Page {
    pub(super) metadata: Metadata,
    pub(super) queries: Vec<Query>,
    pub(super) records: Vec<PageRecord>,
}

/// A record of it.
pub(super) struct PageRecord {
    pub(super) name: Name,
    pub(super) kind: WireType,
    pub(super) ttl: u32,
    /// Only of types that the service writes, and of the class IN.
    pub(super) data: Option<RData>,
}

impl Page {
    pub(super) fn read(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = BinDecoder::new(octets);
        let Header { metadata, counts } = Header::read(&mut decoder)?;
        let queries = (0..counts.queries).map(|_| Query::read(&mut decoder)).collect::<Result<_, _>>()?;
        let records = (0..counts.answers).map(|_| PageRecord::read(&mut decoder)).collect::<Result<_, _>>()?;
        Ok(Self { metadata, queries, records })
    }
}

impl PageRecord {
    fn read(decoder: &mut BinDecoder<'_>) -> Result<Self, DecodeError> {
        let name = Name::read(decoder)?;
        let kind = WireType::read(decoder)?;
        let class = DNSClass::read(decoder)?;
        let ttl = decoder.read_u32()?.unverified(/* any number is one */);
        let length = decoder.read_u16()?.unverified(/* read_slice looks whether there are as many */);
        // Read beside the decoder, because names in it may point back; what is wrong in it stays in it.
        let mut inside = u16::try_from(decoder.index()).map(|at| decoder.clone(at)).ok();
        decoder.read_slice(usize::from(length))?;
        let is_listed = class == DNSClass::IN && RecordType::ALL.into_iter().any(|ours| wire::wire_type(ours) == kind);
        let data = match &mut inside {
            Some(inside) if is_listed => {
                let data = RData::read(inside, kind, Restrict::new(length));
                data.inspect_err(|error| tracing::warn!(%name, %kind, %error, "a record cannot be read")).ok()
            }
            _ => None,
        };
        Ok(Self { name, kind, ttl, data })
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Message, OpCode},
        rr::{Record, rdata::A},
    };

    use super::*;

    fn transfer(records: &[(&str, RData)]) -> Vec<u8> {
        let mut message = Message::response(1, OpCode::Query);
        for (name, data) in records {
            message.add_answer(Record::from_rdata(Name::from_ascii(name).unwrap(), 60, data.clone()));
        }
        message.to_vec().unwrap()
    }

    #[test]
    fn a_record_that_cannot_be_read_does_not_hide_the_next() {
        let address = RData::A(A::new(192, 0, 2, 1));
        let text = |text: &str| wire::data(RecordType::Txt, text).unwrap();
        let mut octets = transfer(&[("a.test.", text("abc")), ("b.test.", address.clone()), ("c.test.", text("def"))]);
        // The first text says that it is longer than its record; the address gets a type that wants 16 octets.
        let at = octets.windows(4).position(|octets| octets == b"\x03abc").unwrap();
        octets[at] = 200;
        assert!(Message::from_vec(&octets).is_err(), "the library gives up");
        let at = octets.windows(4).position(|octets| octets == [192, 0, 2, 1]).unwrap();
        octets[at - 9] = 28;
        let page = Page::read(&octets).unwrap();
        let data: Vec<_> = page.records.iter().map(|record| record.data.as_ref().and_then(wire::value)).collect();
        assert_eq!(data, [None, None, Some((RecordType::Txt, "def".to_owned()))]);
        assert!(Page::read(&octets[..octets.len() - 1]).is_err(), "but what is cut short is no message");
    }

    #[test]
    fn other_types_and_classes_are_not_even_read() {
        let octets = transfer(&[("a.test.", RData::A(A::new(192, 0, 2, 1)))]);
        let at = octets.windows(4).position(|octets| octets == [192, 0, 2, 1]).unwrap();
        for (place, value) in [(at - 7, 3), (at - 9, 250)] {
            let mut octets = octets.clone();
            octets[place] = value;
            let page = Page::read(&octets).unwrap();
            assert!(page.records[0].data.is_none());
        }
        assert!(Page::read(&octets).unwrap().records[0].data.is_some());
    }
}
