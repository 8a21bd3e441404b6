//! What was seen, apart from the judgement. Texts of strangers are escaped and cut.

use mtasts_model::{Mode, Timestamp};
use serde::Serialize;

/// TXT records at one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecordSeen {
    /// Where they stand.
    pub name: String,
    /// The CNAMEs from there, in order.
    pub aliases: Vec<String>,
    /// All texts, each with its strings joined; at most 32.
    pub texts: Vec<String>,
    /// How many begin with the version.
    pub candidates: usize,
    /// The `id` of an MTA-STS record; `null` where there is no valid one, or it is another record.
    pub id: Option<String>,
    /// The `rua` of a TLS reporting record.
    pub rua: Vec<String>,
}

/// The policy host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PolicyHostSeen {
    /// `mta-sts.<domain>`.
    pub host: String,
    /// The CNAMEs from there, in order.
    pub aliases: Vec<String>,
    /// What each address did; at most 8.
    pub addresses: Vec<FetchSeen>,
}

/// What one address of the policy host did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FetchSeen {
    /// Address and port.
    pub address: String,
    /// The TLS session.
    pub tls: Option<TlsSeen>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// Where a redirect leads; nobody follows it.
    pub location: Option<String>,
    /// The media type.
    pub content_type: Option<String>,
    /// Octets of the body.
    pub octets: Option<usize>,
    /// Milliseconds from connecting to the end.
    pub took_ms: u64,
    /// Why there is no policy from here.
    pub failure: Option<String>,
}

/// A TLS session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsSeen {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Whether a sender that verifies takes the certificate.
    pub verified: bool,
    /// The name in the certificate that covers the host.
    pub matched: Option<String>,
    /// Why not, where it is not verified: stable words (`self-signed`, `incomplete`, `untrusted`, `expired`,
    /// `not-yet-valid`, `name`, `no-san`).
    pub faults: Vec<CertificateFault>,
    /// Days until the leaf expires, rounded down; negative when it has.
    pub days_left: Option<i64>,
    /// The chain as it was sent, leaf first; at most 6.
    pub chain: Vec<CertificateShown>,
}

/// Why a certificate is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateFault {
    /// Signed by itself.
    SelfSigned,
    /// Sent without the intermediates.
    Incomplete,
    /// No trusted CA at the end of the chain.
    Untrusted,
    /// It, or one of the chain, has expired.
    Expired,
    /// It, or one of the chain, is not valid yet.
    NotYetValid,
    /// For other names.
    Name,
    /// For the host by its common name alone.
    NoSan,
}

/// One certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateShown {
    /// The subject.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// DNS names of the subject alternative name; at most 20.
    pub names: Vec<String>,
    /// The serial number, lower-case hexadecimal.
    pub serial: String,
    /// From when it is valid.
    pub not_before: Option<Timestamp>,
    /// Until when it is valid.
    pub not_after: Option<Timestamp>,
}

/// The policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicySeen {
    /// As it came, at most 4096 characters.
    pub text: String,
    /// Its mode; `null` when the text is no policy.
    pub mode: Option<Mode>,
    /// Its patterns.
    pub mx: Vec<String>,
    /// Seconds.
    pub max_age: Option<u32>,
    /// Whether a reader that goes by the letter of the grammar takes it too.
    pub strict: bool,
}

/// Where the mail goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// To MX hosts.
    Hosts,
    /// To the domain's own address (RFC 5321 §5.1).
    Implicit,
    /// Nowhere, as it says (RFC 7505).
    Null,
    /// Nowhere: there is neither an MX record nor an address.
    Absent,
    /// It could not be found out.
    #[default]
    Unknown,
}

/// The MX hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MxSeen {
    /// Where the mail goes.
    pub route: Route,
    /// The hosts that were looked at, the most preferred first; at most 32.
    pub hosts: Vec<MxHostSeen>,
    /// How many MX records there are.
    pub records: usize,
}

/// One MX host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MxHostSeen {
    /// Its name.
    pub host: String,
    /// Lower is asked first.
    pub preference: u16,
    /// The CNAMEs from there, where it is an alias.
    pub aliases: Vec<String>,
    /// Whether the policy has a pattern for it; `null` where there is no policy.
    pub covered: Option<bool>,
    /// What each address did; at most 8.
    pub addresses: Vec<SmtpSeen>,
    /// TLSA records at `_25._tcp.<host>`; at most 16.
    pub tlsa: Vec<String>,
    /// Whether the resolver validated them by DNSSEC; `null` where there are none.
    pub tlsa_validated: Option<bool>,
    /// Nobody wanted it connected to: nothing is known of it but its name.
    #[serde(skip)]
    pub not_looked_at: bool,
}

/// What came of one address of an MX host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmtpOutcome {
    /// STARTTLS with a verified certificate.
    Verified,
    /// It could not be found out: no route from here, paced, greylisted, out of time.
    #[default]
    Unknown,
    /// No sender gets through.
    Unreachable,
    /// A sender that enforces refuses to deliver.
    Refused,
}

/// One address of an MX host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SmtpSeen {
    /// Address and port.
    pub address: String,
    /// The first line of the greeting.
    pub banner: Option<String>,
    /// The name that the server gives itself in its answer to EHLO.
    pub hello: Option<String>,
    /// Whether STARTTLS is offered; `null` when it did not come to that.
    pub starttls: Option<bool>,
    /// The TLS session.
    pub tls: Option<TlsSeen>,
    /// Milliseconds in all.
    pub took_ms: u64,
    /// What came of it.
    pub outcome: SmtpOutcome,
}
