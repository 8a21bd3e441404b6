//! What one client, and all of them, may cost.

use std::time::Duration;

use mtasts_testkit::wait_until;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{PATIENCE, Smtp, answer, http, post},
    gate::Way,
    harness::{HOST, House, config},
};

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let mut config = config();
    config.limits.max_connections_per_address = 2;
    let house = House::with(config).await;
    let first = Smtp::connect(house.smtp()).await;
    let _second = Smtp::connect(house.smtp()).await;
    let mut stream = TcpStream::connect(house.smtp()).await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("421 4.7.0 "), "{told}");
    // HTTP counts for itself.
    let held: Vec<_> = [house.http(), house.http()].map(TcpStream::connect).into_iter().collect();
    let held = futures_util::future::join_all(held).await;
    // Which of them is shut is for the threads to settle: one may be looked at before another that came earlier.
    let is_shut = async || {
        let mut stream = TcpStream::connect(house.http()).await.unwrap();
        let mut rest = Vec::new();
        matches!(tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut rest)).await, Ok(Ok(0) | Err(_)))
    };
    wait_until(PATIENCE, "a further one is shut", async || {
        let (one, other) = tokio::join!(is_shut(), is_shut());
        one || other
    })
    .await;
    drop((first, held));
    wait_until(PATIENCE, "there is a place again", async || {
        let mut stream = TcpStream::connect(house.smtp()).await.unwrap();
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.is_ok() && &greeting == b"220"
    })
    .await;
}

#[tokio::test]
async fn silent_clients_of_mail_are_sent_away() {
    let mut config = config();
    config.limits.command_deadline = Duration::from_millis(500);
    config.limits.data_deadline = Duration::from_millis(500);
    let house = House::with(config).await;
    let mut silent = Smtp::connect(house.smtp()).await;
    let mut half = Smtp::connect(house.smtp()).await;
    half.send("EHLO").await;
    let mut data = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    data.ask("DATA", 354).await;
    data.send("x").await;
    let mut chunk = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    chunk.send("BDAT 1000 LAST\r\nx").await;
    for client in [&mut silent, &mut half, &mut data, &mut chunk] {
        client.expect(421).await;
        assert!(client.is_over().await);
    }
    assert_eq!(house.arrivals().await, 0);
}

#[tokio::test]
async fn a_session_ends_whatever_the_client_does_with_it() {
    let mut config = config();
    config.limits.session_deadline = Duration::from_secs(2);
    let house = House::with(config).await;
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    // An octet now and then, each in time.
    let mut octets = 0;
    while client.stream.write_all(b"x").await.is_ok() && octets < 600 {
        octets += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(octets < 600, "it goes on for ever");
}

#[tokio::test]
async fn a_client_that_shakes_no_hands_is_left() {
    let mut config = config();
    config.limits.header_deadline = Duration::from_secs(1);
    let house = House::with(config).await;
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("STARTTLS", 220).await;
    assert!(client.is_over().await);
}

/// Bodies of all connections share one budget: what does not fit is refused, and comes again.
#[tokio::test]
async fn all_reports_together_take_no_more_memory_than_they_may() {
    const HELD: usize = 4 << 20;
    let mut config = config();
    config.limits.max_octets = 1 << 20;
    config.limits.max_octets_held = HELD;
    config.limits.max_connections_per_address = 100;
    let house = House::with(config).await;
    let path = format!("/v1/tlsrpt/{}", house.domain.label);
    // Forty megabytes that do not end.
    let mut posting = Vec::new();
    for number in 0..20 {
        let mut stream = TcpStream::connect(house.http()).await.unwrap();
        let mut request = post(&path, "", &vec![b'a' + number; 1_000_000]);
        let last = request.pop().unwrap();
        let writer = tokio::spawn(async move {
            let _ = stream.write_all(&request).await;
            stream
        });
        posting.push((writer, last));
    }
    let mut mailing = Vec::new();
    for _ in 0..20 {
        let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
        client.ask("DATA", 354).await;
        client.send("x".repeat(1_000_000)).await;
        assert!(house.handle().held_octets() <= HELD);
        mailing.push(client);
    }
    let (mut taken, mut refused) = (0, 0);
    for (writer, last) in posting {
        let mut stream = writer.await.unwrap();
        let _ = stream.write_all(&[last]).await;
        match answer(&mut stream).await.0 {
            201 | 200 => taken += 1,
            503 => refused += 1,
            other => panic!("{other}"),
        }
        assert!(house.handle().held_octets() <= HELD);
    }
    for client in &mut mailing {
        client.send("\r\n.\r\n").await;
        let reply = client.reply().await.unwrap();
        if reply.starts_with("250") {
            taken += 1;
        } else {
            assert!(reply.starts_with("452 4.3.1 "), "{reply}");
            refused += 1;
        }
    }
    assert!(taken >= 2 && refused >= 30, "{taken} taken, {refused} refused");
    wait_until(PATIENCE, "all is given back", async || house.handle().held_octets() == 0).await;
    let (status, _) = http(&mut TcpStream::connect(house.http()).await.unwrap(), &post(&path, "", b"after")).await;
    assert_eq!(status, 201);
}

/// A label is looked up once, and remembered for a moment, whether somebody has it or not.
#[tokio::test]
async fn a_flood_of_recipients_is_no_flood_of_queries() {
    let house = House::new().await;
    let unknown = format!("tlsrpt-{}@{HOST}", "a".repeat(26));
    let post = format!("POST /v1/tlsrpt/{} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n", "a".repeat(26));
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    client.ask(&format!("RCPT TO:<{unknown}>"), 550).await;
    // Whoever asked now would be told to come again.
    house.gate.set(Way::Shut);
    for _ in 0..10 {
        client.ask(&format!("RCPT TO:<{}>", house.domain.dmarc()), 250).await;
        client.ask(&format!("RCPT TO:<{unknown}>"), 550).await;
        let mut stream = TcpStream::connect(house.http()).await.unwrap();
        assert_eq!(http(&mut stream, post.as_bytes()).await.0, 404);
    }
    client.ask(&format!("RCPT TO:<tlsrpt-{}a@{HOST}>", "b".repeat(25)), 451).await;
}
