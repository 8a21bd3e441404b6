//! What a stranger can hold open.

use std::time::Duration;

use hickory_proto::{op::Message, rr::RecordType};
use mtasts_nameserver::{Limits, NameserverConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, Running, TestFeed, config, over_tcp, question, until};

async fn limited(limits: Limits) -> Running {
    let config = NameserverConfig { limits, ..config() };
    let server = Running::start(config, TestFeed::with(&[("a._mta-sts.sts.example", "t")])).await;
    until("the feed has been read", || server.nameserver.ready()).await;
    server
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    matches!(timeout(PATIENCE, stream.read(&mut byte)).await.expect("an end"), Ok(0) | Err(_))
}

#[tokio::test]
async fn many_questions_share_a_connection() {
    let server = limited(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    for _ in 0..3 {
        let question = question("a._mta-sts.sts.example", RecordType::TXT).to_vec().unwrap();
        let answer = Message::from_vec(&over_tcp(&mut stream, &question).await.unwrap()).unwrap();
        assert_eq!(answer.answers.len(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_half_a_question_is_closed() {
    let server = limited(Limits { tcp_idle: Duration::from_millis(150), ..Limits::default() }).await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    assert!(is_closed(&mut silent).await);
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    slow.write_all(&[0, 40, 1, 2, 3]).await.unwrap();
    assert!(is_closed(&mut slow).await);
}

#[tokio::test]
async fn a_question_longer_than_any_is_closed_on() {
    let server = limited(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(&[0xff, 0xff]).await.unwrap();
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn connections_above_a_cap_are_closed_and_places_are_given_back() {
    let limits = Limits { tcp_connections_per_address: 2, ..Limits::default() };
    let server = limited(limits).await;
    let question = question("a._mta-sts.sts.example", RecordType::TXT).to_vec().unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        over_tcp(&mut stream, &question).await.unwrap();
        held.push(stream);
    }
    let mut third = TcpStream::connect(server.address()).await.unwrap();
    assert!(is_closed(&mut third).await);
    held.pop();
    timeout(PATIENCE, async {
        loop {
            let mut again = TcpStream::connect(server.address()).await.unwrap();
            if over_tcp(&mut again, &question).await.is_ok() {
                break;
            }
        }
    })
    .await
    .expect("a place is given back");
}

#[tokio::test]
async fn shutdown_ends_open_connections() {
    let server = limited(Limits::default()).await;
    let mut open = TcpStream::connect(server.address()).await.unwrap();
    let question = question("a._mta-sts.sts.example", RecordType::TXT).to_vec().unwrap();
    over_tcp(&mut open, &question).await.unwrap();
    server.stop().await;
    assert!(is_closed(&mut open).await);
}
