//! Probing MX hosts (RFC 3207, RFC 8461 §4.2).

use std::{net::SocketAddr, sync::Arc};

use mtasts_model::lifecycle::MxFailure;
use mtasts_probe::{HostLook, MxProber, MxRoute, MxRouteError, inspect::Pacer, mx_route};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Duration, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    dns::Table,
    pki::{Pki, self_signed},
    support::{config, domain, host, resolver},
};

const MX: &str = "mx.customer.test";

/// What a small SMTP server says.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) banner: Vec<u8>,
    pub(crate) delay: Duration,
    pub(crate) hello: Vec<u8>,
    pub(crate) start_tls: Vec<u8>,
    /// What comes in place of a handshake.
    pub(crate) no_tls: Option<Vec<u8>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            banner: b"220-mx.customer.test\r\n220 ESMTP ready\r\n".to_vec(),
            delay: Duration::ZERO,
            hello: b"250-mx.customer.test\r\n250-SIZE 1000\r\n250-starttls\r\n250 8BITMIME\r\n".to_vec(),
            start_tls: b"220 go ahead\r\n".to_vec(),
            no_tls: None,
        }
    }
}

/// A server, and the commands that it is given.
pub(crate) struct SmtpServer {
    pub(crate) addr: SocketAddr,
    pub(crate) commands: mpsc::UnboundedReceiver<String>,
}

pub(crate) async fn smtp_server(at: &str, tls: Arc<ServerConfig>, script: Script) -> SmtpServer {
    let listener = TcpListener::bind(at).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, commands) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (tls, script, sender) = (Arc::clone(&tls), script.clone(), sender.clone());
            tokio::spawn(async move { converse(tcp, &tls, &script, &sender).await });
        }
    });
    SmtpServer { addr, commands }
}

async fn converse(
    tcp: TcpStream,
    tls: &Arc<ServerConfig>,
    script: &Script,
    commands: &mpsc::UnboundedSender<String>,
) -> std::io::Result<()> {
    let mut plain = BufReader::new(tcp);
    sleep(script.delay).await;
    plain.write_all(&script.banner).await?;
    for answer in [&script.hello, &script.start_tls] {
        let mut line = String::new();
        plain.read_line(&mut line).await?;
        let _ = commands.send(line.trim_end().to_owned());
        if line == "QUIT\r\n" {
            return plain.write_all(b"221 bye\r\n").await;
        }
        plain.write_all(answer).await?;
    }
    if let Some(bytes) = &script.no_tls {
        // Not before the client's first octets: that would be something else.
        let _ = plain.read(&mut [0; 1]).await?;
        plain.write_all(bytes).await?;
        return plain.shutdown().await;
    }
    let mut secure = BufReader::new(TlsAcceptor::from(Arc::clone(tls)).accept(plain.into_inner()).await?);
    let mut line = String::new();
    secure.read_line(&mut line).await?;
    let _ = commands.send(format!("TLS {}", line.trim_end()));
    secure.write_all(b"221 bye\r\n").await?;
    secure.flush().await?;
    let _ = secure.read(&mut [0; 1]).await;
    Ok(())
}

async fn probe_with(pki: &Pki, tls: Arc<ServerConfig>, script: Script) -> Result<(), MxFailure> {
    let server = smtp_server("127.0.0.1:0", tls, script).await;
    let table = Table::default().address(MX, "127.0.0.1");
    passes(&prober(pki, server.addr.port(), table).await, MX).await
}

async fn passes(prober: &MxProber, name: &str) -> Result<(), MxFailure> {
    prober.probe(&host(name)).await.unwrap().failure.map_or(Ok(()), Err)
}

async fn prober(pki: &Pki, port: u16, table: Table) -> MxProber {
    MxProber::new(config(pki, port), resolver(table).await, Arc::default()).unwrap()
}

async fn code(script: Script) -> String {
    let pki = Pki::new();
    probe_with(&pki, pki.valid(MX), script).await.unwrap_err().code
}

