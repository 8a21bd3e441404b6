//! Invariant 1 for an edge that comes back: versions may have been published while nobody waited for it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use mtasts_edge::{Edge, EdgeError, NotReadyReason};
use mtasts_model::{Mode, Revision, SystemClock};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    authority::Opener,
    feed::TableFeed,
    harness::{Harness, config, start, until},
};

/// A cold start, whatever else is away.
const COLD_START: Duration = Duration::from_secs(2);

/// An edge that served `testing` and was shut down; `enforce` was published since, at this revision.
async fn away() -> (Harness, Revision) {
    let harness = Harness::serving(&["example.com"]).await;
    assert!(harness.client().policy("example.com").await.unwrap().body.contains("testing"));
    until("all is acknowledged", || harness.feed.acknowledged().is_some()).await;
    let Harness { edge, feed, authority, folder } = harness;
    let _ = edge.shutdown(Duration::from_secs(5)).await;
    for number in 0..5 {
        feed.put_host(&format!("d{number}.example"), authority.host("d.example", Mode::Testing));
    }
    let revision = feed.put_host("example.com", authority.host("example.com", Mode::Enforce));
    // The harness for what comes back; its edge is stopped.
    let spare = start(config(&folder.path().join("spare")), &Arc::default());
    (Harness { edge: spare, feed, authority, folder }, revision)
}

/// Comes back. The instant is just before the start.
fn back(harness: Harness) -> (Harness, Instant) {
    let Harness { edge, feed, authority, folder } = harness;
    drop(edge);
    let began = Instant::now();
    (Harness::restarted(&feed, &authority, &folder), began)
}

async fn first_answer(harness: &Harness) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match harness.client().policy("example.com").await {
            Ok(answer) => return answer.body,
            Err(error) => assert!(Instant::now() < end, "no answer: {error}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn an_edge_that_comes_back_lets_nobody_in_before_it_has_caught_up() {
    let (harness, revision) = away().await;
    // Six pages: longer than a feed that does not answer is waited for.
    harness.feed.page.store(1, Ordering::SeqCst);
    harness.feed.slowness.store(400, Ordering::SeqCst);
    let (harness, _) = back(harness);
    assert!(is_refused(harness.https()).await);
    assert!(is_refused(harness.edge.local_http_addrs()[0]).await);
    assert_eq!(harness.edge.readiness().state, Err(NotReadyReason::CatchingUp));
    assert!(first_answer(&harness).await.contains("enforce"), "the first answer is the newest");
    assert!(harness.edge.readiness().is_ready());
    assert_eq!(harness.edge.position(), revision);
}

#[tokio::test]
async fn what_was_published_before_the_edge_counted_as_in_service_is_read_before_anybody_is_let_in() {
    let (harness, _) = away().await;
    harness.feed.put_before_acknowledgement("example.com", harness.authority.host("example.com", Mode::None));
    harness.feed.slowness.store(50, Ordering::SeqCst);
    let (harness, _) = back(harness);
    assert!(first_answer(&harness).await.contains("mode: none"));
}

#[tokio::test]
async fn with_a_feed_that_never_answers_a_cold_start_serves_in_time_and_catches_up_later() {
    let (harness, revision) = away().await;
    harness.feed.silent.store(true, Ordering::SeqCst);
    let (harness, began) = back(harness);
    assert!(is_refused(harness.https()).await, "it might answer yet");
    assert!(first_answer(&harness).await.contains("testing"));
    assert!(began.elapsed() < COLD_START, "{:?}", began.elapsed());
    assert!(harness.edge.readiness().is_ready());
    harness.feed.silent.store(false, Ordering::SeqCst);
    harness.acknowledged(revision).await;
    assert!(harness.client().policy("example.com").await.unwrap().body.contains("enforce"));
}

#[tokio::test]
async fn with_a_feed_that_falls_silent_in_the_middle_the_edge_serves_what_it_has() {
    let (harness, _) = away().await;
    harness.feed.page.store(1, Ordering::SeqCst);
    let reads = harness.feed.reads.load(Ordering::SeqCst);
    harness.feed.slowness.store(100, Ordering::SeqCst);
    let (harness, _) = back(harness);
    until("two pages are read", || harness.feed.reads.load(Ordering::SeqCst) >= reads + 3).await;
    harness.feed.silent.store(true, Ordering::SeqCst);
    let began = Instant::now();
    assert!(first_answer(&harness).await.contains("testing"));
    assert!(began.elapsed() < COLD_START, "{:?}", began.elapsed());
}

#[tokio::test]
async fn with_a_feed_that_refuses_a_cold_start_serves_at_once() {
    let (harness, _) = away().await;
    harness.feed.down.store(true, Ordering::SeqCst);
    let (harness, began) = back(harness);
    assert!(first_answer(&harness).await.contains("testing"));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!harness.edge.readiness().notes.is_empty());
}

#[tokio::test]
async fn while_an_edge_catches_up_another_on_its_port_is_given_all_connections() {
    let first = Harness::serving(&["example.com"]).await;
    let fresh = tempfile::tempdir().unwrap();
    first.feed.slowness.store(300, Ordering::SeqCst);
    let mut config = config(fresh.path());
    config.https = vec![first.https()];
    let second = start(config, &first.feed);
    let mut asked = 0;
    while !second.readiness().is_ready() {
        assert_eq!(first.client().policy("example.com").await.unwrap().status, 200);
        asked += 1;
    }
    assert!(asked > 10, "{asked}");
}

#[tokio::test]
async fn a_shutdown_before_anybody_was_let_in_gives_the_ports_back() {
    let (harness, _) = away().await;
    harness.feed.slowness.store(500, Ordering::SeqCst);
    let (harness, _) = back(harness);
    let address = harness.https();
    let _ = harness.edge.shutdown(Duration::from_secs(1)).await;
    assert!(std::net::TcpListener::bind(address).is_ok());
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_an_error_of_the_start_although_nobody_listens_yet() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.https = vec![taken.local_addr().unwrap()];
    let started = Edge::start(config, Arc::new(TableFeed::default()), Arc::new(Opener), Arc::new(SystemClock));
    assert!(matches!(started, Err(EdgeError::Listen { address, .. }) if address == taken.local_addr().unwrap()));
}
