//! AXFR and IXFR as a secondary sees them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Record, RecordType},
};
use mtasts_dns::tsig::{TsigAlgorithm, TsigErrorCode, TsigKey};
use mtasts_model::{
    Clock, SystemClock, SystemEntropy,
    clock::{Entropy, SeededEntropy},
    feed::RecordType as FeedType,
};
use mtasts_nameserver::{BindError, DnssecConfig, KeyKind, Limits, NameserverConfig, TransferLimits, draw_key};

use crate::{
    secondary::{
        Refusal, Transfer, apply, good_key, key, peer, request, request_for, serial_of, transfer, transfer_over_udp,
        whole, with_secondary,
    },
    support::{Running, TestFeed, ask, config, plain_question, question, send, until, with_replica},
};

async fn serving(config: NameserverConfig, feed: &Arc<TestFeed>) -> Running {
    let server = Running::start(config, feed.clone()).await;
    until("the feed has been read", || server.nameserver.ready()).await;
    server
}

/// Offers a value and waits until it is served.
async fn offer(server: &Running, feed: &TestFeed, name: &str, values: Option<&[&str]>) -> u32 {
    let revision = feed.offer(name, values);
    until("the change is served", || server.nameserver.position().number() >= revision).await;
    u32::try_from(revision).unwrap()
}

async fn refused(server: &Running, request: &Message, key: Option<&TsigKey>) -> Refusal {
    match Transfer::begin(server.address(), request, key).await.complete().await {
        Err(refusal) => refusal,
        Ok(transfer) => panic!("not refused: {:?}", transfer.records),
    }
}

const REFUSED: Refusal = Refusal::Code(ResponseCode::Refused);

#[tokio::test]
async fn nobody_may_transfer_the_zone_by_default() {
    let (server, _feed) = Running::serving(&[("a._mta-sts.sts.example", "t")]).await;
    for request in [request(None), request(Some(0))] {
        assert_eq!(refused(&server, &request, None).await, REFUSED);
        let signed = refused(&server, &request, Some(&good_key())).await;
        assert_eq!(signed, Refusal::Tsig(TsigErrorCode::BadKey));
        let over_udp = ask(server.address(), &request).await;
        assert_eq!(over_udp.metadata.response_code, ResponseCode::Refused);
        assert!(over_udp.answers.is_empty());
    }
}

#[tokio::test]
async fn only_a_peer_with_its_key_and_from_its_network_gets_the_zone() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "t")]);
    let far = key("far.test", TsigAlgorithm::HmacSha512);
    let transfers =
        vec![peer(Some(good_key()), &["127.0.0.0/8", "::1"], &[]), peer(Some(far.clone()), &["192.0.2.0/24"], &[])];
    let server = serving(NameserverConfig { transfers, ..config() }, &feed).await;
    assert!(transfer(server.address(), None).await.is_ok());
    let stolen = "c3RvbGVuIGFuZCBub3QgdGhlIHNhbWUgc2VjcmV0ISE=";
    let wrong = TsigKey::new("transfer.test", TsigAlgorithm::HmacSha256, &stolen.into()).unwrap();
    let unknown = key("nobody.test", TsigAlgorithm::HmacSha256);
    let longer = key("transfer.test", TsigAlgorithm::HmacSha512);
    for request in [request(None), request(Some(0))] {
        assert_eq!(refused(&server, &request, None).await, REFUSED, "without a key");
        assert_eq!(refused(&server, &request, Some(&far)).await, REFUSED, "from another network");
        for (key, code) in
            [(&wrong, TsigErrorCode::BadSig), (&unknown, TsigErrorCode::BadKey), (&longer, TsigErrorCode::BadKey)]
        {
            assert_eq!(refused(&server, &request, Some(key)).await, Refusal::Tsig(code));
        }
        let late = SystemClock.now() - TimeDelta::seconds(400);
        let begun = Transfer::begin_at(server.address(), &request, Some(&good_key()), late).await;
        assert_eq!(begun.complete().await.err(), Some(Refusal::Tsig(TsigErrorCode::BadTime)));
    }
}

#[tokio::test]
async fn a_network_alone_may_be_enough_and_a_peer_without_either_is_refused_at_the_start() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "t")]);
    let transfers = vec![peer(None, &["127.0.0.1"], &[])];
    let server = serving(NameserverConfig { transfers, ..config() }, &feed).await;
    let unsigned = Transfer::begin(server.address(), &request(None), None).await.complete().await.unwrap();
    assert_eq!(serial_of(&unsigned.records[0]), 1);
    let elsewhere = Transfer::begin(server.address(), &request_for("elsewhere.example", None), None).await;
    assert_eq!(elsewhere.complete().await.err(), Some(Refusal::Code(ResponseCode::NotAuth)));
    let over_udp = ask(server.address(), &request(None)).await;
    assert_eq!(over_udp.metadata.response_code, ResponseCode::FormErr, "RFC 5936 §4.2: not over UDP");
    let without_soa = ask(server.address(), &plain_question("sts.example", RecordType::IXFR)).await;
    assert_eq!(without_soa.metadata.response_code, ResponseCode::FormErr);

    let open = NameserverConfig { transfers: vec![peer(None, &[], &[])], ..config() };
    assert!(matches!(Running::try_start(open, feed).await.err(), Some(BindError::OpenTransfers { .. })));
}

