//! JSON with the small faults that it gets on its way or from a careless sender.

/// What comes next after a backslash.
enum Escape {
    /// It stands for itself.
    Kept,
    /// Half of a surrogate pair without the other (RFC 8259 §8.2).
    Lone,
    /// Not one of RFC 8259 §7.
    Unknown,
}

/// A copy without line ends and other control characters within texts (a gateway wraps long lines), lone surrogates,
/// unknown escapes and commas behind a last element. No longer than the text, but for two octets for each of these.
pub(crate) fn mend(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut within_text = false;
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let behind = &rest[char.len_utf8()..];
        rest = behind;
        match char {
            '"' => {
                within_text = !within_text;
                mended.push(char);
            }
            '\\' if within_text => {
                let (escape, length) = escape(behind);
                match escape {
                    Escape::Kept => {
                        mended.push('\\');
                        mended.push_str(&behind[..length]);
                    }
                    Escape::Lone => mended.push(char::REPLACEMENT_CHARACTER),
                    Escape::Unknown => mended.push_str("\\\\"),
                }
                rest = &behind[length..];
            }
            '\n' | '\r' if within_text => {}
            char if within_text && char < ' ' => mended.push(' '),
            ',' if !within_text && behind.trim_start().starts_with(['}', ']']) => {}
            char => mended.push(char),
        }
    }
    mended
}

/// What a backslash begins, and how much of what is behind it belongs to it.
fn escape(behind: &str) -> (Escape, usize) {
    match behind.as_bytes() {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => (Escape::Kept, 1),
        [b'u', ..] => match unit(behind) {
            Some(0xd800..=0xdbff) => match behind.get(5..).and_then(|low| unit(low.strip_prefix('\\')?)) {
                Some(0xdc00..=0xdfff) => (Escape::Kept, 11),
                _ => (Escape::Lone, 5),
            },
            Some(0xdc00..=0xdfff) => (Escape::Lone, 5),
            Some(_) => (Escape::Kept, 5),
            None => (Escape::Unknown, 0),
        },
        _ => (Escape::Unknown, 0),
    }
}

/// The number of `uXXXX`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix('u')?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_faults_are_mended_and_sound_json_is_left_alone() {
        for (text, mended) in [
            ("{\"a\": \"b\r\nc\td\"}", "{\"a\": \"bc d\"}"),
            (r#"["\ud800", "\udc00x", "\ud83d\ude00"]"#, r#"["�", "�x", "\ud83d\ude00"]"#),
            (r#"["\x41", "C:\dir", "\u12"]"#, r#"["\\x41", "C:\\dir", "\\u12"]"#),
            ("{\"a\": [1, 2, ],\n}", "{\"a\": [1, 2 ]\n}"),
            (r#"{"a": ",]", "b": "\"\\"}"#, r#"{"a": ",]", "b": "\"\\"}"#),
            ("[\"a\\", "[\"a\\\\"),
        ] {
            assert_eq!(mend(text), mended);
        }
    }
}
