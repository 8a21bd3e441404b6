//! The ports before connections are taken.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::runtime::Handle;

use super::{
    Worker,
    listener::{BACKLOG, Kind, accept},
};
use crate::error::EdgeError;

/// Sockets that are bound and do not listen yet.
///
/// A client is refused meanwhile, not kept in a queue: a refusal sends it to another of our addresses at once, and
/// among sockets that share a port the kernel gives connections to those alone that listen, so an older process on the
/// same port is given all of them while this one catches up.
pub(crate) struct Doors(Mutex<Vec<Door>>);

pub(super) struct Door {
    pub(super) address: SocketAddr,
    pub(super) socket: TcpListener,
    pub(super) kind: Kind,
    pub(super) worker: Arc<Worker>,
    pub(super) runtime: Handle,
}

impl Door {
    /// Of a copy, which shares the socket: what fails is tried again.
    fn listen(&self) -> io::Result<tokio::net::TcpListener> {
        let socket = self.socket.try_clone()?;
        SockRef::from(&socket).listen(BACKLOG)?;
        tokio::net::TcpListener::from_std(socket)
    }
}

impl Doors {
    pub(super) fn new(doors: Vec<Door>) -> Self {
        Self(Mutex::new(doors))
    }

    /// Listens on all ports, and takes connections from then on. A port that fails stays closed until the next call.
    pub(crate) fn open(&self) -> Result<(), EdgeError> {
        let mut closed = self.0.lock();
        while let Some(door) = closed.last() {
            let _runtime = door.runtime.enter();
            let listener = door.listen().map_err(|source| EdgeError::Listen { address: door.address, source })?;
            // Tracked: a listener empties its queue before it closes.
            door.worker.tasks.spawn(accept(listener, door.kind, Arc::clone(&door.worker)));
            closed.pop();
        }
        Ok(())
    }

    /// Gives the ports back that were never opened.
    pub(super) fn close(&self) {
        self.0.lock().clear();
    }
}
