//! The end of a mail, and the dots within it (RFC 5321 §4.1.1.4, §4.5.2).
//!
//! Strictly: `<CR><LF>.<CR><LF>` ends a mail and nothing else does. Servers that took other line ends for one let mails be
//! smuggled in the text of others, so a lone CR or LF is no text either: there is no reading of it on which all agree.

/// Where in the text the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Text,
    AfterCr,
    /// Behind a dot at the start of a line.
    AfterDot,
    /// Behind a dot that is all of its line so far, and a CR.
    AfterDotCr,
}

/// What some octets did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// All were taken, and more are to come.
    More,
    /// The mail has ended. So many octets belong to it.
    End(usize),
    /// There is a CR without an LF, or an LF without a CR.
    BareLineEnd,
}

#[derive(Debug)]
pub(super) struct Dots(At);

impl Dots {
    pub(super) fn new() -> Self {
        Self(At::LineStart)
    }

    /// Hands the text on, without what was added for the way.
    pub(super) fn feed(&mut self, input: &[u8], mut text: impl FnMut(&[u8])) -> Fed {
        let mut index = 0;
        while let Some(&octet) = input.get(index) {
            self.0 = match (self.0, octet) {
                (At::AfterDotCr, b'\n') => return Fed::End(index + 1),
                (At::AfterCr, b'\n') => {
                    text(b"\r\n");
                    At::LineStart
                }
                (At::AfterCr | At::AfterDotCr, _) | (_, b'\n') => return Fed::BareLineEnd,
                (At::AfterDot, b'\r') => At::AfterDotCr,
                (_, b'\r') => At::AfterCr,
                (At::LineStart, b'.') => At::AfterDot,
                _ => {
                    let rest = &input[index..];
                    let length = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(rest.len());
                    text(&rest[..length]);
                    index += length;
                    self.0 = At::Text;
                    continue;
                }
            };
            index += 1;
        }
        Fed::More
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text, and what the last octets did; in pieces of these lengths.
    fn read(input: &[u8], mut pieces: impl Iterator<Item = usize>) -> (Vec<u8>, Fed) {
        let (mut dots, mut text, mut at) = (Dots::new(), Vec::new(), 0);
        while at < input.len() {
            let end = input.len().min(at + pieces.next().unwrap_or(1).max(1));
            match dots.feed(&input[at..end], |more| text.extend_from_slice(more)) {
                Fed::More => at = end,
                Fed::End(used) => return (text, Fed::End(at + used)),
                Fed::BareLineEnd => return (text, Fed::BareLineEnd),
            }
        }
        (text, Fed::More)
    }

    fn at_once(input: &[u8]) -> (Vec<u8>, Fed) {
        read(input, std::iter::once(input.len()))
    }

    #[test]
    fn dots_that_were_added_are_taken_away_and_nothing_else_is_touched() {
        assert_eq!(at_once(b"a\r\n..b\r\n...\r\n.c\r\n.\r\nX"), (b"a\r\n.b\r\n..\r\nc\r\n".to_vec(), Fed::End(20)));
        assert_eq!(at_once(b".\r\n"), (Vec::new(), Fed::End(3)));
        assert_eq!(at_once(b"\0\xff.\r\n.\r\n").0, b"\0\xff.\r\n");
    }

    #[test]
    fn no_other_line_ends_end_a_mail() {
        for smuggled in
            ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n\n.\r\n", "\r\n\x00.\n", "\r\n.\r\r\n"]
        {
            let mail = format!("text{smuggled}MAIL FROM:<a@b.test>\r\nmore\r\n");
            let (text, fed) = at_once(mail.as_bytes());
            assert_eq!(fed, Fed::BareLineEnd, "{smuggled:?}");
            assert!(!text.windows(4).any(|window| window == b"MAIL"), "{smuggled:?}");
        }
        // A NUL makes the dot part of a line's text.
        assert_eq!(at_once(b"a\r\n\0.\r\nb\r\n.\r\n").0, b"a\r\n\0.\r\nb\r\n");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_octets_are_cut(
            input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..40),
            pieces in proptest::collection::vec(1_usize..5, 40),
        ) {
            let (whole, cut) = (at_once(&input), read(&input, pieces.into_iter()));
            prop_assert_eq!(whole.1, cut.1);
            prop_assert_eq!(whole.0, cut.0);
        }

        #[test]
        fn what_is_stuffed_comes_out_as_it_was(lines in proptest::collection::vec("[.a ]{0,4}", 0..8)) {
            let (mut mail, mut sent) = (String::new(), String::new());
            for line in lines {
                mail.extend([&line, "\r\n"]);
                sent.extend([if line.starts_with('.') { "." } else { "" }, &line, "\r\n"]);
            }
            let sent = format!("{sent}.\r\nQUIT\r\n");
            let (text, fed) = at_once(sent.as_bytes());
            prop_assert_eq!(text, mail.into_bytes());
            prop_assert_eq!(fed, Fed::End(sent.len() - 6));
        }
    }
}
