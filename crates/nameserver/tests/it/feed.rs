//! Following the feed, and the replica.

use std::{path::Path, time::Duration};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use mtasts_model::feed::RecordData;
use mtasts_nameserver::{BindError, ReplicaError};
use tokio::time::{Instant, sleep};

use crate::support::{PATIENCE, Running, TestFeed, ZONE, until, with_replica};

const NAME: &str = "a._mta-sts.sts.example";

async fn until_texts(server: &Running, name: &str, expected: &[&str]) -> Duration {
    let start = Instant::now();
    while server.texts(name).await != expected {
        assert!(start.elapsed() < PATIENCE, "{name} never became {expected:?}");
        sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

/// Runs until the replica has been written up to the feed's head.
async fn fill(path: &Path, feed: &std::sync::Arc<TestFeed>, head: u64) {
    let server = Running::start(with_replica(path), feed.clone()).await;
    until("all is acknowledged", || feed.acknowledged() == Some(head)).await;
    until("the replica is written", || path.exists()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_change_is_answered_within_a_second_of_being_offered() {
    let (server, feed) = Running::serving(&[(NAME, "old")]).await;
    for value in ["one", "two", "three"] {
        feed.offer(NAME, Some(&[value]));
        assert!(until_texts(&server, NAME, &[value]).await < Duration::from_secs(1));
    }
    feed.offer(NAME, None);
    assert!(until_texts(&server, NAME, &[]).await < Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_acknowledged_is_what_is_answered() {
    let (server, feed) = Running::serving(&[(NAME, "old")]).await;
    let head = feed.offer(NAME, Some(&["new"]));
    until("it is acknowledged", || feed.acknowledged() == Some(head)).await;
    assert_eq!(server.texts(NAME).await, ["new"]);
    assert_eq!(server.nameserver.position().number(), head);
}

#[tokio::test]
async fn many_pages_are_read_before_anything_is_denied() {
    let feed = TestFeed::with(&[]);
    feed.pages_of(7);
    for number in 0..100 {
        feed.offer(&format!("n{number}._mta-sts.{ZONE}"), Some(&["t"]));
    }
    let server = Running::start(crate::support::config(), feed.clone()).await;
    until("all is acknowledged", || feed.acknowledged() == Some(100)).await;
    for number in [0, 50, 99] {
        assert_eq!(server.texts(&format!("n{number}._mta-sts.{ZONE}")).await, ["t"]);
    }
}

#[tokio::test]
async fn before_the_feed_is_read_absence_is_servfail_and_the_wildcard_answers() {
    let feed = TestFeed::with(&[(NAME, "t")]);
    feed.set_down(true);
    let server = Running::start(crate::support::config(), feed.clone()).await;
    assert!(!server.nameserver.ready());
    for name in [NAME, "nobody._mta-sts.sts.example", "x.sts.example"] {
        for record_type in [RecordType::TXT, RecordType::A, RecordType::ANY] {
            let answer = server.ask(name, record_type).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{name} {record_type}");
        }
    }
    assert_eq!(server.ask("x.edge.sts.example", RecordType::A).await.answers.len(), 1);
    feed.set_down(false);
    until_texts(&server, NAME, &["t"]).await;
}

#[tokio::test]
async fn while_the_feed_is_away_the_last_state_is_served_on() {
    let (server, feed) = Running::serving(&[(NAME, "t")]).await;
    feed.set_down(true);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(server.texts(NAME).await, ["t"]);
    feed.set_down(false);
    feed.offer(NAME, Some(&["u"]));
    until_texts(&server, NAME, &["u"]).await;
}

#[tokio::test]
async fn a_row_that_cannot_be_served_does_not_stop_the_others() {
    let (server, feed) = Running::serving(&[]).await;
    feed.offer("elsewhere.example", Some(&["t"]));
    feed.offer("not a name.sts.example", Some(&["t"]));
    feed.offer_set("b._mta-sts.sts.example", Some(RecordData { ttl: 60, values: vec![] }));
    feed.offer(NAME, Some(&["t"]));
    until_texts(&server, NAME, &["t"]).await;
}

#[tokio::test]
async fn a_restart_with_a_dead_feed_serves_from_the_replica() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deeper").join("zone.redb");
    let feed = TestFeed::with(&[(NAME, "t"), ("b._mta-sts.sts.example", "gone")]);
    let head = feed.offer("b._mta-sts.sts.example", None);
    fill(&path, &feed, head).await;

    let dead = TestFeed::with(&[]);
    dead.set_down(true);
    let server = Running::start(with_replica(&path), dead).await;
    assert!(server.nameserver.ready());
    assert_eq!(server.nameserver.position().number(), head);
    assert_eq!(server.texts(NAME).await, ["t"]);
    let gone = server.ask("b._mta-sts.sts.example", RecordType::TXT).await;
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn changes_after_the_first_load_reach_the_replica_and_a_restart_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.redb");
    let feed = TestFeed::with(&[(NAME, "old"), ("b._mta-sts.sts.example", "t")]);
    let server = Running::start(with_replica(&path), feed.clone()).await;
    until("the replica is written", || path.exists()).await;
    feed.offer(NAME, Some(&["new"]));
    let head = feed.offer("b._mta-sts.sts.example", None);
    until("all is acknowledged", || feed.acknowledged() == Some(head)).await;
    server.stop().await;

    feed.set_down(true);
    let asked = feed.asked_after().len();
    let server = Running::start(with_replica(&path), feed.clone()).await;
    assert_eq!(server.texts(NAME).await, ["new"]);
    assert!(server.texts("b._mta-sts.sts.example").await.is_empty());
    feed.set_down(false);
    feed.offer(NAME, Some(&["newest"]));
    until_texts(&server, NAME, &["newest"]).await;
    assert_eq!(feed.asked_after()[asked], head, "it does not begin at 0 again");
}

#[tokio::test]
async fn a_damaged_replica_is_moved_aside_and_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.redb");
    let feed = TestFeed::with(&[]);
    for number in 0..500 {
        feed.offer(&format!("n{number}._mta-sts.{ZONE}"), Some(&["t"]));
    }
    fill(&path, &feed, 500).await;
    let whole = std::fs::read(&path).unwrap();

    let mut flipped = whole.clone();
    let at = whole.windows(4).position(|window| window == b"n250").expect("the name is in the file");
    flipped[at] ^= 0x20;
    let mut zeroed = whole.clone();
    let middle = whole.len() / 2;
    zeroed[..middle].fill(0);
    let truncated = |length: usize| whole[..length].to_vec();
    let damages = [
        ("flipped", flipped),
        ("zeroed", zeroed),
        ("truncated", truncated(whole.len() / 2)),
        ("short", truncated(100)),
        ("empty", Vec::new()),
        ("noise", b"not a database at all".repeat(1000)),
    ];
    for (kind, damaged) in damages {
        std::fs::write(&path, &damaged).unwrap();
        let aside = folder.path().join("zone.redb.damaged");
        let _ = std::fs::remove_file(&aside);
        let server = Running::start(with_replica(&path), feed.clone()).await;
        until_texts(&server, &format!("n250._mta-sts.{ZONE}"), &["t"]).await;
        // An empty file is what is left when the first write never happened: nothing to keep aside.
        if kind != "empty" {
            assert_eq!(std::fs::read(&aside).ok().map(|kept| kept.len()), Some(damaged.len()), "{kind}");
        }
        until("a new replica is written", || path.exists()).await;
        server.stop().await;

        let dead = TestFeed::with(&[]);
        dead.set_down(true);
        let server = Running::start(with_replica(&path), dead).await;
        assert_eq!(server.texts(&format!("n499._mta-sts.{ZONE}")).await, ["t"], "{kind}");
        server.stop().await;
    }
}

#[tokio::test]
async fn the_replica_of_another_zone_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.redb");
    let feed = TestFeed::with(&[(NAME, "t")]);
    fill(&path, &feed, 1).await;
    let mut config = with_replica(&path);
    config.zone = "other.example".parse().unwrap();
    config.name_servers.truncate(0);
    config.name_servers.push(mtasts_nameserver::NameServer { name: "ns.example".into(), addresses: vec![] });
    config.static_records.clear();
    feed.set_down(true);
    let server = Running::start(config, feed).await;
    assert!(!server.nameserver.ready());
}

#[tokio::test]
async fn a_replica_in_use_by_another_nameserver_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.redb");
    let feed = TestFeed::with(&[(NAME, "t")]);
    let _first = Running::start(with_replica(&path), feed.clone()).await;
    until("the replica is written", || path.exists()).await;
    let second = Running::try_start(with_replica(&path), feed).await.err();
    assert!(matches!(second, Some(BindError::Replica(ReplicaError::InUse { .. }))), "{second:?}");
    assert!(path.exists(), "it is not moved aside");
}

#[tokio::test]
async fn a_reader_below_the_floor_forgets_what_is_gone_and_begins_at_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.redb");
    let feed = TestFeed::with(&[(NAME, "t"), ("b._mta-sts.sts.example", "t")]);
    fill(&path, &feed, 2).await;
    // Removed while the nameserver was away for so long that the tombstone is gone, too.
    feed.offer("b._mta-sts.sts.example", None);
    for number in 0..20 {
        feed.offer(&format!("n{number}._mta-sts.{ZONE}"), Some(&["t"]));
    }
    feed.purge();
    feed.pages_of(5);
    let server = Running::start(with_replica(&path), feed.clone()).await;
    until_texts(&server, "b._mta-sts.sts.example", &[]).await;
    assert_eq!(server.texts(NAME).await, ["t"]);
    assert_eq!(server.texts(&format!("n19._mta-sts.{ZONE}")).await, ["t"]);
    server.stop().await;

    feed.set_down(true);
    let server = Running::start(with_replica(&path), feed).await;
    assert!(server.texts("b._mta-sts.sts.example").await.is_empty(), "the replica was written anew, too");
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_does_not_stop_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.redb");
    // The new file cannot be created where a folder stands.
    std::fs::create_dir(folder.path().join("zone.redb.new")).unwrap();
    let feed = TestFeed::with(&[(NAME, "t")]);
    let server = Running::start(with_replica(&path), feed.clone()).await;
    until_texts(&server, NAME, &["t"]).await;
    let head = feed.offer(NAME, Some(&["u"]));
    until("it is acknowledged", || feed.acknowledged() == Some(head)).await;
    assert_eq!(server.texts(NAME).await, ["u"]);
}
