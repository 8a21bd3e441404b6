use mtasts_model::Mode;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion, crypto::aws_lc_rs as provider};

use crate::{
    client::Client,
    harness::{Harness, PATH},
};

#[tokio::test]
async fn the_policy_is_served_byte_for_byte_with_the_headers_of_the_rfc() {
    let harness = Harness::serving(&["example.com"]).await;
    let answer = harness.client().policy("example.com").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, "version: STSv1\r\nmode: testing\r\nmx: mx.example.com\r\nmax_age: 86400\r\n");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert!(answer.header("date").unwrap().ends_with(" GMT"));
    assert!(answer.header("cache-control").is_some());
}

#[tokio::test]
async fn a_head_request_gets_the_same_headers_and_no_body() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    let request = format!("HEAD {PATH} HTTP/1.1\r\nHost: mta-sts.example.com\r\n\r\n");
    let head = connection.ask(&request).await.unwrap();
    assert_eq!(head.status, 200);
    let get = connection.get("mta-sts.example.com", PATH).await.unwrap();
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert!(!get.body.is_empty());
}

#[tokio::test]
async fn one_path_and_two_methods_work_and_the_rest_is_explained() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    let answer = connection.get("mta-sts.example.com", "/").await.unwrap();
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("https://mta-sts.example.com/.well-known/mta-sts.txt"), "{}", answer.body);
    let request = format!("DELETE {PATH} HTTP/1.1\r\nHost: mta-sts.example.com\r\n\r\n");
    let answer = connection.ask(&request).await.unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(connection.get("mta-sts.example.com", PATH).await.unwrap().status, 200, "on the same connection");
}

