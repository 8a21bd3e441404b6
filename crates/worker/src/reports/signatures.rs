//! DKIM signatures of a report mail (RFC 6376, RFC 8301; RFC 8460 §3 for the key's service type), judged over the octets as
//! they came. No I/O: the keys are fetched in between.

use std::collections::HashMap;

use mail_auth::{
    AuthenticatedMessage, Error,
    common::{
        crypto::{Algorithm, HashAlgorithm},
        parse::TxtRecordParser,
        verify::DomainKey,
    },
    dkim::{DkimError, Signature},
};
use mtasts_model::{ReportKind, Timestamp};

/// Signatures that are looked at, and so lookups that one mail can cause.
pub(super) const MOST_SIGNATURES: usize = 5;
/// Octets of a header that are looked at: a longer one is no report's.
const MOST_HEADER: usize = 128 << 10;
/// Names in `h=`: each is searched in the whole header.
const MOST_SIGNED_FIELDS: usize = 200;
/// TXT records of a key's name that are tried.
const MOST_RECORDS: usize = 5;
/// RFC 8301 §3.2.
const LEAST_RSA_BITS: usize = 1024;

/// Why a signature proves nothing. The later ones say more, where a mail has several signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flaw {
    /// It is no signature that can be read.
    Malformed,
    /// Of nobody whom the report names.
    NotAligned,
    /// rsa-sha1, or a short key.
    Weak,
    /// Whatever was added behind is not covered.
    BodyLengthLimit,
    /// `From` is not covered, or is there more than once.
    FromNotSigned,
    /// It was over before the mail arrived.
    Expired,
    /// There is no such key.
    KeyMissing,
    /// The key was taken back.
    KeyRevoked,
    /// The key is for something else.
    KeyNotForReports,
    /// The signer is trying out DKIM: as good as unsigned (RFC 6376 §3.6.1).
    KeyInTesting,
    /// It does not fit the mail.
    Invalid,
    /// DNS did not say in time.
    KeyUnreachable,
}

impl Flaw {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "signature-malformed",
            Self::NotAligned => "not-aligned",
            Self::Weak => "signature-weak",
            Self::BodyLengthLimit => "body-length-limit",
            Self::FromNotSigned => "from-not-signed",
            Self::Expired => "expired",
            Self::KeyMissing => "key-missing",
            Self::KeyRevoked => "key-revoked",
            Self::KeyNotForReports => "key-not-for-tlsrpt",
            Self::KeyInTesting => "key-in-testing",
            Self::Invalid => "signature-invalid",
            Self::KeyUnreachable => "key-unreachable",
        }
    }
}

/// What DNS says at a key's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Records(Vec<String>),
    Missing,
    Unreachable,
}

/// A signature that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checked {
    /// The signing domain, in lower case; empty if the signature does not tell.
    pub(super) domain: String,
    pub(super) outcome: Result<(), Flaw>,
}

