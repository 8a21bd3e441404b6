//! TCP connections to addresses that were just resolved, and only to allowed ones.

use std::{io, net::SocketAddr};

use tokio::{net::TcpStream, time::timeout};

use crate::{
    ProbeConfig,
    address::{Refusal, refusal},
};

/// At most so many addresses of one host are tried.
pub(crate) const MAX_ADDRESSES: usize = 16;

/// Why there is no connection to one address.
#[derive(Debug)]
pub(crate) enum ConnectFailure {
    /// It may not be connected to.
    Refused(Refusal),
    /// Nobody answered in time.
    Deadline,
    /// This machine has no route or no address of that family: says nothing about the other side.
    NoRoute(io::Error),
    /// Refused, reset, and the like.
    Failed(io::Error),
}

/// Connects to `addr`, which is what was resolved and nothing else.
pub(crate) async fn connect(config: &ProbeConfig, addr: SocketAddr) -> Result<TcpStream, ConnectFailure> {
    if let Some(refusal) = refusal(addr.ip(), config.allow_private_addresses) {
        return Err(ConnectFailure::Refused(refusal));
    }
    let stream = match timeout(config.timeouts.connect, TcpStream::connect(addr)).await {
        Err(_) => return Err(ConnectFailure::Deadline),
        Ok(Err(error)) => return Err(classify(error)),
        Ok(Ok(stream)) => stream,
    };
    // Small request, small answer: nothing to gain from waiting for more to send.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn classify(error: io::Error) -> ConnectFailure {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => ConnectFailure::NoRoute(error),
        io::ErrorKind::TimedOut => ConnectFailure::Deadline,
        _ => ConnectFailure::Failed(error),
    }
}
