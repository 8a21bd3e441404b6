//! DNSSEC by online signing: each answer is signed when it is given, so a change of the feed needs no signing run.
//!
//! Absence is told by compact denial of existence (RFC 9824): one NSEC record at the name itself, which says what the
//! name has. It covers nothing but that name, so nobody can walk the zone. A name that does not exist has only the
//! pseudo-type NXNAME, and its answer says NOERROR unless the asker understands the code to be restored (the CO flag,
//! §5.1). The other way, minimally covering NSEC with a true NXDOMAIN (RFC 4470), takes a third signature and a fifth
//! record for each such name. Nobody who asks this zone tells "no such name" from "no such record". Those who ask
//! without DO get a true NXDOMAIN as before.
//!
//! Names that the wildcard covers are signed as if they stood in the zone. To say "this came from the wildcard" would
//! take a signed proof that the name itself is not there: also a signature of its own for each name, and a bigger
//! answer.
//!
//! Signatures are made of what is being answered, in [`signatures`], and kept for as long as they are good.

mod denial;
mod key;
mod parent;
mod signatures;
mod signing;

use std::time::Duration;

pub(super) use self::signing::{Asked, Signing};
pub use self::{
    key::{DnssecError, KeyKind, KeyRole, SigningKey, draw_key},
    parent::{ParentSignal, ds_record},
};

/// How the zone is signed.
///
/// # Keys
/// One active key of kind [`KeyKind::Csk`] is all that a zone needs. Where policy asks for two, a [`KeyKind::Ksk`]
/// signs the key set alone, and a [`KeyKind::Zsk`] all else. All nameservers of the zone need the same keys.
///
/// # Rollover
/// The same three steps for a key of any kind. "The TTL" is the highest that a record of the zone has, normally
/// [`Ttls::zone`](super::config::Ttls::zone).
///
/// 1. Add the new key as [`KeyRole::Published`], and restart the nameservers one after the other. Wait for the TTL,
///    and, for a KSK or CSK, until the parent has its DS record (the CDS and CDNSKEY records ask for it, or
///    [`ds_record`] gives it) and the TTL of the parent's old DS set has passed.
/// 2. Make the new key [`KeyRole::Active`] and the old one `Published`. Wait for the TTL: signatures of the old key
///    are in caches.
/// 3. Remove the old key. For a KSK or CSK the parent may then drop its DS record.
///
/// # To stop signing
/// Set [`ParentSignal::Delete`] (or have the DS records removed by hand), wait until they are gone from the parent and
/// their TTL has passed, and only then remove this configuration.
///
/// # Secondaries
/// A signature is made for one answer, so a transfer has none to give: servers that are fed by AXFR or IXFR would
/// have to sign by themselves, with these keys. Use several of our nameservers for a signed zone instead.
#[derive(Debug, Clone)]
pub struct DnssecConfig {
    /// At least one active key that signs the key set, and one that signs the rest; no two of the same key tag.
    pub keys: Vec<SigningKey>,
    /// For how long a signature is good. Each is made anew when half of it is over, so it needs to be at least twice
    /// the highest TTL of the zone.
    pub validity: Duration,
    /// How far back signatures begin, for validators whose clocks are slow.
    pub inception_offset: Duration,
    /// How many record sets' signatures are kept in memory, about 400 bytes each.
    pub cached_signatures: usize,
    /// What the zone tells its parent by CDS and CDNSKEY (RFC 7344).
    pub parent: ParentSignal,
}

impl DnssecConfig {
    /// With these keys, and with defaults for all else: valid for 7 days from an hour ago, 65,536 sets kept, and the
    /// parent is asked to follow the keys.
    pub fn new(keys: Vec<SigningKey>) -> Self {
        Self {
            keys,
            validity: Duration::from_hours(7 * 24),
            inception_offset: Duration::from_hours(1),
            cached_signatures: 65_536,
            parent: ParentSignal::Publish,
        }
    }
}
