//! Both sides against each other, against the library's implementation, and against octets of any kind. Real servers
//! follow in the tests of the providers.

use hickory_proto::{
    op::{Message, OpCode, Query},
    rr::{Name, RecordType, TSigner, rdata::tsig::TsigAlgorithm as WireAlgorithm},
};
use mtasts_model::clock::{Clock, Entropy, ManualClock, SeededEntropy, Timestamp};

use super::*;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn key(name: &str, algorithm: TsigAlgorithm) -> TsigKey {
    TsigKey::new(name, algorithm, &SECRET.into()).unwrap()
}

fn keys() -> Vec<TsigKey> {
    vec![key("Transfer.Test.", TsigAlgorithm::HmacSha512), key("transfer.test", TsigAlgorithm::HmacSha256)]
}

fn now() -> Timestamp {
    ManualClock::default().now()
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(now().timestamp() + seconds, 0).unwrap()
}

fn message() -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("sts.test.").unwrap(), RecordType::SOA));
    message.to_vec().unwrap()
}

fn rejected(keys: &[TsigKey], request: &[u8], now: Timestamp) -> Rejection {
    match verify_request(keys, request, now) {
        Err(rejection) => rejection,
        Ok(signer) => panic!("not rejected: {signer:?}"),
    }
}

#[test]
fn a_key_is_parsed_and_never_shows_its_secret() {
    let key = TsigKey::new("Update.", "HMAC-SHA256.".parse().unwrap(), &SECRET.into()).unwrap();
    assert_eq!((key.name(), key.algorithm()), ("update", TsigAlgorithm::HmacSha256));
    let shown = format!("{key:?}");
    assert!(shown.contains("update") && !shown.contains("MDEy") && !shown.contains("48, 49"), "{shown}");
    assert!(matches!("hmac-md5.sig-alg.reg.int".parse::<TsigAlgorithm>(), Err(TsigKeyError::Algorithm { .. })));
    let new = |name, secret: &str| TsigKey::new(name, TsigAlgorithm::HmacSha256, &secret.into()).unwrap_err();
    assert!(matches!(new("a b", SECRET), TsigKeyError::Name(_)));
    assert_eq!(new("a", "no base64!"), TsigKeyError::Secret);
    assert_eq!(new("a", "c2hvcnQ="), TsigKeyError::ShortSecret { octets: 5 });
}

#[test]
fn a_request_and_all_messages_of_its_answer_verify() {
    for key in keys() {
        let mut request = message();
        let bare = request.len();
        let mut verifier = key.sign_request(&mut request, now()).unwrap();
        assert!(request.len() > bare && request.len() <= bare + key.signature_length());
        let mut signer = verify_request(&keys(), &request, now()).unwrap().unwrap();
        assert_eq!((signer.key().name(), signer.key().algorithm()), ("transfer.test", key.algorithm()));
        for seconds in 0..3 {
            let mut answer = message();
            signer.sign(&mut answer, later(seconds)).unwrap();
            assert_eq!(verifier.verify(&answer, later(seconds)), Ok(Trust::Verified));
        }
    }
}

#[test]
fn the_librarys_signer_agrees_with_ours() {
    let algorithms = [WireAlgorithm::HmacSha512, WireAlgorithm::HmacSha256];
    for (key, algorithm) in keys().into_iter().zip(algorithms) {
        let secret = STANDARD.decode(SECRET).unwrap();
        let theirs = TSigner::new(secret, algorithm, Name::from_ascii("transfer.test.").unwrap(), FUDGE).unwrap();
        let seconds = now().timestamp().unsigned_abs();
        let mut request = message();
        key.sign_request(&mut request, now()).unwrap();
        theirs.verify_message_byte(&request, None, true).unwrap();
        let mut request = Message::query();
        request.metadata.op_code = OpCode::Update;
        let (_, mut verifier) = theirs.sign_message(&request, seconds).unwrap();
        let (record, _) = theirs.sign_message(&request, seconds).unwrap();
        request.set_signature(record);
        let mut signer = verify_request(&[key], &request.to_vec().unwrap(), now()).unwrap().unwrap();
        let verifier = verifier.as_mut().unwrap();
        for _ in 0..3 {
            let mut answer = message();
            answer[2] |= 0x80; // QR
            signer.sign(&mut answer, now()).unwrap();
            verifier.verify(&answer).unwrap();
        }
    }
}

