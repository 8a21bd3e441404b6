use std::{sync::atomic::Ordering, time::Duration};

use mtasts_edge::Handover;
use mtasts_model::Mode;

use crate::{
    harness::{Harness, PATH, until},
    serving::H2,
};

#[tokio::test]
async fn every_served_policy_is_counted_by_version() {
    let harness = Harness::serving(&["example.com"]).await;
    for _ in 0..5 {
        harness.client().policy("example.com").await.unwrap();
    }
    let mut h2 = H2::connect(&harness, "example.com").await;
    h2.ask("GET", &format!("https://mta-sts.example.com{PATH}"), None).await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    connection.get("mta-sts.example.com", "/").await.unwrap();
    let host = harness.authority.host("example.com", Mode::Enforce);
    let (second, domain_id, tenant_id) = (host.version_id, host.domain_id, host.tenant_id);
    let revision = harness.feed.put_host("example.com", host);
    harness.acknowledged(revision).await;
    harness.client().policy("example.com").await.unwrap();
    until("all is handed over", || harness.feed.served().iter().map(|line| line.requests).sum::<u64>() >= 7).await;
    let lines = harness.feed.served();
    let of_second: u64 = lines.iter().filter(|line| line.version_id == second).map(|line| line.requests).sum();
    assert_eq!(of_second, 1);
    assert_eq!(lines.iter().map(|line| line.requests).sum::<u64>(), 7, "the 404 is not counted");
    let last = lines.iter().map(|line| line.last_served_at).max();
    until("all until then is said to be complete", || harness.feed.complete_until() > last).await;
    assert!(lines.iter().all(|line| line.domain_id == domain_id && line.tenant_id == tenant_id));
}

#[tokio::test]
async fn what_the_feed_does_not_take_is_kept_across_a_restart_and_counted_once() {
    let harness = Harness::serving(&["example.com"]).await;
    harness.feed.down.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        harness.client().policy("example.com").await.unwrap();
    }
    until("the trouble is told", || harness.edge.readiness().notes.iter().any(|note| note.contains("ledger"))).await;
    let Harness { edge, feed, authority, folder } = harness;
    let _ = edge.shutdown(Duration::from_secs(1)).await;
    assert!(feed.served().is_empty());
    feed.down.store(false, Ordering::SeqCst);
    let harness = Harness::restarted(&feed, &authority, &folder);
    harness.caught_up().await;
    harness.client().policy("example.com").await.unwrap();
    until("all is handed over", || feed.served().iter().map(|line| line.requests).sum::<u64>() >= 4).await;
    let _ = harness.edge.shutdown(Duration::from_secs(1)).await;
    let harness = Harness::restarted(&feed, &authority, &folder);
    let _ = harness.edge.shutdown(Duration::from_secs(1)).await;
    assert_eq!(feed.served().iter().map(|line| line.requests).sum::<u64>(), 4);
}

/// Invariant 5: an edge that is retired holds no withdrawal back any more.
#[tokio::test]
async fn a_shutdown_says_whether_the_feed_has_all_of_the_ledger() {
    let harness = Harness::with(&["example.com"], |config| config.ledger_flush = Duration::from_mins(1)).await;
    harness.client().policy("example.com").await.unwrap();
    harness.feed.refuses_the_ledger.store(true, Ordering::SeqCst);
    let Harness { edge, feed, authority, folder } = harness;
    match edge.shutdown(Duration::from_secs(1)).await {
        Handover::Waiting { lines: 1, why } => assert!(why.contains("no room"), "{why}"),
        other => panic!("one line waits, and not {other:?}"),
    }
    // Nothing is served by the next one: the line on the disk alone keeps it from being complete.
    let again = Harness::restarted(&feed, &authority, &folder);
    assert!(matches!(again.edge.shutdown(Duration::from_secs(1)).await, Handover::Waiting { lines: 1, .. }));
    feed.refuses_the_ledger.store(false, Ordering::SeqCst);
    let again = Harness::restarted(&feed, &authority, &folder);
    assert_eq!(again.edge.shutdown(Duration::from_secs(1)).await, Handover::Complete);
    assert_eq!(feed.served().iter().map(|line| line.requests).sum::<u64>(), 1);
}

#[tokio::test]
async fn a_ledger_of_which_nothing_waits_is_not_complete_before_the_feed_was_told_so() {
    let harness = Harness::with(&["example.com"], |config| config.ledger_flush = Duration::from_mins(1)).await;
    harness.feed.down.store(true, Ordering::SeqCst);
    assert!(matches!(harness.edge.shutdown(Duration::from_secs(1)).await, Handover::Waiting { lines: 0, .. }));
}
