use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rustls::AlertDescription;

use crate::harness::{Harness, until};

fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[tokio::test]
async fn an_unknown_name_gets_an_alert_and_no_certificate() {
    let harness = Harness::serving(&["example.com"]).await;
    for domain in ["example.org", "sub.example.com"] {
        let error = harness.client().connect(domain).await.err().unwrap();
        assert_eq!(alert(&error), Some(AlertDescription::UnrecognisedName), "{error}");
    }
    let stream = tokio::net::TcpStream::connect(harness.https()).await.unwrap();
    let error = harness.client().shake(stream, "example.com").await.err().unwrap();
    assert_eq!(alert(&error), Some(AlertDescription::UnrecognisedName), "the mail domain itself");
}

#[tokio::test]
async fn a_handshake_without_a_name_gets_an_alert_and_no_certificate() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut client = harness.client();
    client.config.enable_sni = false;
    let error = client.connect("example.com").await.err().unwrap();
    assert_eq!(alert(&error), Some(AlertDescription::UnrecognisedName), "{error}");
}

#[tokio::test]
async fn the_name_may_come_in_capitals() {
    let harness = Harness::serving(&["example.com"]).await;
    let stream = tokio::net::TcpStream::connect(harness.https()).await.unwrap();
    assert!(harness.client().shake(stream, "MTA-STS.EXAMPLE.COM").await.is_ok());
}

#[tokio::test]
async fn garbage_instead_of_tls_is_shown_the_door() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let harness = Harness::serving(&["example.com"]).await;
    let mut stream = tokio::net::TcpStream::connect(harness.https()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: mta-sts.example.com\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.len() < 16, "an alert at most");
    // A ClientHello that never ends: a record header that promises 64 KB of handshake.
    let mut stream = tokio::net::TcpStream::connect(harness.https()).await.unwrap();
    let mut record = vec![22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff];
    record.resize(5 + 0x4000, 0);
    let sent = async {
        for _ in 0..4 {
            stream.write_all(&record).await?;
        }
        stream.read_u8().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), sent).await.expect("refused before the deadline");
    assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);
}

/// Invariant 4, and the row "SNI flood" of the threats.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_names_makes_no_call_of_the_feed_and_known_names_stay_quick() {
    let harness = Harness::with(&["example.com"], |config| {
        config.poll = Duration::from_hours(1);
        config.ledger_flush = Duration::from_hours(1);
        config.max_connections_per_address = 10_000;
    })
    .await;
    let feed = &harness.feed;
    // A start reads twice.
    until("the nudge is worked off", || feed.reads.load(Ordering::SeqCst) >= 3 && feed.acknowledged().is_some()).await;
    let calls = harness.feed.calls.load(Ordering::SeqCst);
    let mut flood = tokio::task::JoinSet::new();
    for task in 0..8 {
        let client = harness.client();
        flood.spawn(async move {
            for number in 0..50 {
                assert!(client.connect(&format!("d{task}-{number}.example")).await.is_err());
            }
        });
    }
    let mut slowest = Duration::ZERO;
    while !flood.is_empty() {
        let began = Instant::now();
        assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);
        slowest = slowest.max(began.elapsed());
        while let Some(done) = flood.try_join_next() {
            done.unwrap();
        }
    }
    // The last acknowledgement of the start, or a sign of life, may fall into the flood; 400 names may not show.
    let during = harness.feed.calls.load(Ordering::SeqCst) - calls;
    assert!(during < 5, "{during} calls of the feed during the flood");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
