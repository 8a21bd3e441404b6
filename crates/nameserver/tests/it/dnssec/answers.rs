//! Each kind of answer, to validators and to those who do not validate.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, RecordType},
};
use mtasts_model::{Clock, SystemClock, clock::ManualClock};
use mtasts_nameserver::{BindError, DnssecError, KeyKind, NameserverConfig, ParentSignal};
use tokio::net::UdpSocket;

use super::{
    Kept, full_feed, nsec, serving, signed_config, signed_question, types,
    validators::{Unbound, delv},
};
use crate::support::{Running, TestFeed, ask, config, question, until};

const NXNAME: RecordType = RecordType::Unknown(128);

/// Name, type, and how many records there are.
fn cases() -> Vec<(String, RecordType, usize)> {
    // 255 octets, the longest name there is: it has no room for a child.
    let label = "x".repeat(63);
    let longest = format!("{}.{label}.{label}.{label}.sts.example", "a".repeat(49));
    let cases = [
        ("abc._mta-sts.sts.example", RecordType::TXT, 1),
        ("ABC._mta-sts.STS.example", RecordType::TXT, 1),
        ("two._mta-sts.sts.example", RecordType::TXT, 3),
        ("a.b.sts.example", RecordType::TXT, 1),
        ("abc._mta-sts.sts.example", RecordType::A, 0),
        ("abc._mta-sts.sts.example", RecordType::DS, 0),
        // The wildcard, from the feed and from the configuration.
        ("x.edge.sts.example", RecordType::A, 2),
        ("y.edge.sts.example", RecordType::AAAA, 1),
        ("z.edge.sts.example", RecordType::CAA, 1),
        ("z.edge.sts.example", RecordType::TXT, 0),
        ("*.edge.sts.example", RecordType::A, 2),
        ("*.edge.sts.example", RecordType::TXT, 0),
        // The apex.
        ("sts.example", RecordType::SOA, 1),
        ("sts.example", RecordType::NS, 2),
        ("sts.example", RecordType::TXT, 1),
        ("sts.example", RecordType::DNSKEY, 1),
        ("sts.example", RecordType::CDS, 1),
        ("sts.example", RecordType::CDNSKEY, 1),
        ("sts.example", RecordType::MX, 0),
        // The operator's.
        ("ns1.sts.example", RecordType::A, 1),
        ("mixed.sts.example", RecordType::MX, 2),
        ("reports.mail.sts.example", RecordType::AAAA, 0),
        // Empty non-terminals.
        ("_mta-sts.sts.example", RecordType::TXT, 0),
        ("_smtp-tls.sts.example", RecordType::A, 0),
        ("edge.sts.example", RecordType::A, 0),
        ("mail.sts.example", RecordType::A, 0),
        ("b.sts.example", RecordType::TXT, 0),
        // Names that do not exist.
        ("nobody._mta-sts.sts.example", RecordType::TXT, 0),
        ("nobody.sts.example", RecordType::A, 0),
        ("d.e.e.p.sts.example", RecordType::A, 0),
        ("x.y.edge.sts.example", RecordType::A, 0),
        ("*.sts.example", RecordType::A, 0),
        ("*.*.sts.example", RecordType::A, 0),
        ("a.*.sts.example", RecordType::A, 0),
        ("\\064.sts.example", RecordType::A, 0),
        ("\\000.sts.example", RecordType::A, 0),
        ("\\255\\255.sts.example", RecordType::A, 0),
        ("a\\046b.sts.example", RecordType::A, 0),
        (longest.as_str(), RecordType::A, 0),
        // Aliases, whose ends validators look up themselves where we do not give them.
        ("in.sts.example", RecordType::TXT, 2),
        ("in.sts.example", RecordType::CNAME, 1),
        ("in.sts.example", RecordType::MX, 1),
        ("wild.sts.example", RecordType::A, 3),
        ("dead.sts.example", RecordType::A, 1),
    ];
    cases.into_iter().map(|(name, record_type, records)| (name.to_owned(), record_type, records)).collect()
}

