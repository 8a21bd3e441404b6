//! Binding UDP and TCP on the same addresses, and the UDP loop.

use std::{io, net::SocketAddr, sync::Arc};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::{
    config::{BindError, NameserverConfig},
    respond::{Reply, Responder, Transport},
};

/// Longer questions than this are nobody's.
pub(super) const MAX_QUESTION: usize = 4096;

/// The sockets of one address.
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: TcpListener,
}

/// Binds all addresses.
pub(super) fn bind(config: &NameserverConfig) -> Result<Vec<Bound>, BindError> {
    if config.listen.is_empty() {
        return Err(BindError::NothingToListenOn);
    }
    let bind = |&address: &SocketAddr| {
        let mut tries = if address.port() == 0 { 16 } else { 1 };
        loop {
            tries -= 1;
            // A port drawn for UDP can be taken for TCP: draw again.
            match bind_one(address, config.limits.udp_sockets.max(1)) {
                Err(_) if tries > 0 => {}
                result => return result.map_err(|source| BindError::Listen { address, source }),
            }
        }
    };
    config.listen.iter().map(bind).collect()
}

fn bind_one(address: SocketAddr, udp_sockets: usize) -> io::Result<Bound> {
    let first = udp(address, udp_sockets > 1)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..udp_sockets {
        sockets.push(udp(address, true)?);
    }
    let listener = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    prepare(&listener, address)?;
    // A restart must not wait for the connections of its predecessor.
    listener.set_reuse_address(true)?;
    listener.bind(&address.into())?;
    listener.listen(1024)?;
    Ok(Bound { address, udp: sockets, tcp: TcpListener::from_std(listener.into())? })
}

fn udp(address: SocketAddr, share_port: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    prepare(&socket, address)?;
    if share_port {
        socket.set_reuse_port(true)?;
    }
    // Bursts wait here while the task is busy; the kernel may grant less.
    let _ = socket.set_recv_buffer_size(1 << 20);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        // So that `0.0.0.0` and `[::]` can both be listened on.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)
}

/// Answers one socket's questions in its own task: an answer takes microseconds, so none is spawned for each.
pub(super) async fn serve_udp(socket: UdpSocket, responder: Arc<Responder>, shutdown: CancellationToken) {
    let mut buffer = vec![0; responder.proxy_protocol.longest_header() + MAX_QUESTION];
    loop {
        let received = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) => {
                // Errors of earlier answers (such as a closed port) are told here; the socket itself is well.
                tracing::debug!(%error, "a UDP socket told of an error");
                tokio::task::yield_now().await;
                continue;
            }
        };
        // Nobody can be answered at port 0.
        if from.port() == 0 {
            continue;
        }
        let Some(packet) = buffer.get(..length) else { continue };
        let (client, packet) = match responder.proxy_protocol.source_of_datagram(packet, from.ip()) {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(%error, %from, "a datagram was dropped");
                responder.counters.header_refused(Transport::Udp);
                continue;
            }
        };
        if let Some(Reply::Message(answer)) = responder.respond(packet, Transport::Udp, client.address)
            && let Err(error) = socket.send_to(&answer, from).await
        {
            tracing::debug!(%error, %from, "an answer could not be sent");
        }
    }
}