/// The names of the keys that the signatures of a mail ask for, without repetition.
pub(super) fn key_names(raw: &[u8]) -> Vec<String> {
    let Some(message) = header_of(raw).and_then(AuthenticatedMessage::parse) else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    for header in message.dkim_headers.iter().take(MOST_SIGNATURES) {
        let name = key_name(&header.header);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Judges the signatures of a mail. Empty: it has none.
pub(super) fn check(raw: &[u8], keys: &HashMap<String, Key>, kind: ReportKind, received_at: Timestamp) -> Vec<Checked> {
    let malformed = Checked { domain: String::new(), outcome: Err(Flaw::Malformed) };
    if header_of(raw).is_none() {
        return vec![malformed];
    }
    let Some(message) = AuthenticatedMessage::parse(raw) else { return vec![malformed] };
    let mut checked = Vec::new();
    for header in &message.errors {
        let flaw = match &header.header {
            Error::Dkim(DkimError::SignatureLength) => Flaw::BodyLengthLimit,
            _ => Flaw::Malformed,
        };
        let domain =
            Signature::parse(header.value).map(|signature| signature.d.to_ascii_lowercase()).unwrap_or_default();
        checked.push(Checked { domain, outcome: Err(flaw) });
    }
    checked.truncate(MOST_SIGNATURES);
    for header in message.dkim_headers.iter().take(MOST_SIGNATURES) {
        let outcome = judge(&message, header.name, header.value, &header.header, keys, kind, received_at);
        checked.push(Checked { domain: header.header.d.to_ascii_lowercase(), outcome });
    }
    checked
}

/// The header of a mail and the empty line; None if it does not end where it should.
fn header_of(raw: &[u8]) -> Option<&[u8]> {
    let looked_at = &raw[..raw.len().min(MOST_HEADER)];
    let end = looked_at.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2);
    let end_crlf = looked_at.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    let end = [end, end_crlf].into_iter().flatten().min();
    end.or((raw.len() <= MOST_HEADER).then_some(raw.len())).map(|end| &raw[..end])
}

fn key_name(signature: &Signature) -> String {
    format!("{}._domainkey.{}", signature.s, signature.d).to_ascii_lowercase()
}

fn judge(
    message: &AuthenticatedMessage<'_>,
    name: &[u8],
    value: &[u8],
    signature: &Signature,
    keys: &HashMap<String, Key>,
    kind: ReportKind,
    received_at: Timestamp,
) -> Result<(), Flaw> {
    if signature.a == Algorithm::RsaSha1 {
        return Err(Flaw::Weak);
    }
    let froms = message.headers.iter().filter(|(name, _)| name.trim_ascii().eq_ignore_ascii_case(b"from")).count();
    let signs_from = signature.h.iter().any(|name| name.eq_ignore_ascii_case("from"));
    if froms != 1 || !signs_from {
        return Err(Flaw::FromNotSigned);
    }
    if signature.h.len() > MOST_SIGNED_FIELDS {
        return Err(Flaw::Malformed);
    }
    let arrived = u64::try_from(received_at.timestamp()).unwrap_or_default();
    if signature.x > 0 && (signature.x <= arrived || signature.x < signature.t) {
        return Err(Flaw::Expired);
    }
    let hash = HashAlgorithm::from(signature.a);
    let fits = |(canonical, algorithm, length, digest): &(_, _, u64, Vec<u8>)| {
        *canonical == signature.cb && *algorithm == hash && *length == signature.l && *digest == signature.bh
    };
    if !message.body_hashes.iter().any(fits) {
        return Err(Flaw::Invalid);
    }
    let records = match keys.get(&key_name(signature)) {
        Some(Key::Records(records)) => records,
        Some(Key::Missing) => return Err(Flaw::KeyMissing),
        Some(Key::Unreachable) | None => return Err(Flaw::KeyUnreachable),
    };
    let (key, tags) = key_of(records)?;
    if !tags.is_for(kind) {
        return Err(Flaw::KeyNotForReports);
    }
    if tags.has("t", "y") {
        return Err(Flaw::KeyInTesting);
    }
    if key.p.public_key_bits() < LEAST_RSA_BITS && signature.a == Algorithm::RsaSha256 {
        return Err(Flaw::Weak);
    }
    let hashes = tags.values("h");
    let takes_hash = hashes.is_empty() || hashes.iter().any(|hash| hash.eq_ignore_ascii_case("sha256"));
    if !takes_hash || !is_identity_within(signature, tags.has("t", "s")) {
        return Err(Flaw::Invalid);
    }
    let unsigned = without_signature(value);
    let mut signed = message.signed_headers(&signature.h, name, &unsigned);
    key.p.verify(&mut signed, &signature.b, signature.ch, signature.a).map_err(|_| Flaw::Invalid)
}

/// `i=` is the signing domain or below it, and exactly it where the key says so (RFC 6376 §3.5, §3.6.1).
fn is_identity_within(signature: &Signature, strictly: bool) -> bool {
    if signature.i.is_empty() {
        return true;
    }
    let (domain, identity) = (signature.d.to_ascii_lowercase(), signature.i.to_ascii_lowercase());
    let Some((_, host)) = identity.rsplit_once('@') else { return false };
    host == domain || !strictly && host.strip_suffix(&domain).is_some_and(|front| front.ends_with('.'))
}

/// The field's value with the value of `b=` taken out, and without the line end behind it (RFC 6376 §3.7).
fn without_signature(value: &[u8]) -> Vec<u8> {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    let mut kept = Vec::with_capacity(value.len());
    let mut is_done = false;
    for (index, tag) in value.split(|octet| *octet == b';').enumerate() {
        if index > 0 {
            kept.push(b';');
        }
        match tag.iter().position(|octet| *octet == b'=') {
            Some(equals) if !is_done && tag[..equals].trim_ascii() == b"b" => {
                is_done = true;
                kept.extend_from_slice(&tag[..=equals]);
            }
            _ => kept.extend_from_slice(tag),
        }
    }
    kept
}

/// Tags of a key record that the library does not keep.
struct Tags(HashMap<String, Vec<String>>);

impl Tags {
    fn read(record: &str) -> Self {
        let tag = |tag: &str| {
            let (name, value) = tag.split_once('=')?;
            Some((name.trim().to_owned(), value.split(':').map(|word| word.trim().to_owned()).collect()))
        };
        Self(record.split(';').filter_map(tag).collect())
    }

    fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn has(&self, name: &str, word: &str) -> bool {
        self.values(name).iter().any(|value| value.eq_ignore_ascii_case(word))
    }

    /// RFC 8460 §3: `tlsrpt`, beside what is for all mail.
    fn is_for(&self, kind: ReportKind) -> bool {
        self.values("s").is_empty()
            || self.has("s", "*")
            || self.has("s", "email")
            || kind == ReportKind::TlsRpt && self.has("s", "tlsrpt")
    }
}

fn key_of(records: &[String]) -> Result<(DomainKey, Tags), Flaw> {
    let mut flaw = Flaw::KeyMissing;
    for record in records.iter().take(MOST_RECORDS) {
        match DomainKey::parse(record.as_bytes()) {
            Ok(key) => return Ok((key, Tags::read(record))),
            Err(Error::Dkim(DkimError::RevokedPublicKey)) => flaw = Flaw::KeyRevoked,
            Err(_) => {}
        }
    }
    Err(flaw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_taken_out_of_its_field_and_nothing_else() {
        for (value, wanted) in [
            (&b" v=1; b=abc def; bh=xyz=\r\n"[..], &b" v=1; b=; bh=xyz="[..]),
            (b" v=1; bh=xyz; b=abc\r\n\tdef==\r\n", b" v=1; bh=xyz; b="),
            (b" bb=1; b =q;b=2\r\n", b" bb=1; b =;b=2"),
        ] {
            assert_eq!(String::from_utf8_lossy(&without_signature(value)), String::from_utf8_lossy(wanted));
        }
    }

    #[test]
    fn a_key_is_for_reports_by_its_service_type() {
        use ReportKind::{Dmarc, TlsRpt};
        for (record, tls, dmarc) in [
            ("v=DKIM1; p=x", true, true),
            ("v=DKIM1; s=*; p=x", true, true),
            ("v=DKIM1; s=email; p=x", true, true),
            ("v=DKIM1; s = tlsrpt ; p=x", true, false),
            ("v=DKIM1; s=other:tlsrpt; p=x", true, false),
            ("v=DKIM1; s=other; p=x", false, false),
        ] {
            let tags = Tags::read(record);
            assert_eq!((tags.is_for(TlsRpt), tags.is_for(Dmarc)), (tls, dmarc), "{record}");
        }
    }

    #[test]
    fn a_header_that_never_ends_is_not_looked_at() {
        assert!(header_of(&vec![b'a'; MOST_HEADER + 1]).is_none());
        assert_eq!(header_of(b"A: b\r\n\r\nbody").unwrap(), b"A: b\r\n\r\n");
        assert_eq!(header_of(b"A: b\n\nbody").unwrap(), b"A: b\n\n");
        assert_eq!(header_of(b"A: b").unwrap(), b"A: b");
    }
}
