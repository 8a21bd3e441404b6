//! For `scripts/bench/api`: the real API without limits, and a generator of load.
//!
//! ```text
//! bench_api migrate <database>
//! bench_api serve <database> <address>                              the operator's token is read from standard input
//! bench_api load <address> <requests> <connections> <seconds>
//! ```
//!
//! `load` takes the requests from a file, one a line: key, method, path and body, with tabs between them. Each connection
//! sends the next one as soon as its last was answered. Prints requests a second, median and 99th percentile in
//! milliseconds, and how many were not answered with 2xx.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on should say where")]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use mtasts_api::{Api, ApiConfig};
use mtasts_model::{SystemClock, SystemEntropy, ZoneName};
use mtasts_store::{Role, Store, StoreConfig, migrate};
use tokio::net::TcpStream;

const POOL: u32 = 16;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["migrate", database] => drop(migrate(&database.into(), &zone()).await.expect("migrates")),
        ["serve", database, address] => serve(database, address).await,
        ["load", address, requests, connections, seconds] => {
            let seconds = Duration::from_secs(seconds.parse().expect("seconds"));
            load(address, requests, connections.parse().expect("connections"), seconds).await;
        }
        _ => eprintln!("bench_api migrate | serve | load: see scripts/bench/api"),
    }
}

fn zone() -> ZoneName {
    "sts.example.net".parse().expect("a zone")
}

async fn serve(database: &str, address: &str) {
    let mut token = String::new();
    std::io::stdin().read_line(&mut token).expect("a token");
    let store = StoreConfig {
        url: database.into(),
        role: Role::Api,
        max_connections: POOL,
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(10),
        redis_url: None,
    };
    let store = Store::connect(store).await.expect("a store");
    let listen = vec![address.parse().expect("an address")];
    let url = format!("http://{address}").parse().expect("a URL");
    let mut config = ApiConfig::new(listen, zone(), token.trim().to_owned().into(), url);
    config.limits = None;
    let server = Api::bind(config, store, Arc::new(SystemClock), Arc::new(SystemEntropy)).expect("binds");
    server.run(std::future::pending()).await.expect("runs");
}

/// The requests, and which is next.
struct Work {
    address: String,
    requests: Vec<[String; 4]>,
    next: AtomicUsize,
    until: Instant,
}

async fn load(address: &str, requests: &str, connections: usize, time: Duration) {
    let requests = fs::read_to_string(requests).expect("the requests");
    let requests = requests.lines().map(|line| {
        let mut parts = line.splitn(4, '\t').map(str::to_owned);
        std::array::from_fn(|_| parts.next().expect("four parts"))
    });
    let begin = Instant::now();
    let work = Arc::new(Work {
        address: address.to_owned(),
        requests: requests.collect(),
        next: AtomicUsize::new(0),
        until: begin + time,
    });
    let running: Vec<_> = (0..connections).map(|_| tokio::spawn(connection(Arc::clone(&work)))).collect();
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

async fn connection(work: Arc<Work>) -> (Vec<Duration>, usize) {
    let stream = TcpStream::connect(&work.address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    let running = tokio::spawn(connection);
    let (mut times, mut refused) = (Vec::new(), 0);
    while Instant::now() < work.until {
        let next = work.next.fetch_add(1, Ordering::Relaxed);
        let request = &work.requests[next % work.requests.len()];
        let begin = Instant::now();
        let answered = exchange(&mut sender, &work.address, request).await;
        times.push(begin.elapsed());
        refused += usize::from(!answered);
    }
    drop(sender);
    running.await.expect("ends").expect("without a fault");
    (times, refused)
}

/// Whether it was answered with 2xx.
async fn exchange(sender: &mut SendRequest<Full<Bytes>>, host: &str, [key, method, path, body]: &[String; 4]) -> bool {
    let request = Request::builder()
        .method(method.as_str())
        .uri(path)
        .header("Host", host)
        .header("Authorization", format!("Bearer {key}"))
        .header("Content-Type", "application/json")
        .body(Full::from(body.clone()))
        .unwrap();
    sender.ready().await.expect("the connection lives");
    let (head, body): (_, Incoming) = sender.send_request(request).await.expect("an answer").into_parts();
    body.collect().await.expect("a whole answer");
    head.status.is_success()
}
