//! Nothing is acknowledged that is not stored, and nothing that was stored is stored twice, whatever breaks.

use std::time::Duration;

use mtasts_testkit::wait_until;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{PATIENCE, Smtp, http, post},
    gate::Way,
    harness::{House, config},
};

/// One that does not wait for long.
async fn impatient() -> House {
    let mut config = config();
    config.limits.store_deadline = Duration::from_secs(2);
    House::with(config).await
}

async fn posted(house: &House, body: &[u8]) -> (u16, String) {
    let path = format!("/v1/tlsrpt/{}", house.domain.label);
    http(&mut TcpStream::connect(house.http()).await.unwrap(), &post(&path, "", body)).await
}

#[tokio::test]
async fn while_the_database_is_away_senders_are_told_to_come_again_and_nothing_is_lost() {
    let house = impatient().await;
    assert_eq!(posted(&house, b"before").await.0, 201);
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    house.gate.set(Way::Shut);
    client.ask("DATA", 354).await;
    client.ask("x\r\n.", 451).await;
    // Known from before, and not known.
    for _ in 0..2 {
        let (status, text) = posted(&house, b"while it is away").await;
        assert_eq!(status, 503, "{text}");
        assert!(text.to_ascii_lowercase().contains("retry-after: "), "{text}");
    }
    client.ask("MAIL FROM:<>", 250).await;
    client.ask(&format!("RCPT TO:<tlsrpt-{}@{}>", "a".repeat(26), crate::harness::HOST), 451).await;
    assert_eq!(house.arrivals().await, 1);
    house.gate.set(Way::Open);
    wait_until(PATIENCE, "it is taken again", async || posted(&house, b"while it is away").await.0 == 201).await;
    client.ask(&format!("RCPT TO:<{}>", house.domain.tlsrpt()), 250).await;
    client.ask("DATA", 354).await;
    client.ask("x\r\n.", 250).await;
    assert_eq!(house.arrivals().await, 3);
    assert_eq!(house.handle().held_octets(), 0);
}

