//! One edge or nameserver as the store knows it.

use std::{
    fs, io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::TimeDelta;
use mtasts_model::{Clock, Entropy, NodeId, Revision};
use mtasts_store::{NodeKind, Store, StoreError};

use crate::startup::StartupError;

/// How long a node counts as in service after its last sign of life (followers give one each ten seconds).
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// Registers itself before anything else is asked, so that from its first look at the feed gates wait for it.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) id: NodeId,
    kind: NodeKind,
    name: String,
    registered: AtomicBool,
}

impl Node {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, id: NodeId, kind: NodeKind, name: String) -> Self {
        Self { store, clock, id, kind, name, registered: AtomicBool::new(false) }
    }

    pub(crate) async fn register(&self) -> Result<(), StoreError> {
        if self.registered.load(Ordering::Acquire) {
            return Ok(());
        }
        self.store.register_node(self.id, self.kind, &self.name, self.clock.now(), LEASE).await?;
        self.registered.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) async fn acknowledge(&self, position: Revision) -> Result<(), StoreError> {
        self.register().await?;
        match self.store.acknowledge(self.id, position, self.clock.now(), LEASE).await {
            // The row is gone: an operator removed it, or the database was restored from a time before it.
            Err(StoreError::NotFound) => {
                self.registered.store(false, Ordering::Release);
                self.register().await?;
                self.store.acknowledge(self.id, position, self.clock.now(), LEASE).await
            }
            answer => answer,
        }
    }

    /// Out of service: nobody waits for this node any more. Call it when it has stopped serving.
    pub(crate) async fn retire(&self) {
        if let Err(error) = self.store.retire_node(self.id).await {
            tracing::warn!(node = %self.id, error = %crate::startup::causes(&error), "could not retire: the lease runs out by itself");
        }
    }
}

/// What lists call a node: its address, or where it listens on all of them (as in a container), the machine's name.
pub(crate) fn node_name(listen: &[SocketAddr]) -> String {
    let Some(address) = listen.first() else { return String::new() };
    if address.ip().is_unspecified()
        && let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname")
        && !host.trim().is_empty()
    {
        return format!("{}:{}", host.trim(), address.port());
    }
    address.to_string()
}

/// The node's id, drawn once and kept in this file, so that a restart is not taken for another node.
pub(crate) fn node_id(path: &Path, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<NodeId, StartupError> {
    let failed = |source| StartupError::File { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => match text.trim().parse() {
            Ok(id) => return Ok(id),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the node's id is unreadable: drawing another");
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let id = NodeId::draw(clock.now(), entropy);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, format!("{id}\n")).map_err(failed)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use mtasts_model::{SystemClock, SystemEntropy};

    use super::*;

    #[test]
    fn a_node_is_called_by_its_address_or_where_that_says_nothing_by_the_machines_name() {
        assert_eq!(node_name(&["192.0.2.1:443".parse().unwrap()]), "192.0.2.1:443");
        let name = node_name(&["0.0.0.0:8443".parse().unwrap()]);
        assert!(name.ends_with(":8443") && !name.starts_with("0.0.0.0"), "{name}");
    }

    #[test]
    fn a_node_keeps_its_id_over_restarts_and_survives_a_broken_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/edge.id");
        let first = node_id(&path, &SystemClock, &SystemEntropy).unwrap();
        assert_eq!(node_id(&path, &SystemClock, &SystemEntropy).unwrap(), first);
        fs::write(&path, "garbage").unwrap();
        let second = node_id(&path, &SystemClock, &SystemEntropy).unwrap();
        assert_ne!(second, first);
        assert_eq!(node_id(&path, &SystemClock, &SystemEntropy).unwrap(), second);
    }
}