#[tokio::test]
async fn a_host_with_verified_starttls_passes_and_is_told_goodbye() {
    let pki = Pki::new();
    let mut server = smtp_server("127.0.0.1:0", pki.valid(MX), Script::default()).await;
    let table = Table::default().address(MX, "127.0.0.1");
    passes(&prober(&pki, server.addr.port(), table).await, MX).await.unwrap();
    for expected in ["EHLO prober.test", "STARTTLS", "TLS QUIT"] {
        assert_eq!(server.commands.recv().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_host_without_starttls_fails() {
    let without = Script { hello: b"250-mx\r\n250 SIZE 1000\r\n".to_vec(), ..Script::default() };
    assert_eq!(code(without).await, "starttls-not-supported");
    let refuses = Script { start_tls: b"454 not now\r\n".to_vec(), ..Script::default() };
    assert_eq!(code(refuses).await, "starttls-not-supported");
    let only_helo = Script { hello: b"502 what?\r\n".to_vec(), ..Script::default() };
    assert_eq!(code(only_helo).await, "starttls-not-supported");
}

#[tokio::test]
async fn the_servers_own_name_in_its_hello_is_no_keyword() {
    let named = Script { hello: b"250-STARTTLS\r\n250 SIZE\r\n".to_vec(), ..Script::default() };
    assert_eq!(code(named).await, "starttls-not-supported");
}

#[tokio::test]
async fn a_certificate_that_an_enforcing_sender_would_refuse_fails_with_its_reason() {
    let pki = Pki::new();
    let table = [
        (pki.valid("mx.other.test"), "certificate-host-mismatch"),
        (pki.expired(MX), "certificate-expired"),
        (pki.not_yet_valid(MX), "certificate-expired"),
        (self_signed(MX, false), "certificate-not-trusted"),
        (self_signed(MX, true), "certificate-not-trusted"),
    ];
    for (tls, expected) in table {
        let failure = probe_with(&pki, tls, Script::default()).await.unwrap_err();
        assert_eq!(failure.code, expected, "{}", failure.message);
    }
}

#[tokio::test]
async fn a_late_banner_fails_at_the_deadline() {
    let late = Script { delay: Duration::from_secs(20), ..Script::default() };
    let outcome = timeout(Duration::from_secs(5), code(late)).await.expect("the probe gives up by itself");
    assert_eq!(outcome, "connection-failed");
}

#[tokio::test]
async fn an_unwilling_banner_fails() {
    let unwilling = Script { banner: b"554 go away\r\n".to_vec(), ..Script::default() };
    assert_eq!(code(unwilling).await, "connection-failed");
}

#[tokio::test]
async fn lines_and_replies_without_end_fail() {
    let long_line = Script { banner: [b"220 ".to_vec(), vec![b'x'; 100_000]].concat(), ..Script::default() };
    assert_eq!(code(long_line).await, "validation-failure");
    let endless = Script { hello: b"250-AGAIN\r\n".repeat(5_000), ..Script::default() };
    assert_eq!(code(endless).await, "validation-failure");
    let not_smtp = Script { banner: b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), ..Script::default() };
    assert_eq!(code(not_smtp).await, "validation-failure");
}

#[tokio::test]
async fn data_between_the_answer_to_starttls_and_the_handshake_fails() {
    let injected = Script { start_tls: b"220 go ahead\r\n250 injected\r\n".to_vec(), ..Script::default() };
    assert_eq!(code(injected).await, "validation-failure");
}

#[tokio::test]
async fn one_bad_address_fails_the_host() {
    let pki = Pki::new();
    let good = smtp_server("127.0.0.1:0", pki.valid(MX), Script::default()).await;
    let port = good.addr.port();
    let _bad = smtp_server(&format!("127.0.0.2:{port}"), pki.expired(MX), Script::default()).await;
    let table = Table::default().address(MX, "127.0.0.1").address(MX, "127.0.0.2");
    let failure = passes(&prober(&pki, port, table).await, MX).await.unwrap_err();
    assert_eq!(failure.code, "certificate-expired");
    assert!(failure.message.starts_with("127.0.0.2:"), "{}", failure.message);
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_or_resolved_fails() {
    let pki = Pki::new();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let table = Table::default().address(MX, "127.0.0.1").silent("mute.customer.test");
    let prober = prober(&pki, closed, table).await;
    assert_eq!(passes(&prober, MX).await.unwrap_err().code, "connection-failed");
    assert_eq!(passes(&prober, "absent.customer.test").await.unwrap_err().code, "mx-unresolvable");
    assert_eq!(passes(&prober, "mute.customer.test").await.unwrap_err().code, "mx-unresolvable");
}

#[tokio::test]
async fn a_private_address_is_not_connected_to_unless_configured() {
    let pki = Pki::new();
    let mut server = smtp_server("127.0.0.1:0", pki.valid(MX), Script::default()).await;
    let mut strict = config(&pki, server.addr.port());
    strict.allow_private_addresses = false;
    let table = Table::default().address(MX, "127.0.0.1");
    let prober = MxProber::new(strict, resolver(table).await, Arc::default()).unwrap();
    assert_eq!(passes(&prober, MX).await.unwrap_err().code, "connection-failed");
    assert!(server.commands.try_recv().is_err());
}

#[tokio::test]
async fn mail_goes_to_the_mx_hosts_or_to_the_domain_itself_or_nowhere() {
    let mx = |table: Table| async move { mx_route(&resolver(table).await, &domain()).await };
    let name = "customer.test";
    let table = Table::default().mx(name, 20, "b.test").mx(name, 10, "A.test").mx(name, 30, "b.test");
    let expected = MxRoute::Hosts(vec![(10, host("a.test")), (20, host("b.test"))]);
    assert_eq!(mx(table).await.unwrap(), expected);
    let implicit = mx(Table::default().address(name, "127.0.0.1")).await.unwrap();
    assert_eq!(implicit, MxRoute::Implicit(host(name)));
    assert_eq!(mx(Table::default().mx(name, 0, ".")).await.unwrap(), MxRoute::Null);
    assert_eq!(mx(Table::default()).await.unwrap(), MxRoute::Absent);
    let error = mx(Table::default().mx(name, 10, "10.0.0.1")).await.unwrap_err();
    assert!(matches!(error, MxRouteError::NotAHost { preference: 10, .. }), "{error}");
    let error = mx(Table::default().silent(name)).await.unwrap_err();
    assert!(matches!(error, MxRouteError::Resolve { .. }), "{error}");
    let many = (0..21).fold(Table::default(), |table, number| table.mx(name, 1, &format!("mx{number}.test")));
    assert!(matches!(mx(many).await.unwrap_err(), MxRouteError::TooMany { count: 21, .. }));
}

#[tokio::test]
async fn what_a_host_is_asked_names_no_domain() {
    let pki = Pki::new();
    let mut server = smtp_server("127.0.0.1:0", pki.valid(MX), Script::default()).await;
    let table = Table::default().address(MX, "127.0.0.1").address("other.customer.test", "127.0.0.1");
    let prober = prober(&pki, server.addr.port(), table).await;
    let look = prober.probe(&host(MX)).await.unwrap();
    assert_eq!(look, HostLook { failure: None, addresses: vec!["127.0.0.1".parse().unwrap()] });
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line| line != "TLS QUIT") {
        heard.push(server.commands.recv().await.unwrap());
    }
    assert_eq!(heard, ["EHLO prober.test", "STARTTLS", "TLS QUIT"], "our name, and nobody's mail");
    // The same machine by another name is another host.
    assert_eq!(passes(&prober, "other.customer.test").await.unwrap_err().code, "certificate-host-mismatch");
}

#[tokio::test]
async fn a_host_with_an_address_without_room_is_not_connected_to_at_all() {
    let pki = Pki::new();
    let mut server = smtp_server("127.0.0.1:0", pki.valid(MX), Script::default()).await;
    let port = server.addr.port();
    let mut other = smtp_server(&format!("127.0.0.2:{port}"), pki.valid("other.test"), Script::default()).await;
    let table = Table::default().address("other.test", "127.0.0.2").address(MX, "127.0.0.1").address(MX, "127.0.0.2");
    let pacer = Arc::new(Pacer::new(3, 1));
    let prober = MxProber::new(config(&pki, port), resolver(table).await, Arc::clone(&pacer)).unwrap();
    passes(&prober, "other.test").await.unwrap();
    other.commands.recv().await.unwrap();
    let none = prober.probe(&host(MX)).await.unwrap_err();
    assert!(none.wait > Duration::from_secs(30), "{none:?}");
    assert!(server.commands.try_recv().is_err(), "a look that is not made to its end is not begun");
}

#[tokio::test]
async fn looks_by_names_that_share_a_machine_keep_one_pace() {
    let pki = Pki::new();
    let server = smtp_server("127.0.0.1:0", pki.valid(MX), Script::default()).await;
    let names: Vec<String> = (0..8).map(|number| format!("mx{number}.test")).collect();
    let table = names.iter().fold(Table::default(), |table, name| table.address(name, "127.0.0.1"));
    let pacer = Arc::new(Pacer::new(3, 5));
    let prober = MxProber::new(config(&pki, server.addr.port()), resolver(table).await, pacer).unwrap();
    let looks = futures_util::future::join_all(names.iter().map(|name| async {
        let name = host(name);
        prober.probe(&name).await
    }));
    let looks = looks.await;
    assert_eq!(looks.iter().filter(|look| look.is_ok()).count(), 5, "{looks:?}");
}
