//! Transaction signatures (RFC 8945): requests that we sign and answers that we verify, and the same from the server's
//! side, for answers of one message and for transfers of many.
//!
//! Everything works on the octets of messages, because what is signed are octets: to read a message and to write it
//! again need not give the same. The clock is the caller's.

mod client;
mod record;
mod server;

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

pub use self::{
    client::{AnswerVerifier, Trust},
    server::{AnswerSigner, Rejection, verify_request},
};
use crate::name::{self, InvalidName};

/// How far clocks may be apart, in seconds (RFC 8945 §10).
pub const FUDGE: u16 = 300;

/// The fewest octets of a secret: what is shorter could be guessed.
const SHORTEST_SECRET: usize = 16;

/// A message authentication code. The older ones are not offered: RFC 8945 §6 advises against them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`.
    HmacSha256,
    /// `hmac-sha512`.
    HmacSha512,
}

impl TsigAlgorithm {
    /// Its name (RFC 8945 §6), without the trailing dot.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    fn mac(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }
}

impl fmt::Display for TsigAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TsigAlgorithm {
    type Err = TsigKeyError;

    /// Reads the name in any case, with or without the trailing dot.
    fn from_str(text: &str) -> Result<Self, TsigKeyError> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        [Self::HmacSha256, Self::HmacSha512]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(bare))
            .ok_or_else(|| TsigKeyError::Algorithm { name: text.chars().take(40).collect() })
    }
}

/// Why a text is no TSIG key. None of these shows the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TsigKeyError {
    /// Another algorithm.
    #[error("{name:?} is neither hmac-sha256 nor hmac-sha512")]
    Algorithm {
        /// The text, cut short.
        name: String,
    },
    /// The key's name is no domain name.
    #[error("the key's name cannot be used")]
    Name(#[from] InvalidName),
    /// The secret is not base64.
    #[error("the secret is not base64 (RFC 4648 §4)")]
    Secret,
    /// The secret is short enough to be guessed.
    #[error("the secret has {octets} octets, and at least {SHORTEST_SECRET} are needed: draw a new one")]
    ShortSecret {
        /// How many it has.
        octets: usize,
    },
}

/// A secret that two hosts share, and its name. Clones share it; `Debug` does not show it.
#[derive(Clone)]
pub struct TsigKey(Arc<Inner>);

struct Inner {
    name: String,
    /// The key's name and the algorithm's, as in a digest (RFC 8945 §4.3.3): lower-case, uncompressed.
    name_octets: Vec<u8>,
    algorithm_octets: Vec<u8>,
    algorithm: TsigAlgorithm,
    key: hmac::Key,
}

impl TsigKey {
    /// `name` is what both hosts call it, and `secret` is base64, as `tsig-keygen` and `keymgr -t` write it.
    pub fn new(name: &str, algorithm: TsigAlgorithm, secret: &SecretString) -> Result<Self, TsigKeyError> {
        let parsed = name::parse(name)?;
        let secret = Zeroizing::new(STANDARD.decode(secret.expose_secret().trim()).map_err(|_| TsigKeyError::Secret)?);
        if secret.len() < SHORTEST_SECRET {
            return Err(TsigKeyError::ShortSecret { octets: secret.len() });
        }
        let name = name::text(&parsed);
        Ok(Self(Arc::new(Inner {
            name_octets: record::octets_of(&name),
            algorithm_octets: record::octets_of(algorithm.as_str()),
            name,
            algorithm,
            key: hmac::Key::new(algorithm.mac(), &secret),
        })))
    }

    /// Its name: lower-case, without the trailing dot.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> TsigAlgorithm {
        self.0.algorithm
    }

    /// How many octets its signature adds to a message, at most: the record's header, and its data with a server's
    /// time as other data (RFC 8945 §4.2).
    pub fn signature_length(&self) -> usize {
        self.0.name_octets.len()
            + 10
            + self.0.algorithm_octets.len()
            + 16
            + self.0.algorithm.mac().digest_algorithm().output_len
            + 6
    }

    fn context(&self) -> hmac::Context {
        hmac::Context::with_key(&self.0.key)
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsigKey")
            .field("name", &self.0.name)
            .field("algorithm", &self.0.algorithm)
            .finish_non_exhaustive()
    }
}

/// An error in the TSIG record of an answer (RFC 8945 §3): why the server does not take our signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TsigErrorCode {
    /// 16.
    #[error("BADSIG: the secret is not the server's")]
    BadSig,
    /// 17.
    #[error("BADKEY: the server does not know this key name with this algorithm")]
    BadKey,
    /// 18.
    #[error("BADTIME: the clocks differ by more than {FUDGE} seconds")]
    BadTime,
    /// 22.
    #[error("BADTRUNC: the server wants a longer signature")]
    BadTrunc,
    /// Any other.
    #[error("error {0}")]
    Other(u16),
}

impl From<u16> for TsigErrorCode {
    fn from(code: u16) -> Self {
        match code {
            16 => Self::BadSig,
            17 => Self::BadKey,
            18 => Self::BadTime,
            22 => Self::BadTrunc,
            other => Self::Other(other),
        }
    }
}

impl TsigErrorCode {
    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Self::BadSig => 16,
            Self::BadKey => 17,
            Self::BadTime => 18,
            Self::BadTrunc => 22,
            Self::Other(other) => other,
        }
    }
}

/// Why a message cannot be signed, or its signature not be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TsigError {
    /// It cannot be read as a DNS message, or has a TSIG record where none may be (RFC 8945 §5.1).
    #[error("the message cannot be read: {0}")]
    Malformed(&'static str),
    /// It has no signature, or too many messages before it had none.
    #[error("the message is not signed")]
    Unsigned,
    /// It is signed by another key or algorithm.
    #[error("the message is signed by another key")]
    OtherKey,
    /// The signature is not that of this message.
    #[error("the signature does not fit the message")]
    Forged,
    /// The signature is right, and was made too long ago, or in the future.
    #[error("the message was signed at another time: the clocks differ by {seconds} seconds")]
    OutOfTime {
        /// By how much.
        seconds: u64,
    },
    /// The server did not take ours.
    #[error("the server refuses our signature ({0})")]
    Refused(#[source] TsigErrorCode),
    /// There is no room for a signature: a message has at most 65,535 octets.
    #[error("the message is too long to be signed")]
    TooLong,
}

#[cfg(test)]
mod tests;