#[tokio::test]
async fn an_intake_starts_while_the_database_is_away() {
    let mut house = impatient().await;
    house.gate.set(Way::Shut);
    house.start(config()).await;
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("EHLO mx.sender.example", 250).await;
    house.gate.set(Way::Open);
    client.envelope(&[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    client.ask("x\r\n.", 250).await;
}

#[tokio::test]
async fn a_database_that_falls_silent_is_taken_for_away_and_what_is_sent_again_is_stored_once() {
    let house = impatient().await;
    // So that the connections are there, and the recipient is known.
    assert_eq!(posted(&house, b"before").await.0, 201);
    house.gate.set(Way::Mute);
    // How far it came is not known, so it is not acknowledged.
    assert_eq!(posted(&house, b"lost").await.0, 503);
    house.gate.set(Way::Shut);
    house.gate.set(Way::Open);
    wait_until(PATIENCE, "it is taken again", async || matches!(posted(&house, b"lost").await.0, 200 | 201)).await;
    assert_eq!(house.stored().await, "before\nlost");
}

#[tokio::test]
async fn a_client_that_goes_before_the_answer_and_sends_again_has_one_report() {
    let house = House::new().await;
    for round in 0..6 {
        let body = format!("{round}");
        let request = post(&format!("/v1/tlsrpt/{}", house.domain.label), "", body.as_bytes());
        let mut stream = TcpStream::connect(house.http()).await.unwrap();
        stream.write_all(&request).await.unwrap();
        // The connection is cut while it is being stored, or before, or after.
        tokio::time::sleep(Duration::from_millis(round * 2)).await;
        drop(stream);
        assert!(matches!(posted(&house, body.as_bytes()).await.0, 200 | 201));
    }
    assert_eq!(house.arrivals().await, 6);
    assert_eq!(house.sql("SELECT reports FROM usage_days").await, "6");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_the_process_dies_at_that_moment() {
    let mut house = House::new().await;
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    client.ask("x\r\n.", 250).await;
    // Nothing is handed over: all tasks end where they are.
    drop(house.intake.take());
    assert_eq!(house.stored().await, "x");
    house.start(config()).await;
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    let reply = client.ask("x\r\n.", 250).await;
    assert!(reply.contains("before"), "{reply}");
    assert_eq!(house.arrivals().await, 1);
}

#[tokio::test]
async fn what_the_database_refuses_is_refused_alone() {
    let house = House::new().await;
    // As a full disk does: one report is refused, and what comes together with it is not.
    house
        .sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.raw = 'full' THEN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END IF;
                RETURN NEW; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON report_arrivals FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let bodies: Vec<String> =
        (0..20).map(|number| if number % 5 == 0 { "full".to_owned() } else { number.to_string() }).collect();
    let answers = futures_util::future::join_all(bodies.iter().map(|body| posted(&house, body.as_bytes()))).await;
    for (body, (status, text)) in bodies.iter().zip(answers) {
        assert_eq!(status, if body == "full" { 503 } else { 201 }, "{body}: {text}");
    }
    assert_eq!(house.arrivals().await, 16);
    assert_eq!(house.sql("SELECT reports FROM usage_days").await, "16");
}

#[tokio::test]
async fn a_shutdown_lets_a_mail_end_and_sends_idle_clients_away() {
    let mut house = House::new().await;
    let mut idle = Smtp::connect(house.smtp()).await;
    let mut busy = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    busy.ask("DATA", 354).await;
    busy.send("half of it").await;
    let address = house.smtp();
    let handle = house.intake.take().unwrap();
    let stopping = tokio::spawn(handle.shutdown(PATIENCE));
    idle.expect(421).await;
    assert!(idle.is_over().await);
    wait_until(PATIENCE, "no connections are taken", async || TcpStream::connect(address).await.is_err()).await;
    busy.send(" and the other\r\n.\r\n").await;
    busy.expect(250).await;
    busy.expect(421).await;
    stopping.await.unwrap();
    assert_eq!(house.stored().await, "half of it and the other");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let mut house = House::new().await;
    let mut busy = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    busy.ask("DATA", 354).await;
    let path = format!("/v1/tlsrpt/{}", house.domain.label);
    let mut posting = TcpStream::connect(house.http()).await.unwrap();
    posting.write_all(&post(&path, "", b"half")[..60]).await.unwrap();
    let handle = house.intake.take().unwrap();
    tokio::time::timeout(PATIENCE, handle.shutdown(Duration::from_secs(1))).await.expect("it ends");
    assert!(busy.is_over().await);
    assert_eq!(house.arrivals().await, 0);
}

#[tokio::test]
async fn a_shutdown_lets_posts_that_have_begun_end_and_their_connections_with_them() {
    let mut house = House::new().await;
    let (address, path) = (house.http(), format!("/v1/tlsrpt/{}", house.domain.label));
    let post = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/tlsrpt+json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    // One has sent half of its header, the other half of its body.
    let mut streams = Vec::new();
    for sent in [40, post.len() - 1] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&post.as_bytes()[..sent]).await.unwrap();
        streams.push((stream, sent));
    }
    // Connections are taken in turn, so those above are in.
    assert_eq!(posted(&house, b"another").await.0, 201);
    let handle = house.intake.take().unwrap();
    let stopping = tokio::spawn(handle.shutdown(PATIENCE));
    tokio::time::sleep(Duration::from_millis(300)).await;
    for (stream, sent) in &mut streams {
        stream.write_all(&post.as_bytes()[*sent..]).await.unwrap();
        let mut answer = String::new();
        // To the end of the connection.
        stream.read_to_string(&mut answer).await.unwrap();
        let answer = answer.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 20") && answer.contains("connection: close"), "{answer:?}");
    }
    tokio::time::timeout(PATIENCE, stopping).await.expect("it ends").unwrap();
    assert_eq!(house.arrivals().await, 2, "the same octets twice, and the other");
}
