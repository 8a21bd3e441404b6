//! Mail folders in one file (RFC 4155), message by message.

use std::io::{self, BufRead, Read};

/// What the line ahead of each message begins with.
pub(super) const SEPARATOR: &[u8] = b"From ";

/// Octets of a line that are read at a time.
const PIECE: u64 = 64 << 10;

/// The messages of a mail folder, of which one at a time is held.
pub(super) struct Messages<R> {
    reader: R,
    limit: usize,
    /// The first line of the next message was read.
    next: Option<Vec<u8>>,
}

impl<R: BufRead> Messages<R> {
    pub(super) fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit, next: None }
    }

    /// The next message with the line ahead of it; of one above the limit, one octet more than that.
    pub(super) fn next_message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut message = self.next.take().unwrap_or_default();
        // A separator follows a blank line, or else it is a line of the text.
        let (mut behind_blank, mut at_line_start) = (message.is_empty(), true);
        let mut piece = Vec::new();
        loop {
            piece.clear();
            if self.reader.by_ref().take(PIECE).read_until(b'\n', &mut piece)? == 0 {
                return Ok(Some(message).filter(|message| !message.is_empty()));
            }
            if at_line_start && behind_blank && piece.starts_with(SEPARATOR) && !message.is_empty() {
                self.next = Some(piece);
                return Ok(Some(message));
            }
            behind_blank = at_line_start && piece.trim_ascii().is_empty();
            at_line_start = piece.ends_with(b"\n");
            let room = self.limit.saturating_add(1).saturating_sub(message.len());
            message.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(folder: &str, limit: usize) -> Vec<String> {
        let mut messages = Messages::new(folder.as_bytes(), limit);
        let mut all = Vec::new();
        while let Some(message) = messages.next_message().unwrap() {
            all.push(String::from_utf8(message).unwrap());
        }
        all
    }

    #[test]
    fn messages_are_parted_by_from_lines_behind_blank_lines_only() {
        let folder = "From a\nSubject: 1\n\nFrom the text? No:\nFrom here on\n\nFrom b\r\nSubject: 2\r\n\r\nx";
        let wanted =
            ["From a\nSubject: 1\n\n", "From the text? No:\nFrom here on\n\n", "From b\r\nSubject: 2\r\n\r\nx"];
        assert_eq!(messages(folder, 1000), wanted);
    }

    #[test]
    fn a_message_above_the_limit_is_cut_off_and_the_next_is_whole() {
        let folder = format!("From a\n{}\n\nFrom b\nx\n", "y".repeat(200_000));
        let all = messages(&folder, 10);
        assert_eq!((all[0].len(), all[1].as_str()), (11, "From b\nx\n"));
    }
}
