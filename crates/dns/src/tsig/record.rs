//! TSIG records (RFC 8945 §4.2) at the end of messages, and what is digested (§4.3).

use aws_lc_rs::hmac;

use super::{TsigError, TsigErrorCode, TsigKey};

const HEADER: usize = 12;
const TYPE_TSIG: u16 = 250;
const CLASS_ANY: u16 = 255;
/// RFC 1035 §3.1.
const LONGEST_NAME: usize = 255;

/// A TSIG record. The names are as in a digest: lower-case, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TsigRecord {
    pub(super) name: Vec<u8>,
    pub(super) algorithm: Vec<u8>,
    /// Seconds since the epoch; 48 bits.
    pub(super) time: u64,
    pub(super) fudge: u16,
    pub(super) mac: Vec<u8>,
    pub(super) original_id: u16,
    pub(super) error: u16,
    pub(super) other: Vec<u8>,
}

impl TsigRecord {
    /// One of this key, without a MAC.
    pub(super) fn of(key: &TsigKey, time: u64, original_id: u16) -> Self {
        Self {
            name: key.0.name_octets.clone(),
            algorithm: key.0.algorithm_octets.clone(),
            time,
            fudge: super::FUDGE,
            mac: Vec::new(),
            original_id,
            error: 0,
            other: Vec::new(),
        }
    }

    pub(super) fn is_of(&self, key: &TsigKey) -> bool {
        self.name == key.0.name_octets && self.algorithm == key.0.algorithm_octets
    }

    /// `None` if there is none.
    pub(super) fn error_code(&self) -> Option<TsigErrorCode> {
        (self.error != 0).then(|| self.error.into())
    }

    /// Seconds between the signature and now, if that is more than the signer's fudge, which counts up to ours
    /// (RFC 8945 §5.2.3).
    pub(super) fn out_of_time(&self, now: u64) -> Option<u64> {
        let seconds = self.time.abs_diff(now);
        (seconds > u64::from(self.fudge.min(super::FUDGE))).then_some(seconds)
    }

    /// RFC 8945 §4.3.3: the TSIG variables, for requests and first answers.
    pub(super) fn digest_variables(&self, context: &mut hmac::Context) {
        context.update(&self.name);
        context.update(&CLASS_ANY.to_be_bytes());
        context.update(&[0; 4]);
        context.update(&self.algorithm);
        self.digest_timers(context);
        context.update(&self.error.to_be_bytes());
        context.update(&length_of(&self.other).to_be_bytes());
        context.update(&self.other);
    }

    /// RFC 8945 §5.3.1: what later messages of an answer have instead.
    pub(super) fn digest_timers(&self, context: &mut hmac::Context) {
        context.update(&self.time_octets());
        context.update(&self.fudge.to_be_bytes());
    }

    fn time_octets(&self) -> [u8; 6] {
        let [_, _, time @ ..] = self.time.to_be_bytes();
        time
    }

    /// Puts the record at the end of the message.
    pub(super) fn append(&self, message: &mut Vec<u8>) -> Result<(), TsigError> {
        let data_length = self.algorithm.len() + 16 + self.mac.len() + self.other.len();
        let length = message.len() + self.name.len() + 10 + data_length;
        if length > usize::from(u16::MAX) {
            return Err(TsigError::TooLong);
        }
        let additionals = be16(message, 10)?.checked_add(1).ok_or(TsigError::TooLong)?;
        message.splice(10..12, additionals.to_be_bytes());
        message.extend_from_slice(&self.name);
        message.extend_from_slice(&TYPE_TSIG.to_be_bytes());
        message.extend_from_slice(&CLASS_ANY.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&u16::try_from(data_length).map_err(|_| TsigError::TooLong)?.to_be_bytes());
        message.extend_from_slice(&self.algorithm);
        message.extend_from_slice(&self.time_octets());
        message.extend_from_slice(&self.fudge.to_be_bytes());
        message.extend_from_slice(&length_of(&self.mac).to_be_bytes());
        message.extend_from_slice(&self.mac);
        message.extend_from_slice(&self.original_id.to_be_bytes());
        message.extend_from_slice(&self.error.to_be_bytes());
        message.extend_from_slice(&length_of(&self.other).to_be_bytes());
        message.extend_from_slice(&self.other);
        Ok(())
    }
}

/// What a digest has ahead of an answer: the MAC that came before, and how long that is.
pub(super) fn digest_mac(context: &mut hmac::Context, mac: &[u8]) {
    context.update(&length_of(mac).to_be_bytes());
    context.update(mac);
}

fn length_of(octets: &[u8]) -> u16 {
    // MACs have up to 64 octets, and other data of ours 6; what was read had its length in 16 bits.
    u16::try_from(octets.len()).unwrap_or(u16::MAX)
}

/// A message taken apart: what was signed, and the signature.
pub(super) struct Signed {
    /// The message as it was before it was signed (RFC 8945 §5.2): without the record, with the original id.
    pub(super) message: Vec<u8>,
    pub(super) record: TsigRecord,
}

