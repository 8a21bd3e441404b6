//! `mtasts admin ready`: asks processes whether they are ready, for places without a shell or curl (an image's health
//! check, a test of a release).

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, sleep, timeout},
};

use super::{CommandError, ConfigArgs, Outcome, load, runtime};
use crate::startup::causes;

/// For one process, from the look-up of its name to the last octet.
pub(super) const CALL: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
/// Longest answer that is read: a line for each role.
const MAX_ANSWER: usize = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct ReadyArgs {
    /// Admin ports, as `host:port`; every address of a name is asked. The configuration's own where none is given
    #[arg(value_name = "HOST:PORT")]
    addresses: Vec<String>,
    /// Go on asking for so many seconds until all are ready
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=600))]
    wait: u16,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Why a process did not say that it is ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unready {
    #[error("its name has no address")]
    NoAddress,
    #[error("no connection")]
    Connect(#[from] io::Error),
    #[error("no answer")]
    Http(#[from] hyper::Error),
    #[error("no answer that can be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} s", CALL.as_secs())]
    Silent,
    #[error("{}", .0.trim_end())]
    Said(String),
}

/// Prints what each says, and fails if one is not ready.
pub(super) fn ready(args: &ReadyArgs) -> Outcome {
    let mut names = args.addresses.clone();
    if names.is_empty() {
        names.push(reachable(load(&args.config)?.admin.listen).to_string());
    }
    runtime()?.block_on(async {
        let end = Instant::now() + Duration::from_secs(args.wait.into());
        let mut unready = 0;
        for name in &names {
            let outcome = loop {
                match ask_all(name).await {
                    Err(_) if Instant::now() < end => sleep(PAUSE).await,
                    outcome => break outcome,
                }
            };
            let text = match outcome {
                Ok(text) => text,
                Err(error) => {
                    unready += 1;
                    format!("{}\n", causes(&error))
                }
            };
            let mut out = io::stdout().lock();
            for line in text.lines() {
                writeln!(out, "{name}: {line}")?;
            }
        }
        if unready == 0 { Ok(()) } else { Err(CommandError::Unready(unready).into()) }
    })
}

/// Where one that listens on every address is reached from within.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// All addresses of a `host:port`; one at least.
pub(super) async fn addresses_of(name: &str) -> Result<BTreeSet<SocketAddr>, Unready> {
    let addresses: BTreeSet<SocketAddr> =
        timeout(CALL, lookup_host(name)).await.map_err(|_| Unready::Silent)??.collect();
    if addresses.is_empty() { Err(Unready::NoAddress) } else { Ok(addresses) }
}

/// What all addresses of this name say; the first that is not ready is the error.
async fn ask_all(name: &str) -> Result<String, Unready> {
    let mut text = String::new();
    for address in addresses_of(name).await? {
        text += &timeout(CALL, ask(address)).await.map_err(|_| Unready::Silent)??;
    }
    Ok(text)
}

async fn ask(address: SocketAddr) -> Result<String, Unready> {
    let body = fetch(address, "/readyz", MAX_ANSWER).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// What an admin port answers with 200, of so many octets at most. Without a deadline of its own.
pub(super) async fn fetch(address: SocketAddr, path: &str, most: usize) -> Result<Bytes, Unready> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new());
    let response = sender.send_request(request.map_err(|error| Unready::Body(error.into()))?).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), most).collect().await.map_err(Unready::Body)?;
    connection.abort();
    let body = body.to_bytes();
    if status == StatusCode::OK { Ok(body) } else { Err(Unready::Said(String::from_utf8_lossy(&body).into_owned())) }
}
