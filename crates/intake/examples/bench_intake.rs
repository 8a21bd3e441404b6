//! For `scripts/bench/intake`: the real intake, and a generator of load.
//!
//! ```text
//! bench_intake migrate <database>
//! bench_intake serve <database> <domains>        says its addresses and the labels; ends with its standard input
//! bench_intake load <http|https|smtp> <address> <labels> <octets> <connections> <seconds>
//! ```
//!
//! `load` sends reports of so many octets, each another, to labels in turn; each connection sends the next one as soon as its
//! last was acknowledged, and ends when one is refused. Prints reports a second, median and 99th percentile in milliseconds, and how many were refused.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on should say where")]

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mtasts_intake::{Intake, IntakeConfig};
use mtasts_model::{
    Clock, DomainId, Entropy, HostName, Label, MailDomain, MaxAge, Mode, SystemClock, SystemEntropy, TenantId,
    ZoneName, lifecycle::MxSource,
};
use mtasts_store::{Actor, NewDomain, NewTenant, Role, Store, StoreConfig, migrate};
use mtasts_testkit::Anybody;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

const HOST: &str = "reports.sts.example.net";
const TENANTS: usize = 10;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["migrate", database] => drop(migrate(&database.into(), &zone()).await.expect("migrates")),
        ["serve", database, domains] => serve(database, domains.parse().expect("a number")).await,
        ["load", way, address, labels, octets, connections, seconds] => {
            let load = Load {
                way: way.to_owned(),
                address: address.to_owned(),
                labels: labels.split(',').map(str::to_owned).collect(),
                octets: octets.parse().expect("octets"),
                next: AtomicU64::new(SystemClock.now().timestamp_micros().cast_unsigned()),
                until: Instant::now() + Duration::from_secs(seconds.parse().expect("seconds")),
            };
            run(Arc::new(load), connections.parse().expect("connections")).await;
        }
        _ => eprintln!("bench_intake migrate | serve | load: see scripts/bench/intake"),
    }
}

fn zone() -> ZoneName {
    "sts.example.net".parse().expect("a zone")
}

async fn connect(database: &str, role: Role) -> Store {
    let config = StoreConfig {
        url: database.into(),
        role,
        max_connections: 16,
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(10),
        redis_url: None,
    };
    Store::connect(config).await.expect("a store")
}

async fn serve(database: &str, domains: usize) {
    let api = connect(database, Role::Api).await;
    let now = SystemClock.now();
    let mut tenants = Vec::new();
    for _ in 0..TENANTS {
        let new = NewTenant { id: TenantId::draw(now, &SystemEntropy), name: "bench".to_owned(), parent: None };
        tenants.push(api.create_tenant(new, &Actor::operator(), now).await.expect("a tenant").id);
    }
    let mut labels = Vec::new();
    for number in 0..domains {
        let label = Label::draw(&SystemEntropy);
        labels.push(label.to_string());
        let new = NewDomain {
            id: DomainId::draw(now, &SystemEntropy),
            name: MailDomain::from_stored(&format!("d{number}.example")).expect("a name"),
            label,
            zone: zone(),
            mx_source: MxSource::Listed,
            first: None,
            preferred_mode: Mode::Testing,
            preferred_max_age: MaxAge::new(86_400).expect("a day"),
            report_uris: Vec::new(),
        };
        let mut tx = api.tenant_tx(tenants[number % TENANTS]).await.expect("a transaction");
        tx.create_domain(new, &Actor::operator(), now).await.expect("a domain");
        tx.commit().await.expect("commits");
    }
    let mut config = IntakeConfig::new(HostName::parse(HOST).expect("a host"));
    let any = "127.0.0.1:0".parse().expect("an address");
    (config.smtp, config.http, config.https) = (vec![any], vec![any], vec![any]);
    config.reports_a_day = 1_000_000_000;
    config.limits.max_connections_per_address = 1_000;
    let store = connect(database, Role::Intake).await;
    let intake = Intake::start(config, store, Arc::new(SystemClock), Arc::new(SystemEntropy)).expect("starts");
    let (smtp, http, https) = (intake.smtp_addrs()[0], intake.http_addrs()[0], intake.https_addrs()[0]);
    println!("{smtp} {http} {https} {}", labels.join(","));
    std::io::stdout().flush().unwrap();
    let mut input = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut input).await;
    intake.shutdown(Duration::from_secs(5)).await;
}

