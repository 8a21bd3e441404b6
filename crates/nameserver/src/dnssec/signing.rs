//! Makes signed answers of answers.

use std::sync::Arc;

use hickory_proto::{
    ProtoError,
    dnssec::rdata::DNSSECRData,
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use mtasts_model::Clock;

use super::{
    DnssecConfig,
    denial::{NXNAME, nsec},
    key::{DnssecError, KeyKind, KeyRole},
    parent::signals,
    signatures::Signatures,
};
use crate::{config::Ttls, zone::Zone};

/// The CO flag of the OPT record's header (RFC 9824 §5.1), as `hickory-proto` counts the flags besides DO.
const COMPACT_OK: u16 = 0x4000;

/// A year: RRSIG times are 32 bits in serial arithmetic, and nobody needs more.
const MAX_VALIDITY: u64 = 366 * 86_400;

/// What the asker understands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// DO (RFC 3225): wants signatures.
    pub(crate) dnssec_ok: bool,
    /// CO (RFC 9824 §5.1): knows an NXDOMAIN with a compact denial.
    pub(crate) compact_ok: bool,
}

impl Asked {
    /// What the question's OPT record says.
    pub(crate) fn of(request: &Message) -> Self {
        let flags = request.edns.as_ref().map(|edns| *edns.flags());
        Self {
            dnssec_ok: flags.is_some_and(|flags| flags.dnssec_ok),
            compact_ok: flags.is_some_and(|flags| flags.z & COMPACT_OK != 0),
        }
    }
}

/// Signs the answers of one zone.
pub(crate) struct Signing {
    signatures: Signatures,
    /// DNSKEY, CDS and CDNSKEY, those that there are.
    apex: Vec<(RecordType, Vec<RData>)>,
    /// The TTL of the SOA, which is lower in negative answers.
    soa_ttl: u32,
}

