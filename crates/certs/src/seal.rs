//! Sealing of secrets at rest: AES-256-GCM under a ring of keys, bound to purpose, tenant and domain.
//!
//! A message is `format (1) | length of key id (1) | key id | salt (24) | ciphertext | tag (16)`. Each message has a
//! key of its own, HKDF-Expand (RFC 5869 §2.3) of the ring's key and the random 192-bit salt, and so a constant nonce.
//! Random 96-bit nonces under one key would end at 2^32 messages (NIST SP 800-38D §8.3); this has no such bound to
//! keep an eye on, for half a microsecond a message.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use mtasts_model::{DomainId, Entropy, SystemEntropy, TenantId};
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

const FORMAT: u8 = 1;
const KEY_LEN: usize = 32;
const SALT_LEN: usize = 24;
const TAG_LEN: usize = 16;
const MAX_ID_LEN: usize = 32;
/// Keeps these message keys apart from anything else that the ring's keys may ever be used for.
const CONTEXT: &[u8] = b"mtasts sealed message v1";

/// What a secret is for. A ciphertext made for one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// The private key of a certificate, from its order on: an order's sealed key becomes the certificate's unchanged.
    CertificateKey,
    /// The credentials of an ACME account.
    AcmeAccount,
    /// A token for a DNS provider.
    ProviderToken,
    /// The secret that webhooks are signed with.
    WebhookSecret,
    /// A key that the service's zone is signed with (DNSSEC).
    DnssecKey,
}

impl Purpose {
    /// What stands in the associated data: never reassign a number.
    fn code(self) -> u8 {
        match self {
            Self::CertificateKey => 1,
            Self::AcmeAccount => 2,
            Self::ProviderToken => 3,
            Self::WebhookSecret => 4,
            Self::DnssecKey => 5,
        }
    }
}

/// Why a text is no key ring. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// There is no key in it.
    #[error("the key ring is empty: expected `id:base64key`, separated by commas, the current key first")]
    Empty,
    /// An entry has no id, or one with other characters.
    #[error(
        "entry {position} of the key ring needs an id of 1 to 32 lower-case letters, digits or hyphens, then a colon"
    )]
    BadId {
        /// Counted from 1.
        position: usize,
    },
    /// An entry's key is not 32 bytes in base64.
    #[error("key `{id}` must be 32 bytes in standard base64 (as `openssl rand -base64 32` prints)")]
    BadKey {
        /// Whose.
        id: String,
    },
    /// Two keys have one id.
    #[error("key id `{id}` is there twice")]
    DuplicateId {
        /// Which.
        id: String,
    },
}

/// Why a sealed message does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was not made by [`KeyRing::seal`], or was cut.
    #[error("not a sealed message of a known format")]
    Malformed,
    /// Its key has left the ring.
    #[error("the key ring has no key `{id}`")]
    UnknownKey {
        /// The id in the message.
        id: String,
    },
    /// It was changed, or sealed for another purpose, tenant or domain, or under another key with the same id.
    #[error("the sealed message does not belong here or was altered")]
    Refused,
}

/// Keys that seal secrets at rest. New messages use the current (first) key, old ones open with the key that they name.
#[derive(Clone)]
pub struct KeyRing(Arc<[RingKey]>);

struct RingKey {
    id: String,
    key: Prk,
}

impl KeyRing {
    /// Reads `id:base64key,id2:base64key2`; the first is current. White space around entries is tolerated.
    pub fn parse(text: &SecretString) -> Result<Self, KeyRingError> {
        let mut keys: Vec<RingKey> = Vec::new();
        for (index, entry) in text.expose_secret().split(',').map(str::trim).enumerate() {
            if entry.is_empty() {
                continue;
            }
            let (id, encoded) = entry.split_once(':').ok_or(KeyRingError::BadId { position: index + 1 })?;
            if !is_key_id(id) {
                return Err(KeyRingError::BadId { position: index + 1 });
            }
            let bytes = BASE64_STANDARD.decode(encoded.trim()).map(Zeroizing::new).ok();
            let bytes = bytes.filter(|bytes| bytes.len() == KEY_LEN);
            let bytes = bytes.ok_or_else(|| KeyRingError::BadKey { id: id.to_owned() })?;
            if keys.iter().any(|key| key.id == id) {
                return Err(KeyRingError::DuplicateId { id: id.to_owned() });
            }
            keys.push(RingKey { id: id.to_owned(), key: Prk::new_less_safe(HKDF_SHA256, &bytes) });
        }
        if keys.is_empty() { Err(KeyRingError::Empty) } else { Ok(Self(keys.into())) }
    }

