//! Whatever is asked for, the answer proves itself to somebody else's verifier.

use std::net::SocketAddr;

use hickory_proto::{
    dnssec::{
        Verifier as _,
        rdata::{DNSKEY, DNSSECRData, RRSIG},
    },
    op::{Message, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
};
use mtasts_nameserver::KeyKind;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Kept, nsec, serving, signed_config, signed_question};
use crate::support::{ZONE, ask, question};

const NXNAME: RecordType = RecordType::Unknown(128);

fn label() -> impl Strategy<Value = Vec<u8>> {
    let known = ["_mta-sts", "_smtp-tls", "edge", "acme", "abc", "*", "mail", "reports", "ns1", "in", "wild", "b", "a"];
    prop_oneof![
        4 => proptest::sample::select(known.to_vec()).prop_map(|label| label.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..64),
    ]
}

fn asked() -> impl Strategy<Value = (Vec<Vec<u8>>, RecordType)> {
    let types = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::TXT,
        RecordType::CAA,
        RecordType::CNAME,
        RecordType::MX,
        RecordType::NS,
        RecordType::SOA,
        RecordType::DS,
        RecordType::DNSKEY,
        RecordType::CDS,
        RecordType::NSEC,
        RecordType::ANY,
        RecordType::Unknown(65_280),
    ];
    (proptest::collection::vec(label(), 0..4), proptest::sample::select(types.to_vec()))
}

fn signature(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature),
        _ => None,
    }
}

/// Every set of the section has a signature that holds.
fn check_section(section: &[Record], key: &DNSKEY) -> Result<(), TestCaseError> {
    for record in section.iter().filter(|record| signature(record).is_none()) {
        let of_type = record.record_type();
        let set = section.iter().filter(|other| other.name == record.name && other.record_type() == of_type);
        let mut signatures = section.iter().filter(|other| other.name == record.name).filter_map(signature);
        let found = signatures.find(|signature| signature.input().type_covered == of_type);
        let Some(found) = found else { return Err(TestCaseError::fail(format!("{record} is not signed"))) };
        let verified = key.verify_rrsig(&record.name, DNSClass::IN, found, set);
        prop_assert!(verified.is_ok(), "{record}: {verified:?}");
    }
    Ok(())
}

async fn check(server: SocketAddr, key: &DNSKEY, name: &Name, record_type: RecordType) -> Result<(), TestCaseError> {
    // Not by way of text, which has names of its own that it cannot read.
    let about = |mut message: Message| {
        message.queries[0].set_name(name.clone());
        message
    };
    let signed = ask(server, &about(signed_question(ZONE, record_type))).await;
    let plain = ask(server, &about(question(ZONE, record_type))).await;
    prop_assert_eq!(signed.metadata.response_code, ResponseCode::NoError, "{}", &signed);
    prop_assert!(!signed.metadata.truncation);
    for section in [&signed.answers, &signed.authorities, &signed.additionals] {
        check_section(section, key)?;
    }
    let unsigned = |message: &Message| -> Vec<String> {
        message.answers.iter().filter(|record| signature(record).is_none()).map(ToString::to_string).collect()
    };
    if record_type != RecordType::NSEC {
        prop_assert_eq!(unsigned(&signed), unsigned(&plain));
    }
    let exists = plain.metadata.response_code != ResponseCode::NXDomain;
    if signed.answers.is_empty() {
        let Some(denial) = nsec(&signed) else { return Err(TestCaseError::fail(format!("no NSEC in {signed}"))) };
        let has = |of_type| denial.type_set().contains(of_type);
        prop_assert_eq!(has(NXNAME), !exists);
        prop_assert!(!has(record_type) && !has(RecordType::CNAME), "{}", &signed);
        prop_assert_eq!(&signed.authorities[2].name, name);
        let is_last = denial.next_domain_name().to_ascii() == "sts.example.";
        prop_assert!(is_last || name < denial.next_domain_name());
        return Ok(());
    }
    // What is there is not denied by the NSEC record that another question brings to light.
    let other = ask(server, &about(signed_question(ZONE, RecordType::NSEC))).await;
    let Some(denial) = nsec(&other) else { return Err(TestCaseError::fail(format!("no NSEC in {other}"))) };
    let there: Vec<RecordType> = denial.type_bit_maps().collect();
    let at_name = signed.answers.iter().filter(|record| record.name == *name);
    for of_type in at_name.map(Record::record_type).filter(|of_type| *of_type != RecordType::HINFO) {
        prop_assert!(there.contains(&of_type), "{} lacks {}", &other, of_type);
    }
    Ok(())
}

#[test]
fn every_answer_verifies_and_every_denial_denies_what_was_asked_for() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let key = Kept::draw(KeyKind::Csk);
    let server = runtime.block_on(serving(signed_config(vec![key.active()])));
    let keys = runtime.block_on(server.ask("sts.example", RecordType::DNSKEY));
    let RData::DNSSEC(DNSSECRData::DNSKEY(dnskey)) = &keys.answers[0].data else { panic!("{keys}") };
    // Found cases are written down as tests, not in a file beside them.
    let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&asked(), |(labels, record_type)| {
        let all = labels.iter().map(Vec::as_slice).chain([&b"sts"[..], b"example"]);
        let Ok(name) = Name::from_labels(all) else { return Ok(()) };
        runtime.block_on(check(server.address(), dnskey, &name, record_type))
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
