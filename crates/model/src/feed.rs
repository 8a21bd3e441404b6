//! What edges and nameservers follow: state with a revision, not a log of events.
//!
//! Each key (a policy host, a challenge, a record set) has one row with its latest state and the revision at which it
//! last changed. A follower asks for what has `revision > mine`, in order. A row that changes while somebody pages
//! simply comes again later; a follower that starts from nothing reads the same query from revision 0.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{CertificateId, DomainId, PolicyVersionId, TenantId},
    name::MailDomain,
    policy::Mode,
    trace::TraceParent,
};

/// A position in a change feed. Commit order is revision order. 0 is "nothing yet".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Before the first change.
    pub const ZERO: Self = Self(0);

    /// The revision with this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One page of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Changes with `revision` above the asked one, ascending, at most as many as asked for.
    pub changes: Vec<T>,
    /// Where the reader stands after this page. Equal to the feed's head when nothing is left to read.
    pub position: Revision,
    /// True when a further page may be waiting.
    pub more: bool,
    /// Tombstones at or below this revision may be gone: a reader that stands below it (and not at 0) must forget
    /// all that it has and begin again at 0.
    pub floor: Revision,
}

/// What an edge learns: one state of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeChange {
    /// At which revision this became so.
    pub revision: Revision,
    /// The mail domain whose policy host (`mta-sts.<domain>`) this is about.
    pub domain: MailDomain,
    /// What changed.
    pub entry: EdgeEntry,
    /// The trace of whoever made the change, if it is exported.
    pub trace: Option<TraceParent>,
}

/// The state of one key of the edge feed. A domain has at most one host and one challenge of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EdgeEntry {
    /// Serve this policy with this certificate.
    Host(Box<HostContent>),
    /// Serve nothing for this host: abort the handshake.
    HostGone,
    /// The host is this registration's, for which there is nothing to serve yet: what is served of another one is gone at
    /// once. What an edge still serves of the same one works, and a restored database has forgotten it: it stays until
    /// there is something newer.
    HostHeld {
        /// Which registration.
        domain_id: DomainId,
    },
    /// Answer the CA's validation of this name.
    Challenge(Challenge),
    /// No validation is under way any more.
    ChallengeGone,
}

/// All that an edge needs to answer for one policy host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostContent {
    /// Whose it is (part of the sealing's associated data).
    pub tenant_id: TenantId,
    /// Which registration (part of the sealing's associated data, and the key of the ledger).
    pub domain_id: DomainId,
    /// Which policy version.
    pub version_id: PolicyVersionId,
    /// Its mode, for metrics and the ledger.
    pub mode: Mode,
    /// The policy's `max_age` in seconds (RFC 8461 §3.2), for the ledger.
    pub max_age: u32,
    /// The body of `/.well-known/mta-sts.txt`, byte for byte.
    pub policy_text: String,
    /// Which certificate.
    pub certificate_id: CertificateId,
    /// DER certificates, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's private key (PKCS #8 DER), sealed.
    pub sealed_key: Vec<u8>,
    /// When the leaf expires.
    pub not_after: Timestamp,
}

/// How an edge answers the CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Challenge {
    /// RFC 8555 §8.3: `http://mta-sts.<domain>/.well-known/acme-challenge/<token>` answers `key_authorization`.
    Http01 {
        /// The last path segment.
        token: String,
        /// The body of the answer.
        key_authorization: String,
    },
    /// RFC 8737: a handshake with ALPN `acme-tls/1` gets this self-signed certificate. The key is worth nothing to
    /// anybody but the validation, so it is not sealed.
    TlsAlpn01 {
        /// DER certificate with the acmeIdentifier extension.
        certificate: Vec<u8>,
        /// PKCS #8 DER.
        key: Vec<u8>,
    },
}

/// What an edge has served since its last flush: one line per policy version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedLine {
    /// Whose.
    pub tenant_id: TenantId,
    /// Of which registration.
    pub domain_id: DomainId,
    /// Which version.
    pub version_id: PolicyVersionId,
    /// When last.
    pub last_served_at: Timestamp,
    /// How often since the last flush.
    pub requests: u64,
}

/// What an embedded nameserver learns: one state of one record set of the service's zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneChange {
    /// At which revision this became so.
    pub revision: Revision,
    /// Owner name, absolute, lower-case, without the trailing dot.
    pub name: String,
    /// `TXT` is the only type that tenants' records have today.
    pub record_type: RecordType,
    /// `None`: the record set is gone.
    pub set: Option<RecordData>,
}

/// The types of records that the service publishes in its zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// Text (RFC 1035 §3.3.14).
    Txt,
    /// An IPv4 address (RFC 1035 §3.4.1).
    A,
    /// An IPv6 address (RFC 3596 §2.1).
    Aaaa,
    /// Who may issue certificates (RFC 8659 §4.1).
    Caa,
    /// An alias (RFC 1035 §3.3.1).
    Cname,
}

impl RecordType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Txt, Self::A, Self::Aaaa, Self::Caa, Self::Cname];

    /// Its mnemonic (RFC 1035 §3.2.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Txt => "TXT",
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Caa => "CAA",
            Self::Cname => "CNAME",
        }
    }
}

impl std::fmt::Display for RecordType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Values of one record set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordData {
    /// Seconds.
    pub ttl: u32,
    /// `TXT`: each value as one unquoted text; the writer splits at 255 octets (RFC 7208 §3.3 tells how readers join).
    /// `A`, `AAAA`: the address in its canonical form. `CAA`: `0 issue "ca.example"`. `CNAME`: the target, absolute,
    /// lower-case, without the trailing dot.
    pub values: Vec<String>,
}

impl RecordData {
    /// Whether both hold the same values, in any order. The TTL is not compared: hosted providers have their own.
    pub fn same_values(&self, other: &Self) -> bool {
        let (mut ours, mut theirs): (Vec<_>, Vec<_>) = (self.values.iter().collect(), other.values.iter().collect());
        ours.sort_unstable();
        theirs.sort_unstable();
        ours == theirs
    }

    /// The values in one line, for messages.
    pub fn shown(&self) -> String {
        self.values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ")
    }
}