impl Signing {
    pub(crate) fn new(
        config: &DnssecConfig,
        origin: &Name,
        ttl: Ttls,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DnssecError> {
        let active = |kind| {
            let signs = |key: &&super::SigningKey| key.role() == KeyRole::Active;
            config.keys.iter().filter(signs).any(|key| key.kind() == kind || key.kind() == KeyKind::Csk)
        };
        if !active(KeyKind::Ksk) {
            return Err(DnssecError::NoEntryPoint);
        }
        if !active(KeyKind::Zsk) {
            return Err(DnssecError::NoZoneKey);
        }
        for (at, key) in config.keys.iter().enumerate() {
            if config.keys.iter().skip(at + 1).any(|other| other.key_tag() == key.key_tag()) {
                return Err(DnssecError::SameTag { key_tag: key.key_tag() });
            }
        }
        let least_seconds = u64::from(ttl.zone.max(ttl.edge).max(ttl.negative)).saturating_mul(2).max(3600);
        if !(least_seconds..=MAX_VALIDITY).contains(&config.validity.as_secs())
            || config.inception_offset.as_secs() > MAX_VALIDITY
        {
            return Err(DnssecError::Validity { least_seconds });
        }
        let keys = config.keys.iter().map(|key| RData::DNSSEC(DNSSECRData::DNSKEY(key.dnskey().clone()))).collect();
        let (cds, cdnskey) = signals(config.parent, &config.keys, origin)?;
        let mut apex = vec![(RecordType::DNSKEY, keys), (RecordType::CDS, cds), (RecordType::CDNSKEY, cdnskey)];
        apex.retain(|(_, data): &(_, Vec<RData>)| !data.is_empty());
        Ok(Self { signatures: Signatures::new(config, origin, clock), apex, soa_ttl: ttl.zone })
    }

    /// The zone's own records of this type, which no configuration or feed gives.
    pub(crate) fn apex(&self, record_type: RecordType) -> Option<Vec<RData>> {
        let (_, data) = self.apex.iter().find(|(of_type, _)| *of_type == record_type)?;
        Some(data.clone())
    }

    /// The types of [`Self::apex`].
    pub(crate) fn apex_types(&self) -> impl Iterator<Item = RecordType> {
        self.apex.iter().map(|(record_type, _)| *record_type)
    }

    /// Adds to a finished answer what DNSSEC asks for: signatures, and proof of absence.
    pub(crate) fn complete(&self, zone: &Zone, answer: &mut Message, asked: Asked) {
        if !answer.metadata.authoritative {
            return;
        }
        if let Err(error) = self.try_complete(zone, answer, asked) {
            tracing::error!(error = &error as &dyn std::error::Error, "an answer could not be signed");
            answer.answers.clear();
            answer.authorities.clear();
            answer.additionals.clear();
            answer.metadata.authoritative = false;
            answer.metadata.response_code = ResponseCode::ServFail;
        }
    }

    fn try_complete(&self, zone: &Zone, answer: &mut Message, asked: Asked) -> Result<(), ProtoError> {
        let Some((name, asked_type)) = answer.queries.first().map(|query| (query.name().clone(), query.query_type()))
        else {
            return Ok(());
        };
        if asked_type == NXNAME {
            // RFC 9824 §3.5: it exists in bitmaps alone.
            answer.authorities.clear();
            answer.metadata.authoritative = false;
            answer.metadata.response_code = ResponseCode::FormErr;
            return Ok(());
        }
        let exists = answer.metadata.response_code != ResponseCode::NXDomain;
        if answer.answers.is_empty() {
            let of_signing = matches!(asked_type, RecordType::NSEC | RecordType::RRSIG);
            if of_signing && (exists || asked.dnssec_ok) {
                self.show_own(zone, answer, &name, asked_type)?;
            } else if asked.dnssec_ok {
                let mut types = if exists { zone.types(&name) } else { vec![NXNAME] };
                // What came between looking and telling would make this answer contradict itself.
                types.retain(|present| ![asked_type, RecordType::CNAME].contains(present));
                answer.authorities.push(nsec_at(zone, &name, types));
                if !asked.compact_ok {
                    answer.metadata.response_code = ResponseCode::NoError;
                }
            }
        }
        if !asked.dnssec_ok {
            return Ok(());
        }
        if asked.compact_ok
            && let Some(edns) = &mut answer.edns
        {
            edns.flags_mut().z |= COMPACT_OK;
        }
        self.sign_section(&mut answer.answers)?;
        self.sign_section(&mut answer.authorities)?;
        self.sign_section(&mut answer.additionals)
    }

    /// NSEC and RRSIG are there at every name of a signed zone, so that nobody could prove their absence.
    fn show_own(
        &self,
        zone: &Zone,
        answer: &mut Message,
        name: &Name,
        asked_type: RecordType,
    ) -> Result<(), ProtoError> {
        let exists = answer.metadata.response_code != ResponseCode::NXDomain;
        let nsec = nsec_at(zone, name, if exists { zone.types(name) } else { vec![NXNAME] });
        answer.answers = match asked_type {
            // One of them, as RFC 8482 §4.1 has it for ANY: validators cannot check any.
            RecordType::RRSIG => self.signatures.sign(std::slice::from_ref(&nsec), nsec.ttl)?,
            _ => vec![nsec],
        };
        answer.authorities.clear();
        answer.metadata.response_code = ResponseCode::NoError;
        Ok(())
    }

    /// Puts the signatures of each set behind it.
    fn sign_section(&self, section: &mut Vec<Record>) -> Result<(), ProtoError> {
        let mut signed = Vec::with_capacity(section.len() * 2);
        let is_same_set =
            |one: &Record, other: &Record| one.name == other.name && one.record_type() == other.record_type();
        for set in section.chunk_by(is_same_set) {
            let Some(first) = set.first() else { continue };
            signed.extend_from_slice(set);
            match first.record_type() {
                RecordType::RRSIG => {}
                RecordType::SOA => signed.extend(self.signatures.sign(set, self.soa_ttl)?),
                _ => signed.extend(self.signatures.sign(set, first.ttl)?),
            }
        }
        *section = signed;
        Ok(())
    }
}

/// The NSEC record at this name, to be kept for as long as negative answers (RFC 9077).
fn nsec_at(zone: &Zone, name: &Name, types: Vec<RecordType>) -> Record {
    Record::from_rdata(name.clone(), zone.negative_ttl(), nsec(name, zone.origin(), types))
}
