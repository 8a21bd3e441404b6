//! Makes signatures, and keeps them: an ECDSA signature costs more than all the rest of an answer.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use hickory_proto::{
    ProtoError,
    dnssec::rdata::{DNSSECRData, RRSIG, sig::SigInput},
    rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};
use metrics::{Counter, counter};
use mtasts_model::Clock;
use quick_cache::sync::Cache;

use super::{
    DnssecConfig,
    key::{KeyKind, KeyRole, SigningKey},
};

/// The signatures of one record set, one for each key.
struct Signed {
    /// Unix seconds.
    made_at: i64,
    signatures: Vec<RRSIG>,
}

/// Signs record sets.
///
/// Kept signatures are found by a digest of the signed set, so that none outlives a change of its set. The cache holds
/// on to what is asked for again and again while names that are asked for once pass by.
pub(super) struct Signatures {
    origin: Name,
    keys: Vec<SigningKey>,
    /// Seconds.
    validity: i64,
    inception_offset: i64,
    clock: Arc<dyn Clock>,
    cache: Cache<[u8; 32], Arc<Signed>>,
    made: Counter,
    kept: Counter,
}

impl Signatures {
    pub(super) fn new(config: &DnssecConfig, origin: &Name, clock: Arc<dyn Clock>) -> Self {
        let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self {
            origin: origin.clone(),
            keys: config.keys.iter().filter(|key| key.role() == KeyRole::Active).cloned().collect(),
            validity: seconds(config.validity),
            inception_offset: seconds(config.inception_offset),
            clock,
            cache: Cache::new(config.cached_signatures.max(1)),
            made: counter!("mtasts_nameserver_signatures_total", "source" => "made"),
            kept: counter!("mtasts_nameserver_signatures_total", "source" => "kept"),
        }
    }

    /// The RRSIG records of one set (records of one owner and type), for the answer's own TTL. `original_ttl` is the
    /// TTL that the set has in the zone.
    pub(super) fn sign(&self, set: &[Record], original_ttl: u32) -> Result<Vec<Record>, ProtoError> {
        let Some(first) = set.first() else { return Ok(Vec::new()) };
        let record_type = first.record_type();
        let canonical = canonical_form(&first.name, record_type, original_ttl, set)?;
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, &canonical).as_ref());
        let now = self.clock.now().timestamp();
        let signed = match self.cache.get(&key) {
            Some(signed) if self.is_fresh(&signed, now) => {
                self.kept.increment(1);
                signed
            }
            _ => {
                let signed = Arc::new(self.make(&first.name, record_type, original_ttl, &canonical, now)?);
                self.made.increment(1);
                self.cache.insert(key, Arc::clone(&signed));
                signed
            }
        };
        let record = |signature: &RRSIG| {
            let data = RData::DNSSEC(DNSSECRData::RRSIG(signature.clone()));
            Record::from_rdata(first.name.clone(), first.ttl, data)
        };
        Ok(signed.signatures.iter().map(record).collect())
    }

    /// Until half of its time is over; and not when the clock was set back so far that it seems of the future.
    fn is_fresh(&self, signed: &Signed, now: i64) -> bool {
        (-self.inception_offset / 2..self.validity / 2).contains(&(now - signed.made_at))
    }

    fn make(
        &self,
        owner: &Name,
        type_covered: RecordType,
        original_ttl: u32,
        canonical: &[u8],
        now: i64,
    ) -> Result<Signed, ProtoError> {
        // RFC 6840 §5.11 wants a signature of each algorithm of the DS set over the keys; RFC 7344 §4.1 wants those
        // of an entry point over what is for the parent, too.
        let of_entry_point = matches!(type_covered, RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY);
        let other_kind = if of_entry_point { KeyKind::Zsk } else { KeyKind::Ksk };
        let mut signatures = Vec::with_capacity(1);
        for key in self.keys.iter().filter(|key| key.kind() != other_kind) {
            let input = SigInput {
                type_covered,
                algorithm: key.algorithm(),
                num_labels: owner.num_labels(),
                original_ttl,
                sig_expiration: serial(now + self.validity),
                sig_inception: serial(now - self.inception_offset),
                key_tag: key.key_tag(),
                signer_name: self.origin.clone(),
            };
            let mut signed_data = Vec::with_capacity(64 + canonical.len());
            input.emit(&mut canonical_encoder(&mut signed_data))?;
            signed_data.extend_from_slice(canonical);
            let signature = key.sign(&signed_data).map_err(|error| ProtoError::from(error.to_string()))?;
            signatures.push(RRSIG::from_sig(input, signature));
        }
        Ok(Signed { made_at: now, signatures })
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.cache.len()
    }
}

/// RFC 4034 §3.1.5: seconds since 1970 in 32 bits, which wrap.
fn serial(seconds: i64) -> SerialNumber {
    SerialNumber::new(u32::try_from(seconds & i64::from(u32::MAX)).unwrap_or(0))
}

