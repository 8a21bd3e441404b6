//! What the parent zone needs to know: DS by hand, or CDS and CDNSKEY for a parent that looks (RFC 7344, RFC 8078).

use hickory_proto::{
    ProtoError,
    dnssec::{
        DigestType, PublicKey as _,
        rdata::{CDNSKEY, CDS, DNSSECRData, DS},
    },
    rr::{Name, RData},
};
use mtasts_dns::name;
use mtasts_model::ZoneName;

use super::key::{DnssecError, SigningKey};

/// What the zone tells a parent that looks for CDS and CDNSKEY records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ParentSignal {
    /// The DS set ought to name the configured KSKs and CSKs.
    #[default]
    Publish,
    /// The DS set ought to go, so that signing can end (RFC 8078 §4).
    Delete,
    /// Nothing.
    Silent,
}

/// The DS record for the parent zone, as one line of a zone file, with the SHA-256 digest (RFC 4509).
///
/// `None` for a ZSK, which no DS record may name. Without a TTL: that is the parent's to say.
pub fn ds_record(zone: &ZoneName, key: &SigningKey) -> Result<Option<String>, DnssecError> {
    if !key.kind().is_entry_point() {
        return Ok(None);
    }
    let origin = name::parse(zone.as_str()).map_err(|error| DnssecError::Record(error.to_string().into()))?;
    let digest = digest(&origin, key).map_err(DnssecError::Record)?;
    let ds = DS::new(key.key_tag(), key.algorithm(), DigestType::SHA256, digest);
    Ok(Some(format!("{}. IN DS {ds}", zone.as_str())))
}

fn digest(origin: &Name, key: &SigningKey) -> Result<Vec<u8>, ProtoError> {
    Ok(key.dnskey().to_digest(origin, DigestType::SHA256)?.as_ref().to_vec())
}

/// The CDS and the CDNSKEY set. Published keys are named, too: their DS has to be there before they sign.
pub(super) fn signals(
    signal: ParentSignal,
    keys: &[SigningKey],
    origin: &Name,
) -> Result<(Vec<RData>, Vec<RData>), DnssecError> {
    let cds = |cds| RData::DNSSEC(DNSSECRData::CDS(cds));
    let cdnskey = |cdnskey| RData::DNSSEC(DNSSECRData::CDNSKEY(cdnskey));
    match signal {
        ParentSignal::Silent => Ok((Vec::new(), Vec::new())),
        ParentSignal::Delete => Ok((
            vec![cds(CDS::new(0, None, DigestType::from(0), vec![0]))],
            vec![cdnskey(CDNSKEY::with_flags(0, None, vec![0]))],
        )),
        ParentSignal::Publish => {
            let mut sets = (Vec::new(), Vec::new());
            for key in keys.iter().filter(|key| key.kind().is_entry_point()) {
                let algorithm = Some(key.algorithm());
                let digest = digest(origin, key).map_err(DnssecError::Record)?;
                let public = key.dnskey().public_key().public_bytes().to_vec();
                sets.0.push(cds(CDS::new(key.key_tag(), algorithm, DigestType::SHA256, digest)));
                sets.1.push(cdnskey(CDNSKEY::with_flags(key.dnskey().flags(), algorithm, public)));
            }
            Ok(sets)
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;
    use mtasts_model::clock::SeededEntropy;

    use super::*;
    use crate::dnssec::{KeyKind, draw_key};

    #[test]
    fn a_ds_record_names_entry_points_and_no_zone_key() {
        let zone = "sts.example".parse().unwrap();
        let record = |kind| {
            let (key, _) = draw_key(&SeededEntropy::new(1), kind).unwrap();
            (ds_record(&zone, &key).unwrap(), key.key_tag())
        };
        assert_eq!(record(KeyKind::Zsk).0, None);
        let (Some(text), tag) = record(KeyKind::Ksk) else { panic!("none for a KSK") };
        assert!(text.starts_with(&format!("sts.example. IN DS {tag} 13 2 ")), "{text}");
        assert_eq!(text.rsplit(' ').next().map(str::len), Some(64));
    }

    #[test]
    fn the_parent_is_told_of_published_entry_points_too() {
        let origin = name::parse("sts.example").unwrap();
        let draw = |seed, kind| draw_key(&SeededEntropy::new(seed), kind).unwrap();
        let (active, _) = draw(1, KeyKind::Ksk);
        let (zsk, _) = draw(2, KeyKind::Zsk);
        let (_, pkcs8) = draw(3, KeyKind::Csk);
        let published = SigningKey::from_pkcs8(&pkcs8, KeyKind::Csk, crate::dnssec::KeyRole::Published).unwrap();
        let keys = [active, zsk, published];
        let (cds, cdnskey) = signals(ParentSignal::Publish, &keys, &origin).unwrap();
        assert_eq!((cds.len(), cdnskey.len()), (2, 2));
        assert!(cds.iter().all(|data| data.record_type() == RecordType::CDS));
        let (cds, cdnskey) = signals(ParentSignal::Delete, &keys, &origin).unwrap();
        assert_eq!((cds[0].to_string(), cdnskey[0].to_string()), ("0 0 0 00".to_owned(), "0 3 0 AA==".to_owned()));
    }
}
