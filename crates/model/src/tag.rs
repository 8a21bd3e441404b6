//! Words of a tenant's own on its domains.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const MAX: usize = 63;

/// Why a text is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to {MAX} lower-case letters, digits, `:`, `.`, `_` and `-`, and begins with a letter or digit")]
pub struct TagError;

impl TagError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        "tag-malformed"
    }
}

/// A word by which a tenant finds its domains, such as `customer:4711`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let begins = text.bytes().next().is_some_and(plain);
        let goes_on = text.bytes().all(|byte| plain(byte) || b":._-".contains(&byte));
        if begins && goes_on && text.len() <= MAX { Ok(Self(text.to_owned())) } else { Err(TagError) }
    }
}

impl TryFrom<String> for Tag {
    type Error = TagError;

    fn try_from(text: String) -> Result<Self, TagError> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_short_plain_words() {
        for text in ["a", "0", "customer:4711", "eu-west.prod_1", &"a".repeat(63)] {
            assert_eq!(text.parse::<Tag>().unwrap().as_str(), text);
        }
        for text in ["", "-a", ":a", "A", "a b", "ä", "a,b", "a\0", &"a".repeat(64)] {
            assert!(text.parse::<Tag>().is_err(), "{text:?}");
        }
    }
}