#[test]
fn unsigned_messages_in_between_are_trusted_only_when_a_signed_one_covers_them() {
    let key = key("transfer.test", TsigAlgorithm::HmacSha256);
    let answers = |changed: bool| {
        let mut request = message();
        let mut verifier = key.sign_request(&mut request, now()).unwrap();
        let mut mac = hmac::Context::with_key(&key.0.key);
        let mut first = message();
        verify_request(&keys(), &request, now()).unwrap().unwrap().sign(&mut first, now()).unwrap();
        assert_eq!(verifier.verify(&first, now()), Ok(Trust::Verified));
        // A signer that leaves one message out, by hand.
        let (mut unsigned, mut last) = (message(), message());
        let mut record = record::TsigRecord::of(&key, client::seconds(now()), client::id_of(&last).unwrap());
        record::digest_mac(&mut mac, &record::split(&first).unwrap().unwrap().record.mac);
        mac.update(&unsigned);
        mac.update(&last);
        record.digest_timers(&mut mac);
        record.mac = mac.sign().as_ref().to_vec();
        record.append(&mut last).unwrap();
        if changed {
            unsigned[13] ^= 1;
        }
        assert_eq!(verifier.verify(&unsigned, now()), Ok(Trust::Pending));
        verifier.verify(&last, now())
    };
    assert_eq!(answers(false), Ok(Trust::Verified));
    assert_eq!(answers(true), Err(TsigError::Forged));
    let mut request = message();
    let mut verifier = key.sign_request(&mut request, now()).unwrap();
    assert_eq!(verifier.verify(&message(), now()), Err(TsigError::Unsigned), "the first must be signed");
}

#[test]
fn a_hundred_messages_without_a_signature_are_too_many() {
    let key = key("transfer.test", TsigAlgorithm::HmacSha256);
    let mut request = message();
    let mut verifier = key.sign_request(&mut request, now()).unwrap();
    let mut first = message();
    verify_request(&keys(), &request, now()).unwrap().unwrap().sign(&mut first, now()).unwrap();
    verifier.verify(&first, now()).unwrap();
    for _ in 0..99 {
        assert_eq!(verifier.verify(&message(), now()), Ok(Trust::Pending));
    }
    assert_eq!(verifier.verify(&message(), now()), Err(TsigError::Unsigned));
}

#[test]
fn no_octet_of_a_signed_message_can_be_changed() {
    let key = key("transfer.test", TsigAlgorithm::HmacSha256);
    let (mut request, mut answer) = (message(), message());
    key.sign_request(&mut request, now()).unwrap();
    verify_request(&keys(), &request, now()).unwrap().unwrap().sign(&mut answer, now()).unwrap();
    for at in 0..request.len() {
        let mut changed = request.clone();
        changed[at] ^= 1;
        // The id is not signed: it is the record's original id that counts (RFC 8945 §5.2), and who matches answers to
        // requests compares the header's. The letters' case in names does not count either.
        let counts = at > 1 && !request[at].eq_ignore_ascii_case(&changed[at]);
        let outcome = verify_request(&keys(), &changed, now());
        assert_eq!(matches!(outcome, Ok(Some(_))), !counts, "octet {at}");
    }
    for at in 2..answer.len() {
        let mut request = message();
        let mut verifier = key.sign_request(&mut request, now()).unwrap();
        let mut answer = message();
        verify_request(&keys(), &request, now()).unwrap().unwrap().sign(&mut answer, now()).unwrap();
        answer[at] ^= 1;
        assert!(verifier.verify(&answer, now()).is_err(), "octet {at}");
    }
}