    /// Draws a ring of one key, and the text to store for [`KeyRing::parse`].
    pub fn generate(entropy: &dyn Entropy) -> (Self, SecretString) {
        let mut id = [0; 4];
        entropy.fill(&mut id);
        let id = format!("k{}", data_encoding::HEXLOWER.encode(&id));
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        entropy.fill(&mut *bytes);
        let mut encoded = BASE64_STANDARD.encode(*bytes);
        let text = SecretString::from(format!("{id}:{encoded}"));
        encoded.zeroize();
        let key = Prk::new_less_safe(HKDF_SHA256, &*bytes);
        (Self(Arc::from([RingKey { id, key }])), text)
    }

    /// The id of the key that new messages are sealed with.
    pub fn current_id(&self) -> &str {
        self.0.first().map_or("", |key| key.id.as_str())
    }

    /// Whether a key with this id is in it.
    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }

    /// The id of the key that a message names, whether or not the ring has it: what a rotation looks for.
    pub fn key_id(sealed: &[u8]) -> Result<&str, SealError> {
        Message::split(sealed).map(|message| message.key_id)
    }

    /// Seals for one purpose, and for one tenant and domain where there are such.
    ///
    /// # Panics
    /// When the kernel gives no randomness, or for a plaintext above 64 GiB.
    pub fn seal(
        &self,
        purpose: Purpose,
        tenant: Option<TenantId>,
        domain: Option<DomainId>,
        plaintext: &[u8],
    ) -> Vec<u8> {
        let key = &self.0[0];
        let mut message = Vec::with_capacity(2 + key.id.len() + SALT_LEN + plaintext.len() + TAG_LEN);
        message.push(FORMAT);
        #[expect(clippy::cast_possible_truncation, reason = "ids have at most 32 bytes")]
        message.push(key.id.len() as u8);
        message.extend_from_slice(key.id.as_bytes());
        let mut salt = [0; SALT_LEN];
        // Not a parameter: a repeated salt under one key would give two plaintexts away.
        SystemEntropy.fill(&mut salt);
        message.extend_from_slice(&salt);
        let body = message.len();
        message.extend_from_slice(plaintext);
        let aad = Aad::from(aad(purpose, tenant, domain));
        let tag = key
            .message_key(&salt)
            .and_then(|key| key.seal_in_place_separate_tag(nonce(), aad, &mut message[body..]).ok());
        #[expect(clippy::expect_used, reason = "not reached by a secret, and to go on would store it in clear")]
        message.extend_from_slice(tag.expect("AES-GCM refuses only what is above 64 GiB").as_ref());
        message
    }

    /// Seals under the current key what is sealed under another, for the same purpose, tenant and domain.
    ///
    /// # Panics
    /// As [`KeyRing::seal`].
    pub fn reseal(
        &self,
        purpose: Purpose,
        tenant: Option<TenantId>,
        domain: Option<DomainId>,
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let plaintext = self.open(purpose, tenant, domain, sealed)?;
        Ok(self.seal(purpose, tenant, domain, &plaintext))
    }

    /// Opens what [`KeyRing::seal`] made for the same purpose, tenant and domain.
    pub fn open(
        &self,
        purpose: Purpose,
        tenant: Option<TenantId>,
        domain: Option<DomainId>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Message { key_id, salt, body } = Message::split(sealed)?;
        let key = self.0.iter().find(|key| key.id == key_id);
        let key = key.ok_or_else(|| SealError::UnknownKey { id: key_id.to_owned() })?;
        let message_key = key.message_key(salt).ok_or(SealError::Refused)?;
        let mut plaintext = Zeroizing::new(body.to_vec());
        let length = message_key
            .open_in_place(nonce(), Aad::from(aad(purpose, tenant, domain)), &mut plaintext)
            .map_err(|_| SealError::Refused)?
            .len();
        plaintext.truncate(length);
        Ok(plaintext)
    }
}