#[tokio::test]
async fn every_record_comes_once_as_queries_give_it() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "t")]);
    feed.offer("b._mta-sts.sts.example", Some(&["one", "two", &"x".repeat(600)]));
    feed.offer("gone._mta-sts.sts.example", None);
    // Hidden by the operator's.
    feed.offer("sts.example", Some(&["the feed's"]));
    // Takes the place of the configured A, and leaves the others.
    feed.offer_values("*.edge.sts.example", FeedType::A, Some(&["198.51.100.1", "198.51.100.2"]));
    feed.offer_values("alias.sts.example", FeedType::Cname, Some(&["a._mta-sts.sts.example"]));
    let server = serving(with_secondary(&[]), &feed).await;
    let records = transfer(server.address(), None).await.unwrap();
    assert_eq!(records[0], server.ask("sts.example", RecordType::SOA).await.answers[0]);
    let (serial, copy) = whole(&records);
    assert_eq!(u64::from(serial), feed.head());
    let mut asked = BTreeSet::new();
    for (name, types) in [
        ("sts.example", vec![RecordType::NS, RecordType::TXT]),
        ("ns1.sts.example", vec![RecordType::A]),
        ("reports.mail.sts.example", vec![RecordType::A, RecordType::MX]),
        ("a._mta-sts.sts.example", vec![RecordType::TXT]),
        ("b._mta-sts.sts.example", vec![RecordType::TXT]),
        ("*.edge.sts.example", vec![RecordType::A, RecordType::AAAA, RecordType::CAA]),
        ("alias.sts.example", vec![RecordType::CNAME]),
    ] {
        for record_type in types {
            let answer = server.ask(name, record_type).await.answers;
            assert!(!answer.is_empty(), "{name} {record_type}");
            asked.extend(answer.iter().map(Record::to_string));
        }
    }
    assert_eq!(copy, asked);
}

#[tokio::test]
async fn a_zone_that_changes_during_its_transfer_comes_as_it_was_at_one_serial() {
    let long = "x".repeat(900);
    let name = |number: usize| format!("n{number}._mta-sts.sts.example");
    let feed = TestFeed::with(&[]);
    for number in 0..20_000 {
        feed.offer(&name(number), Some(&[&long]));
    }
    let server = serving(with_secondary(&[]), &feed).await;
    let mut slow = Transfer::begin(server.address(), &request(None), Some(&good_key())).await;
    slow.message().await.unwrap();
    // The kernel holds some megabytes of the twenty: most of the zone has not been read yet.
    for number in (0..20_000).step_by(3) {
        feed.offer(&name(number), Some(&["changed"]));
    }
    for number in (1..20_000).step_by(3) {
        feed.offer(&name(number), None);
    }
    for number in 20_000..22_000 {
        feed.offer(&name(number), Some(&["new"]));
    }
    until("the changes are served", || server.nameserver.position().number() == feed.head()).await;
    assert!(server.texts(&name(1)).await.is_empty() && server.texts(&name(0)).await == ["changed"]);
    let done = slow.complete().await.unwrap();
    assert!(done.longest <= 60_000 && done.messages > 100, "{} {}", done.longest, done.messages);
    let (serial, copy) = whole(&done.records);
    assert_eq!(serial, 20_000);
    let texts: Vec<_> = copy.iter().filter(|line| line.contains("._mta-sts.")).collect();
    assert_eq!(texts.len(), 20_000);
    assert!(texts.iter().all(|line| !line.contains("changed") && !line.contains("new")));
    let (serial, now) = whole(&transfer(server.address(), None).await.unwrap());
    assert_eq!(u64::from(serial), feed.head());
    assert_eq!(now.iter().filter(|line| line.contains("._mta-sts.")).count(), 20_000 - 6667 + 2000);
}