struct Load {
    way: String,
    address: String,
    labels: Vec<String>,
    octets: usize,
    next: AtomicU64,
    until: Instant,
}

async fn run(load: Arc<Load>, connections: usize) {
    let begin = Instant::now();
    let running: Vec<_> = (0..connections).map(|_| tokio::spawn(connection(Arc::clone(&load)))).collect();
    let (mut times, mut refused) = (Vec::new(), 0);
    for connection in running {
        let (of_one, of_those) = connection.await.expect("a connection");
        times.extend(of_one);
        refused += of_those;
    }
    let took = begin.elapsed().as_secs_f64();
    times.sort_unstable();
    let quantile = |percent: usize| times.get(times.len() * percent / 100).map_or(f64::NAN, Duration::as_secs_f64);
    let rate = f64::from(u32::try_from(times.len()).expect("fewer than four billion")) / took;
    println!("{rate:.1} {:.3} {:.3} {refused}", quantile(50) * 1000.0, quantile(99) * 1000.0);
}

async fn connection(load: Arc<Load>) -> (Vec<Duration>, usize) {
    let stream = TcpStream::connect(&load.address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    match load.way.as_str() {
        "http" => http(stream, &load).await,
        "https" => {
            let name = ServerName::try_from(HOST).expect("a name");
            http(Anybody::connector().connect(name, stream).await.expect("TLS"), &load).await
        }
        _ => smtp(stream, &load).await,
    }
}

/// Octets that nothing compresses, and that no other report has.
fn report(load: &Load, noise: &mut [u8]) -> u64 {
    let number = load.next.fetch_add(1, Ordering::Relaxed);
    noise[..8].copy_from_slice(&number.to_be_bytes());
    number
}

fn noise(load: &Load) -> Vec<u8> {
    let mut noise = vec![0; load.octets.max(8)];
    SystemEntropy.fill(&mut noise);
    noise
}

async fn http<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, load: &Load) -> (Vec<Duration>, usize) {
    let (mut times, mut refused, mut body, mut read) = (Vec::new(), 0, noise(load), Vec::new());
    while Instant::now() < load.until {
        let number = report(load, &mut body);
        let label = &load.labels[usize::try_from(number).unwrap_or(0) % load.labels.len()];
        let mut request = format!(
            "POST /v1/tlsrpt/{label} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/tlsrpt+gzip\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        let begin = Instant::now();
        // Where it is refused before its end, the answer says so.
        let _ = stream.write_all(&request).await;
        read.clear();
        // The body of the answer is one JSON object.
        while !read.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut read).await.expect("an answer"), 0);
        }
        times.push(begin.elapsed());
        if !read.starts_with(b"HTTP/1.1 201") {
            // Such an answer ends the connection, as does a number of them in mail.
            refused += 1;
            break;
        }
    }
    (times, refused)
}

async fn smtp<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, load: &Load) -> (Vec<Duration>, usize) {
    let (mut times, mut refused, mut body, mut read) = (Vec::new(), 0, noise(load), Vec::new());
    stream.write_all(b"EHLO bench.example\r\n").await.expect("sends");
    while !read.ends_with(b"\r\n") || !String::from_utf8_lossy(&read).contains("250 ") {
        stream.read_buf(&mut read).await.expect("a greeting");
    }
    while Instant::now() < load.until {
        let number = report(load, &mut body);
        let label = &load.labels[usize::try_from(number).unwrap_or(0) % load.labels.len()];
        let mut mail = format!(
            "MAIL FROM:<bench@bench.example>\r\nRCPT TO:<tlsrpt-{label}@{HOST}>\r\nBDAT {} LAST\r\n",
            body.len()
        )
        .into_bytes();
        mail.extend_from_slice(&body);
        let begin = Instant::now();
        stream.write_all(&mail).await.expect("sends");
        read.clear();
        while String::from_utf8_lossy(&read).matches("\r\n").count() < 3 {
            assert_ne!(stream.read_buf(&mut read).await.expect("an answer"), 0);
        }
        times.push(begin.elapsed());
        if !String::from_utf8_lossy(&read).contains("stored as") {
            refused += 1;
            break;
        }
    }
    (times, refused)
}
