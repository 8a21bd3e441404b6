//! Behind load balancers that say by the PROXY protocol who the client is.

use std::{net::SocketAddr, time::Duration};

use metrics_exporter_prometheus::PrometheusBuilder;
use mtasts_intake::IntakeConfig;
use mtasts_proxy::ProxyProtocol;
use mtasts_testkit::{Anybody, Balancer, wait_until};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    client::{PATIENCE, Smtp, http, post},
    harness::{HOST, House, config},
};

fn behind(trusted: &str) -> IntakeConfig {
    let mut config = config();
    config.proxy_protocol = ProxyProtocol::behind(vec![trusted.parse().unwrap()]);
    config
}

fn v1(client: [u8; 4]) -> Vec<u8> {
    let [a, b, c, d] = client;
    format!("PROXY TCP4 {a}.{b}.{c}.{d} 127.0.0.1 12345 25\r\n").into_bytes()
}

fn v2(client: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend(client);
    bytes.extend([127, 0, 0, 1, 0x30, 0x39, 0, 25]);
    bytes
}

/// A health check of the load balancer's own.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn announced(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(header).await.unwrap();
    stream
}

/// From another address than that of the load balancer.
async fn from(source: &str, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    socket.connect(address).await.unwrap()
}

async fn deliver(house: &House, stream: TcpStream, text: &str) {
    let mut client = Smtp::greeted(stream).await;
    client.ask("EHLO mx.sender.example", 250).await;
    client.envelope(&[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    client.ask(&format!("{text}\r\n."), 250).await;
}

/// The status of a POST over TLS.
async fn send(house: &House, stream: TcpStream, headers: &str, text: &str) -> u16 {
    let mut stream = Anybody::connector().connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap();
    let path = format!("/v1/tlsrpt/{}", house.domain.label);
    http(&mut stream, &post(&path, headers, text.as_bytes())).await.0
}

/// What is stored, with whom it is from, in order.
async fn peers(house: &House) -> String {
    house
        .sql(
            "SELECT rtrim(convert_from(raw, 'UTF8'), E'\\r\\n') || ' ' || host(peer) FROM report_arrivals ORDER BY raw",
        )
        .await
}

/// The connection ends, and nothing was said.
async fn is_closed_unheard(mut stream: TcpStream) -> bool {
    let mut heard = Vec::new();
    // An error is an end as well: what was sent was not even read.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("an end in time");
    heard.is_empty()
}

#[tokio::test]
async fn reports_are_of_whom_the_load_balancer_names() {
    let house = House::with(behind("127.0.0.0/8")).await;
    deliver(&house, announced(house.smtp(), &v1([192, 0, 2, 1])).await, "a").await;
    deliver(&house, announced(house.smtp(), &v2([192, 0, 2, 2])).await, "b").await;
    deliver(&house, announced(house.smtp(), LOCAL).await, "c").await;
    assert_eq!(send(&house, announced(house.https(), &v1([192, 0, 2, 4])).await, "", "d").await, 201);
    assert_eq!(send(&house, announced(house.https(), &v2([192, 0, 2, 5])).await, "", "e").await, 201);
    assert_eq!(peers(&house).await, "a 192.0.2.1\nb 192.0.2.2\nc 127.0.0.1\nd 192.0.2.4\ne 192.0.2.5");
}

#[tokio::test]
async fn whom_the_header_names_need_not_be_believed_further() {
    let house = House::with({
        let mut config = behind("127.0.0.0/8");
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config
    })
    .await;
    let forwarded = "X-Forwarded-For: 203.0.113.9\r\n";
    assert_eq!(send(&house, announced(house.https(), &v2([192, 0, 2, 1])).await, forwarded, "a").await, 201);
    assert_eq!(send(&house, announced(house.https(), &v2([127, 0, 0, 9])).await, forwarded, "b").await, 201);
    // Where proxies of HTTP come in there is no header.
    let path = format!("/v1/tlsrpt/{}", house.domain.label);
    let mut plain = TcpStream::connect(house.http()).await.unwrap();
    assert_eq!(http(&mut plain, &post(&path, forwarded, b"c")).await.0, 201);
    assert_eq!(peers(&house).await, "a 192.0.2.1\nb 203.0.113.9\nc 203.0.113.9");
}

#[tokio::test]
async fn a_stranger_does_not_choose_its_address() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let house = House::with(behind("10.0.0.0/8")).await;
    for address in [house.smtp(), house.https()] {
        for header in [&v1([10, 0, 0, 1])[..], &v2([10, 0, 0, 1]), LOCAL, b""] {
            assert!(is_closed_unheard(announced(address, header).await).await, "{header:?}");
        }
    }
    for via in ["smtp", "https"] {
        let line = format!("mtasts_intake_connections_refused_total{{via=\"{via}\",reason=\"proxy-header\"}} 4");
        let is_counted = async || metrics.render().contains(&line);
        wait_until(PATIENCE, &line, is_counted).await;
    }
    // Where there is no load balancer, a header is what a client sends that does not know how to speak.
    let house = House::new().await;
    let mut client = Smtp::greeted(announced(house.smtp(), &v1([192, 0, 2, 1])).await).await;
    client.expect(500).await;
    let mut client = Smtp::greeted(announced(house.smtp(), &v2([192, 0, 2, 1])).await).await;
    client.expect(500).await;
    let name = ServerName::try_from(HOST).unwrap();
    let stream = announced(house.https(), &v2([192, 0, 2, 1])).await;
    assert!(Anybody::connector().connect(name, stream).await.is_err());
    assert_eq!(house.arrivals().await, 0);
}

#[tokio::test]
async fn nobody_is_greeted_before_the_header_is_there_and_none_waits_for_ever() {
    let mut config = behind("127.0.0.0/8");
    config.limits.header_deadline = Duration::from_secs(1);
    let house = House::with(config).await;
    let header = v2([192, 0, 2, 1]);
    for address in [house.smtp(), house.https()] {
        // Half a header, none, another kind of begin, and one too long.
        let endless = [&header[..14], &[0xff, 0xff], &[0; 3_000]].concat();
        for begin in [&header[..20], b"", b"EHLO mx.sender.example\r\n", b"\x16\x03\x01\0\xff", &endless] {
            assert!(is_closed_unheard(announced(address, begin).await).await, "{begin:?}");
        }
    }
    // In two pieces, with the client's own first words in one with the second.
    let mut stream = announced(house.smtp(), &header[..7]).await;
    stream.set_nodelay(true).unwrap();
    stream.write_all(&[&header[7..], b"EHLO mx.sender.example\r\n"].concat()).await.unwrap();
    let mut client = Smtp::greeted(stream).await;
    client.expect(250).await;
}

#[tokio::test]
async fn the_caps_count_clients_and_not_the_load_balancer() {
    let mut config = behind("127.0.0.0/8");
    config.limits.max_connections_per_address = 1;
    let house = House::with(config).await;
    let _first = Smtp::greeted(announced(house.smtp(), &v2([192, 0, 2, 1])).await).await;
    let _other = Smtp::greeted(announced(house.smtp(), &v2([192, 0, 2, 2])).await).await;
    let mut second = announced(house.smtp(), &v2([192, 0, 2, 1])).await;
    let mut told = String::new();
    second.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("421 4.7.0 "), "{told}");
    // One that stays open after an answer; None if there is none.
    let answered = async |client, text: &str| {
        let stream = announced(house.https(), &v2(client)).await;
        let mut stream = Anybody::connector().connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap();
        let path = format!("/v1/tlsrpt/{}", house.domain.label);
        let asked = stream.write_all(&post(&path, "", text.as_bytes())).await;
        let mut answer = [0; 12];
        let has_answered = asked.is_ok() && stream.read_exact(&mut answer).await.is_ok();
        has_answered.then(|| {
            assert_eq!(&answer, b"HTTP/1.1 201");
            stream
        })
    };
    let first = answered([192, 0, 2, 1], "a").await.expect("an answer");
    let _other = answered([192, 0, 2, 2], "b").await.expect("an answer");
    assert!(answered([192, 0, 2, 1], "c").await.is_none(), "a second of one client");
    drop(first);
    assert_eq!(peers(&house).await, "a 192.0.2.1\nb 192.0.2.2");
}

#[tokio::test]
async fn haproxy_is_understood() {
    let house = House::with(behind("127.0.0.1/32")).await;
    for (announces, mail, posted) in [("send-proxy", "a", "b"), ("send-proxy-v2", "c", "d")] {
        let smtp = Balancer::haproxy(house.smtp(), announces).await;
        let https = Balancer::haproxy(house.https(), announces).await;
        deliver(&house, from("127.0.0.7", smtp.address()).await, mail).await;
        assert_eq!(send(&house, from("127.0.0.8", https.address()).await, "", posted).await, 201, "{announces}");
    }
    assert_eq!(peers(&house).await, "a 127.0.0.7\nb 127.0.0.8\nc 127.0.0.7\nd 127.0.0.8");
    assert!(is_closed_unheard(from("127.0.0.7", house.smtp()).await).await, "past the load balancer");
}