#[tokio::test]
async fn unbound_finds_every_kind_of_answer_secure_also_from_its_cache() {
    let key = Kept::draw(KeyKind::Csk);
    let server = serving(signed_config(vec![key.active()])).await;
    let unbound = Unbound::start(server.address(), &[key.anchor()]).await;
    // The second time it may derive what it has learnt from other names' NSEC records (RFC 8198).
    for _ in 0..2 {
        for (name, record_type, records) in cases() {
            let answer = unbound.secure(&name, record_type).await;
            let found = types(&answer.answers).into_iter().filter(|of_type| *of_type != RecordType::RRSIG).count();
            assert_eq!(found, records, "{name} {record_type}: {answer}");
        }
    }
    let any = unbound.secure("abc._mta-sts.sts.example", RecordType::ANY).await;
    assert!(types(&any.answers).contains(&RecordType::HINFO), "{any}");
    unbound.secure("nobody.sts.example", RecordType::ANY).await;
    unbound.secure("abc._mta-sts.sts.example", RecordType::NSEC).await;
    unbound.secure("nobody._mta-sts.sts.example", RecordType::NSEC).await;
}

#[tokio::test]
async fn delv_finds_every_kind_of_answer_secure() {
    let key = Kept::draw(KeyKind::Csk);
    let server = serving(signed_config(vec![key.active()])).await;
    for (name, record_type, records) in cases() {
        let said = delv(server.address(), &key.anchor(), &name, record_type).await;
        let expected = if records == 0 { "; negative response, fully validated" } else { "; fully validated" };
        assert!(said.contains(expected) && !said.contains("; unsigned"), "{name} {record_type}:\n{said}");
    }
}

#[tokio::test]
async fn a_zone_with_ksk_and_zsk_is_secure() {
    let (ksk, zsk) = (Kept::draw(KeyKind::Ksk), Kept::draw(KeyKind::Zsk));
    let server = serving(signed_config(vec![zsk.active(), ksk.active()])).await;
    let unbound = Unbound::start(server.address(), &[ksk.anchor()]).await;
    for record_type in [RecordType::DNSKEY, RecordType::CDS, RecordType::CDNSKEY, RecordType::SOA] {
        let answer = unbound.secure("sts.example", record_type).await;
        let of = if record_type == RecordType::SOA { &zsk } else { &ksk };
        assert_eq!(signers(&answer), [of.active().key_tag()], "{record_type}");
    }
    unbound.secure("nobody.sts.example", RecordType::A).await;
    assert_eq!(unbound.ask("sts.example", RecordType::CDS).await.answers.len(), 2, "a CDS names entry points alone");
}

fn signers(answer: &Message) -> Vec<u16> {
    let tag = |record: &hickory_proto::rr::Record| match &record.data {
        RData::DNSSEC(hickory_proto::dnssec::rdata::DNSSECRData::RRSIG(signature)) => Some(signature.input().key_tag),
        _ => None,
    };
    answer.answers.iter().filter_map(tag).collect()
}

#[tokio::test]
async fn signatures_of_another_key_or_of_another_time_are_bogus() {
    let (key, other) = (Kept::draw(KeyKind::Csk), Kept::draw(KeyKind::Csk));
    let days = clocks(&[0, -9, 9]);
    for (clock, anchor, is_good) in [
        (days[0].clone(), &key, true),
        (days[0].clone(), &other, false),
        (days[1].clone(), &key, false),
        (days[2].clone(), &key, false),
    ] {
        let server = Running::start_at(signed_config(vec![key.active()]), full_feed(), Arc::new(clock)).await.unwrap();
        until("the feed has been read", || server.nameserver.ready()).await;
        let unbound = Unbound::start(server.address(), &[anchor.anchor()]).await;
        for (name, record_type) in [
            ("abc._mta-sts.sts.example", RecordType::TXT),
            ("x.edge.sts.example", RecordType::A),
            ("nobody.sts.example", RecordType::A),
        ] {
            assert_eq!(!unbound.is_bogus(name, record_type).await, is_good, "{name}");
            let said = delv(server.address(), &anchor.anchor(), name, record_type).await;
            assert_eq!(said.contains("fully validated"), is_good, "{name}:\n{said}");
        }
    }
}

/// Clocks that stand so many days from now.
fn clocks(days: &[i64]) -> Vec<ManualClock> {
    days.iter().map(|days| ManualClock::new(SystemClock.now() + TimeDelta::days(*days))).collect()
}

#[tokio::test]
async fn an_answer_that_was_changed_on_the_way_is_bogus() {
    let key = Kept::draw(KeyKind::Csk);
    let server = serving(signed_config(vec![key.active()])).await;
    let (from, to) = (server.address(), Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()));
    let address = to.local_addr().unwrap();
    let tampering = tokio::spawn(async move {
        let mut question = vec![0; 4096];
        loop {
            let (length, asker) = to.recv_from(&mut question).await.unwrap();
            let Some(mut answer) = crate::support::send(from, &question[..length]).await else { continue };
            if let Some(at) = answer.windows(4).position(|window| window == b"id=1") {
                answer[at + 3] = b'2';
            }
            to.send_to(&answer, asker).await.unwrap();
        }
    });
    let unbound = Unbound::start(address, &[key.anchor()]).await;
    unbound.secure("two._mta-sts.sts.example", RecordType::TXT).await;
    assert!(unbound.is_bogus("abc._mta-sts.sts.example", RecordType::TXT).await);
    tampering.abort();
}

