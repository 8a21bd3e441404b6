//! Record data between its text (see [`RecordData::values`]) and `hickory-proto`.
//!
//! [`RecordData::values`]: mtasts_model::feed::RecordData::values

use hickory_proto::rr::{
    RData, RecordType as WireType,
    rdata::{A, AAAA, CAA, CNAME, TXT},
};
use mtasts_model::feed::RecordType;

use crate::name;

/// A text that is no value of the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no {record_type} record: {reason}")]
pub struct InvalidValue {
    /// The text, cut short.
    pub value: String,
    /// The type.
    pub record_type: RecordType,
    /// What is wrong with it.
    pub reason: String,
}

/// The number of the type on the wire.
pub fn wire_type(record_type: RecordType) -> WireType {
    match record_type {
        RecordType::Txt => WireType::TXT,
        RecordType::A => WireType::A,
        RecordType::Aaaa => WireType::AAAA,
        RecordType::Caa => WireType::CAA,
        RecordType::Cname => WireType::CNAME,
    }
}

/// Reads a value. Texts are split at 255 octets.
pub fn data(record_type: RecordType, value: &str) -> Result<RData, InvalidValue> {
    let invalid = |reason: String| InvalidValue { value: value.chars().take(80).collect(), record_type, reason };
    match record_type {
        RecordType::Txt => {
            if value.len() > 60_000 {
                return Err(invalid("it does not fit into a message".to_owned()));
            }
            let strings = if value.is_empty() { vec![&b""[..]] } else { value.as_bytes().chunks(255).collect() };
            Ok(RData::TXT(TXT::from_bytes(strings)))
        }
        RecordType::A => {
            value.parse().map(|address| RData::A(A(address))).map_err(|_| invalid("not an IPv4 address".to_owned()))
        }
        RecordType::Aaaa => value
            .parse()
            .map(|address| RData::AAAA(AAAA(address)))
            .map_err(|_| invalid("not an IPv6 address".to_owned())),
        RecordType::Cname => name::parse(value)
            .map(|target| RData::CNAME(CNAME(target)))
            .map_err(|error| invalid(error.reason.to_owned())),
        RecordType::Caa => {
            let mut parts = value.splitn(3, ' ');
            let (Some(flags), Some(tag), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(invalid("not like `0 issue \"ca.example\"`".to_owned()));
            };
            let flags = flags.parse().map_err(|_| invalid("the flags are not a number up to 255".to_owned()))?;
            let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
            caa(flags, tag, text).map_err(|reason| invalid(reason.to_owned()))
        }
    }
}

/// A CAA record (RFC 8659 §4.1).
pub fn caa(flags: u8, tag: &str, value: &str) -> Result<RData, &'static str> {
    if flags & !0x80 != 0 {
        return Err("only the critical flag (128) is defined");
    }
    if !(1..=15).contains(&tag.len()) || !tag.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("the tag needs 1 to 15 letters or digits");
    }
    let printable = |b: u8| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\';
    if value.len() > 1024 || !value.bytes().all(printable) {
        return Err("the value needs at most 1024 printable ASCII characters without quotes");
    }
    // Built from an empty `issue` because the library has no constructor for a tag of one's own.
    let mut data = CAA::new_issue(flags & 0x80 != 0, None, Vec::new());
    data.tag = tag.to_ascii_lowercase();
    data.value = value.as_bytes().to_vec();
    Ok(RData::CAA(data))
}

/// The type and text of record data; `None` for types that the service does not write. Octets of texts that are not
/// UTF-8 are replaced: no record of ours has any.
pub fn value(data: &RData) -> Option<(RecordType, String)> {
    Some(match data {
        RData::TXT(txt) => (RecordType::Txt, String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        RData::A(address) => (RecordType::A, address.0.to_string()),
        RData::AAAA(address) => (RecordType::Aaaa, address.0.to_string()),
        RData::CNAME(target) => (RecordType::Cname, name::text(&target.0)),
        RData::CAA(caa) => {
            let flags = if caa.issuer_critical { 128 } else { 0 };
            let text = String::from_utf8_lossy(&caa.value);
            (RecordType::Caa, format!("{flags} {} \"{text}\"", caa.tag.to_ascii_lowercase()))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_reads_back_as_it_was() {
        let long = "x".repeat(600);
        for (record_type, text) in [
            (RecordType::Txt, "v=STSv1; id=1;"),
            (RecordType::Txt, ""),
            (RecordType::Txt, long.as_str()),
            (RecordType::A, "192.0.2.1"),
            (RecordType::Aaaa, "2001:db8::1"),
            (RecordType::Cname, "a._mta-sts.sts.test"),
            (RecordType::Caa, "0 issue \"ca.test; accounturi=https://ca.test/acct/1\""),
            (RecordType::Caa, "128 iodef \"\""),
        ] {
            let data = data(record_type, text).unwrap();
            assert_eq!(data.record_type(), wire_type(record_type));
            assert_eq!(value(&data), Some((record_type, text.to_owned())));
        }
    }

    #[test]
    fn what_is_no_value_of_its_type_is_refused() {
        for (record_type, text) in [
            (RecordType::A, "::1"),
            (RecordType::Aaaa, "192.0.2.1"),
            (RecordType::Cname, ""),
            (RecordType::Cname, "a b"),
            (RecordType::Caa, "issue ca.test"),
            (RecordType::Caa, "1 issue \"ca.test\""),
            (RecordType::Caa, "0 is-sue \"ca.test\""),
            (RecordType::Caa, "0 issue \"a\" b\""),
        ] {
            assert!(data(record_type, text).is_err(), "{text}");
        }
    }
}
