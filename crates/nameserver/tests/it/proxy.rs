//! Behind load balancers that say by the PROXY protocol who the client is.

use std::{net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use mtasts_nameserver::{Limits, NameserverConfig, RateLimit};
use mtasts_proxy::ProxyProtocol;
use mtasts_testkit::Balancer;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

use crate::{
    secondary::peer,
    support::{
        PATIENCE, Running, TestFeed, ZONE, config, over_tcp, plain_question, question, send, send_waiting, until,
    },
};

const NAME: &str = "a._mta-sts.sts.example";
/// Questions that do not all come with a second between them, however busy the machine is.
const MANY: usize = 30;
/// How long nothing is waited for.
const SILENCE: Duration = Duration::from_millis(300);

async fn serving(config: NameserverConfig) -> Running {
    let server = Running::start(config, TestFeed::with(&[(NAME, "t")])).await;
    until("the feed has been read", || server.nameserver.ready()).await;
    server
}

fn behind(trusted: &str) -> NameserverConfig {
    let proxy_protocol = ProxyProtocol::behind(vec![trusted.parse().unwrap()]);
    NameserverConfig { proxy_protocol, ..config() }
}

/// Two answers for each network, and one a second; the others are truncated.
fn few_answers() -> RateLimit {
    RateLimit { answers_per_second: 1, burst_seconds: 2, slip: 1, exempt: Vec::new(), ..RateLimit::default() }
}

const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;

/// A header that names this client, and what follows it.
fn announced(client: [u8; 4], transport: u8, packet: &[u8]) -> Vec<u8> {
    announced_with(client, transport, 2, packet)
}

/// With so many octets in a TLV that nobody knows.
fn announced_with(client: [u8; 4], transport: u8, octets: u16, packet: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    bytes.push(0x10 | transport);
    bytes.extend((12 + 3 + octets).to_be_bytes());
    bytes.extend(client);
    bytes.extend([127, 0, 0, 1, 0x30, 0x39, 0, 53, 0xe0]);
    bytes.extend(octets.to_be_bytes());
    bytes.resize(bytes.len() + usize::from(octets), 7);
    bytes.extend(packet);
    bytes
}

/// A health check of the load balancer's own.
fn local(packet: &[u8]) -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], packet].concat()
}

fn packet() -> Vec<u8> {
    question(NAME, RecordType::TXT).to_vec().unwrap()
}

async fn connected(server: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(header).await.unwrap();
    stream
}

fn read(answer: Option<Vec<u8>>) -> Message {
    Message::from_vec(&answer.expect("an answer")).unwrap()
}

