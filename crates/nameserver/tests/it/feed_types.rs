//! Record sets of the feed besides tenants' TXT.

use std::sync::Arc;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use mtasts_model::feed::RecordType as FeedType;

use crate::support::{Running, TestFeed, config, until, with_replica};

const WILDCARD: &str = "*.edge.sts.example";
const CAA: &str = "0 issue \"ca.test; accounturi=https://ca.test/acct/1\"";

fn data(answer: &Message) -> Vec<String> {
    let mut data: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    data.sort();
    data
}

async fn answers(server: &Running, name: &str, record_type: RecordType) -> Vec<String> {
    data(&server.ask(name, record_type).await)
}

async fn code(server: &Running, name: &str, record_type: RecordType) -> ResponseCode {
    let answer = server.ask(name, record_type).await;
    assert!(answer.answers.is_empty(), "{answer}");
    answer.metadata.response_code
}

async fn until_served(server: &Running, position: u64) {
    until("the change is served", || server.nameserver.position().number() >= position).await;
}

#[tokio::test]
async fn sets_at_the_wildcard_take_the_place_of_what_is_configured_type_by_type() {
    let (server, feed) = Running::serving(&[]).await;
    feed.offer_values(WILDCARD, FeedType::A, Some(&["198.51.100.1", "198.51.100.2"]));
    let position = feed.offer_values(WILDCARD, FeedType::Caa, Some(&[CAA]));
    until_served(&server, position).await;
    for name in ["abc.edge.sts.example", "ABD.edge.sts.example", WILDCARD] {
        assert_eq!(answers(&server, name, RecordType::A).await, ["198.51.100.1", "198.51.100.2"], "{name}");
        assert_eq!(answers(&server, name, RecordType::CAA).await, [CAA], "{name}");
        assert_eq!(answers(&server, name, RecordType::AAAA).await, ["2001:db8::10"], "configured for {name}");
        assert_eq!(code(&server, name, RecordType::TXT).await, ResponseCode::NoError, "{name}");
    }
    let answer = server.ask("aBc.edge.sts.example", RecordType::A).await;
    assert_eq!((answer.answers[0].ttl, answer.answers[0].name.to_ascii().as_str()), (120, "aBc.edge.sts.example."));
    assert_eq!(code(&server, "a.b.edge.sts.example", RecordType::A).await, ResponseCode::NXDomain);

    let position = feed.offer_values(WILDCARD, FeedType::A, None);
    until_served(&server, position).await;
    assert_eq!(answers(&server, "abc.edge.sts.example", RecordType::A).await, ["192.0.2.10"], "configured again");
}

#[tokio::test]
async fn the_wildcard_may_come_from_the_feed_alone() {
    let mut config = config();
    config.edge_addresses.clear();
    config.caa.clear();
    let feed = TestFeed::with(&[]);
    feed.set_down(true);
    let server = Running::start(config, feed.clone()).await;
    assert_eq!(code(&server, "abc.edge.sts.example", RecordType::A).await, ResponseCode::ServFail, "not read yet");
    feed.offer_values(WILDCARD, FeedType::Aaaa, Some(&["2001:db8::1"]));
    feed.set_down(false);
    until("the feed has been read", || server.nameserver.ready()).await;
    assert_eq!(answers(&server, "abc.edge.sts.example", RecordType::AAAA).await, ["2001:db8::1"]);
    assert_eq!(code(&server, "abc.edge.sts.example", RecordType::A).await, ResponseCode::NoError);
    let position = feed.offer_values(WILDCARD, FeedType::Aaaa, None);
    until_served(&server, position).await;
    assert_eq!(code(&server, "abc.edge.sts.example", RecordType::AAAA).await, ResponseCode::NXDomain);
    assert_eq!(code(&server, "edge.sts.example", RecordType::AAAA).await, ResponseCode::NoError);
}

#[tokio::test]
async fn before_the_feed_is_read_no_type_that_it_may_bring_is_denied() {
    let feed = TestFeed::with(&[]);
    feed.set_down(true);
    let server = Running::start(config(), feed).await;
    assert_eq!(answers(&server, "abc.edge.sts.example", RecordType::A).await, ["192.0.2.10"]);
    for (name, record_type) in [
        ("abc.edge.sts.example", RecordType::TXT),
        ("_mta-sts.sts.example", RecordType::A),
        ("sts.example", RecordType::A),
        ("reports.mail.sts.example", RecordType::CAA),
    ] {
        assert_eq!(code(&server, name, record_type).await, ResponseCode::ServFail, "{name} {record_type}");
    }
    assert_eq!(code(&server, "sts.example", RecordType::MX).await, ResponseCode::NoError);
}

