//! The `id` of an MTA-STS record (RFC 8461 §3.1).

use std::str::FromStr;

use chrono::{Datelike, Timelike};

use crate::{
    clock::{Entropy, Timestamp},
    name::text::text_traits,
};

/// Why a text is not a policy id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyIdError {
    /// Empty, or above 32 characters.
    #[error("a policy id has 1 to 32 characters, not {length}")]
    Length {
        /// In octets.
        length: usize,
    },
    /// Something else than ASCII letters and digits.
    #[error("a policy id has only ASCII letters and digits")]
    Character,
}

impl PolicyIdError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "policy-id-length",
            Self::Character => "policy-id-character",
        }
    }
}

/// What tells senders that a policy has changed: they compare it for equality only (RFC 8461 §3.1), so one is never
/// used twice. Letters count with their case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(String);

impl PolicyId {
    /// Draws a new one: 14 digits of UTC time, for people, and 6 random lower-case letters or digits, so that neither
    /// a clock set back nor a restored backup gives one again.
    pub fn draw(now: Timestamp, entropy: &dyn Entropy) -> Self {
        const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut random = [0_u8; 8];
        entropy.fill(&mut random);
        // 36^6 is below 2^32, so that reducing 64 bits by it favours no suffix by more than one in 2^32.
        let mut rest = u64::from_le_bytes(random);
        let mut text = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}",
            now.year().rem_euclid(10_000),
            now.month(),
            now.day(),
            now.hour(),
            now.minute(),
            now.second()
        );
        for _ in 0..6 {
            let digit = (rest % 36) as usize;
            text.push(char::from(ALPHABET[digit]));
            rest /= 36;
        }
        Self(text)
    }

    /// The id as it stands in the record.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PolicyId {
    type Err = PolicyIdError;

    /// Reads `1*32(ALPHA / DIGIT)` (RFC 8461 §3.1): others' ids too.
    fn from_str(text: &str) -> Result<Self, PolicyIdError> {
        if text.is_empty() || text.len() > 32 {
            return Err(PolicyIdError::Length { length: text.len() });
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(PolicyIdError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

text_traits!(PolicyId, PolicyIdError, str::parse);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{Clock, ManualClock, SeededEntropy};

    #[test]
    fn an_id_is_the_time_in_utc_and_six_random_characters() {
        let id = PolicyId::draw(ManualClock::default().now(), &SeededEntropy::new(1));
        let (time, random) = id.as_str().split_at(14);
        assert_eq!(time, "20260101000000");
        assert_eq!(random.len(), 6);
        assert!(random.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()));
    }

    #[test]
    fn ids_drawn_in_the_same_second_differ() {
        let (now, entropy) = (ManualClock::default().now(), SeededEntropy::new(1));
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| PolicyId::draw(now, &entropy)).collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn every_random_character_takes_every_value() {
        let (now, entropy) = (ManualClock::default().now(), SeededEntropy::new(7));
        let ids: Vec<_> = (0..2000).map(|_| PolicyId::draw(now, &entropy)).collect();
        for position in 14..20 {
            let values: std::collections::HashSet<_> = ids.iter().map(|id| id.as_str().as_bytes()[position]).collect();
            assert_eq!(values.len(), 36, "position {position}");
        }
    }

    #[test]
    fn rfc8461_3_1_an_id_has_1_to_32_letters_and_digits() {
        for text in ["1", "20160831085700Z", &"a".repeat(32)] {
            assert_eq!(text.parse::<PolicyId>().unwrap().as_str(), text);
        }
        for text in ["", &"a".repeat(33)] {
            assert_eq!(text.parse::<PolicyId>(), Err(PolicyIdError::Length { length: text.len() }));
        }
        for text in ["a-b", "a b", "1;", "ä", "a_b", "1\n"] {
            assert_eq!(text.parse::<PolicyId>(), Err(PolicyIdError::Character), "{text}");
        }
    }

    #[test]
    fn rfc8461_3_1_ids_are_compared_with_their_case() {
        assert_ne!("abc".parse::<PolicyId>(), "ABC".parse::<PolicyId>());
    }

    proptest! {
        #[test]
        fn any_drawn_id_reads_back(seconds in -62_000_000_000_i64..400_000_000_000, seed: u64) {
            let now = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
            let id = PolicyId::draw(now, &SeededEntropy::new(seed));
            prop_assert_eq!(id.as_str().len(), 20);
            prop_assert_eq!(id.as_str().parse::<PolicyId>().unwrap(), id.clone());
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<PolicyId>(&json).unwrap(), id);
        }
    }
}
