//! Mail (RFC 8460 §5.3): a server that takes what is for addresses of reports, passes nothing on, and never writes to anybody.

mod address;
mod command;
mod dots;
mod reply;
mod session;
mod wire;

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mtasts_model::report::ReportVia;
use mtasts_proxy::Versions;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use self::session::Session;
use crate::{
    admission::{NoPlace, Place},
    counters,
    intake::Shared,
};

/// After too many open files, or the like.
const PAUSE: Duration = Duration::from_millis(50);
const TOO_MANY: &[u8] = b"421 4.7.0 too many connections; come again in a moment\r\n";

/// Takes connections until it is told to stop.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => open(stream, peer, &shared),
            Err(error) => {
                tracing::warn!(%error, "no mail connection can be taken now");
                sleep(PAUSE).await;
            }
        }
    }
}

fn open(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    // Whom it is for is known once it has been read, and then the place is counted to them.
    let place = match shared.smtp_places.enter(None) {
        Ok(place) => place,
        Err(full) => return refuse(stream, full),
    };
    // Answers are short, and waited for.
    let _ = stream.set_nodelay(true);
    let cut = shared.cut.clone();
    let served = serve(stream, peer.ip().to_canonical(), place, Arc::clone(shared));
    shared.sessions.spawn(async move {
        tokio::select! {
            () = cut.cancelled() => {}
            () = served => {}
        }
    });
}

/// Serves a connection to its end, and gives its place back.
async fn serve(mut stream: TcpStream, peer: IpAddr, mut place: Place, shared: Arc<Shared>) {
    let config = &shared.config;
    let deadline = Instant::now() + config.limits.header_deadline;
    let client = match config.proxy_protocol.client(&mut stream, peer, Versions::OneOrTwo, deadline).await {
        Ok(client) => client,
        Err(error) => return counters::refused_header(ReportVia::Smtp, peer, &error),
    };
    if let Err(full) = place.assign(client) {
        return refuse(stream, full);
    }
    Session::new(Arc::clone(&shared), client).run(stream).await;
}

fn refuse(stream: TcpStream, full: NoPlace) {
    counters::refused_connection(ReportVia::Smtp, full.reason());
    // A new connection has room for it; if not, the end of the connection says the same.
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(TOO_MANY));
}