/// Takes the TSIG record off; `None` if there is none. Anything but one record at the very end is refused
/// (RFC 8945 §5.1).
pub(super) fn split(message: &[u8]) -> Result<Option<Signed>, TsigError> {
    let questions = be16(message, 4)?;
    let others = u32::from(be16(message, 6)?) + u32::from(be16(message, 8)?);
    let additionals = be16(message, 10)?;
    let records = others + u32::from(additionals);
    let mut at = HEADER;
    for _ in 0..questions {
        at = skip_name(message, at)? + 4;
    }
    for number in 1..=records {
        let start = at;
        let header = skip_name(message, at)?;
        let (kind, length) = (be16(message, header)?, be16(message, header + 8)?);
        at = header + 10 + usize::from(length);
        if at > message.len() {
            return Err(TsigError::Malformed("a record is cut short"));
        }
        if kind != TYPE_TSIG {
            continue;
        }
        if additionals == 0 || number != records || at != message.len() {
            return Err(TsigError::Malformed("a TSIG record is not the last"));
        }
        let record = read(message, start, header)?;
        let mut signed = message.get(..start).unwrap_or_default().to_vec();
        signed.splice(0..2, record.original_id.to_be_bytes());
        signed.splice(10..12, (additionals - 1).to_be_bytes());
        return Ok(Some(Signed { message: signed, record }));
    }
    if at > message.len() {
        return Err(TsigError::Malformed("a question is cut short"));
    }
    Ok(None)
}

/// Reads the record whose name is at `start` and whose fixed part is at `header`.
fn read(message: &[u8], start: usize, header: usize) -> Result<TsigRecord, TsigError> {
    let ttl_is_zero = be16(message, header + 4)? == 0 && be16(message, header + 6)? == 0;
    if be16(message, header + 2)? != CLASS_ANY || !ttl_is_zero {
        return Err(TsigError::Malformed("a TSIG record has another class than ANY, or a TTL"));
    }
    let (name, _) = canonical_name(message, start)?;
    let (algorithm, at) = canonical_name(message, header + 10)?;
    let time = [be16(message, at)?, be16(message, at + 2)?, be16(message, at + 4)?];
    let time = time.into_iter().fold(0, |time, part| (time << 16) | u64::from(part));
    let fudge = be16(message, at + 6)?;
    let (mac, at) = counted(message, at + 8)?;
    let (original_id, error) = (be16(message, at)?, be16(message, at + 2)?);
    let (other, at) = counted(message, at + 4)?;
    if at != message.len() {
        return Err(TsigError::Malformed("a TSIG record is longer than its parts"));
    }
    Ok(TsigRecord { name, algorithm, time, fudge, mac, original_id, error, other })
}

fn be16(message: &[u8], at: usize) -> Result<u16, TsigError> {
    match message.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(TsigError::Malformed("it is cut short")),
    }
}

fn counted(message: &[u8], at: usize) -> Result<(Vec<u8>, usize), TsigError> {
    let end = at + 2 + usize::from(be16(message, at)?);
    let octets = message.get(at + 2..end).ok_or(TsigError::Malformed("it is cut short"))?;
    Ok((octets.to_vec(), end))
}

/// Where the name that starts here ends.
fn skip_name(message: &[u8], mut at: usize) -> Result<usize, TsigError> {
    loop {
        match message.get(at) {
            Some(0) => return Ok(at + 1),
            Some(&length @ 1..=63) => at += 1 + usize::from(length),
            Some(0xc0..) => return Ok(at + 2),
            _ => return Err(TsigError::Malformed("a name cannot be read")),
        }
    }
}

/// The name that starts here, lower-case and uncompressed, and where it ends.
fn canonical_name(message: &[u8], start: usize) -> Result<(Vec<u8>, usize), TsigError> {
    let (mut name, mut at, mut barrier) = (Vec::new(), start, start);
    let end = skip_name(message, start)?;
    loop {
        match message.get(at) {
            Some(0) => {
                name.push(0);
                return Ok((name, end));
            }
            Some(&length @ 1..=63) => {
                let next = at + 1 + usize::from(length);
                let label = message.get(at..next).ok_or(TsigError::Malformed("a name is cut short"))?;
                // The length octet is below the letters, so it stays as it is.
                name.extend(label.iter().map(u8::to_ascii_lowercase));
                at = next;
            }
            Some(0xc0..) => {
                at = usize::from(be16(message, at)? & 0x3fff);
                // Only backwards, so that there is no circle.
                if at >= barrier {
                    return Err(TsigError::Malformed("a name points ahead"));
                }
                barrier = at;
            }
            _ => return Err(TsigError::Malformed("a name cannot be read")),
        }
        if name.len() >= LONGEST_NAME {
            return Err(TsigError::Malformed("a name is too long"));
        }
    }
}

/// A name that was parsed already, lower-case and without the trailing dot, on the wire.
pub(super) fn octets_of(name: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}