/// The records of RFC 4034 §3.1.8.1's signed data: in canonical form and order (§6), each once.
fn canonical_form(
    owner: &Name,
    record_type: RecordType,
    original_ttl: u32,
    set: &[Record],
) -> Result<Vec<u8>, ProtoError> {
    let mut head = Vec::with_capacity(80);
    {
        let mut encoder = canonical_encoder(&mut head);
        owner.emit(&mut encoder.with_name_encoding(NameEncoding::UncompressedLowercase))?;
        record_type.emit(&mut encoder)?;
        DNSClass::IN.emit(&mut encoder)?;
        encoder.emit_u32(original_ttl)?;
    }
    let mut bodies = Vec::with_capacity(set.len());
    for record in set {
        let mut body = Vec::with_capacity(64);
        record.data.emit(&mut canonical_encoder(&mut body))?;
        bodies.push(body);
    }
    bodies.sort_unstable();
    bodies.dedup();
    let mut canonical = Vec::with_capacity(bodies.iter().map(|body| head.len() + 2 + body.len()).sum());
    for body in bodies {
        canonical.extend_from_slice(&head);
        let length = u16::try_from(body.len()).map_err(|_| ProtoError::from("a record is too long"))?;
        canonical.extend_from_slice(&length.to_be_bytes());
        canonical.extend_from_slice(&body);
    }
    Ok(canonical)
}

fn canonical_encoder(bytes: &mut Vec<u8>) -> BinEncoder<'_> {
    let mut encoder = BinEncoder::new(bytes);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    encoder
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use hickory_proto::{
        dnssec::Verifier as _,
        rr::rdata::{A, MX},
    };
    use mtasts_dns::name;
    use mtasts_model::{
        SystemEntropy,
        clock::{ManualClock, SeededEntropy},
    };

    use super::*;
    use crate::dnssec::draw_key;

    fn signatures(entries: usize) -> (Signatures, ManualClock) {
        let (key, _) = draw_key(&SeededEntropy::new(1), KeyKind::Csk).unwrap();
        let config = DnssecConfig { cached_signatures: entries, ..DnssecConfig::new(vec![key]) };
        let clock = ManualClock::default();
        let origin = name::parse("sts.example").unwrap();
        (Signatures::new(&config, &origin, Arc::new(clock.clone())), clock)
    }

    fn set(number: u32) -> [Record; 1] {
        let owner = name::parse(&format!("n{number}.sts.example")).unwrap();
        [Record::from_rdata(owner, 60, RData::A(A(number.into())))]
    }

    fn sign(signatures: &Signatures, set: &[Record]) -> RRSIG {
        let signed = signatures.sign(set, 60).unwrap();
        match &signed[0].data {
            RData::DNSSEC(DNSSECRData::RRSIG(signature)) => signature.clone(),
            other => panic!("{other}"),
        }
    }

    /// ECDSA draws a nonce, so that two signatures of the same differ.
    #[test]
    fn a_signature_is_kept_until_half_of_its_time_is_over_and_then_made_anew() {
        let (signatures, clock) = signatures(100);
        let first = sign(&signatures, &set(1));
        clock.advance(TimeDelta::days(3));
        assert_eq!(sign(&signatures, &set(1)), first);
        clock.advance(TimeDelta::hours(12));
        let second = sign(&signatures, &set(1));
        assert_ne!(second, first);
        let later = second.input().sig_expiration.get() - first.input().sig_expiration.get();
        assert_eq!(u64::from(later), 7 * 86_400 / 2);
        assert_eq!(sign(&signatures, &set(1)), second);
    }

    #[test]
    fn a_clock_that_was_set_back_gets_signatures_that_have_begun() {
        let (signatures, clock) = signatures(100);
        let first = sign(&signatures, &set(1));
        clock.advance(-TimeDelta::minutes(20));
        assert_eq!(sign(&signatures, &set(1)), first, "still within the offset");
        clock.advance(-TimeDelta::minutes(20));
        assert_ne!(sign(&signatures, &set(1)), first);
    }

    #[test]
    fn a_change_of_the_set_is_never_answered_with_the_signature_of_before() {
        let (signatures, _) = signatures(100);
        let [mut record] = set(1);
        let first = sign(&signatures, std::slice::from_ref(&record));
        record.data = RData::A(A(2.into()));
        assert_ne!(sign(&signatures, std::slice::from_ref(&record)), first);
        let with_other_ttl = signatures.sign(&set(1), 61).unwrap();
        assert_ne!(with_other_ttl[0].data, signatures.sign(&set(1), 60).unwrap()[0].data);
    }

    #[test]
    fn no_more_are_kept_than_configured_however_many_names_are_asked_for() {
        let (signatures, _) = signatures(50);
        for number in 0..1000 {
            sign(&signatures, &set(number));
        }
        assert!((1..=50).contains(&signatures.kept()), "{}", signatures.kept());
    }

    #[test]
    fn the_canonical_form_knows_neither_case_nor_order_nor_doubles() {
        let (key, _) = draw_key(&SystemEntropy, KeyKind::Csk).unwrap();
        let dnskey = key.dnskey().clone();
        let origin = name::parse("sts.example").unwrap();
        let config = DnssecConfig::new(vec![key]);
        let signatures = Signatures::new(&config, &origin, Arc::new(ManualClock::default()));
        let mail = |owner: &str, preference, host: &str| {
            let data = RData::MX(MX::new(preference, name::parse(host).unwrap()));
            Record::from_rdata(name::parse(owner).unwrap(), 60, data)
        };
        let one = [mail("M.sts.example", 20, "B.example"), mail("M.sts.example", 10, "a.example")];
        let other = [
            mail("m.sts.example", 10, "A.example"),
            mail("m.sts.example", 20, "b.example"),
            mail("m.sts.example", 20, "b.EXAMPLE"),
        ];
        let signature = sign(&signatures, &one);
        assert_eq!(sign(&signatures, &other), signature);
        let verified = dnskey.verify_rrsig(&other[0].name, DNSClass::IN, &signature, other[..2].iter());
        assert!(verified.is_ok(), "{verified:?}");
    }
}