#[tokio::test]
async fn who_does_not_ask_for_signatures_gets_the_answers_of_an_unsigned_zone() {
    let key = Kept::draw(KeyKind::Csk);
    let signed = serving(signed_config(vec![key.active()])).await;
    let unsigned = serving(NameserverConfig { dnssec: None, ..signed_config(Vec::new()) }).await;
    for (name, record_type, _) in cases() {
        if [RecordType::DNSKEY, RecordType::CDS, RecordType::CDNSKEY].contains(&record_type) {
            continue;
        }
        let mut message = signed_question(&name, record_type);
        message.edns.as_mut().unwrap().set_dnssec_ok(false);
        message.metadata.id = 1;
        let bytes = message.to_vec().unwrap();
        let of = async |server: &Running| crate::support::send(server.address(), &bytes).await.unwrap();
        assert_eq!(of(&signed).await, of(&unsigned).await, "{name} {record_type}");
    }
    let absent = ask(signed.address(), &question("nobody.sts.example", RecordType::A)).await;
    assert_eq!(absent.metadata.response_code, ResponseCode::NXDomain);
    // With DO, an unsigned zone answers as ever.
    let plain = ask(unsigned.address(), &signed_question("nobody.sts.example", RecordType::A)).await;
    assert_eq!(
        (plain.metadata.response_code, types(&plain.authorities)),
        (ResponseCode::NXDomain, vec![RecordType::SOA])
    );
}

#[tokio::test]
async fn a_denial_is_one_nsec_at_the_name_itself() {
    let key = Kept::draw(KeyKind::Csk);
    let server = serving(signed_config(vec![key.active()])).await;
    let asked = async |name: &str, record_type| ask(server.address(), &signed_question(name, record_type)).await;
    let kinds = [RecordType::SOA, RecordType::RRSIG, RecordType::NSEC, RecordType::RRSIG];

    let absent = asked("Nobody.sts.example", RecordType::A).await;
    assert_eq!((absent.metadata.response_code, types(&absent.authorities)), (ResponseCode::NoError, kinds.to_vec()));
    assert_eq!(absent.authorities[2].name.to_ascii(), "Nobody.sts.example.");
    assert!(absent.authorities.iter().all(|record| record.ttl == 60), "{absent}");
    let denial = nsec(&absent).unwrap();
    assert_eq!(denial.next_domain_name().to_ascii(), "\\000.nobody.sts.example.");
    assert_eq!(denial.type_bit_maps().collect::<Vec<_>>(), [RecordType::RRSIG, RecordType::NSEC, NXNAME]);

    let between = asked("_mta-sts.sts.example", RecordType::A).await;
    let present: Vec<_> = nsec(&between).unwrap().type_bit_maps().collect();
    assert_eq!(present, [RecordType::RRSIG, RecordType::NSEC]);
    let wild = asked("x.edge.sts.example", RecordType::TXT).await;
    let present: Vec<_> = nsec(&wild).unwrap().type_bit_maps().collect();
    let expected = [RecordType::A, RecordType::AAAA, RecordType::RRSIG, RecordType::NSEC, RecordType::CAA];
    assert_eq!(present, expected);
}

#[tokio::test]
async fn before_the_feed_is_read_nothing_is_denied_and_what_is_known_is_signed() {
    let key = Kept::draw(KeyKind::Csk);
    let feed = TestFeed::with(&[]);
    feed.set_down(true);
    let server = Running::start(signed_config(vec![key.active()]), feed).await;
    for (name, record_type) in
        [("sts.example", RecordType::MX), ("sts.example", RecordType::NSEC), ("x.sts.example", RecordType::A)]
    {
        let answer = ask(server.address(), &signed_question(name, record_type)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "a resolver may take the rest from its NSEC");
        assert!(answer.authorities.is_empty());
    }
    let unbound = Unbound::start(server.address(), &[key.anchor()]).await;
    unbound.secure("x.edge.sts.example", RecordType::AAAA).await;
    unbound.secure("sts.example", RecordType::SOA).await;
}

