//! The server's side: requests are verified, answers signed.

use mtasts_model::clock::Timestamp;

use super::{
    TsigError, TsigErrorCode, TsigKey,
    client::{id_of, seconds},
    record::{self, Signed, TsigRecord},
};

/// Verifies a request (RFC 8945 §5.2). `None`: it is not signed.
pub fn verify_request(keys: &[TsigKey], request: &[u8], now: Timestamp) -> Result<Option<AnswerSigner>, Rejection> {
    let Some(Signed { message, record }) = record::split(request).map_err(|_| Rejection(Kind::Malformed))? else {
        return Ok(None);
    };
    let Some(key) = keys.iter().find(|key| record.is_of(key)) else {
        return Err(Rejection(Kind::Unsigned { code: TsigErrorCode::BadKey, record: Box::new(record) }));
    };
    let mut context = key.context();
    context.update(&message);
    record.digest_variables(&mut context);
    if aws_lc_rs::constant_time::verify_slices_are_equal(context.sign().as_ref(), &record.mac).is_err() {
        return Err(Rejection(Kind::Unsigned { code: TsigErrorCode::BadSig, record: Box::new(record) }));
    }
    let signer = AnswerSigner { key: key.clone(), mac: record.mac.clone(), is_first: true };
    if record.out_of_time(seconds(now)).is_some() {
        return Err(Rejection(Kind::BadTime { signer, time: record.time }));
    }
    Ok(Some(signer))
}

/// Why a request is not carried out, and how the answer to it says so.
#[derive(Debug)]
pub struct Rejection(Kind);

#[derive(Debug)]
enum Kind {
    Malformed,
    /// BADKEY and BADSIG: there is nothing to sign with.
    Unsigned {
        code: TsigErrorCode,
        record: Box<TsigRecord>,
    },
    BadTime {
        signer: AnswerSigner,
        time: u64,
    },
}

impl Rejection {
    /// The error for the TSIG record, and for logs. `None`: the answer is FORMERR without a TSIG record; otherwise it
    /// is NOTAUTH (RFC 8945 §5.2).
    pub fn code(&self) -> Option<TsigErrorCode> {
        match &self.0 {
            Kind::Malformed => None,
            Kind::Unsigned { code, .. } => Some(*code),
            Kind::BadTime { .. } => Some(TsigErrorCode::BadTime),
        }
    }

    /// Completes the answer (FORMERR or NOTAUTH, see [`Self::code`]) by its TSIG record.
    pub fn sign(self, answer: &mut Vec<u8>, now: Timestamp) -> Result<(), TsigError> {
        match self.0 {
            Kind::Malformed => Ok(()),
            Kind::Unsigned { code, record } => {
                let mut record = *record;
                // No MAC, and nothing that the stranger sent but names, time and id (RFC 8945 §5.3.2).
                (record.mac, record.other) = (Vec::new(), Vec::new());
                record.error = code.number();
                record.append(answer)
            }
            Kind::BadTime { mut signer, time } => {
                // RFC 8945 §5.2.3: their time, and beside it ours.
                let mut record = TsigRecord::of(&signer.key, time, id_of(answer)?);
                record.error = TsigErrorCode::BadTime.number();
                let [_, _, ours @ ..] = seconds(now).to_be_bytes();
                record.other = ours.to_vec();
                signer.complete(answer, record)
            }
        }
    }
}

/// Signs the messages of the answer to a request that was verified, in their order.
#[derive(Debug)]
pub struct AnswerSigner {
    key: TsigKey,
    /// The request's, then that of the message before.
    mac: Vec<u8>,
    is_first: bool,
}

impl AnswerSigner {
    /// The key that the request was signed by: who asks.
    pub fn key(&self) -> &TsigKey {
        &self.key
    }

    /// Signs the next message of the answer (RFC 8945 §5.3, §5.3.1). Keep [`TsigKey::signature_length`] octets free.
    pub fn sign(&mut self, answer: &mut Vec<u8>, now: Timestamp) -> Result<(), TsigError> {
        let record = TsigRecord::of(&self.key, seconds(now), id_of(answer)?);
        self.complete(answer, record)
    }

    fn complete(&mut self, answer: &mut Vec<u8>, mut record: TsigRecord) -> Result<(), TsigError> {
        let mut context = self.key.context();
        record::digest_mac(&mut context, &self.mac);
        context.update(answer);
        if self.is_first {
            record.digest_variables(&mut context);
        } else {
            record.digest_timers(&mut context);
        }
        record.mac = context.sign().as_ref().to_vec();
        record.append(answer)?;
        (self.mac, self.is_first) = (record.mac, false);
        Ok(())
    }
}
