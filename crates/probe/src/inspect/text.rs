//! Strangers' texts, made fit to be shown.

/// The text with everything that could steer a terminal or mislead an eye escaped, cut after `limit` characters.
///
/// That is control characters (also C1, which some terminals obey), the marks that turn the direction of writing, line
/// separators and what has no width.
pub(crate) fn shown(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit * 2));
    for (count, character) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        if steers(character) { out.extend(character.escape_unicode()) } else { out.push(character) }
    }
    out
}

/// The same for octets: what is not UTF-8 is shown as U+FFFD.
pub(crate) fn shown_bytes(bytes: &[u8], limit: usize) -> String {
    // No character has fewer octets than one.
    let bytes = bytes.get(..limit.saturating_mul(4).saturating_add(4)).unwrap_or(bytes);
    shown(&String::from_utf8_lossy(bytes), limit)
}

fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_turns_the_writing_is_escaped() {
        assert_eq!(shown("a\u{1b}[2J\u{9b}31m\r\n", 99), "a\\u{1b}[2J\\u{9b}31m\\u{d}\\u{a}");
        assert_eq!(shown("\u{202e}moc.elpmaxe\u{feff}", 99), "\\u{202e}moc.elpmaxe\\u{feff}");
        assert_eq!(shown("Grüße, 世界 \\ \"x\"", 99), "Grüße, 世界 \\ \"x\"");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(shown("abcdef", 3), "abc…");
        assert_eq!(shown("abc", 3), "abc");
        assert_eq!(shown_bytes(b"\xff\x1b", 9), "\u{fffd}\\u{1b}");
        assert_eq!(shown_bytes(&"é".repeat(100).into_bytes(), 2), "éé…");
    }
}
