//! Fetching a policy (RFC 8461 §3.3).

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use mtasts_probe::{FetchError, FetchFailure, FetchedPolicy, PolicyFetcher};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{Duration, sleep},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    dns::Table,
    pki::{Pki, self_signed},
    support::{config, domain, resolver},
};

const HOST: &str = "mta-sts.customer.test";
const POLICY: &str = "version: STSv1\r\nmode: testing\r\nmx: mx.customer.test\r\nmax_age: 86400\r\n";

/// What a policy host does with a connection.
#[derive(Clone)]
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    /// One octet a second.
    Drip(Vec<u8>),
    /// Half of an answer, and then nothing more.
    Stall,
}

pub(crate) fn ok(content_type: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n");
    Answer::Bytes((head + body).into_bytes())
}

pub(crate) struct PolicyHost {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

pub(crate) async fn policy_host(at: &str, tls: Arc<ServerConfig>, answer: Answer) -> PolicyHost {
    let listener = TcpListener::bind(at).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = TlsAcceptor::from(Arc::clone(&tls)).accept(tcp).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => break,
                }
            }
            seen.lock().unwrap().push(String::from_utf8(request).unwrap());
            match &answer {
                Answer::Bytes(bytes) => {
                    let _ = stream.write_all(bytes).await;
                    let _ = stream.shutdown().await;
                }
                Answer::Drip(bytes) => {
                    for byte in bytes {
                        let _ = stream.write_all(&[*byte]).await;
                        let _ = stream.flush().await;
                        sleep(Duration::from_secs(1)).await;
                    }
                }
                Answer::Stall => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n").await;
                    let _ = stream.flush().await;
                    sleep(Duration::from_secs(30)).await;
                }
            }
        }
    });
    PolicyHost { addr, requests }
}

async fn fetch(pki: &Pki, port: u16, table: Table) -> Result<FetchedPolicy, FetchFailure> {
    PolicyFetcher::new(config(pki, port), resolver(table).await).unwrap().fetch(&domain()).await
}

/// Fetches from one host with a valid certificate.
async fn fetch_answer(answer: Answer) -> Result<FetchedPolicy, FetchFailure> {
    let pki = Pki::new();
    let host = policy_host("127.0.0.1:0", pki.valid(HOST), answer).await;
    fetch(&pki, host.addr.port(), Table::default().address(HOST, "127.0.0.1")).await
}

async fn fetch_tls(pki: &Pki, tls: Arc<ServerConfig>) -> FetchFailure {
    let host = policy_host("127.0.0.1:0", tls, ok("text/plain", POLICY)).await;
    let failure = fetch(pki, host.addr.port(), Table::default().address(HOST, "127.0.0.1")).await.unwrap_err();
    assert!(host.requests.lock().unwrap().is_empty(), "nothing is asked over a session that is not verified");
    failure
}

fn worst(failure: FetchFailure) -> FetchError {
    match failure {
        FetchFailure::EveryAddress { worst, .. } => worst.error,
        other => panic!("not a failure of an address: {other}"),
    }
}

#[tokio::test]
async fn a_good_policy_is_fetched_through_a_cname_as_a_sender_asks_for_it() {
    let pki = Pki::new();
    let host = policy_host("127.0.0.1:0", pki.valid(HOST), ok("text/plain; charset=utf-8", POLICY)).await;
    let table = Table::default().cname(HOST, "l.edge.sts.test").address("l.edge.sts.test", "127.0.0.1");
    let fetched = fetch(&pki, host.addr.port(), table).await.unwrap();
    assert_eq!(fetched.first.text, POLICY);
    assert_eq!(fetched.first.content_type, "text/plain; charset=utf-8");
    assert_eq!(fetched.first.addr, host.addr);
    assert_eq!(fetched.first.certificate.as_ref().unwrap().names, [HOST]);
    let requests = host.requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains("host: mta-sts.customer.test\r\n"), "{}", requests[0]);
}