#[tokio::test]
async fn who_knows_compact_denial_gets_its_nxdomain_back() {
    let key = Kept::draw(KeyKind::Csk);
    let server = serving(signed_config(vec![key.active()])).await;
    for (name, code) in [("nobody", ResponseCode::NXDomain), ("_mta-sts", ResponseCode::NoError)] {
        let mut message = signed_question(&format!("{name}.sts.example"), RecordType::A);
        message.edns.as_mut().unwrap().flags_mut().z = 0x4000;
        let answer = ask(server.address(), &message).await;
        assert_eq!(answer.metadata.response_code, code);
        assert_eq!(answer.edns.as_ref().unwrap().flags().z, 0x4000, "the flag is answered (RFC 9824 §5.1)");
        assert_eq!(answer.authorities.len(), 4);
    }
    let asked = ask(server.address(), &signed_question("sts.example", NXNAME)).await;
    assert_eq!(asked.metadata.response_code, ResponseCode::FormErr, "RFC 9824 §3.5");
}

#[tokio::test]
async fn answers_that_are_too_long_when_signed_come_by_tcp() {
    let key = Kept::draw(KeyKind::Csk);
    let server = serving(signed_config(vec![key.active()])).await;
    let mut message = signed_question("a.b.sts.example", RecordType::TXT);
    message.edns.as_mut().unwrap().set_max_payload(512);
    let cut = ask(server.address(), &message).await;
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let whole = crate::support::over_tcp(&mut stream, &message.to_vec().unwrap()).await.unwrap();
    let whole = Message::from_vec(&whole).unwrap();
    assert_eq!(types(&whole.answers), [RecordType::TXT, RecordType::RRSIG]);
}

#[tokio::test]
async fn the_parent_is_told_what_the_operator_says() {
    let key = Kept::draw(KeyKind::Csk);
    let with = |signal| {
        let mut config = signed_config(vec![key.active()]);
        config.dnssec.as_mut().unwrap().parent = signal;
        config
    };
    let data = async |server: &Running, record_type| {
        let answer = server.ask("sts.example", record_type).await;
        answer.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>()
    };
    let server = serving(with(ParentSignal::Publish)).await;
    let (_, ds) = key.anchor().split_once(" DS ").map(|(zone, ds)| (zone.to_owned(), ds.to_owned())).unwrap();
    assert_eq!(data(&server, RecordType::CDS).await, [ds]);
    assert_eq!(data(&server, RecordType::CDNSKEY).await, data(&server, RecordType::DNSKEY).await);
    let server = serving(with(ParentSignal::Delete)).await;
    assert_eq!(data(&server, RecordType::CDS).await, ["0 0 0 00"]);
    assert_eq!(data(&server, RecordType::CDNSKEY).await, ["0 3 0 AA=="]);
    let server = serving(with(ParentSignal::Silent)).await;
    assert!(data(&server, RecordType::CDS).await.is_empty());
    let unbound = Unbound::start(server.address(), &[key.anchor()]).await;
    unbound.secure("sts.example", RecordType::CDS).await;
}

#[tokio::test]
async fn keys_that_cannot_sign_the_zone_are_refused_at_start() {
    let (csk, ksk, zsk) = (Kept::draw(KeyKind::Csk), Kept::draw(KeyKind::Ksk), Kept::draw(KeyKind::Zsk));
    let refused = async |config: NameserverConfig| match Running::try_start(config, TestFeed::with(&[])).await.err() {
        Some(BindError::Dnssec(error)) => error,
        other => panic!("{other:?}"),
    };
    let keys = |keys| NameserverConfig { static_records: Vec::new(), ..signed_config(keys) };
    assert!(matches!(refused(keys(vec![])).await, DnssecError::NoEntryPoint));
    assert!(matches!(refused(keys(vec![csk.published()])).await, DnssecError::NoEntryPoint));
    assert!(matches!(refused(keys(vec![zsk.active()])).await, DnssecError::NoEntryPoint));
    assert!(matches!(refused(keys(vec![ksk.active(), zsk.published()])).await, DnssecError::NoZoneKey));
    assert!(matches!(refused(keys(vec![csk.active(), csk.published()])).await, DnssecError::SameTag { .. }));
    let mut short = config();
    short.ttl.zone = 86_400;
    short.dnssec = signed_config(vec![csk.active()]).dnssec;
    short.dnssec.as_mut().unwrap().validity = Duration::from_hours(47);
    assert!(matches!(refused(short).await, DnssecError::Validity { least_seconds: 172_800 }));
}
