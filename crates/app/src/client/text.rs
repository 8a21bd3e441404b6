//! Texts from the API, made fit for a terminal.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// One line. Some of it was written by strangers (what stands in DNS), so control characters, which could steer the
/// terminal, are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn new(text: &str) -> Self {
        Self(text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Several lines, each as [`Text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines(String);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        let mut lines = String::with_capacity(text.len());
        for line in text.lines() {
            lines.push_str(Text::new(&line.replace('\t', " ")).as_str());
            lines.push('\n');
        }
        Self(lines)
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_replaced() {
        assert_eq!(Text::new("a\u{1b}[2Jb\u{9b}c\nd").as_str(), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(Lines::new("a: 1\r\nb\u{7}\n").to_string(), "a: 1\nb\u{fffd}\n");
    }
}
