use std::time::{Duration, Instant};

use mtasts_edge::{Handover, NotReadyReason};
use tokio::io::AsyncWriteExt;

use crate::harness::{Harness, PATH, until};

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let harness = Harness::serving(&["example.com"]).await;
    let client = harness.client();
    let mut busy = client.connect("example.com").await.unwrap();
    busy.stream.write_all(b"GET ").await.unwrap();
    busy.stream.flush().await.unwrap();
    let mut idle = client.connect("example.com").await.unwrap();
    idle.get("mta-sts.example.com", PATH).await.unwrap();
    let shutdown = tokio::spawn(harness.edge.shutdown(Duration::from_secs(8)));
    assert!(idle.is_ended().await, "an idle connection is ended");
    let end = Instant::now() + Duration::from_secs(5);
    while client.connect("example.com").await.is_ok() {
        assert!(Instant::now() < end, "connections are still taken");
    }
    let rest = format!("{PATH} HTTP/1.1\r\nHost: mta-sts.example.com\r\n\r\n");
    let answer = busy.ask(&rest).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(shutdown.await.unwrap(), Handover::Complete);
    assert_eq!(harness.feed.served().iter().map(|line| line.requests).sum::<u64>(), 2, "the ledger is handed over");
}

#[tokio::test]
async fn while_draining_the_edge_is_not_ready_but_still_serves() {
    let harness = Harness::with(&["example.com"], |config| config.drain = Duration::from_millis(500)).await;
    let edge = std::sync::Arc::new(std::sync::Mutex::new(Some(harness.edge)));
    let client = {
        let guard = edge.lock().unwrap();
        crate::client::Client::new(guard.as_ref().unwrap().local_https_addrs()[0], &harness.authority)
    };
    let taken = edge.lock().unwrap().take().unwrap();
    let shutdown = tokio::spawn(taken.shutdown(Duration::from_secs(5)));
    assert_eq!(client.policy("example.com").await.unwrap().status, 200);
    assert_eq!(shutdown.await.unwrap(), Handover::Complete);
    assert!(client.connect("example.com").await.is_err());
    assert_eq!(NotReadyReason::Draining.to_string(), "draining before the shutdown");
}

#[tokio::test]
async fn the_deadline_of_a_shutdown_cuts_what_does_not_end() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut stuck = harness.client().connect("example.com").await.unwrap();
    stuck.stream.write_all(b"GET ").await.unwrap();
    stuck.stream.flush().await.unwrap();
    let began = Instant::now();
    let _ = harness.edge.shutdown(Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// Fault 11: no handshake that the kernel took is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_edge_on_the_same_port_takes_over_without_a_failed_request() {
    let first = Harness::serving(&["example.com"]).await;
    let address = first.https();
    let fresh = tempfile::tempdir().unwrap();
    let mut config = crate::harness::config(fresh.path());
    config.https = vec![address];
    let second = crate::harness::start(config, &first.feed);
    until("the second is ready", || second.readiness().is_ready()).await;
    let client = first.client();
    let load = tokio::spawn(async move {
        let mut failures = 0;
        for _ in 0..300 {
            if !matches!(client.policy("example.com").await, Ok(answer) if answer.status == 200) {
                failures += 1;
            }
        }
        failures
    });
    let _ = first.edge.shutdown(Duration::from_secs(5)).await;
    // A connection may arrive between the last look into the queue and the closing of the socket.
    assert!(load.await.unwrap() <= 1);
    let _ = second.shutdown(Duration::from_secs(5)).await;
}
