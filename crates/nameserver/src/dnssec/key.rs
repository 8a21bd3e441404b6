//! Signing keys: ECDSA P-256 with SHA-256 (algorithm 13, RFC 6605), the one that every validator has and whose
//! signatures are small.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use hickory_proto::dnssec::{Algorithm, DnsSecError, SigningKey as _, TBS, crypto::EcdsaSigningKey, rdata::DNSKEY};
use mtasts_model::Entropy;
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Everything; the parent's DS record names it.
    Csk,
    /// The zone's keys (and what it tells its parent); the parent's DS record names it.
    Ksk,
    /// All but what a KSK signs.
    Zsk,
}

impl KeyKind {
    /// Whether the parent's DS records name it: the SEP flag (RFC 4034 §2.1.1).
    pub fn is_entry_point(self) -> bool {
        self != Self::Zsk
    }
}

/// Whether a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRole {
    /// It signs.
    Active,
    /// It is among the zone's keys and signs nothing: before it becomes active, and after it was.
    Published,
}

/// Why a zone cannot be signed with these keys.
#[derive(Debug, thiserror::Error)]
pub enum DnssecError {
    /// The bytes are no PKCS #8 with a P-256 key.
    #[error("a signing key cannot be read: it needs to be PKCS #8 DER with an ECDSA P-256 key")]
    Unreadable(#[source] DnsSecError),
    /// Nothing would sign the key set.
    #[error("no active KSK or CSK is configured")]
    NoEntryPoint,
    /// Nothing would sign the zone's records.
    #[error("no active ZSK or CSK is configured")]
    NoZoneKey,
    /// Validators would have to guess which of both made a signature.
    #[error("two signing keys have the key tag {key_tag}: draw one of them anew")]
    SameTag {
        /// Theirs.
        key_tag: u16,
    },
    /// Signatures would end while their records are in caches, or later than their 32-bit times can tell.
    #[error("signatures need to be valid for at least {least_seconds} seconds and at most 366 days")]
    Validity {
        /// Twice the highest configured TTL, or an hour.
        least_seconds: u64,
    },
    /// The cryptography library refuses to work.
    #[error("a signing key cannot be made")]
    Cryptography,
    /// A record cannot be built.
    #[error("a DNSSEC record cannot be built")]
    Record(#[source] hickory_proto::ProtoError),
}

/// One of the zone's keys. Its `Debug` tells the key tag, and nothing secret.
#[derive(Clone)]
pub struct SigningKey {
    kind: KeyKind,
    role: KeyRole,
    key_tag: u16,
    dnskey: DNSKEY,
    private: Arc<EcdsaSigningKey>,
}

impl SigningKey {
    /// Reads a private key (PKCS #8 DER, P-256).
    pub fn from_pkcs8(pkcs8: &[u8], kind: KeyKind, role: KeyRole) -> Result<Self, DnssecError> {
        let private = EcdsaSigningKey::from_pkcs8(&PrivatePkcs8KeyDer::from(pkcs8), Algorithm::ECDSAP256SHA256)
            .map_err(DnssecError::Unreadable)?;
        let public = private.to_public_key().map_err(DnssecError::Unreadable)?;
        let dnskey = DNSKEY::new(true, kind.is_entry_point(), false, public);
        let key_tag = dnskey.calculate_key_tag().map_err(DnssecError::Record)?;
        Ok(Self { kind, role, key_tag, dnskey, private: Arc::new(private) })
    }

    /// What it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whether it signs.
    pub fn role(&self) -> KeyRole {
        self.role
    }

    /// How signatures name it (RFC 4034 appendix B).
    pub fn key_tag(&self) -> u16 {
        self.key_tag
    }

    pub(super) fn dnskey(&self) -> &DNSKEY {
        &self.dnskey
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.private.algorithm()
    }

    pub(super) fn sign(&self, signed_data: &[u8]) -> Result<Vec<u8>, DnsSecError> {
        self.private.sign(&TBS::from(signed_data))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kind", &self.kind)
            .field("role", &self.role)
            .field("key_tag", &self.key_tag)
            .finish_non_exhaustive()
    }
}

/// Draws a new key, active, and its PKCS #8 DER for keeping: to be sealed before it goes anywhere.
pub fn draw_key(entropy: &dyn Entropy, kind: KeyKind) -> Result<(SigningKey, Zeroizing<Vec<u8>>), DnssecError> {
    let mut scalar = Zeroizing::new([0; 32]);
    // The group's order is just below 2^256: one draw in 2^32 is above it or 0.
    let private = (0..8).find_map(|_| {
        entropy.fill(scalar.as_mut_slice());
        PrivateKey::from_private_key(&ECDH_P256, scalar.as_slice()).ok()
    });
    let public = private.and_then(|private| private.compute_public_key().ok()).ok_or(DnssecError::Cryptography)?;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        scalar.as_slice(),
        public.as_ref(),
    );
    let pkcs8 = pair.ok().and_then(|pair| pair.to_pkcs8v1().ok()).ok_or(DnssecError::Cryptography)?;
    let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
    Ok((SigningKey::from_pkcs8(&pkcs8, kind, KeyRole::Active)?, pkcs8))
}

#[cfg(test)]
mod tests {
    use mtasts_model::clock::SeededEntropy;

    use super::*;

    #[test]
    fn a_drawn_key_reads_back_from_its_pkcs8_and_is_as_random_as_the_entropy() {
        let (first, pkcs8) = draw_key(&SeededEntropy::new(1), KeyKind::Csk).unwrap();
        let again = SigningKey::from_pkcs8(&pkcs8, KeyKind::Csk, KeyRole::Active).unwrap();
        assert_eq!(first.dnskey(), again.dnskey());
        assert_eq!(first.dnskey(), draw_key(&SeededEntropy::new(1), KeyKind::Csk).unwrap().0.dnskey());
        assert_ne!(first.dnskey(), draw_key(&SeededEntropy::new(2), KeyKind::Csk).unwrap().0.dnskey());
        assert_eq!(first.dnskey().flags(), 257);
        assert_eq!(draw_key(&SeededEntropy::new(1), KeyKind::Zsk).unwrap().0.dnskey().flags(), 256);
    }

    #[test]
    fn other_bytes_and_other_curves_are_refused() {
        assert!(SigningKey::from_pkcs8(b"", KeyKind::Csk, KeyRole::Active).is_err());
        let p384 = EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP384SHA384).unwrap();
        let refused = SigningKey::from_pkcs8(p384.secret_pkcs8_der(), KeyKind::Csk, KeyRole::Active);
        assert!(matches!(refused, Err(DnssecError::Unreadable(_))));
    }

    #[test]
    fn debug_tells_no_secret() {
        let (key, _) = draw_key(&SeededEntropy::new(1), KeyKind::Csk).unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("SigningKey {{ kind: Csk, role: Active, key_tag: {}, .. }}", key.key_tag()));
    }
}