#[tokio::test]
async fn a_secondary_follows_by_differences() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one"), ("b._mta-sts.sts.example", "one")]);
    let server = serving(with_secondary(&[]), &feed).await;
    let (mut serial, mut copy) = whole(&transfer(server.address(), None).await.unwrap());
    let alone = transfer(server.address(), Some(serial)).await.unwrap();
    assert_eq!(alone.len(), 1, "nothing is new: the SOA alone");

    let edge = "*.edge.sts.example";
    for step in 0..6 {
        match step {
            0 => _ = offer(&server, &feed, "c._mta-sts.sts.example", Some(&["new"])).await,
            1 => _ = offer(&server, &feed, "a._mta-sts.sts.example", Some(&["one", "two"])).await,
            2 => _ = offer(&server, &feed, "b._mta-sts.sts.example", None).await,
            // The feed's take the place of the configured ones, which come back.
            3 => _ = feed.offer_values(edge, FeedType::A, Some(&["198.51.100.1"])),
            4 => _ = feed.offer_values(edge, FeedType::A, None),
            // The operator's stands before it.
            _ => _ = feed.offer("sts.example", Some(&["hidden"])),
        }
        until("the change is served", || server.nameserver.position().number() == feed.head()).await;
        let difference = transfer(server.address(), Some(serial)).await.unwrap();
        serial = apply(&mut copy, serial, &difference);
        assert_eq!(u64::from(serial), feed.head());
        assert_eq!((serial, copy.clone()), whole(&transfer(server.address(), None).await.unwrap()));
    }
    // All at once, and only what differs.
    let (mut copy, difference) = (BTreeSet::new(), transfer(server.address(), Some(2)).await.unwrap());
    copy.extend(difference[2..].iter().take_while(|r| r.record_type() != RecordType::SOA).map(Record::to_string));
    assert_eq!(copy.len(), 1, "only b is gone: {copy:?}");
    assert!(transfer(server.address(), Some(serial + 1)).await.unwrap().len() == 1, "a newer serial than ours");
}

#[tokio::test]
async fn a_secondary_that_is_too_far_behind_gets_the_whole_zone() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    let transfer_limits = TransferLimits { journal_octets: 1000, ..TransferLimits::default() };
    let server = serving(NameserverConfig { transfer_limits, ..with_secondary(&[]) }, &feed).await;
    for number in 0..20 {
        offer(&server, &feed, "b._mta-sts.sts.example", Some(&[&number.to_string()])).await;
    }
    let (serial, copy) = whole(&transfer(server.address(), Some(1)).await.unwrap());
    assert_eq!((serial, copy), whole(&transfer(server.address(), None).await.unwrap()));
    let difference = transfer(server.address(), Some(serial - 1)).await.unwrap();
    assert_eq!(difference.len(), 6, "one set is replaced: {difference:?}");
}

#[tokio::test]
async fn a_difference_that_does_not_fit_into_a_packet_is_the_soa_alone() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    let server = serving(with_secondary(&[]), &feed).await;
    let serial = offer(&server, &feed, "a._mta-sts.sts.example", Some(&["two"])).await;
    assert_eq!(transfer_over_udp(server.address(), 1).await.len(), 6);
    assert_eq!(transfer_over_udp(server.address(), serial).await.len(), 1);
    let serial = offer(&server, &feed, "a._mta-sts.sts.example", Some(&[&"x".repeat(400)])).await;
    let alone = transfer_over_udp(server.address(), 1).await;
    assert_eq!((alone.len(), serial_of(&alone[0])), (1, serial));
    for number in 0..100 {
        feed.offer(&format!("n{number}._mta-sts.sts.example"), Some(&["x"]));
    }
    until("the changes are served", || server.nameserver.position().number() == feed.head()).await;
    assert_eq!(transfer_over_udp(server.address(), serial).await.len(), 1);
    let unknown = transfer_over_udp(server.address(), u32::MAX - 5).await;
    assert_eq!(u64::from(serial_of(&unknown[0])), feed.head());
}

#[tokio::test]
async fn queries_that_are_signed_get_signed_answers() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    let server = serving(with_secondary(&[]), &feed).await;
    // A secondary asks for the SOA first, and trusts only a signed answer.
    for (name, record_type) in [("sts.example", RecordType::SOA), ("nobody._mta-sts.sts.example", RecordType::TXT)] {
        let mut octets = question(name, record_type).to_vec().unwrap();
        let mut verifier = good_key().sign_request(&mut octets, SystemClock.now()).unwrap();
        let answer = send(server.address(), &octets).await.unwrap();
        assert!(verifier.verify(&answer, SystemClock.now()).is_ok());
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off_and_the_number_of_transfers_is_capped() {
    let feed = TestFeed::with(&[]);
    let long = "x".repeat(2000);
    for number in 0..6000 {
        feed.offer(&format!("n{number}._mta-sts.sts.example"), Some(&[&long]));
    }
    let config = NameserverConfig {
        transfer_limits: TransferLimits { at_once: 1, ..TransferLimits::default() },
        limits: Limits { tcp_idle: Duration::from_secs(1), ..Limits::default() },
        ..with_secondary(&[])
    };
    let server = serving(config, &feed).await;
    let mut stuck = Transfer::begin(server.address(), &request(None), Some(&good_key())).await;
    stuck.message().await.unwrap();
    let second = transfer(server.address(), None).await;
    assert_eq!(second.err(), Some(Refusal::Code(ResponseCode::ServFail)), "one at a time");
    // The first does not read on. Its place is given back when it is cut off.
    let start = tokio::time::Instant::now();
    while transfer(server.address(), None).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "the stuck transfer keeps its place");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stuck.complete().await.err(), Some(Refusal::Closed));
}

