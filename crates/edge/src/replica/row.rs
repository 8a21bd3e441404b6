//! One host as bytes: compact, with a checksum, issuers by fingerprint.

use mtasts_model::{
    CertificateId, DomainId, Mode, PolicyVersionId, TenantId, Timestamp,
    feed::{HostContent, ServedLine},
};
use std::sync::Arc;

use crate::intermediates::{Fingerprint, fingerprint};

/// Changes when the layout does; rows of another format are read as damaged, and so the replica is rebuilt.
const FORMAT: u8 = 1;
const CHECKSUM: usize = 8;

/// The row's bytes do not say what this version of the program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of the replica is damaged")]
pub(crate) struct DamagedRow;

/// What is kept of a host. The issuers' certificates lie elsewhere, once each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostRow {
    pub(crate) tenant_id: TenantId,
    pub(crate) domain_id: DomainId,
    pub(crate) version_id: PolicyVersionId,
    pub(crate) certificate_id: CertificateId,
    pub(crate) mode: Mode,
    pub(crate) max_age: u32,
    pub(crate) not_after_micros: i64,
    pub(crate) policy_text: Vec<u8>,
    pub(crate) leaf: Vec<u8>,
    pub(crate) sealed_key: Vec<u8>,
    pub(crate) issuers: Vec<Fingerprint>,
}

impl HostRow {
    /// The row of a host, and its issuers' certificates.
    pub(crate) fn split(host: &HostContent) -> (Self, impl Iterator<Item = (Fingerprint, &[u8])>) {
        let (leaf, issuers) =
            host.chain.split_first().map_or((Vec::new(), &[][..]), |(leaf, rest)| (leaf.clone(), rest));
        let row = Self {
            tenant_id: host.tenant_id,
            domain_id: host.domain_id,
            version_id: host.version_id,
            certificate_id: host.certificate_id,
            mode: host.mode,
            max_age: host.max_age,
            not_after_micros: host.not_after.timestamp_micros(),
            policy_text: host.policy_text.clone().into_bytes(),
            leaf,
            sealed_key: host.sealed_key.clone(),
            issuers: issuers.iter().map(|der| fingerprint(der)).collect(),
        };
        (row, issuers.iter().map(|der| (fingerprint(der), der.as_slice())))
    }

    /// Goes on with the certificate of `own`, which is what is served of the same registration, if that works and this
    /// one's has expired: a restored backup brings old certificates back. True if it does.
    pub(crate) fn keep_working_certificate(&mut self, own: &Self, now: Timestamp) -> bool {
        let now = now.timestamp_micros();
        let same = (self.tenant_id, self.domain_id) == (own.tenant_id, own.domain_id);
        let keeps = same && self.not_after_micros <= now && own.not_after_micros > now;
        if keeps {
            self.certificate_id = own.certificate_id;
            self.not_after_micros = own.not_after_micros;
            self.leaf.clone_from(&own.leaf);
            self.sealed_key.clone_from(&own.sealed_key);
            self.issuers.clone_from(&own.issuers);
        }
        keeps
    }

    pub(crate) fn encode(&self) -> Arc<[u8]> {
        let mut out = Vec::with_capacity(128 + self.policy_text.len() + self.leaf.len() + self.sealed_key.len());
        out.push(FORMAT);
        out.extend_from_slice(self.tenant_id.as_uuid().as_bytes());
        out.extend_from_slice(self.domain_id.as_uuid().as_bytes());
        out.extend_from_slice(self.version_id.as_uuid().as_bytes());
        out.extend_from_slice(self.certificate_id.as_uuid().as_bytes());
        out.push(match self.mode {
            Mode::None => 0,
            Mode::Testing => 1,
            Mode::Enforce => 2,
        });
        out.extend_from_slice(&self.max_age.to_le_bytes());
        out.extend_from_slice(&self.not_after_micros.to_le_bytes());
        for part in [&self.policy_text, &self.leaf, &self.sealed_key] {
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(part);
        }
        for issuer in &self.issuers {
            out.extend_from_slice(issuer);
        }
        let checksum = fingerprint(&out);
        out.extend_from_slice(&checksum[..CHECKSUM]);
        out.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DamagedRow> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(DamagedRow)?;
        if fingerprint(content)[..CHECKSUM] != checksum[..] {
            return Err(DamagedRow);
        }
        let mut reader = Reader(content);
        if reader.array::<1>()? != [FORMAT] {
            return Err(DamagedRow);
        }
        let row = Self {
            tenant_id: TenantId::from_uuid(uuid::Uuid::from_bytes(reader.array()?)),
            domain_id: DomainId::from_uuid(uuid::Uuid::from_bytes(reader.array()?)),
            version_id: PolicyVersionId::from_uuid(uuid::Uuid::from_bytes(reader.array()?)),
            certificate_id: CertificateId::from_uuid(uuid::Uuid::from_bytes(reader.array()?)),
            mode: match reader.array()? {
                [0] => Mode::None,
                [1] => Mode::Testing,
                [2] => Mode::Enforce,
                [_] => return Err(DamagedRow),
            },
            max_age: u32::from_le_bytes(reader.array()?),
            not_after_micros: i64::from_le_bytes(reader.array()?),
            policy_text: reader.part()?.to_vec(),
            leaf: reader.part()?.to_vec(),
            sealed_key: reader.part()?.to_vec(),
            issuers: {
                let (issuers, rest) = reader.0.as_chunks::<32>();
                if !rest.is_empty() {
                    return Err(DamagedRow);
                }
                issuers.to_vec()
            },
        };
        Ok(row)
    }
}

