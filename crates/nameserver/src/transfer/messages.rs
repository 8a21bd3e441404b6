//! The messages of a transfer (RFC 5936 §2.2, RFC 1995 §4), written octet by octet: a million records go through here,
//! and the only name that is worth compressing is the zone's.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
    serialize::binary::BinEncodable,
};
use mtasts_dns::{UDP_PAYLOAD, tsig::AnswerSigner};
use mtasts_model::clock::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::content::{Content, ContentError, WireRecord};
use crate::zone::Zone;

/// Where messages end, when no single record is longer: large enough to be efficient, and small enough that a slow
/// reader who is cut off has not made us hold much.
const TARGET: usize = 32 * 1024;

/// QR and AA.
const FLAGS: u16 = 0x8400;
const RECURSION_DESIRED: u16 = 0x0100;
const CLASS_IN: u16 = 1;

/// Why a transfer ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("a record is too long for a message")]
    TooLong,
    #[error("a message cannot be signed")]
    Tsig(#[from] mtasts_dns::tsig::TsigError),
}

/// The answer to AXFR or IXFR, message by message.
pub(crate) struct Transfer {
    id: u16,
    flags: u16,
    question: Vec<u8>,
    /// The request had an OPT record, perhaps with DO.
    edns: Option<bool>,
    origin: Vec<u8>,
    content: Content,
    batch: std::vec::IntoIter<WireRecord>,
    /// The record that did not fit into the last message.
    held: Option<WireRecord>,
    signer: Option<AnswerSigner>,
    is_first: bool,
    /// For logs.
    pub(crate) peer: String,
    pub(crate) serial: u32,
    pub(crate) is_whole: bool,
    pub(crate) records: u64,
    /// Its place among the transfers at the same time, given back when dropped.
    _place: Option<OwnedSemaphorePermit>,
}

/// An answer that had to be one message.
pub(super) enum Single {
    Message(Vec<u8>),
    TooLong(Option<AnswerSigner>),
}

/// What a transfer is made of, besides its records.
pub(super) struct Frame<'a> {
    pub(super) request: &'a Message,
    pub(super) origin: &'a Name,
    pub(super) signer: Option<AnswerSigner>,
    pub(super) peer: String,
    pub(super) serial: u32,
    pub(super) is_whole: bool,
    pub(super) place: Option<OwnedSemaphorePermit>,
}

impl Transfer {
    pub(super) fn new(frame: Frame<'_>, content: Content) -> Result<Self, TransferError> {
        let Frame { request, origin, signer, peer, serial, is_whole, place } = frame;
        let mut question = Vec::new();
        for query in &request.queries {
            question.extend(query.to_bytes().map_err(ContentError::from)?);
        }
        let recursion_desired = if request.metadata.recursion_desired { RECURSION_DESIRED } else { 0 };
        Ok(Self {
            id: request.metadata.id,
            flags: FLAGS | recursion_desired,
            question,
            edns: request.edns.as_ref().map(|edns| edns.flags().dnssec_ok),
            origin: origin.to_bytes().map_err(ContentError::from)?,
            content,
            batch: Vec::new().into_iter(),
            held: None,
            signer,
            is_first: true,
            peer,
            serial,
            is_whole,
            records: 0,
            _place: place,
        })
    }

    /// The next message, signed if the request was; `None` after the last.
    pub(crate) fn next(&mut self, zone: &Zone, now: Timestamp) -> Result<Option<Vec<u8>>, TransferError> {
        let Some(first) = self.record(zone)? else { return Ok(None) };
        let mut message = self.fill(first, TARGET, usize::from(u16::MAX), zone)?;
        self.sign(&mut message, now)?;
        Ok(Some(message))
    }