#[tokio::test]
async fn the_serial_never_goes_back_over_restores_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.redb");
    let config = || NameserverConfig { transfers: with_secondary(&[]).transfers, ..with_replica(&path) };
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    let server = serving(config(), &feed).await;
    for number in 0..5 {
        offer(&server, &feed, "b._mta-sts.sts.example", Some(&[&number.to_string()])).await;
    }
    let (first, _) = whole(&transfer(server.address(), None).await.unwrap());
    assert_eq!(first, 6);

    feed.restore(3);
    until("the restored feed is served", || server.nameserver.position().number() <= 3).await;
    let (second, copy) = whole(&transfer(server.address(), None).await.unwrap());
    assert!(second > first && second - first < i32::MAX.cast_unsigned(), "{first} {second}");
    assert!(copy.iter().all(|line| !line.contains("b._mta-sts")), "what was restored is served: {copy:?}");
    // A secondary of before gets it, and whole: no difference leads there.
    assert_eq!(whole(&transfer(server.address(), Some(first)).await.unwrap()), (second, copy.clone()));
    offer(&server, &feed, "c._mta-sts.sts.example", Some(&["x"])).await;
    until("the replica is written", || path.exists()).await;
    server.stop().await;

    let server = serving(config(), &feed).await;
    until("the feed has been read", || feed.acknowledged() == Some(4)).await;
    let (third, _) = whole(&transfer(server.address(), None).await.unwrap());
    assert_eq!(third, 4 + (1 << 20));
    server.stop().await;

    // With everything else away, and with an older epoch in the configuration.
    feed.set_down(true);
    let server = serving(NameserverConfig { serial_epoch: 0, ..config() }, &feed).await;
    let (fourth, _) = whole(&transfer(server.address(), None).await.unwrap());
    assert_eq!(fourth, third);
    server.stop().await;

    // Without replica the operator says it.
    feed.set_down(false);
    let without = NameserverConfig { serial_epoch: 1, replica_path: None, ..config() };
    let server = serving(without, &feed).await;
    assert_eq!(whole(&transfer(server.address(), None).await.unwrap()).0, third);
}

#[tokio::test]
async fn a_removal_that_the_feed_has_forgotten_does_not_set_the_serial_back() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one"), ("b._mta-sts.sts.example", "one")]);
    feed.offer("b._mta-sts.sts.example", None);
    let server = serving(with_secondary(&[]), &feed).await;
    let before = serial_of(&transfer(server.address(), None).await.unwrap()[0]);
    server.stop().await;
    feed.purge();
    let server = serving(with_secondary(&[]), &feed).await;
    assert_eq!(serial_of(&transfer(server.address(), None).await.unwrap()[0]), before);
}

#[tokio::test]
async fn a_signed_zone_has_no_secondaries() {
    let (key, _) = draw_key(&SystemEntropy, KeyKind::Csk).unwrap();
    let config = NameserverConfig { dnssec: Some(DnssecConfig::new(vec![key])), ..with_secondary(&[]) };
    let started = Running::try_start(config, TestFeed::with(&[])).await;
    assert!(matches!(started.err(), Some(BindError::SignedTransfers)));
}

#[tokio::test]
async fn no_octets_of_a_request_end_the_server() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    let server = serving(with_secondary(&[]), &feed).await;
    offer(&server, &feed, "a._mta-sts.sts.example", Some(&["two"])).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.address()).await.unwrap();
    let entropy = SeededEntropy::new(3);
    for round in 0..20_000 {
        let mut octets = request((round % 3 > 0).then_some(1)).to_vec().unwrap();
        if round % 2 == 0 {
            good_key().sign_request(&mut octets, SystemClock.now()).unwrap();
        }
        let mut draw = [0; 6];
        entropy.fill(&mut draw);
        for (at, value) in [(draw[0], draw[1]), (draw[2], draw[3])] {
            // The opcode stays, mostly, so that it is read as a query.
            if let Some(octet) = octets.get_mut(usize::from(at)) {
                *octet = value;
            }
        }
        octets.truncate(if draw[4] < 32 { usize::from(draw[5]) } else { octets.len() });
        let _ = socket.send(&octets).await;
        if round % 64 == 0 {
            // It keeps up, and is alive.
            assert!(
                send(server.address(), &question("sts.example", RecordType::SOA).to_vec().unwrap()).await.is_some()
            );
        }
    }
    assert!(transfer(server.address(), Some(1)).await.is_ok());
}
