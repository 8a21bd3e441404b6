//! Listening sockets, and the loop that takes connections from them.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpStream, time::sleep};

use super::{Worker, connection};
use crate::error::EdgeError;

/// Connections that the kernel keeps until we take them.
pub(super) const BACKLOG: i32 = 4_096;
/// After too many open files, or the like.
const PAUSE: Duration = Duration::from_millis(50);

/// What is served at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Policies,
    Validations,
}

/// For each of `count` workers one socket per address, not listening yet. All of them share the ports that the first
/// one got.
pub(super) fn bind(
    addresses: &[SocketAddr],
    count: usize,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), EdgeError> {
    let mut bound = addresses.to_vec();
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let mut mine = Vec::with_capacity(bound.len());
        for address in &mut bound {
            let take = || -> io::Result<(TcpListener, SocketAddr)> {
                let listener = take(*address)?;
                let local = listener.local_addr()?;
                Ok((listener, local))
            };
            let (listener, local) = take().map_err(|source| EdgeError::Listen { address: *address, source })?;
            *address = local;
            mine.push(listener);
        }
        listeners.push(mine);
    }
    Ok((bound, listeners))
}

/// The port is ours from here on, and shows whether it can be had; see [`super::Doors`] for why it does not listen yet.
fn take(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Linux hands this on to accepted sockets, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Takes connections until the drain, then those that already wait in the kernel's queue, then closes the listener.
pub(super) async fn accept(listener: tokio::net::TcpListener, kind: Kind, worker: Arc<Worker>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = worker.drain.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => open(stream, peer, kind, &worker),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                worker.shared.counters.accept_errors.increment(1);
                tracing::error!(%error, "no connection can be taken now");
                sleep(PAUSE).await;
            }
        }
    }
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, peer)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                open(stream, peer, kind, &worker);
            }
        }
    }
}

fn open(stream: TcpStream, peer: SocketAddr, kind: Kind, worker: &Arc<Worker>) {
    let Some(place) = worker.shared.admission.enter() else {
        worker.shared.counters.refused_full.increment(1);
        return;
    };
    worker.tasks.spawn(connection::serve(stream, peer.ip(), kind, Arc::clone(worker), place));
}

/// Errors of a connection that ended before it was taken (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