    /// The whole answer as one message, for UDP; or who signs, if it would have more than `limit` octets.
    pub(super) fn single(mut self, limit: usize, zone: &Zone, now: Timestamp) -> Result<Single, TransferError> {
        let Some(first) = self.record(zone)? else { return Ok(Single::TooLong(self.signer)) };
        let mut message = match self.fill(first, limit, limit, zone) {
            Err(TransferError::TooLong) => return Ok(Single::TooLong(self.signer)),
            filled => filled?,
        };
        if self.record(zone)?.is_some() {
            return Ok(Single::TooLong(self.signer));
        }
        self.sign(&mut message, now)?;
        Ok(Single::Message(message))
    }

    fn sign(&mut self, message: &mut Vec<u8>, now: Timestamp) -> Result<(), TransferError> {
        if let Some(signer) = &mut self.signer {
            signer.sign(message, now)?;
        }
        Ok(())
    }

    fn record(&mut self, zone: &Zone) -> Result<Option<WireRecord>, TransferError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        loop {
            if let Some(record) = self.batch.next() {
                return Ok(Some(record));
            }
            match self.content.next(zone)? {
                Some(batch) => self.batch = batch.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// A message with this record, and as many more as keep it below `target`, with room for its signature.
    fn fill(
        &mut self,
        first: WireRecord,
        target: usize,
        longest: usize,
        zone: &Zone,
    ) -> Result<Vec<u8>, TransferError> {
        let opt = if self.is_first { self.opt() } else { Vec::new() };
        let tail = opt.len() + self.signer.as_ref().map_or(0, |signer| signer.key().signature_length());
        let mut message = Vec::with_capacity(target);
        for part in [self.id, self.flags, u16::from(!self.question.is_empty()), 0, 0, u16::from(!opt.is_empty())] {
            message.extend_from_slice(&part.to_be_bytes());
        }
        message.extend_from_slice(&self.question);
        let mut origin_at = None;
        let mut count: u16 = 0;
        let mut next = Some(first);
        while let Some(record) = next.take() {
            let before = message.len();
            write(&mut message, &record, &self.origin, &mut origin_at)?;
            if count == 0 && message.len() + tail > longest {
                return Err(TransferError::TooLong);
            }
            if count > 0 && message.len() + tail > target {
                message.truncate(before);
                self.held = Some(record);
                break;
            }
            count += 1;
            if count == u16::MAX {
                break;
            }
            next = self.record(zone)?;
        }
        self.records += u64::from(count);
        if let Some(place) = message.get_mut(6..8) {
            place.copy_from_slice(&count.to_be_bytes());
        }
        message.extend_from_slice(&opt);
        self.is_first = false;
        Ok(message)
    }

    /// In the first message, if the request had one (RFC 5936 §2.2.5).
    fn opt(&self) -> Vec<u8> {
        let Some(dnssec_ok) = self.edns else { return Vec::new() };
        let mut opt = vec![0];
        opt.extend(u16::from(RecordType::OPT).to_be_bytes());
        opt.extend(UDP_PAYLOAD.to_be_bytes());
        // RFC 6891 §6.1.3: extended code, version, and the flags, of which DO is copied (RFC 3225 §3).
        opt.extend([ResponseCode::NoError.high(), 0, if dnssec_ok { 0x80 } else { 0 }, 0]);
        opt.extend([0, 0]);
        opt
    }
}

/// Appends a record. The zone's name is written once in a message, and pointed to afterwards (RFC 1035 §4.1.4).
fn write(
    message: &mut Vec<u8>,
    record: &WireRecord,
    origin: &[u8],
    origin_at: &mut Option<u16>,
) -> Result<(), TransferError> {
    message.extend_from_slice(&record.owner);
    if let Some(at) = *origin_at {
        message.extend_from_slice(&(0xc000 | at).to_be_bytes());
    } else {
        *origin_at = u16::try_from(message.len()).ok().filter(|at| *at < 0x4000);
        message.extend_from_slice(origin);
    }
    message.extend_from_slice(&u16::from(record.record_type).to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    message.extend_from_slice(&record.ttl.to_be_bytes());
    let length = u16::try_from(record.data.len()).map_err(|_| TransferError::TooLong)?;
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(&record.data);
    Ok(())
}
