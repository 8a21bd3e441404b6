//! Floods of UDP questions from one network.

use std::{net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use mtasts_model::{Clock, SystemClock};
use mtasts_nameserver::{NameserverConfig, RateLimit};
use tokio::{
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout},
};

use crate::{
    secondary::{good_key, with_secondary},
    support::{PATIENCE, Running, TestFeed, config, over_tcp, question, until},
};

const NAME: &str = "a._mta-sts.sts.example";

async fn limited(change: impl FnOnce(&mut RateLimit)) -> Running {
    let mut limit = RateLimit {
        answers_per_second: 10,
        nxdomains_per_second: 5,
        errors_per_second: 5,
        burst_seconds: 2,
        exempt: Vec::new(),
        ..RateLimit::default()
    };
    change(&mut limit);
    serving(NameserverConfig { rate_limit: Some(limit), ..with_secondary(&[]) }).await
}

async fn serving(config: NameserverConfig) -> Running {
    let server = Running::start(config, TestFeed::with(&[(NAME, "t")])).await;
    until("the feed has been read", || server.nameserver.ready()).await;
    server
}

/// A client with an address of its own.
async fn client(address: &str, server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    socket
}

async fn answer(socket: &UdpSocket, patience: Duration) -> Option<Message> {
    let mut buffer = vec![0; 4096];
    let length = timeout(patience, socket.recv(&mut buffer)).await.ok()?.unwrap();
    Some(Message::from_vec(&buffer[..length]).unwrap())
}

/// Asks so often, and collects what comes back until nothing comes any more.
async fn flood(socket: &UdpSocket, packet: &[u8], times: usize) -> Vec<Message> {
    let mut answers = Vec::new();
    for _ in 0..times {
        socket.send(packet).await.unwrap();
        if let Some(answer) = answer(socket, Duration::ZERO).await {
            answers.push(answer);
        }
    }
    while let Some(answer) = answer(socket, Duration::from_millis(300)).await {
        answers.push(answer);
    }
    answers
}

fn packet(name: &str) -> Vec<u8> {
    question(name, RecordType::TXT).to_vec().unwrap()
}

#[tokio::test]
async fn a_flooding_network_gets_its_rate_and_some_truncations_that_lead_to_tcp() {
    let server = limited(|_| ()).await;
    let socket = client("127.0.0.1", server.address()).await;
    let begun = Instant::now();
    let answers = flood(&socket, &packet(NAME), 400).await;
    let most = 20.0 + 10.0 * (begun.elapsed().as_secs_f64() + 1.0);
    let (truncated, whole): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.metadata.truncation);
    assert!(whole.len() >= 20, "a burst is allowed: {}", whole.len());
    assert!(f64::from(u32::try_from(whole.len()).unwrap()) <= most, "{} in {:?}", whole.len(), begun.elapsed());
    assert!(truncated.len() > 100 && truncated.len() <= 200, "each second one: {}", truncated.len());
    for answer in truncated {
        assert!(answer.answers.is_empty() && answer.authorities.is_empty() && answer.edns.is_some());
    }
    // The same network over TCP, right now.
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    for _ in 0..100 {
        let answer = Message::from_vec(&over_tcp(&mut stream, &packet(NAME)).await.unwrap()).unwrap();
        assert_eq!(answer.answers.len(), 1);
    }
}

#[tokio::test]
async fn a_flood_from_one_network_does_not_touch_the_others() {
    let server = limited(|limit| limit.answers_per_second = 20).await;
    let (flooding, other) = (client("127.0.1.7", server.address()).await, client("127.0.2.7", server.address()).await);
    let packet = packet(NAME);
    let stop = tokio_util::sync::CancellationToken::new();
    let flood = tokio::spawn({
        let (packet, stop) = (packet.clone(), stop.clone());
        async move {
            let mut sent = 0_u64;
            while !stop.is_cancelled() {
                // A full socket buffer drops: that is what a flood is.
                let _ = flooding.try_send(&packet);
                sent += 1;
                if sent.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
            }
            sent
        }
    });
    let mut slowest = Duration::ZERO;
    for _ in 0..30 {
        let asked = Instant::now();
        other.send(&packet).await.unwrap();
        let answer = answer(&other, PATIENCE).await.expect("an answer in spite of the flood");
        assert_eq!((answer.answers.len(), answer.metadata.truncation), (1, false));
        slowest = slowest.max(asked.elapsed());
    }
    stop.cancel();
    let sent = flood.await.unwrap();
    assert!(sent > 1000, "a flood of {sent}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[tokio::test]
async fn denials_and_errors_have_limits_of_their_own() {
    let server = limited(|limit| limit.slip = 0).await;
    let socket = client("127.0.0.1", server.address()).await;
    let denied = flood(&socket, &packet("nobody._mta-sts.sts.example"), 100).await;
    assert!((10..30).contains(&denied.len()), "{}", denied.len());
    assert!(denied.iter().all(|answer| answer.metadata.response_code == ResponseCode::NXDomain));
    let refused = flood(&socket, &packet("elsewhere.example"), 100).await;
    assert!((10..30).contains(&refused.len()), "{}", refused.len());
    // What cannot be read, and what is no query, can be reflected as well.
    for garbage in [&[0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0][..], &[0, 1, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]] {
        let other = client("127.0.5.5", server.address()).await;
        assert!(flood(&other, garbage, 100).await.len() < 30);
    }
    assert!(flood(&socket, &packet(NAME), 10).await.len() == 10, "answers are counted apart");
}

#[tokio::test]
async fn good_signatures_and_exempt_networks_are_not_limited() {
    let server = limited(|limit| limit.exempt = vec!["127.0.9.0/24".parse().unwrap()]).await;
    let exempt = client("127.0.9.9", server.address()).await;
    assert_eq!(flood(&exempt, &packet(NAME), 100).await.len(), 100);
    let secondary = client("127.0.0.1", server.address()).await;
    flood(&secondary, &packet(NAME), 100).await;
    let mut signed = packet(NAME);
    good_key().sign_request(&mut signed, SystemClock.now()).unwrap();
    let answers = flood(&secondary, &signed, 50).await;
    assert_eq!(answers.len(), 50);
    assert!(answers.iter().all(|answer| !answer.metadata.truncation && answer.signature.is_some()));
    let at = signed.len() - 20;
    signed[at] ^= 1;
    assert!(flood(&secondary, &signed, 100).await.len() < 70, "a bad signature is an error as any");
}

#[tokio::test]
async fn loopback_is_exempt_by_default_and_the_limit_can_be_switched_off() {
    let server = serving(config()).await;
    let socket = client("127.0.0.1", server.address()).await;
    assert_eq!(flood(&socket, &packet(NAME), 1500).await.len(), 1500);
    let server = serving(NameserverConfig { rate_limit: None, ..config() }).await;
    let socket = client("127.0.0.1", server.address()).await;
    assert_eq!(flood(&socket, &packet(NAME), 1500).await.len(), 1500);
}
