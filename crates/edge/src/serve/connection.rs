//! One connection, from its first byte.

use std::{net::IpAddr, sync::Arc};

use mtasts_proxy::Versions;
use rustls::{
    HandshakeKind,
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use super::{
    Worker,
    listener::Kind,
    stream::{Capped, Plain, Tls},
};
use crate::{
    admission::{AddressPlace, Place},
    catalogue::Sighting,
    counters::Handshake,
    http::{
        h1, h2,
        site::{Site, find, mail_domain},
    },
    tls::{ACME_TLS, H2, INTERNAL_ERROR, UNRECOGNIZED_NAME},
};

/// Serves one connection to its end. `place` is given back then.
pub(super) async fn serve(mut stream: TcpStream, peer: IpAddr, kind: Kind, worker: Arc<Worker>, place: Place) {
    let started = Instant::now();
    let deadline = started + worker.shared.config.handshake_deadline;
    let Some(_address_place) = admit(&mut stream, peer, &worker, deadline).await else { return };
    match kind {
        Kind::Validations => h1::serve(Plain(stream), Site::Validations, &worker).await,
        Kind::Policies => {
            let (stream, sighting) = match timeout_at(deadline, shake_hands(stream, &worker)).await {
                Ok(Ok(Some(open))) => open,
                Ok(Ok(None)) => return,
                Ok(Err(outcome)) => return worker.shared.counters.handshake(outcome),
                Err(_) => return worker.shared.counters.handshake(Handshake::TimedOut),
            };
            worker.shared.counters.handshake_seconds.record(started.elapsed().as_secs_f64());
            let site = Site::Policy(sighting);
            if stream.get_ref().1.alpn_protocol() == Some(H2) {
                // Boxed: few connections are HTTP/2, and its state is large.
                Box::pin(h2::serve(stream, site, &worker)).await;
            } else {
                h1::serve(Tls(stream), site, &worker).await;
            }
        }
    }
    drop(place);
}

/// Finds out who the client is, and whether there is a place.
async fn admit(stream: &mut TcpStream, peer: IpAddr, worker: &Worker, deadline: Instant) -> Option<AddressPlace> {
    let shared = &worker.shared;
    let Ok(client) = shared.config.proxy_protocol.client(stream, peer, Versions::Two, deadline).await else {
        shared.counters.refused_proxy.increment(1);
        return None;
    };
    let place = shared.admission.enter_from(client);
    if place.is_none() {
        shared.counters.refused_address.increment(1);
    }
    place
}

/// Reads the ClientHello, finds its host, and only then goes on. `None` after a CA's validation.
async fn shake_hands(
    stream: TcpStream,
    worker: &Arc<Worker>,
) -> Result<Option<(TlsStream<Capped>, Sighting)>, Handshake> {
    let shared = &worker.shared;
    let start =
        LazyConfigAcceptor::new(Acceptor::default(), Capped::new(stream)).await.map_err(|_| Handshake::Failed)?;
    let hello = start.client_hello();
    let validates = is_validation(&hello);
    let host = hello.server_name().map(str::to_ascii_lowercase).unwrap_or_default();
    let Some(domain) = mail_domain(&host) else {
        return abort(start, UNRECOGNIZED_NAME, Handshake::UnknownName).await;
    };
    if validates {
        let Some(key) = shared.challenges.tls_alpn01(domain) else {
            return abort(start, UNRECOGNIZED_NAME, Handshake::UnknownName).await;
        };
        let config = shared.tls.validation(Arc::new(Only(key)));
        let mut stream = start.into_stream(config).await.map_err(|_| Handshake::Failed)?;
        shared.counters.handshake(Handshake::Validation);
        let _ = stream.shutdown().await; // RFC 8737 §3: the handshake was all
        return Ok(None);
    }
    let sighting = match find(shared, domain).await {
        Ok(Some(sighting)) => sighting,
        Ok(None) => return abort(start, UNRECOGNIZED_NAME, Handshake::UnknownName).await,
        Err(_) => return abort(start, INTERNAL_ERROR, Handshake::Internal).await,
    };
    let config = shared.tls.policy(Arc::clone(&sighting.entry) as Arc<dyn ResolvesServerCert>);
    let mut stream = start.into_stream(config).await.map_err(|_| Handshake::Failed)?;
    stream.get_mut().0.lift();
    shared.counters.handshake(match stream.get_ref().1.handshake_kind() {
        Some(HandshakeKind::Resumed) => Handshake::Resumed,
        _ => Handshake::Full,
    });
    Ok(Some((stream, sighting)))
}

async fn abort<T>(start: StartHandshake<Capped>, alert: [u8; 7], outcome: Handshake) -> Result<T, Handshake> {
    let mut io = start.io;
    let _ = io.write_all(&alert).await;
    Err(outcome)
}

/// RFC 8737 §3: the CA offers this protocol and no other.
fn is_validation(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| protocols.next() == Some(ACME_TLS) && protocols.next().is_none())
}

/// The one key of a validation.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
