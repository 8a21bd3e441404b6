//! API keys: `mts_live_<160 random bits>_<checksum>`.
//!
//! The prefix lets secret scanners find a leaked key, and the checksum lets a mistyped or invented one be refused
//! without a query. The store keeps the SHA-256 hash alone: with 160 random bits no slow hash is needed.

use data_encoding::BASE32_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

const PREFIX: &str = "mts_live_";
const RANDOM_OCTETS: usize = 20;
const RANDOM_LENGTH: usize = 32;
const CHECKSUM_OCTETS: usize = 5;
const CHECKSUM_LENGTH: usize = 8;
/// How many characters of the random part are shown in lists, so that people can tell their keys apart.
const SHOWN: usize = 6;

/// An API key in the clear. It is shown once, in the answer that creates it.
#[derive(Clone)]
pub(crate) struct ApiKeySecret(SecretString);

impl ApiKeySecret {
    /// The key that follows from the caller's own credential and a salt drawn at random. With the salt stored a repeated request can be
    /// answered with the same key, although the key itself is stored nowhere: whoever has only the database, or only
    /// the credential, cannot compute it.
    pub(crate) fn derive(salt: &[u8; 32], credential: &SecretString) -> Self {
        let digest = Sha256::new()
            .chain_update(b"mtasts api key v1\0")
            .chain_update(salt)
            .chain_update(credential.expose_secret().as_bytes())
            .finalize();
        let mut random = [0_u8; RANDOM_OCTETS];
        random.copy_from_slice(&digest[..RANDOM_OCTETS]);
        Self::from_random(&random)
    }

    /// Reads what a caller sent. None: certainly no key of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (random, checksum) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let plausible = random.len() == RANDOM_LENGTH && checksum.len() == CHECKSUM_LENGTH;
        (plausible && checksum_of(random) == checksum).then(|| Self(text.to_owned().into()))
    }

    /// What the store keeps and looks up.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose_secret().as_bytes()).into()
    }

    /// The beginning, for lists.
    pub(crate) fn shown_prefix(&self) -> String {
        self.0.expose_secret().chars().take(PREFIX.len() + SHOWN).collect()
    }

    /// The whole key, for the one answer that shows it.
    pub(crate) fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    fn from_random(random: &[u8; RANDOM_OCTETS]) -> Self {
        let random = BASE32_NOPAD.encode(random).to_ascii_lowercase();
        let checksum = checksum_of(&random);
        Self(format!("{PREFIX}{random}_{checksum}").into())
    }
}

fn checksum_of(random: &str) -> String {
    let digest = Sha256::new().chain_update(PREFIX).chain_update(random).finalize();
    BASE32_NOPAD.encode(&digest[..CHECKSUM_OCTETS]).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> ApiKeySecret {
        ApiKeySecret::derive(&[7; 32], &"operator-token".into())
    }

    #[test]
    fn a_key_reads_back_and_hashes_to_the_same() {
        let key = key();
        let read = ApiKeySecret::parse(key.reveal()).unwrap();
        assert_eq!(read.hash(), key.hash());
        assert!(key.reveal().starts_with(&key.shown_prefix()));
        assert!(key.shown_prefix().len() < 20, "the shown part gives little away");
    }

    #[test]
    fn a_key_with_one_wrong_character_is_refused_by_its_checksum() {
        let key = key();
        for position in 0..key.reveal().len() {
            let mut wrong = key.reveal().as_bytes().to_vec();
            wrong[position] = if wrong[position] == b'a' { b'b' } else { b'a' };
            assert!(ApiKeySecret::parse(std::str::from_utf8(&wrong).unwrap()).is_none(), "at {position}");
        }
    }

    #[test]
    fn a_derived_key_needs_both_salt_and_credential() {
        let credential = SecretString::from("operator-token");
        let key = ApiKeySecret::derive(&[1; 32], &credential);
        assert_eq!(key.reveal(), ApiKeySecret::derive(&[1; 32], &credential).reveal());
        assert_ne!(key.reveal(), ApiKeySecret::derive(&[2; 32], &credential).reveal());
        assert_ne!(key.reveal(), ApiKeySecret::derive(&[1; 32], &"other".into()).reveal());
        assert!(ApiKeySecret::parse(key.reveal()).is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = ApiKeySecret::parse(&text);
            let _ = ApiKeySecret::parse(&format!("mts_live_{text}"));
        }
    }
}