#[test]
fn each_rejection_reaches_the_client_as_what_it_is() {
    let good = key("transfer.test", TsigAlgorithm::HmacSha256);
    let other_secret = STANDARD.encode([7; 32]);
    let wrong = TsigKey::new("transfer.test", TsigAlgorithm::HmacSha256, &other_secret.into()).unwrap();
    let unknown = key("nobody.test", TsigAlgorithm::HmacSha256);
    for (key, at, code) in [
        (&unknown, now(), TsigErrorCode::BadKey),
        (&wrong, now(), TsigErrorCode::BadSig),
        (&good, later(301), TsigErrorCode::BadTime),
        (&good, later(-301), TsigErrorCode::BadTime),
    ] {
        let mut request = message();
        let mut verifier = key.sign_request(&mut request, at).unwrap();
        let rejection = rejected(&keys(), &request, now());
        assert_eq!(rejection.code(), Some(code));
        let mut answer = message();
        rejection.sign(&mut answer, now()).unwrap();
        assert_eq!(verifier.verify(&answer, at), Err(TsigError::Refused(code)));
    }
    let mut request = message();
    good.sign_request(&mut request, later(300)).unwrap();
    assert!(verify_request(&keys(), &request, now()).is_ok(), "300 seconds are allowed");
    assert!(matches!(verify_request(&keys(), &message(), now()), Ok(None)));
    request.push(0);
    assert_eq!(rejected(&keys(), &request, now()).code(), None);
}

#[test]
fn an_answer_that_is_old_or_runs_back_is_not_trusted() {
    let key = key("transfer.test", TsigAlgorithm::HmacSha256);
    let mut request = message();
    let mut verifier = key.sign_request(&mut request, now()).unwrap();
    let mut signer = verify_request(&keys(), &request, now()).unwrap().unwrap();
    let (mut first, mut second) = (message(), message());
    signer.sign(&mut first, later(10)).unwrap();
    signer.sign(&mut second, later(9)).unwrap();
    assert_eq!(verifier.verify(&first, later(311)), Err(TsigError::OutOfTime { seconds: 301 }));
    assert_eq!(verifier.verify(&first, later(310)), Ok(Trust::Verified));
    assert_eq!(verifier.verify(&second, later(10)), Err(TsigError::OutOfTime { seconds: 1 }));
}

#[test]
fn a_message_without_room_is_not_signed() {
    let key = key("transfer.test", TsigAlgorithm::HmacSha256);
    let mut request = message();
    request.resize(65_500, 0);
    assert_eq!(key.sign_request(&mut request, now()).err(), Some(TsigError::TooLong));
    assert!(matches!(key.sign_request(&mut vec![0; 11], now()), Err(TsigError::Malformed(_))));
}

#[test]
fn no_octets_make_it_panic() {
    let key = key("transfer.test", TsigAlgorithm::HmacSha256);
    let entropy = SeededEntropy::new(1);
    let mut signed = message();
    let mut verifier = key.sign_request(&mut signed, now()).unwrap();
    for round in 0..20_000 {
        let mut draw = [0; 8];
        entropy.fill(&mut draw);
        let [a, b, c, d, ..] = draw.map(usize::from);
        let mut octets = if round % 2 == 0 { signed.clone() } else { vec![0; a] };
        if round % 2 == 1 {
            entropy.fill(&mut octets);
        }
        // Few enough changes that much of it can still be read.
        for (at, value) in [(a, draw[4]), (b, draw[5])] {
            if let Some(octet) = octets.get_mut(at) {
                *octet = value;
            }
        }
        octets.truncate(if c < 128 { d } else { octets.len() });
        let _ = verify_request(&keys(), &octets, now()).map_err(|rejection| rejection.sign(&mut octets.clone(), now()));
        let _ = verifier.verify(&octets, now());
    }
}
