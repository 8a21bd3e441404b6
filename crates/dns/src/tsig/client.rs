//! The client's side: requests are signed, answers verified.

use mtasts_model::clock::Timestamp;

use aws_lc_rs::hmac;

use super::{
    TsigError, TsigErrorCode, TsigKey,
    record::{self, Signed, TsigRecord},
};

/// How many messages of a transfer may follow each other without a signature (RFC 8945 §5.3.1).
const MOST_UNSIGNED: usize = 99;

/// Seconds since the epoch.
pub(super) fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.timestamp()).unwrap_or(0)
}

/// The id of a message.
pub(super) fn id_of(message: &[u8]) -> Result<u16, TsigError> {
    match message {
        [high, low, _, _, _, _, _, _, _, _, _, _, ..] => Ok(u16::from_be_bytes([*high, *low])),
        _ => Err(TsigError::Malformed("it is shorter than a header")),
    }
}

impl TsigKey {
    /// Signs a request that is complete (RFC 8945 §5.1), and gives what verifies the answer.
    pub fn sign_request(&self, request: &mut Vec<u8>, now: Timestamp) -> Result<AnswerVerifier, TsigError> {
        let mut record = TsigRecord::of(self, seconds(now), id_of(request)?);
        let mut context = self.context();
        context.update(request);
        record.digest_variables(&mut context);
        record.mac = context.sign().as_ref().to_vec();
        record.append(request)?;
        Ok(AnswerVerifier::new(self.clone(), &record.mac))
    }
}

/// How far the messages of an answer can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// This one and all before it are the server's.
    Verified,
    /// This one is not signed itself, so it cannot be trusted before a later one is [`Trust::Verified`].
    Pending,
}

/// Verifies the messages of one answer, in their order (RFC 8945 §5.3).
pub struct AnswerVerifier {
    key: TsigKey,
    /// Digests the MAC before, and the messages since.
    context: hmac::Context,
    is_first: bool,
    unsigned: usize,
    /// That of the message before: time does not run back within an answer.
    time: u64,
}

impl AnswerVerifier {
    fn new(key: TsigKey, request_mac: &[u8]) -> Self {
        let mut context = key.context();
        record::digest_mac(&mut context, request_mac);
        Self { key, context, is_first: true, unsigned: 0, time: 0 }
    }

    /// Verifies the next message. After an error there is no next one. An answer of one message must be
    /// [`Trust::Verified`], and so must the last one of a transfer.
    pub fn verify(&mut self, answer: &[u8], now: Timestamp) -> Result<Trust, TsigError> {
        let Some(Signed { message, record }) = record::split(answer)? else {
            self.unsigned += 1;
            if self.is_first || self.unsigned > MOST_UNSIGNED {
                return Err(TsigError::Unsigned);
            }
            self.context.update(answer);
            return Ok(Trust::Pending);
        };
        // These two are never signed (RFC 8945 §5.2.1, §5.2.2), nor is their key's algorithm always ours. Whoever
        // forges them can but make us give up, and could do so by cutting the connection.
        if let Some(code @ (TsigErrorCode::BadKey | TsigErrorCode::BadSig)) = record.error_code() {
            return Err(TsigError::Refused(code));
        }
        if !record.is_of(&self.key) {
            return Err(TsigError::OtherKey);
        }
        let mut context = self.context.clone();
        context.update(&message);
        if self.is_first {
            record.digest_variables(&mut context);
        } else {
            record.digest_timers(&mut context);
        }
        // Truncated MACs are allowed by RFC 8945 §5.2.2.1, but nobody needs them: a full one is asked for.
        aws_lc_rs::constant_time::verify_slices_are_equal(context.sign().as_ref(), &record.mac)
            .map_err(|_| TsigError::Forged)?;
        if let Some(code) = record.error_code() {
            return Err(TsigError::Refused(code));
        }
        if let Some(seconds) = record.out_of_time(seconds(now)) {
            return Err(TsigError::OutOfTime { seconds });
        }
        if record.time < self.time {
            return Err(TsigError::OutOfTime { seconds: self.time - record.time });
        }
        self.time = record.time;
        self.context = self.key.context();
        record::digest_mac(&mut self.context, &record.mac);
        (self.is_first, self.unsigned) = (false, 0);
        Ok(Trust::Verified)
    }
}