#[tokio::test]
async fn sets_of_any_type_are_served_at_any_name_and_go_by_their_tombstones() {
    let (server, feed) = Running::serving(&[("www.sts.example", "text")]).await;
    feed.offer_values("www.sts.example", FeedType::A, Some(&["198.51.100.1"]));
    feed.offer_values("www.sts.example", FeedType::Aaaa, Some(&["2001:db8::1"]));
    feed.offer_values("www.sts.example", FeedType::Caa, Some(&[CAA]));
    let position = feed.offer_values("deep.er.sts.example", FeedType::A, Some(&["198.51.100.2"]));
    until_served(&server, position).await;
    assert_eq!(answers(&server, "www.sts.example", RecordType::A).await, ["198.51.100.1"]);
    assert_eq!(answers(&server, "www.sts.example", RecordType::AAAA).await, ["2001:db8::1"]);
    assert_eq!(answers(&server, "www.sts.example", RecordType::CAA).await, [CAA]);
    assert_eq!(server.texts("www.sts.example").await, ["text"]);
    assert_eq!(code(&server, "www.sts.example", RecordType::MX).await, ResponseCode::NoError);
    assert_eq!(code(&server, "er.sts.example", RecordType::A).await, ResponseCode::NoError);

    feed.offer_values("www.sts.example", FeedType::A, None);
    let position = feed.offer_values("deep.er.sts.example", FeedType::A, None);
    until_served(&server, position).await;
    assert_eq!(code(&server, "www.sts.example", RecordType::A).await, ResponseCode::NoError);
    assert_eq!(answers(&server, "www.sts.example", RecordType::AAAA).await, ["2001:db8::1"], "the others stay");
    assert_eq!(code(&server, "er.sts.example", RecordType::A).await, ResponseCode::NXDomain);
}

#[tokio::test]
async fn an_alias_answers_for_every_type_and_is_followed_inside_of_the_zone() {
    let (server, feed) = Running::serving(&[("target.sts.example", "text")]).await;
    feed.offer_values("a.sts.example", FeedType::Cname, Some(&["b.sts.example"]));
    feed.offer_values("b.sts.example", FeedType::Cname, Some(&["target.sts.example"]));
    feed.offer_values("out.sts.example", FeedType::Cname, Some(&["www.example.net"]));
    feed.offer_values("round.sts.example", FeedType::Cname, Some(&["round.sts.example"]));
    let position = feed.offer_values("dead.sts.example", FeedType::Cname, Some(&["nobody.sts.example"]));
    until_served(&server, position).await;
    let chain = ["b.sts.example.", "target.sts.example."];
    assert_eq!(
        answers(&server, "a.sts.example", RecordType::TXT).await,
        [chain[0], chain[1], "text"].map(str::to_owned)
    );
    assert_eq!(answers(&server, "a.sts.example", RecordType::MX).await, chain);
    assert_eq!(answers(&server, "a.sts.example", RecordType::CNAME).await, [chain[0]]);
    assert_eq!(answers(&server, "out.sts.example", RecordType::A).await, ["www.example.net."]);
    assert_eq!(answers(&server, "round.sts.example", RecordType::A).await, ["round.sts.example."]);
    assert_eq!(answers(&server, "dead.sts.example", RecordType::A).await, ["nobody.sts.example."]);
}

#[tokio::test]
async fn the_operators_records_stand_before_the_feeds_and_beside_no_alias() {
    let (server, feed) = Running::serving(&[]).await;
    feed.offer_values("reports.mail.sts.example", FeedType::A, Some(&["198.51.100.1"]));
    feed.offer_values("reports.mail.sts.example", FeedType::Aaaa, Some(&["2001:db8::1"]));
    feed.offer_values("ns1.sts.example", FeedType::Cname, Some(&["elsewhere.example"]));
    let position = feed.offer_values("sts.example", FeedType::Cname, Some(&["elsewhere.example"]));
    until_served(&server, position).await;
    assert_eq!(answers(&server, "reports.mail.sts.example", RecordType::A).await, ["192.0.2.25"]);
    assert_eq!(answers(&server, "reports.mail.sts.example", RecordType::AAAA).await, ["2001:db8::1"]);
    assert_eq!(code(&server, "ns1.sts.example", RecordType::CNAME).await, ResponseCode::NoError);
    assert_eq!(code(&server, "ns1.sts.example", RecordType::TXT).await, ResponseCode::NoError);
    assert_eq!(code(&server, "sts.example", RecordType::A).await, ResponseCode::NoError);
}

