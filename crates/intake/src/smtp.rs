//! Mail (RFC 8460 §5.3): a server that takes what is for addresses of reports, passes nothing on, and never writes to anybody.

mod address;
mod command;
mod dots;
mod reply;
mod session;
mod wire;

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use mtasts_model::report::ReportVia;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use self::session::Session;
use crate::{counters, intake::Shared};

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
    let place = match shared.smtp_places.enter(Some(peer.ip())) {
        Ok(place) => place,
        Err(full) => {
            counters::refused_connection(ReportVia::Smtp, full.reason());
            // A new connection has room for it; if not, the end of the connection says the same.
            let _ = stream.into_std().and_then(|mut stream| stream.write_all(TOO_MANY));
            return;
        }
    };
    // Answers are short, and waited for.
    let _ = stream.set_nodelay(true);
    let session = Session::new(Arc::clone(shared), peer.ip().to_canonical());
    let cut = shared.cut.clone();
    shared.sessions.spawn(async move {
        tokio::select! {
            () = cut.cancelled() => {}
            () = session.run(stream) => {}
        }
        drop(place);
    });
}
