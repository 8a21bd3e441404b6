//! From octets to text.

use std::borrow::Cow;

use crate::{DeviationCode, Deviations, Limits, Unreadable};

/// Reads a document as UTF-8, or UTF-16 by its mark. Octets that are neither become U+FFFD; with `latin` (a declared
/// single-octet encoding) they are read as ISO 8859-1.
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    latin: bool,
    limits: &Limits,
    deviations: &mut Deviations,
) -> Result<Cow<'a, str>, Unreadable> {
    if let [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] = bytes {
        deviations.note(DeviationCode::Utf16, "", "the document is UTF-16");
        let unit = if bytes[0] == 0xff { u16::from_le_bytes } else { u16::from_be_bytes };
        let units = rest.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
        let chars = char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER));
        return Ok(Cow::Owned(chars.collect()));
    }
    let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => {
            deviations.note(DeviationCode::ByteOrderMark, "", "the document begins with a byte order mark");
            rest
        }
        None => bytes,
    };
    if let Ok(text) = str::from_utf8(bytes) {
        return Ok(Cow::Borrowed(text));
    }
    if latin {
        return Ok(Cow::Owned(bytes.iter().copied().map(char::from).collect()));
    }
    let mut text = String::with_capacity(bytes.len());
    let mut runs = 0_usize;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            runs += 1;
        }
        if text.len() > limits.inflated.max(limits.octets) {
            return Err(Unreadable::Inflated { limit: limits.inflated });
        }
    }
    deviations.note(DeviationCode::InvalidUtf8, "", format!("{runs} runs of octets are not UTF-8; read as U+FFFD"));
    Ok(Cow::Owned(text))
}
