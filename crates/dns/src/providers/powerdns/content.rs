//! Record data as the API has it: as in a zone file (RFC 1035 §5.1), names absolute.

use hickory_proto::rr::RData;
use mtasts_model::feed::RecordType;

use crate::wire::{self, InvalidValue};

/// A value of ours: in its canonical form, and as the API wants it.
pub(super) fn write(record_type: RecordType, value: &str) -> Result<(String, String), InvalidValue> {
    let data = wire::data(record_type, value)?;
    let canonical = wire::value(&data).map_or_else(|| value.to_owned(), |(_, value)| value);
    let content = match &data {
        RData::TXT(txt) => txt.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" "),
        RData::CNAME(_) => format!("{canonical}."),
        _ => canonical.clone(),
    };
    Ok((canonical, content))
}

/// A content of the API in the canonical form of its type; what cannot be read as such stays as it is.
pub(super) fn read(record_type: RecordType, content: &str) -> String {
    if record_type == RecordType::Txt {
        return text(content);
    }
    let data = wire::data(record_type, content).ok();
    data.as_ref().and_then(wire::value).map_or_else(|| content.to_owned(), |(_, value)| value)
}

/// One character-string.
pub(super) fn quoted(text: &[u8]) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            0x20..0x7f => quoted.push(char::from(byte)),
            _ => {
                quoted.push('\\');
                quoted.extend([byte / 100, byte / 10 % 10, byte % 10].map(|digit| char::from(b'0' + digit)));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// All character-strings of a TXT record, joined.
fn text(content: &str) -> String {
    let mut bytes = Vec::with_capacity(content.len());
    let mut rest = content.as_bytes();
    let mut in_quotes = false;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'"' => in_quotes = !in_quotes,
            b' ' | b'\t' if !in_quotes => {}
            b'\\' => {
                if let Some((byte, after)) = decimal(rest) {
                    bytes.push(byte);
                    rest = after;
                } else if let [byte, after @ ..] = rest {
                    bytes.push(*byte);
                    rest = after;
                }
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The octet of `\DDD`.
fn decimal(after: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = after.split_first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let byte = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((byte, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_reads_back_as_it_was_written() {
        let long = "é\"\\;".repeat(200);
        for (record_type, value, content) in [
            (RecordType::Txt, "v=STSv1; id=1;", "\"v=STSv1; id=1;\""),
            (RecordType::Txt, "", "\"\""),
            (RecordType::Txt, "a \"b\" \\c \u{7f}é", "\"a \\\"b\\\" \\\\c \\127\\195\\169\""),
            (RecordType::A, "192.0.2.1", "192.0.2.1"),
            (RecordType::Cname, "a._mta-sts.sts.test", "a._mta-sts.sts.test."),
            (RecordType::Caa, "0 issue \"ca.test; x=1\"", "0 issue \"ca.test; x=1\""),
        ] {
            assert_eq!(write(record_type, value).unwrap(), (value.to_owned(), content.to_owned()));
            assert_eq!(read(record_type, content), value);
        }
        let (canonical, content) = write(RecordType::Txt, &long).unwrap();
        assert_eq!((read(RecordType::Txt, &content), &canonical), (long.clone(), &long));
        assert!(content.contains("\" \""), "split at 255 octets");
    }

    #[test]
    fn what_others_wrote_is_read_in_its_canonical_form() {
        for (record_type, content, value) in [
            (RecordType::Txt, "\"a\" \"b\"", "ab"),
            (RecordType::Txt, "bare words", "barewords"),
            (RecordType::Txt, "\"\\\"", "\""),
            (RecordType::Txt, "\"\\9\\999\\", "9999"),
            (RecordType::Aaaa, "2001:DB8:0::1", "2001:db8::1"),
            (RecordType::Cname, "WWW.Example.", "www.example"),
            (RecordType::Caa, "0 ISSUE \"ca.test\"", "0 issue \"ca.test\""),
            (RecordType::A, "nonsense", "nonsense"),
        ] {
            assert_eq!(read(record_type, content), value, "{content}");
        }
        assert_eq!(write(RecordType::Aaaa, "2001:DB8:0::1").unwrap().0, "2001:db8::1");
        assert!(write(RecordType::A, "nonsense").is_err());
    }
}
