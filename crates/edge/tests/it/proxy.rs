use mtasts_proxy::ProxyProtocol;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Harness, PATH};

fn header(client: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend(client);
    bytes.extend([127, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb]);
    bytes
}

async fn behind_proxy(trusted: &str) -> Harness {
    let trusted = vec![trusted.parse().unwrap()];
    Harness::with(&["example.com"], |config| {
        config.proxy_protocol = ProxyProtocol::behind(trusted);
        config.max_connections_per_address = 1;
    })
    .await
}

#[tokio::test]
async fn the_client_behind_the_proxy_is_who_the_caps_count() {
    let harness = behind_proxy("127.0.0.0/8").await;
    let mut held = Vec::new();
    for client in [[192, 0, 2, 1], [192, 0, 2, 2]] {
        let mut stream = TcpStream::connect(harness.https()).await.unwrap();
        stream.write_all(&header(client)).await.unwrap();
        let mut connection = harness.client().shake(stream, "mta-sts.example.com").await.unwrap();
        assert_eq!(connection.get("mta-sts.example.com", PATH).await.unwrap().status, 200);
        held.push(connection);
    }
    let mut stream = TcpStream::connect(harness.https()).await.unwrap();
    stream.write_all(&header([192, 0, 2, 1])).await.unwrap();
    assert!(harness.client().shake(stream, "mta-sts.example.com").await.is_err(), "a second of one client");
}

#[tokio::test]
async fn without_the_header_or_with_garbage_the_connection_is_closed() {
    let harness = behind_proxy("127.0.0.0/8").await;
    assert!(harness.client().connect("example.com").await.is_err());
    for garbage in [&b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"[..], &[0; 64], &header([192, 0, 2, 1])[..15]] {
        let mut stream = TcpStream::connect(harness.https()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
}

#[tokio::test]
async fn a_header_of_a_stranger_is_not_believed() {
    let harness = behind_proxy("10.0.0.0/8").await;
    let mut stream = TcpStream::connect(harness.https()).await.unwrap();
    stream.write_all(&header([192, 0, 2, 1])).await.unwrap();
    assert!(harness.client().shake(stream, "mta-sts.example.com").await.is_err());
}
