//! Databases of addresses, as operators mount them.

/// A database of countries (MaxMind DB) that knows one /24 of IPv4.
pub fn country_database(network: [u8; 3], code: &str) -> Vec<u8> {
    database(network, &map(&[("country", map(&[("iso_code", text(code))]))]))
}

/// A database of networks (MaxMind DB) that knows one /24 of IPv4.
pub fn network_database(network: [u8; 3], asn: u32, name: &str) -> Vec<u8> {
    let number = [&[0xc4], &asn.to_be_bytes()[..]].concat();
    database(network, &map(&[("autonomous_system_number", number), ("autonomous_system_organization", text(name))]))
}

/// A database in which one network of 256 addresses alone has a record (MaxMind DB format 2.0).
fn database([a, b, c]: [u8; 3], record: &[u8]) -> Vec<u8> {
    const DEPTH: u32 = 24;
    let prefix = u32::from_be_bytes([a, b, c, 0]);
    let mut octets = Vec::new();
    for bit in 0..DEPTH {
        // Without a record: the number of nodes. With one: that, 16 octets between, and where it is.
        let next = if bit + 1 == DEPTH { DEPTH + 16 } else { bit + 1 };
        let is_set = prefix >> (31 - bit) & 1 == 1;
        for side in [false, true] {
            let pointer = if side == is_set { next } else { DEPTH };
            octets.extend_from_slice(&pointer.to_be_bytes()[1..]);
        }
    }
    octets.extend_from_slice(&[0; 16]);
    octets.extend_from_slice(record);
    octets.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let short = |value: u16| [&[0xa2], &value.to_be_bytes()[..]].concat();
    let fields = [
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", short(0)),
        ("build_epoch", vec![0x01, 0x02, 1]),
        ("database_type", text("Test")),
        ("description", map(&[])),
        ("ip_version", short(4)),
        ("languages", vec![0x00, 0x04]),
        ("node_count", [&[0xc4], &DEPTH.to_be_bytes()[..]].concat()),
        ("record_size", short(24)),
    ];
    octets.extend(map(&fields));
    octets
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or_else(|_| panic!("names in tests are short"));
    match length {
        0..29 => [&[0x40 | length], text.as_bytes()].concat(),
        _ => [&[0x5d, length - 29], text.as_bytes()].concat(),
    }
}

fn map(fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut octets = vec![0xe0 | u8::try_from(fields.len()).unwrap_or_else(|_| panic!("maps in tests are small"))];
    for (name, value) in fields {
        octets.extend(text(name));
        octets.extend(value);
    }
    octets
}
