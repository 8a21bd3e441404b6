use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{Harness, PATH, until};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(8);

async fn ended(stream: &mut (impl AsyncReadExt + Unpin)) -> Duration {
    let began = Instant::now();
    let mut sink = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut sink)).await.expect("the edge ends the connection");
    began.elapsed()
}

#[tokio::test]
async fn a_client_that_never_ends_its_handshake_is_cut_at_the_deadline_while_others_are_served() {
    let harness = Harness::with(&["example.com"], |config| config.handshake_deadline = SHORT).await;
    let mut silent = TcpStream::connect(harness.https()).await.unwrap();
    let mut trickling = TcpStream::connect(harness.https()).await.unwrap();
    trickling.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);
    assert!(ended(&mut silent).await >= SHORT / 2);
    ended(&mut trickling).await;
}

#[tokio::test]
async fn a_client_that_trickles_its_request_gets_408_at_the_deadline() {
    let harness = Harness::with(&["example.com"], |config| config.header_deadline = SHORT).await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    connection.stream.write_all(b"GET /.well-known/mta-sts.txt HT").await.unwrap();
    connection.stream.flush().await.unwrap();
    assert_eq!(timeout(LONG, connection.answer(true)).await.unwrap().unwrap().status, 408);
    assert!(connection.is_ended().await);
}

#[tokio::test]
async fn idle_connections_are_closed_before_and_after_a_request() {
    let harness = Harness::with(&["example.com"], |config| {
        config.header_deadline = SHORT;
        config.idle_deadline = SHORT;
    })
    .await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    assert!(timeout(LONG, connection.is_ended()).await.unwrap(), "before the first request");
    let mut connection = harness.client().connect("example.com").await.unwrap();
    connection.get("mta-sts.example.com", PATH).await.unwrap();
    assert!(timeout(LONG, connection.is_ended()).await.unwrap(), "after a request");
}

#[tokio::test]
async fn an_idle_http_2_connection_is_closed() {
    let harness = Harness::with(&["example.com"], |config| {
        config.header_deadline = SHORT;
        config.idle_deadline = SHORT;
    })
    .await;
    let mut client = harness.client();
    client.config.alpn_protocols = vec![b"h2".to_vec()];
    let connection = client.connect("example.com").await.unwrap();
    let (send, driver) = h2::client::handshake(connection.stream).await.unwrap();
    let _ = timeout(LONG, driver).await.expect("the edge ends the connection");
    drop(send);
}

#[tokio::test]
async fn an_http_2_client_that_does_not_take_its_answer_is_cut() {
    let harness = Harness::with(&["example.com"], |config| config.request_deadline = SHORT).await;
    let mut client = harness.client();
    client.config.alpn_protocols = vec![b"h2".to_vec()];
    let connection = client.connect("example.com").await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (send, driver) = builder.handshake::<_, bytes::Bytes>(connection.stream).await.unwrap();
    let driver = tokio::spawn(driver);
    let request = http::Request::get(format!("https://mta-sts.example.com{PATH}")).body(()).unwrap();
    let (response, _stream) = send.ready().await.unwrap().send_request(request, true).unwrap();
    let _held = response.await.unwrap();
    let _ = timeout(LONG, driver).await.expect("the edge ends the connection");
}

#[tokio::test]
async fn connections_of_one_address_are_capped_and_places_come_back() {
    let harness = Harness::with(&["example.com"], |config| config.max_connections_per_address = 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(harness.client().connect("example.com").await.unwrap());
    }
    assert!(harness.client().connect("example.com").await.is_err(), "the fourth");
    drop(held);
    let end = Instant::now() + LONG;
    while harness.client().policy("example.com").await.is_err() {
        assert!(Instant::now() < end, "the places did not come back");
    }
}

#[tokio::test]
async fn all_connections_together_are_capped() {
    let harness = Harness::with(&["example.com"], |config| config.max_connections = 2).await;
    let _held = [
        harness.client().connect("example.com").await.unwrap(),
        harness.client().connect("example.com").await.unwrap(),
    ];
    assert!(harness.client().connect("example.com").await.is_err(), "the third");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_sockets_do_not_slow_others() {
    let harness = Harness::with(&["example.com"], |config| config.max_connections_per_address = 5_000).await;
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        match TcpStream::connect(harness.https()).await {
            Ok(stream) => idle.push(stream),
            Err(_) => break, // this process may open no more files
        }
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?} beside {} idle sockets", idle.len());
    drop(idle);
    until("the edge is still ready", || harness.edge.readiness().is_ready()).await;
}