#[tokio::test]
async fn questions_are_answered_after_their_header_and_without_one() {
    let server = serving(behind("127.0.0.0/8")).await;
    let address = server.address();
    for sent in [announced([192, 0, 2, 1], DATAGRAM, &packet()), local(&packet())] {
        assert_eq!(read(send(address, &sent).await).answers.len(), 1);
    }
    // The longest header before the longest question: its OPT record, which ends it, gets an option of zeros.
    let mut longest = packet();
    longest.truncate(longest.len() - 2);
    let option = 4_096 - longest.len() - 6;
    for number in [option + 4, 65_001, option] {
        longest.extend(u16::try_from(number).unwrap().to_be_bytes());
    }
    longest.resize(4_096, 0);
    let sent = announced_with([192, 0, 2, 1], DATAGRAM, 2_048 - 15, &longest);
    assert_eq!(read(send(address, &sent).await).answers.len(), 1);
    for header in [announced([192, 0, 2, 1], STREAM, b""), local(b"")] {
        let mut stream = connected(address, &header).await;
        for _ in 0..3 {
            assert_eq!(read(over_tcp(&mut stream, &packet()).await.ok()).answers.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_stranger_does_not_choose_its_address() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let server = serving(behind("10.0.0.0/8")).await;
    let address = server.address();
    for sent in [announced([10, 0, 0, 1], DATAGRAM, &packet()), local(&packet()), packet()] {
        assert_eq!(send_waiting(address, &sent, SILENCE).await, None);
    }
    for header in [announced([10, 0, 0, 1], STREAM, b""), local(b""), Vec::new()] {
        let mut stream = connected(address, &header).await;
        assert!(timeout(PATIENCE, over_tcp(&mut stream, &packet())).await.expect("an end in time").is_err());
    }
    for transport in ["udp", "tcp"] {
        let line = format!("mtasts_nameserver_proxy_headers_refused_total{{transport=\"{transport}\"}} 3");
        until(&line, || metrics.render().contains(&line)).await;
    }
    // Where there is no load balancer, a header is no question.
    let server = serving(NameserverConfig { rate_limit: Some(few_answers()), ..config() }).await;
    let sent = announced([192, 0, 2, 1], DATAGRAM, &packet());
    let answer = send_waiting(server.address(), &sent, SILENCE).await;
    assert!(answer.is_none_or(|answer| Message::from_vec(&answer).unwrap().answers.is_empty()));
    let mut stream = connected(server.address(), &announced([192, 0, 2, 1], STREAM, b"")).await;
    // Its first two octets are a length that never comes together.
    assert!(!matches!(timeout(SILENCE, over_tcp(&mut stream, &packet())).await, Ok(Ok(_))));
}

#[tokio::test]
async fn what_a_load_balancer_sends_without_a_header_is_dropped() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let limits = Limits { tcp_idle: Duration::from_millis(300), ..Limits::default() };
    let server = serving(NameserverConfig { limits, ..behind("127.0.0.0/8") }).await;
    let address = server.address();
    let whole = announced([192, 0, 2, 1], DATAGRAM, &packet());
    let first = b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 53\r\n";
    for sent in [&packet()[..], &whole[..20], &[first, &packet()[..]].concat(), b"x", &[]] {
        assert_eq!(send_waiting(address, sent, SILENCE).await, None, "{sent:?}");
    }
    // One that stays silent, half a header, a question, and version 1.
    for begin in [&[][..], &whole[..20], &packet(), first] {
        let mut stream = connected(address, begin).await;
        assert!(timeout(PATIENCE, over_tcp(&mut stream, b"")).await.expect("an end in time").is_err(), "{begin:?}");
    }
    for (transport, count) in [("udp", 5), ("tcp", 4)] {
        let line = format!("mtasts_nameserver_proxy_headers_refused_total{{transport=\"{transport}\"}} {count}");
        until(&line, || metrics.render().contains(&line)).await;
    }
}

#[tokio::test]
async fn limits_and_transfers_are_by_the_client_that_is_named() {
    let transfers = vec![peer(None, &["192.0.2.0/24"], &[])];
    let limits = Limits { tcp_connections_per_address: 1, ..Limits::default() };
    let config = NameserverConfig { rate_limit: Some(few_answers()), transfers, limits, ..behind("127.0.0.0/8") };
    let server = serving(config).await;
    let address = server.address();
    let is_whole = async |client| {
        let answer = read(send(address, &announced(client, DATAGRAM, &packet())).await);
        !answer.metadata.truncation
    };
    for client in [[198, 51, 100, 1], [203, 0, 113, 1]] {
        assert!(is_whole(client).await && is_whole(client).await);
        let mut is_limited = false;
        for _ in 0..MANY {
            is_limited |= !is_whole(client).await;
        }
        assert!(is_limited, "{client:?}");
    }
    // What came by datagrams is not proved by the load balancer's own connection.
    let mut stream = connected(address, &announced([198, 51, 100, 1], DATAGRAM, b"")).await;
    let mut is_limited = false;
    for _ in 0..MANY {
        is_limited |= read(over_tcp(&mut stream, &packet()).await.ok()).metadata.truncation;
    }
    assert!(is_limited);
    drop(stream);
    let whole = plain_question(ZONE, RecordType::AXFR).to_vec().unwrap();
    for (client, transport, code) in [
        ([192, 0, 2, 7], STREAM, ResponseCode::NoError),
        ([198, 51, 100, 7], STREAM, ResponseCode::Refused),
        ([192, 0, 2, 8], DATAGRAM, ResponseCode::FormErr),
    ] {
        let mut stream = connected(address, &announced(client, transport, b"")).await;
        assert_eq!(read(over_tcp(&mut stream, &whole).await.ok()).metadata.response_code, code, "{client:?}");
    }
    let mut held = connected(address, &announced([198, 51, 100, 9], STREAM, b"")).await;
    assert!(over_tcp(&mut held, &packet()).await.is_ok());
    let mut second = connected(address, &announced([198, 51, 100, 9], STREAM, b"")).await;
    assert!(over_tcp(&mut second, &packet()).await.is_err(), "a second connection of one client");
    let mut other = connected(address, &announced([198, 51, 100, 10], STREAM, b"")).await;
    assert!(over_tcp(&mut other, &packet()).await.is_ok());
}

/// Answers over UDP to a client of that address, truncated ones aside.
async fn whole_answers(source: &str, server: SocketAddr, times: usize) -> usize {
    let socket = UdpSocket::bind((source, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    let mut whole = 0;
    for _ in 0..times {
        socket.send(&packet()).await.unwrap();
        let mut buffer = vec![0; 4096];
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer in time").unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        whole += usize::from(!answer.metadata.truncation && answer.answers.len() == 1);
    }
    whole
}

/// From another address than that of the load balancer.
async fn connect_from(source: &str, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    socket.connect(server).await.unwrap()
}

/// That of 127.0.7.0/24 may transfer the zone, and the load balancer, which is 127.0.0.1, may not.
fn with_peers() -> NameserverConfig {
    NameserverConfig { transfers: vec![peer(None, &["127.0.7.0/24"], &[])], ..behind("127.0.0.1/32") }
}

async fn transfer_code(source: &str, server: SocketAddr) -> ResponseCode {
    let whole = plain_question(ZONE, RecordType::AXFR).to_vec().unwrap();
    let mut stream = connect_from(source, server).await;
    let answer = timeout(PATIENCE, over_tcp(&mut stream, &whole)).await.expect("an answer in time");
    read(answer.ok()).metadata.response_code
}

#[tokio::test]
async fn dnsdist_is_understood_over_udp_and_tcp() {
    let mut limit = few_answers();
    // Its health checks and those of this test, which come from itself.
    limit.exempt.push("127.0.0.1/32".parse().unwrap());
    let server = serving(NameserverConfig { rate_limit: Some(limit), ..with_peers() }).await;
    for (way, [one, other]) in [("udp", ["127.0.3.1", "127.0.4.1"]), ("tcp", ["127.0.5.1", "127.0.6.1"])] {
        let dnsdist = Balancer::dnsdist(server.address(), way, ZONE).await;
        for client in [one, other] {
            let whole = whole_answers(client, dnsdist.address(), MANY).await;
            assert!((2..MANY).contains(&whole), "{way}: {whole} answers to {client}");
        }
        assert_eq!(transfer_code("127.0.7.1", dnsdist.address()).await, ResponseCode::NoError, "{way}");
        assert_eq!(transfer_code("127.0.8.1", dnsdist.address()).await, ResponseCode::Refused, "{way}");
    }
}

#[tokio::test]
async fn haproxy_is_understood_over_tcp() {
    let server = serving(with_peers()).await;
    let haproxy = Balancer::haproxy(server.address(), "send-proxy-v2").await;
    assert_eq!(transfer_code("127.0.7.1", haproxy.address()).await, ResponseCode::NoError);
    assert_eq!(transfer_code("127.0.8.1", haproxy.address()).await, ResponseCode::Refused);
}