#[tokio::test]
async fn a_host_other_than_the_handshakes_is_misdirected() {
    let harness = Harness::serving(&["example.com", "example.org"]).await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    assert_eq!(connection.get("mta-sts.example.org", PATH).await.unwrap().status, 421);
    assert_eq!(connection.get("MTA-STS.example.com:443", PATH).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_connection_ends_when_the_client_asks_for_it() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: mta-sts.example.com\r\nConnection: close\r\n\r\n");
    let answer = connection.ask(&request).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(connection.is_ended().await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: mta-sts.example.com\r\n\r\n");
    assert_eq!(connection.ask(&[one("/a"), one(PATH), one("/b")].concat()).await.unwrap().status, 404);
    assert_eq!(connection.answer(true).await.unwrap().status, 200);
    assert_eq!(connection.answer(true).await.unwrap().status, 404);
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_aes_128_first_and_x25519() {
    let harness = Harness::serving(&["example.com"]).await;
    for (version, suite) in [
        (&rustls::version::TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
        (&rustls::version::TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ] {
        let mut client = harness.client();
        let mut ours = provider::default_provider();
        // As OpenSSL does: the larger key first.
        ours.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("AES_256"));
        ours.kx_groups =
            vec![provider::kx_group::X25519MLKEM768, provider::kx_group::X25519, provider::kx_group::SECP256R1];
        let mut store = rustls::RootCertStore::empty();
        store.add(harness.authority.root.clone()).unwrap();
        client.config = rustls::ClientConfig::builder_with_provider(ours.into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(store)
            .with_no_client_auth();
        let connection = client.connect("example.com").await.unwrap();
        let tls = connection.stream.get_ref().1;
        assert_eq!(tls.negotiated_cipher_suite().unwrap().suite(), suite);
        assert_eq!(tls.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519);
        let spoken = tls.protocol_version().unwrap();
        assert!(matches!(spoken, ProtocolVersion::TLSv1_3 | ProtocolVersion::TLSv1_2));
        assert_eq!(spoken, version.version);
    }
}

#[tokio::test]
async fn http_2_follows_the_same_rules() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut h2 = H2::connect(&harness, "example.com").await;
    let uri = format!("https://mta-sts.example.com{PATH}");
    let (answer, body) = h2.ask("GET", &uri, None).await;
    assert_eq!(answer.status, 200);
    assert!(body.starts_with("version: STSv1\r\nmode: testing\r\n"));
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let (answer, body) = h2.ask("HEAD", &uri, None).await;
    assert_eq!((answer.status.as_u16(), body.len()), (200, 0));
    assert!(answer.headers["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 50);
    assert_eq!(h2.ask("GET", "https://mta-sts.example.com/", None).await.0.status, 404);
    assert_eq!(h2.ask("GET", &format!("https://mta-sts.example.org{PATH}"), None).await.0.status, 421);
    assert_eq!(h2.ask("DELETE", &uri, None).await.0.status, 405);
    assert_eq!(h2.ask("POST", &uri, Some("a body")).await.0.status, 413);
    assert_eq!(h2.ask("GET", &uri, None).await.0.status, 200, "on the same connection");
}

#[tokio::test]
async fn a_flood_of_reset_streams_ends_the_connection_and_nobody_elses() {
    let harness = Harness::serving(&["example.com"]).await;
    let h2 = H2::connect(&harness, "example.com").await;
    let mut failed = false;
    for _ in 0..10_000 {
        let request = http::Request::get(format!("https://mta-sts.example.com{PATH}")).body(()).unwrap();
        let Ok(mut send) = h2.send.clone().ready().await else {
            failed = true;
            break;
        };
        let Ok((response, mut stream)) = send.send_request(request, false) else {
            failed = true;
            break;
        };
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        tokio::task::yield_now().await;
    }
    assert!(failed, "ten thousand resets were borne");
    assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_small_key_cache_serves_more_hosts_than_it_holds() {
    let domains: Vec<String> = (0..20).map(|number| format!("d{number}.example")).collect();
    let domains: Vec<&str> = domains.iter().map(String::as_str).collect();
    let harness = Harness::with(&domains, |config| config.key_cache_entries = 3).await;
    for _ in 0..2 {
        for domain in &domains {
            let answer = harness.client().policy(domain).await.unwrap();
            assert!(answer.body.contains(&format!("mx: mx.{domain}\r\n")));
        }
    }
}

#[tokio::test]
async fn a_key_sealed_for_another_tenant_is_not_used() {
    let harness = Harness::serving(&["good.example"]).await;
    let mut host = harness.authority.host("bad.example", Mode::Testing);
    host.tenant_id = harness.authority.host("other.example", Mode::Testing).tenant_id;
    let revision = harness.feed.put_host("bad.example", host);
    harness.acknowledged(revision).await;
    assert!(harness.client().connect("bad.example").await.is_err());
    assert_eq!(harness.client().policy("good.example").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_is_not_used() {
    let harness = Harness::serving(&[]).await;
    let mut host = harness.authority.host("a.example", Mode::Testing);
    host.sealed_key = harness.authority.host("a.example", Mode::Testing).sealed_key;
    let revision = harness.feed.put_host("a.example", host);
    harness.acknowledged(revision).await;
    assert!(harness.client().connect("a.example").await.is_err());
}

pub(crate) struct H2 {
    pub(crate) send: h2::client::SendRequest<bytes::Bytes>,
}

impl H2 {
    pub(crate) async fn connect(harness: &Harness, domain: &str) -> Self {
        let mut client: Client = harness.client();
        client.config.alpn_protocols = vec![b"h2".to_vec()];
        let connection = client.connect(domain).await.unwrap();
        let (send, driver) = h2::client::handshake(connection.stream).await.unwrap();
        tokio::spawn(driver);
        Self { send }
    }

    pub(crate) async fn ask(&mut self, method: &str, uri: &str, body: Option<&str>) -> (http::response::Parts, String) {
        let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
        let mut send = self.send.clone().ready().await.unwrap();
        let (response, mut stream) = send.send_request(request, body.is_none()).unwrap();
        if let Some(body) = body {
            let _ = stream.send_data(body.to_owned().into(), true);
        }
        let (parts, mut body) = response.await.unwrap().into_parts();
        let mut text = Vec::new();
        while let Some(data) = body.data().await {
            text.extend_from_slice(&data.unwrap());
        }
        (parts, String::from_utf8(text).unwrap())
    }
}