#[tokio::test]
async fn a_redirect_is_reported_and_not_followed() {
    let answer = b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n";
    match worst(fetch_answer(Answer::Bytes(answer.to_vec())).await.unwrap_err()) {
        FetchError::Redirect { status: 301, location } => {
            assert_eq!(location.as_deref(), Some("https://elsewhere.test/"));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn any_status_but_200_is_a_failure() {
    for status in [204, 404, 500] {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\n\r\n");
        let failure = fetch_answer(Answer::Bytes(answer.into_bytes())).await.unwrap_err();
        assert_eq!((failure.code(), failure.result_type()), ("status", "sts-policy-fetch-error"));
        assert!(matches!(worst(failure), FetchError::Status(seen) if seen == status));
    }
}

#[tokio::test]
async fn another_content_type_is_a_failure() {
    let failure = fetch_answer(ok("text/html", POLICY)).await.unwrap_err();
    assert_eq!((failure.code(), failure.result_type()), ("content-type", "sts-policy-invalid"));
}

#[tokio::test]
async fn a_body_above_64_kb_is_a_failure_and_one_of_64_kb_is_not() {
    assert_eq!(fetch_answer(ok("text/plain", &"x".repeat(65_536))).await.unwrap().first.text.len(), 65_536);
    let failure = fetch_answer(ok("text/plain", &"x".repeat(65_537))).await.unwrap_err();
    assert_eq!(failure.code(), "too-large");
}

#[tokio::test]
async fn endless_headers_are_a_failure() {
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    for number in 0..5_000 {
        answer.extend_from_slice(format!("X-{number}: {}\r\n", "y".repeat(100)).as_bytes());
    }
    assert_eq!(fetch_answer(Answer::Bytes(answer)).await.unwrap_err().code(), "http");
}

#[tokio::test]
async fn an_answer_that_stalls_ends_at_the_deadline() {
    let failure = fetch_answer(Answer::Stall).await.unwrap_err();
    assert_eq!(failure.code(), "deadline");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nversion: STSv1\r\n";
    assert_eq!(fetch_answer(Answer::Bytes(answer.to_vec())).await.unwrap_err().code(), "http");
}

#[tokio::test]
async fn a_certificate_that_a_sender_would_refuse_is_a_failure_with_its_reason() {
    let pki = Pki::new();
    let table = [
        (pki.valid("mta-sts.other.test"), "certificate-host-mismatch"),
        (pki.expired(HOST), "certificate-expired"),
        (pki.not_yet_valid(HOST), "certificate-expired"),
        (self_signed(HOST, false), "certificate-not-trusted"),
        (self_signed(HOST, true), "certificate-not-trusted"),
        (Pki::new().valid(HOST), "certificate-not-trusted"),
    ];
    for (tls, code) in table {
        let failure = fetch_tls(&pki, tls).await;
        assert_eq!((failure.code(), failure.result_type()), (code, "sts-webpki-invalid"), "{failure}");
    }
}

#[tokio::test]
async fn each_address_is_asked_and_reported() {
    let pki = Pki::new();
    let first = policy_host("127.0.0.1:0", pki.valid(HOST), ok("text/plain", POLICY)).await;
    let port = first.addr.port();
    let second = policy_host(&format!("127.0.0.2:{port}"), pki.valid(HOST), ok("text/plain", "old")).await;
    let _third = policy_host(&format!("127.0.0.3:{port}"), pki.expired(HOST), ok("text/plain", POLICY)).await;
    let table = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]
        .into_iter()
        .fold(Table::default(), |table, address| table.address(HOST, address));
    let fetched = fetch(&pki, port, table).await.unwrap();
    let texts: Vec<_> = fetched.answers().map(|answer| (answer.addr, answer.text.clone())).collect();
    assert_eq!(texts, [(first.addr, POLICY.into()), (second.addr, "old".into())]);
    let failed: Vec<_> = fetched.failed.iter().map(|failure| failure.error.code()).collect();
    assert_eq!(failed, ["certificate-expired", "connection-failed"]);
}

#[tokio::test]
async fn loopback_is_not_connected_to_unless_configured() {
    let pki = Pki::new();
    let host = policy_host("127.0.0.1:0", pki.valid(HOST), ok("text/plain", POLICY)).await;
    let mut strict = config(&pki, host.addr.port());
    strict.allow_private_addresses = false;
    let table = Table::default().address(HOST, "127.0.0.1").address(HOST, "::ffff:127.0.0.1");
    let failure = PolicyFetcher::new(strict, resolver(table).await).unwrap().fetch(&domain()).await.unwrap_err();
    assert_eq!(failure.code(), "address-refused");
    assert!(host.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_address_and_no_answer_from_dns_are_told_apart() {
    let pki = Pki::new();
    let failure = fetch(&pki, 1, Table::default()).await.unwrap_err();
    assert!(matches!(failure, FetchFailure::NoAddress { .. }), "{failure}");
    let failure = fetch(&pki, 1, Table::default().silent(HOST)).await.unwrap_err();
    assert_eq!(failure.code(), "unresolvable");
}