#[tokio::test]
async fn values_that_are_none_and_names_of_other_zones_stop_nobody() {
    let (server, feed) = Running::serving(&[]).await;
    feed.offer_values("a.sts.example", FeedType::A, Some(&["2001:db8::1"]));
    feed.offer_values("*.edge.other.example", FeedType::A, Some(&["198.51.100.1"]));
    feed.offer_values("a._mta-sts.other.example", FeedType::Txt, None);
    let position = feed.offer_values("b.sts.example", FeedType::A, Some(&["198.51.100.1"]));
    until_served(&server, position).await;
    assert_eq!(answers(&server, "b.sts.example", RecordType::A).await, ["198.51.100.1"]);
    assert_eq!(code(&server, "a.sts.example", RecordType::A).await, ResponseCode::NXDomain);
    assert_eq!(code(&server, "a.edge.other.example", RecordType::A).await, ResponseCode::Refused);
}

#[tokio::test]
async fn a_restart_with_a_dead_feed_serves_every_type_from_the_replica() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.redb");
    let feed = TestFeed::with(&[("www.sts.example", "text")]);
    feed.offer_values("www.sts.example", FeedType::A, Some(&["198.51.100.1"]));
    feed.offer_values("www.sts.example", FeedType::Caa, Some(&[CAA]));
    feed.offer_values("alias.sts.example", FeedType::Cname, Some(&["www.sts.example"]));
    feed.offer_values(WILDCARD, FeedType::A, Some(&["198.51.100.9"]));
    let server = Running::start(with_replica(&path), feed.clone()).await;
    until("the replica is written", || path.exists()).await;
    // By the first load, and by a page after it.
    feed.offer_values(WILDCARD, FeedType::Aaaa, Some(&["2001:db8::9"]));
    let head = feed.offer_values("www.sts.example", FeedType::A, None);
    until("all is acknowledged", || feed.acknowledged() == Some(head)).await;
    server.stop().await;

    let dead = Arc::new(TestFeed::default());
    dead.set_down(true);
    let server = Running::start(with_replica(&path), dead).await;
    assert_eq!(code(&server, "www.sts.example", RecordType::A).await, ResponseCode::NoError, "the tombstone is kept");
    assert_eq!(answers(&server, "www.sts.example", RecordType::CAA).await, [CAA]);
    assert_eq!(answers(&server, "alias.sts.example", RecordType::TXT).await, ["text", "www.sts.example."]);
    assert_eq!(answers(&server, "abc.edge.sts.example", RecordType::A).await, ["198.51.100.9"]);
    assert_eq!(answers(&server, "abc.edge.sts.example", RecordType::AAAA).await, ["2001:db8::9"]);
}

#[tokio::test]
async fn an_alias_at_the_wildcard_stands_for_all_types_unless_some_are_configured() {
    let (server, feed) = Running::serving(&[]).await;
    let position = feed.offer_values(WILDCARD, FeedType::Cname, Some(&["edges.example.net"]));
    until_served(&server, position).await;
    assert_eq!(answers(&server, "abc.edge.sts.example", RecordType::A).await, ["192.0.2.10"]);
    for record_type in [RecordType::TXT, RecordType::CNAME] {
        assert_eq!(code(&server, "abc.edge.sts.example", record_type).await, ResponseCode::NoError, "{record_type}");
    }

    let mut config = config();
    config.edge_addresses.clear();
    config.caa.clear();
    let server = Running::start(config, feed).await;
    until("the feed has been read", || server.nameserver.ready()).await;
    for record_type in [RecordType::A, RecordType::TXT, RecordType::CNAME] {
        let found = answers(&server, "abc.edge.sts.example", record_type).await;
        assert_eq!(found, ["edges.example.net."], "{record_type}");
    }
}
