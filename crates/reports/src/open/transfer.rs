//! Transfer encodings (RFC 2045 §6), read as leniently as they are written.

/// What base64 came to.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) octets: Vec<u8>,
    /// Octets that belong to no base64, white space aside.
    pub(super) stray: usize,
}

/// Reads base64 with whatever line length, padding in the middle (two encodings one behind the other) or none at the
/// end. What is not of the alphabet is passed over, as RFC 2045 §6.8 asks.
pub(super) fn base64(bytes: &[u8]) -> Decoded {
    let mut decoded = Decoded { octets: Vec::with_capacity(bytes.len() / 4 * 3), stray: 0 };
    let (mut bits, mut held) = (0_u32, 0_u32);
    for octet in bytes {
        let value = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                (bits, held) = (0, 0);
                continue;
            }
            _ => {
                decoded.stray += usize::from(!octet.is_ascii_whitespace());
                continue;
            }
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            decoded.octets.push((held >> bits).to_le_bytes()[0]);
            held &= (1 << bits) - 1;
        }
    }
    decoded
}

/// Reads quoted-printable. What is not of its form stays as it is.
pub(super) fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'=' {
            octets.push(*first);
            continue;
        }
        match behind {
            [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => rest = after,
            [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                octets.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            _ => octets.push(b'='),
        }
    }
    octets
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_one_line_in_many_with_stray_octets_and_without_padding() {
        for text in ["aGVsbG8gd29ybGQ=", "aGVs\r\nbG8g\r\nd29y\r\nbGQ=\r\n", "aGVs!bG8g\x00d29ybGQ", "aGVsbG8=IHdvcmxk"]
        {
            assert_eq!(base64(text.as_bytes()).octets, b"hello world", "{text}");
        }
        assert_eq!(base64(b"aGVs!bG8g\x00d29ybGQ").stray, 2);
    }

    #[test]
    fn quoted_printable_joins_soft_line_ends_and_keeps_what_is_not_of_its_form() {
        assert_eq!(quoted_printable(b"a=3D=\r\nb=\nc=zz="), b"a=bc=zz=");
    }
}
