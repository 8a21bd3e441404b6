//! Domain names between text and `hickory-proto`.

use hickory_proto::rr::Name;

/// A text that cannot be asked for, or published, as a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a domain name: {reason}")]
pub struct InvalidName {
    /// The text, cut short.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// RFC 1035 §3.1: 255 octets with the length octets and the root, so 253 characters in text.
const MAX_TEXT: usize = 253;

/// Reads an absolute name; a trailing dot is tolerated, and case is kept.
///
/// Stricter than the wire: ASCII without blanks, controls, quotes and backslashes. The text is cut into labels here
/// rather than by the zone-file parser, so that no escape, origin or IDNA rule applies to what strangers send us.
pub fn parse(text: &str) -> Result<Name, InvalidName> {
    let invalid = |reason| InvalidName { name: text.chars().take(80).collect(), reason };
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() {
        return Err(invalid("it is empty"));
    }
    if bare.len() > MAX_TEXT {
        return Err(invalid("it is longer than 253 characters"));
    }
    if !bare.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'(' | b')' | b';' | b'@')) {
        return Err(invalid("it has a character that no name of ours has"));
    }
    if bare.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(invalid("each label needs 1 to 63 characters"));
    }
    Name::from_labels(bare.split('.').map(str::as_bytes)).map_err(|_| invalid("it does not fit into a DNS message"))
}

/// Lower-case, absolute, without the trailing dot. Octets outside of printable ASCII are escaped as in a zone file.
pub fn text(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_without_its_trailing_dot() {
        assert_eq!(text(&parse("_MTA-STS.Example.net.").unwrap()), "_mta-sts.example.net");
    }

    #[test]
    fn what_is_not_a_name_is_refused_and_never_panics() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = vec!["abcdefg"; 40].join(".");
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "a\\.b",
            "a\\256b",
            "\u{0}",
            "ü.example",
            "@",
            "a;b",
            "\"",
            &long,
            &longer,
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        for byte in 0..=u8::MAX {
            let _ = parse(&format!("a{}b.example", char::from(byte)));
        }
    }

    #[test]
    fn the_longest_name_fits() {
        let label = "a".repeat(63);
        let name = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(name.len(), MAX_TEXT);
        assert_eq!(text(&parse(&name).unwrap()), name);
        assert!(parse(&format!("{name}b")).is_err());
    }
}