impl fmt::Debug for KeyRing {
    /// The ids only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

impl RingKey {
    fn message_key(&self, salt: &[u8; SALT_LEN]) -> Option<LessSafeKey> {
        let info: [&[u8]; 2] = [CONTEXT, salt];
        let okm = self.key.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

/// The parts of a sealed message.
struct Message<'a> {
    key_id: &'a str,
    salt: &'a [u8; SALT_LEN],
    body: &'a [u8],
}

impl<'a> Message<'a> {
    fn split(sealed: &'a [u8]) -> Result<Self, SealError> {
        let (&[format, id_len], rest) = sealed.split_first_chunk().ok_or(SealError::Malformed)?;
        let (id, rest) = rest.split_at_checked(id_len.into()).ok_or(SealError::Malformed)?;
        let (salt, body) = rest.split_first_chunk().ok_or(SealError::Malformed)?;
        let key_id = str::from_utf8(id).ok().filter(|id| is_key_id(id)).ok_or(SealError::Malformed)?;
        if format != FORMAT || body.len() < TAG_LEN {
            return Err(SealError::Malformed);
        }
        Ok(Self { key_id, salt, body })
    }
}

fn is_key_id(id: &str) -> bool {
    (1..=MAX_ID_LEN).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Constant, because each message has its own key.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Of fixed length, so that no two contexts can have the same bytes.
fn aad(purpose: Purpose, tenant: Option<TenantId>, domain: Option<DomainId>) -> [u8; 36] {
    let mut aad = [0; 36];
    aad[0] = FORMAT;
    aad[1] = purpose.code();
    if let Some(tenant) = tenant {
        aad[2] = 1;
        aad[3..19].copy_from_slice(tenant.as_uuid().as_bytes());
    }
    if let Some(domain) = domain {
        aad[19] = 1;
        aad[20..36].copy_from_slice(domain.as_uuid().as_bytes());
    }
    aad
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Clock, clock::ManualClock, clock::SeededEntropy};
    use proptest::prelude::*;

    use super::*;

    fn ids(seed: u64) -> (Option<TenantId>, Option<DomainId>) {
        let (now, entropy) = (ManualClock::default().now(), SeededEntropy::new(seed));
        (Some(TenantId::draw(now, &entropy)), Some(DomainId::draw(now, &entropy)))
    }

    fn ring(text: &str) -> Result<KeyRing, KeyRingError> {
        KeyRing::parse(&SecretString::from(text))
    }

    fn encoded(byte: u8) -> String {
        BASE64_STANDARD.encode([byte; KEY_LEN])
    }

    #[test]
    fn a_secret_opens_for_its_own_purpose_tenant_and_domain_only() {
        let (ring, _) = KeyRing::generate(&SystemEntropy);
        let ((tenant, domain), (other_tenant, other_domain)) = (ids(1), ids(2));
        let sealed = ring.seal(Purpose::CertificateKey, tenant, domain, b"secret");
        assert_eq!(**ring.open(Purpose::CertificateKey, tenant, domain, &sealed).unwrap(), *b"secret");
        for (purpose, tenant, domain) in [
            (Purpose::AcmeAccount, tenant, domain),
            (Purpose::CertificateKey, other_tenant, domain),
            (Purpose::CertificateKey, tenant, other_domain),
            (Purpose::CertificateKey, None, domain),
            (Purpose::CertificateKey, tenant, None),
        ] {
            assert_eq!(ring.open(purpose, tenant, domain, &sealed), Err(SealError::Refused));
        }
    }

    #[test]
    fn an_id_does_not_count_for_the_other_kind() {
        let (ring, _) = KeyRing::generate(&SystemEntropy);
        let (tenant, domain) = ids(1);
        let same = tenant.map(|tenant| DomainId::from_uuid(tenant.as_uuid()));
        let sealed = ring.seal(Purpose::ProviderToken, tenant, None, b"secret");
        assert!(ring.open(Purpose::ProviderToken, None, same, &sealed).is_err());
        assert!(ring.open(Purpose::ProviderToken, None, domain, &sealed).is_err());
    }

    #[test]
    fn a_rotated_ring_opens_what_is_old_and_seals_with_what_is_new() {
        let old = ring(&format!("k1:{}", encoded(1))).unwrap();
        let rotated = ring(&format!("k2:{}, k1:{}\n", encoded(2), encoded(1))).unwrap();
        let sealed = old.seal(Purpose::AcmeAccount, None, None, b"secret");
        assert_eq!(**rotated.open(Purpose::AcmeAccount, None, None, &sealed).unwrap(), *b"secret");
        assert_eq!((KeyRing::key_id(&sealed), rotated.current_id()), (Ok("k1"), "k2"));
        let resealed = rotated.seal(Purpose::AcmeAccount, None, None, b"secret");
        assert_eq!(KeyRing::key_id(&resealed), Ok("k2"));
        let refused = old.open(Purpose::AcmeAccount, None, None, &resealed);
        assert_eq!(refused, Err(SealError::UnknownKey { id: "k2".to_owned() }));
    }

    #[test]
    fn another_key_under_the_same_id_opens_nothing() {
        let sealed = ring(&format!("k1:{}", encoded(1))).unwrap().seal(Purpose::AcmeAccount, None, None, b"secret");
        let other = ring(&format!("k1:{}", encoded(2))).unwrap();
        assert_eq!(other.open(Purpose::AcmeAccount, None, None, &sealed), Err(SealError::Refused));
    }

    #[test]
    fn a_generated_ring_reads_back_as_itself() {
        let (ring, text) = KeyRing::generate(&SystemEntropy);
        let sealed = ring.seal(Purpose::AcmeAccount, None, None, b"secret");
        let again = KeyRing::parse(&text).unwrap();
        assert_eq!(**again.open(Purpose::AcmeAccount, None, None, &sealed).unwrap(), *b"secret");
    }

    #[test]
    fn sealing_twice_never_gives_the_same_bytes() {
        let (ring, _) = KeyRing::generate(&SystemEntropy);
        let seal = || ring.seal(Purpose::AcmeAccount, None, None, b"secret");
        assert_ne!(seal(), seal());
    }

    #[test]
    fn neither_debug_nor_errors_show_a_key() {
        let secret = encoded(7);
        let shown = format!("{:?}", ring(&format!("k1:{secret}")).unwrap());
        assert_eq!(shown, r#"["k1"]"#);
        for text in
            [format!("K1:{secret}"), secret.clone(), format!("k1:{secret}A"), format!("k1:{secret},k1:{secret}")]
        {
            let error = ring(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(&secret[..8]), "{error}");
        }
    }

    #[test]
    fn what_is_no_ring_is_refused_with_its_reason() {
        assert_eq!(ring(" , ").unwrap_err(), KeyRingError::Empty);
        assert_eq!(ring(&format!("k1:{},:x", encoded(1))).unwrap_err(), KeyRingError::BadId { position: 2 });
        assert_eq!(ring("k1:c2hvcnQ=").unwrap_err(), KeyRingError::BadKey { id: "k1".to_owned() });
        let twice = format!("k1:{},k1:{}", encoded(1), encoded(2));
        assert_eq!(ring(&twice).unwrap_err(), KeyRingError::DuplicateId { id: "k1".to_owned() });
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(plaintext in proptest::collection::vec(any::<u8>(), 0..300), seed: u64) {
            let (ring, _) = KeyRing::generate(&SeededEntropy::new(seed));
            let (tenant, domain) = ids(seed);
            let sealed = ring.seal(Purpose::CertificateKey, tenant, domain, &plaintext);
            let opened = ring.open(Purpose::CertificateKey, tenant, domain, &sealed);
            prop_assert_eq!(&**opened.unwrap(), &*plaintext);
        }

        #[test]
        fn a_cut_or_flipped_message_never_opens(plaintext: [u8; 40], at: prop::sample::Index, bit in 0..8_u32) {
            let (ring, _) = KeyRing::generate(&SeededEntropy::new(1));
            let mut sealed = ring.seal(Purpose::CertificateKey, None, None, &plaintext);
            let at = at.index(sealed.len());
            prop_assert!(ring.open(Purpose::CertificateKey, None, None, &sealed[..at]).is_err());
            sealed[at] ^= 1 << bit;
            prop_assert!(ring.open(Purpose::CertificateKey, None, None, &sealed).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let (ring, _) = KeyRing::generate(&SeededEntropy::new(1));
            prop_assert!(ring.open(Purpose::CertificateKey, None, None, &bytes).is_err());
        }
    }
}