/// The key and value under which a line of the ledger waits for the feed to come back.
pub(crate) fn encode_line(line: &ServedLine) -> ([u8; 16], [u8; 48]) {
    let mut value = [0; 48];
    value[..16].copy_from_slice(line.tenant_id.as_uuid().as_bytes());
    value[16..32].copy_from_slice(line.domain_id.as_uuid().as_bytes());
    value[32..40].copy_from_slice(&line.last_served_at.timestamp_micros().to_le_bytes());
    value[40..].copy_from_slice(&line.requests.to_le_bytes());
    (line.version_id.as_uuid().into_bytes(), value)
}

pub(crate) fn decode_line(key: &[u8], value: &[u8]) -> Result<ServedLine, DamagedRow> {
    let mut reader = Reader(value);
    Ok(ServedLine {
        version_id: PolicyVersionId::from_uuid(uuid::Uuid::from_slice(key).map_err(|_| DamagedRow)?),
        tenant_id: TenantId::from_uuid(uuid::Uuid::from_bytes(reader.array()?)),
        domain_id: DomainId::from_uuid(uuid::Uuid::from_bytes(reader.array()?)),
        last_served_at: chrono::DateTime::from_timestamp_micros(i64::from_le_bytes(reader.array()?))
            .ok_or(DamagedRow)?,
        requests: u64::from_le_bytes(reader.array()?),
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DamagedRow> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DamagedRow)?;
        self.0 = rest;
        Ok(*head)
    }

    fn part(&mut self) -> Result<&'a [u8], DamagedRow> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let (part, rest) = self.0.split_at_checked(length).ok_or(DamagedRow)?;
        self.0 = rest;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_row() -> impl Strategy<Value = HostRow> {
        let ids = any::<[u128; 4]>();
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
        let issuers = proptest::collection::vec(any::<[u8; 32]>(), 0..3);
        (ids, 0..3_u8, any::<u32>(), any::<i64>(), bytes(), bytes(), bytes(), issuers).prop_map(
            |(ids, mode, max_age, not_after_micros, policy_text, leaf, sealed_key, issuers)| HostRow {
                tenant_id: TenantId::from_uuid(uuid::Uuid::from_u128(ids[0])),
                domain_id: DomainId::from_uuid(uuid::Uuid::from_u128(ids[1])),
                version_id: PolicyVersionId::from_uuid(uuid::Uuid::from_u128(ids[2])),
                certificate_id: CertificateId::from_uuid(uuid::Uuid::from_u128(ids[3])),
                mode: [Mode::None, Mode::Testing, Mode::Enforce][usize::from(mode)],
                max_age,
                not_after_micros,
                policy_text,
                leaf,
                sealed_key,
                issuers,
            },
        )
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_itself(row in any_row()) {
            prop_assert_eq!(HostRow::decode(&row.encode()), Ok(row));
        }

        #[test]
        fn any_flipped_byte_is_noticed(row in any_row(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let mut bytes = row.encode().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(HostRow::decode(&bytes), Err(DamagedRow));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = HostRow::decode(&bytes);
            let _ = decode_line(&bytes, &bytes);
        }
    }
}
