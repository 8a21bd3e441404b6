//! Reports by POST (RFC 8460 §5.4).

use std::time::Duration;

use mtasts_testkit::{Anybody, wait_until};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{PATIENCE, answer, http, post},
    harness::{HOST, House, config},
};

fn path(house: &House) -> String {
    format!("/v1/tlsrpt/{}", house.domain.label)
}

const GZIP: &str = "Content-Type: application/tlsrpt+gzip\r\n";

async fn connect(house: &House) -> TcpStream {
    TcpStream::connect(house.http()).await.unwrap()
}

/// The status of one POST on a connection of its own.
async fn status(house: &House, headers: &str, body: &[u8]) -> u16 {
    http(&mut connect(house).await, &post(&path(house), headers, body)).await.0
}

#[tokio::test]
async fn a_report_is_stored_as_it_came_before_it_is_acknowledged() {
    let house = House::new().await;
    let mut stream = connect(&house).await;
    let headers = "Content-Type: application/tlsrpt+gzip\r\nContent-Encoding: gzip\r\nX-Forwarded-For: 192.0.2.1\r\n";
    let (status, text) = http(&mut stream, &post(&path(&house), headers, b"\x1f\x8bnot really")).await;
    assert_eq!(status, 201, "{text}");
    let facts = house
        .sql(
            "SELECT kind, via, peer, client_name, envelope_from, content_type, tls_version, octets, encode(raw, 'hex'),
                state, encode(digest, 'hex') = encode(sha256(raw), 'hex'), 'arr_' || replace(id::text, '-', '')
             FROM report_arrivals",
        )
        .await;
    let id = text.split('"').rev().nth(1).unwrap();
    assert_eq!(
        facts,
        format!(
            "tls-rpt|https|127.0.0.1|sender/1.0||application/tlsrpt+gzip||12|1f8b6e6f74207265616c6c79|waiting|t|{id}"
        )
    );
    // The same again, on the same connection.
    let (status, _) = http(&mut stream, &post(&path(&house), GZIP, b"\x1f\x8bnot really")).await;
    assert_eq!((status, house.arrivals().await), (200, 1));
}

#[tokio::test]
async fn over_tls_its_version_is_noted() {
    let house = House::new().await;
    let stream = TcpStream::connect(house.https()).await.unwrap();
    let mut stream = Anybody::connector().connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap();
    let (status, text) = http(&mut stream, &post(&path(&house), GZIP, b"x")).await;
    assert_eq!(status, 201, "{text}");
    assert_eq!(house.sql("SELECT tls_version, peer FROM report_arrivals").await, "TLSv1.3|127.0.0.1");
}

#[tokio::test]
async fn what_is_no_report_by_its_type_is_refused_and_all_that_reports_are_sent_as_is_taken() {
    let house = House::new().await;
    for (index, (kind, expected)) in [
        ("Content-Type: application/tlsrpt+json\r\n", 201),
        ("Content-Type: Application/JSON; charset=utf-8\r\n", 201),
        ("Content-Type: application/gzip\r\n", 201),
        ("Content-Type: application/x-gzip\r\n", 201),
        ("Content-Type: application/octet-stream\r\n", 201),
        ("Content-Type: application/zip\r\n", 201),
        ("", 201),
        ("Content-Type: text/html\r\n", 415),
        ("Content-Type: multipart/form-data; boundary=x\r\n", 415),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(status(&house, kind, format!("{index}").as_bytes()).await, expected, "{kind}");
    }
    assert_eq!(status(&house, GZIP, b"").await, 400, "nothing is no report");
}

