use mtasts_model::feed::{Challenge, EdgeEntry};
use mtasts_testkit::Anybody;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{Answer, answer},
    harness::Harness,
};

async fn plain(harness: &Harness, host: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(harness.edge.local_http_addrs()[0]).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    answer(&mut stream, &mut Vec::new(), true).await.unwrap()
}

#[tokio::test]
async fn http_01_is_answered_for_its_token_and_name_until_it_is_gone() {
    let harness = Harness::serving(&["other.example"]).await;
    let challenge =
        Challenge::Http01 { token: "token-1".to_owned(), key_authorization: "token-1.thumbprint".to_owned() };
    let revision = harness.feed.put("example.com", EdgeEntry::Challenge(challenge));
    harness.acknowledged(revision).await;
    let path = "/.well-known/acme-challenge/token-1";
    let answer = plain(&harness, "mta-sts.example.com", path).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "token-1.thumbprint"));
    assert_eq!(plain(&harness, "MTA-STS.example.com:80", path).await.status, 200);
    assert_eq!(plain(&harness, "mta-sts.other.example", path).await.status, 404);
    assert_eq!(plain(&harness, "example.com", path).await.status, 404);
    assert_eq!(plain(&harness, "mta-sts.example.com", "/.well-known/acme-challenge/token-2").await.status, 404);
    assert_eq!(plain(&harness, "mta-sts.other.example", "/.well-known/mta-sts.txt").await.status, 404);

    let Harness { edge, feed, authority, folder } = harness;
    let _ = edge.shutdown(std::time::Duration::from_secs(1)).await;
    let harness = Harness::restarted(&feed, &authority, &folder);
    harness.caught_up().await;
    assert_eq!(plain(&harness, "mta-sts.example.com", path).await.status, 200, "after a restart");
    let revision = feed.put("example.com", EdgeEntry::ChallengeGone);
    harness.acknowledged(revision).await;
    assert_eq!(plain(&harness, "mta-sts.example.com", path).await.status, 404);
}

#[tokio::test]
async fn the_plain_port_is_as_strict_as_the_other() {
    let harness = Harness::serving(&[]).await;
    let mut stream = TcpStream::connect(harness.edge.local_http_addrs()[0]).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    assert_eq!(answer(&mut stream, &mut Vec::new(), true).await.unwrap().status, 413);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "and the connection ends");
}

#[tokio::test]
async fn tls_alpn_01_gets_the_challenges_certificate_and_nothing_else_does() {
    let harness = Harness::serving(&["example.com"]).await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["mta-sts.example.com".to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
    let certificate = params.self_signed(&key).unwrap().der().to_vec();
    let challenge = Challenge::TlsAlpn01 { certificate: certificate.clone(), key: key.serialize_der() };
    let revision = harness.feed.put("example.com", EdgeEntry::Challenge(challenge));
    harness.acknowledged(revision).await;

    let mut client = harness.client();
    client.config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    client.config.dangerous().set_certificate_verifier(Anybody::verifier()); // as CAs do (RFC 8737 §3)
    let mut connection = client.connect("example.com").await.unwrap();
    let tls = connection.stream.get_ref().1;
    assert_eq!(tls.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert_eq!(tls.peer_certificates().unwrap()[0].as_ref(), certificate);
    let mut rest = Vec::new();
    let _ = connection.stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "the connection ends after the handshake");
    assert!(client.connect("other.example").await.is_err());
    assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200, "with the real certificate");

    let revision = harness.feed.put("example.com", EdgeEntry::ChallengeGone);
    harness.acknowledged(revision).await;
    assert!(client.connect("example.com").await.is_err());
}
