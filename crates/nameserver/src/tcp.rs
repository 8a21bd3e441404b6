//! DNS over TCP (RFC 7766), with caps on what strangers can hold open.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mtasts_proxy::{Source, Versions};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    config::Limits,
    respond::{Reply, Responder, Transport},
    sockets::MAX_QUESTION,
    transfer::Transfer,
};

/// Connections by address, for all listeners together.
#[derive(Default)]
pub(super) struct Open(Mutex<(usize, HashMap<IpAddr, usize>)>);

/// One place among the open connections, given back when dropped.
struct Place {
    open: Arc<Open>,
    /// Once it is known.
    client: Option<IpAddr>,
    responder: Arc<Responder>,
}

impl Place {
    fn take(open: &Arc<Open>, limits: &Limits, responder: &Arc<Responder>) -> Option<Self> {
        let mut guard = open.0.lock();
        let (all, _) = &mut *guard;
        if *all >= limits.tcp_connections {
            return None;
        }
        *all += 1;
        responder.counters.tcp_open.increment(1.0);
        Some(Self { open: Arc::clone(open), client: None, responder: Arc::clone(responder) })
    }

    /// Counts it to this client. False if that has as many as it may.
    fn assign(&mut self, client: IpAddr, limits: &Limits) -> bool {
        let mut guard = self.open.0.lock();
        let (_, by_address) = &mut *guard;
        let here = by_address.get(&client).copied().unwrap_or(0);
        if here >= limits.tcp_connections_per_address {
            return false;
        }
        by_address.insert(client, here + 1);
        self.client = Some(client);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guard = self.open.0.lock();
        let (all, by_address) = &mut *guard;
        *all = all.saturating_sub(1);
        if let Some(client) = self.client
            && let Some(here) = by_address.get_mut(&client)
        {
            *here = here.saturating_sub(1);
            if *here == 0 {
                by_address.remove(&client);
            }
        }
        self.responder.counters.tcp_open.decrement(1.0);
    }
}

/// Accepts until shutdown. Connections above a cap are closed at once.
pub(super) async fn serve_tcp(
    listener: TcpListener,
    open: Arc<Open>,
    limits: Limits,
    responder: Arc<Responder>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from): (TcpStream, SocketAddr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a TCP connection could not be accepted");
                // Out of file descriptors: accepting at once again would spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(place) = Place::take(&open, &limits, &responder) else {
            responder.counters.tcp_refused();
            continue;
        };
        let (responder, shutdown) = (Arc::clone(&responder), shutdown.clone());
        tasks.spawn(async move {
            if let Err(error) = serve(stream, from.ip(), place, &limits, &responder, &shutdown).await {
                tracing::debug!(%error, %from, "a TCP connection ended early");
            }
        });
    }
}

/// Finds out who the client is, and answers it if it has a place.
async fn serve(
    mut stream: TcpStream,
    from: IpAddr,
    mut place: Place,
    limits: &Limits,
    responder: &Responder,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    let deadline = Instant::now() + limits.tcp_idle;
    let told = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        told = responder.proxy_protocol.source(&mut stream, from, Versions::Two, deadline) => told,
    };
    let client = match told {
        Ok(client) => client,
        Err(error) => {
            responder.counters.header_refused(Transport::Tcp);
            return Err(io::Error::other(error));
        }
    };
    if !place.assign(client.address, limits) {
        responder.counters.tcp_refused();
        return Ok(());
    }
    converse(stream, client, limits, responder, shutdown).await
}

/// Answers one question after another. A question that has been read is answered also during shutdown.
async fn converse(
    mut stream: TcpStream,
    client: Source,
    limits: &Limits,
    responder: &Responder,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // What came to the load balancer over UDP is answered as over UDP: within its limits of length and rate.
    let transport = if client.by_datagram { Transport::Udp } else { Transport::Tcp };
    let mut end = Instant::now() + limits.tcp_lifetime;
    let mut question = Vec::new();
    loop {
        let next = end.min(Instant::now() + limits.tcp_idle);
        let read = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            read = timeout_at(next, read_question(&mut stream, &mut question)) => read,
        };
        match read {
            Err(_) => return Ok(()),
            Ok(read) => {
                if !read? {
                    return Ok(());
                }
            }
        }
        match responder.respond(&question, transport, client.address) {
            None => return Ok(()),
            Some(Reply::Message(answer)) => {
                let next = end.min(Instant::now() + limits.tcp_idle);
                timeout_at(next, send(&mut stream, &answer)).await??;
            }
            Some(Reply::Transfer(transfer)) => {
                let begun = Instant::now();
                let sent = send_transfer(&mut stream, *transfer, limits, responder, shutdown).await?;
                if !sent {
                    return Ok(());
                }
                // The time for questions does not run during a transfer, which has a deadline of its own.
                end += begun.elapsed();
            }
        }
    }
}

async fn send(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::other("the answer is too long"))?;
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

/// Sends all messages of a transfer. False when it was broken off: the connection must be closed, so that the client
/// notices.
async fn send_transfer(
    stream: &mut TcpStream,
    mut transfer: Transfer,
    limits: &Limits,
    responder: &Responder,
    shutdown: &CancellationToken,
) -> io::Result<bool> {
    responder.counters.transfers_open.increment(1.0);
    let begun = Instant::now();
    let end = begun + responder.transfers.deadline;
    let sending = async {
        loop {
            let next = transfer.next(&responder.zone, responder.clock.now()).map_err(io::Error::other)?;
            let Some(message) = next else { return Ok(()) };
            // Each message within the time for an answer: who reads more slowly is cut off.
            timeout(limits.tcp_idle, send(stream, &message)).await??;
        }
    };
    let sent = tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(io::Error::other("the nameserver stops")),
        sent = timeout_at(end, sending) => sent.unwrap_or_else(|late| Err(late.into())),
    };
    responder.counters.transfers_open.decrement(1.0);
    responder.counters.transferred(transfer.is_whole, sent.is_ok());
    let (peer, serial, records, took) = (&transfer.peer, transfer.serial, transfer.records, begun.elapsed());
    match &sent {
        Ok(()) => tracing::info!(peer, serial, is_whole = transfer.is_whole, records, ?took, "zone transferred"),
        Err(error) => {
            tracing::warn!(%error, peer, serial, is_whole = transfer.is_whole, records, ?took, "a transfer broke off");
        }
    }
    Ok(sent.is_ok())
}

/// False when the peer has closed between questions, or sends more than any question needs.
async fn read_question(stream: &mut TcpStream, question: &mut Vec<u8>) -> io::Result<bool> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    };
    if length > MAX_QUESTION {
        return Ok(false);
    }
    question.resize(length, 0);
    stream.read_exact(question).await?;
    Ok(true)
}