#[tokio::test]
async fn unknown_labels_are_not_told_apart_from_what_cannot_be_one() {
    let house = House::new().await;
    let mut answers = Vec::new();
    for path in [
        format!("/v1/tlsrpt/{}", "a".repeat(26)),
        "/v1/tlsrpt/x".to_owned(),
        "/v1/tlsrpt/%00%ff".to_owned(),
        "/v1/tlsrpt/".to_owned(),
        "/".to_owned(),
        format!("/v1/dmarc/{}", house.domain.label),
    ] {
        let (status, text) = http(&mut connect(&house).await, &post(&path, GZIP, b"x")).await;
        assert_eq!(status, 404, "{path}");
        assert!(text.contains("application/problem+json"), "{text}");
        answers.push(text.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let get = format!("GET {} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", path(&house));
    let (status, text) = http(&mut connect(&house).await, get.as_bytes()).await;
    assert_eq!(status, 405);
    assert!(text.to_ascii_lowercase().contains("allow: post"), "{text}");
}

#[tokio::test]
async fn the_host_that_a_request_names_does_not_matter() {
    let house = House::new().await;
    for host in ["evil.example", "127.0.0.1:1", "x"] {
        let request = String::from_utf8(post(&path(&house), GZIP, host.as_bytes())).unwrap();
        let request = request.replace(&format!("Host: {HOST}"), &format!("Host: {host}"));
        assert_eq!(http(&mut connect(&house).await, request.as_bytes()).await.0, 201, "{host}");
    }
    assert_eq!(house.arrivals().await, 3);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read_whether_it_says_so_or_not() {
    let mut config = config();
    config.limits.max_octets = 50_000;
    let house = House::with(config).await;
    assert_eq!(status(&house, GZIP, &vec![b'x'; 50_000]).await, 201);
    // What it announces is believed before anything of it has come.
    let announced = format!("POST {} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 50001\r\n\r\n", path(&house));
    assert_eq!(http(&mut connect(&house).await, announced.as_bytes()).await.0, 413);
    let mut chunked =
        format!("POST {} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n", path(&house)).into_bytes();
    for _ in 0..60 {
        chunked.extend_from_slice(b"3e8\r\n");
        chunked.extend_from_slice(&[b'x'; 1_000]);
        chunked.extend_from_slice(b"\r\n");
    }
    // It never ends, and is answered all the same.
    assert_eq!(http(&mut connect(&house).await, &chunked).await.0, 413);
    wait_until(PATIENCE, "nothing is held", async || house.handle().held_octets() == 0).await;
    assert_eq!(house.arrivals().await, 1);
}

#[tokio::test]
async fn a_body_in_chunks_is_put_together_and_one_that_breaks_off_is_not_stored() {
    let house = House::new().await;
    let head = format!("POST {} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n", path(&house));
    let (status, _) =
        http(&mut connect(&house).await, format!("{head}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!((status, house.stored().await), (201, "abcde".to_owned()));
    for broken in [format!("{head}3\r\nabc\r\n5\r\nde"), String::from_utf8(post(&path(&house), "", b"abc")).unwrap()] {
        let mut stream = connect(&house).await;
        stream.write_all(&broken.as_bytes()[..broken.len() - 1]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(house.arrivals().await, 1);
}

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let house = House::new().await;
    let path = path(&house);
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        let mut stream = connect(&house).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let (status, text) = answer(&mut stream).await;
        assert_eq!(status, 400, "{headers}: {text}");
        assert!(!text.contains("404"), "a second request was taken out of the first: {text}");
    }
    assert_eq!(house.arrivals().await, 0);
}

#[tokio::test]
async fn over_the_quota_senders_are_told_when_to_come_again_and_duplicates_still_count_as_stored() {
    let house = House::new().await;
    house.quota(2).await;
    for body in [b"a", b"b"] {
        assert_eq!(status(&house, GZIP, body).await, 201);
    }
    let (status_code, text) = http(&mut connect(&house).await, &post(&path(&house), GZIP, b"c")).await;
    assert_eq!(status_code, 429, "{text}");
    assert!(text.to_ascii_lowercase().contains("retry-after: 86400"), "the day has just begun: {text}");
    assert_eq!(house.sql("SELECT reports FROM usage_days").await, "2");
    // Mail hears of it at the recipient, and another tenant's recipients are none the worse.
    let other = house.other_domain("example.org").await;
    let mut client = crate::client::Smtp::connect(house.smtp()).await;
    client.ask("EHLO mx.sender.example", 250).await;
    client.ask("MAIL FROM:<>", 250).await;
    client.ask(&format!("RCPT TO:<{}>", house.domain.tlsrpt()), 452).await;
    client.ask(&format!("RCPT TO:<{}>", other.tlsrpt()), 250).await;
    client.ask("DATA", 354).await;
    client.ask("x\r\n.", 250).await;
    assert_eq!(house.arrivals().await, 3);
}

#[tokio::test]
async fn a_proxy_of_ours_is_believed_and_nobody_else() {
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let house = House::with(config).await;
    let headers = "X-Forwarded-For: 203.0.113.66, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(status(&house, headers, b"x").await, 201);
    assert_eq!(house.sql("SELECT peer, tls_version FROM report_arrivals").await, "198.51.100.7|TLS");
}

#[tokio::test]
async fn a_slow_header_and_a_slow_body_are_given_up() {
    let mut config = config();
    config.limits.header_deadline = Duration::from_secs(1);
    config.limits.body_deadline = Duration::from_secs(1);
    let house = House::with(config).await;
    let mut slow_header = connect(&house).await;
    slow_header.write_all(b"POST / HTTP/1.1\r\nX-Slow:").await.unwrap();
    let mut slow_body = connect(&house).await;
    let head = format!("POST {} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nx", path(&house));
    slow_body.write_all(head.as_bytes()).await.unwrap();
    let mut silent = connect(&house).await;
    let mut silent_tls = TcpStream::connect(house.https()).await.unwrap();
    assert_eq!(answer(&mut slow_header).await.0, 408);
    assert_eq!(answer(&mut slow_body).await.0, 408);
    for stream in [&mut silent, &mut silent_tls] {
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed").unwrap();
    }
    assert_eq!(house.arrivals().await, 0);
}
