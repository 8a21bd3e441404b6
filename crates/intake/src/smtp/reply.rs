//! What clients are told (RFC 5321 §4.2), with enhanced status codes (RFC 3463, RFC 2034).

use std::borrow::Cow;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// One line, or several for `EHLO`.
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    pub(super) fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, lines: vec![text.into()] }
    }

    pub(super) fn lines(code: u16, lines: Vec<Cow<'static, str>>) -> Self {
        Self { code, lines }
    }

    pub(super) fn is_error(&self) -> bool {
        self.code >= 400
    }

    pub(super) fn write(&self, output: &mut Vec<u8>) {
        for (index, line) in self.lines.iter().enumerate() {
            let separator = if index + 1 == self.lines.len() { ' ' } else { '-' };
            output.extend_from_slice(format!("{}{separator}{line}\r\n", self.code).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_but_the_last_say_that_more_follow() {
        let mut output = Vec::new();
        Reply::lines(250, vec!["a".into(), "SIZE 1".into()]).write(&mut output);
        Reply::new(354, "go on").write(&mut output);
        assert_eq!(output, b"250-a\r\n250 SIZE 1\r\n354 go on\r\n");
    }
}
