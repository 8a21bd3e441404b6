//! What can go wrong, for whom an edge works.

use std::{error::Error, io, net::SocketAddr, path::PathBuf};

pub(crate) use mtasts_model::causes as chain;

/// Why an edge did not start. A replica that is broken or cannot be written is no reason.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// [`crate::Edge::start`] was called outside of a tokio runtime.
    #[error("an edge starts within a tokio runtime")]
    NoRuntime,
    /// A listener could not be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A worker thread could not be started.
    #[error("cannot start a worker thread")]
    Worker(#[source] io::Error),
    /// Another edge uses the same replica.
    #[error("the replica in {} is in use by another process", .0.display())]
    ReplicaInUse(PathBuf),
    /// The TLS settings are refused by the library.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Why an edge does not say what it serves.
#[derive(Debug, thiserror::Error)]
#[error("the replica cannot be read")]
pub struct InventoryError(#[source] pub(crate) Box<dyn Error + Send + Sync>);

/// Why the feed did not answer. The edge tries again; it never gives up.
#[derive(Debug, thiserror::Error)]
#[error("the feed did not answer")]
pub struct FeedError {
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl FeedError {
    /// Wraps the cause.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}

/// Why a sealed key did not open.
#[derive(Debug, thiserror::Error)]
#[error("the sealed key does not open")]
pub struct KeyOpenError {
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl KeyOpenError {
    /// Wraps the cause.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}
