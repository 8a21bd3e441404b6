//! The zone in our own store, answered by the embedded nameserver.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
};

use crate::provider::{ProviderError, RecordChange, ZoneProvider, check_name};

/// The store behind the nameservers' feed. All changes of one call take effect together.
#[async_trait]
pub trait ZoneStore: Send + Sync {
    /// The record set's latest state.
    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<RecordData>, ProviderError>;

    /// Writes the sets that differ, in one transaction, and offers them in the feed.
    async fn apply(&self, changes: &[RecordChange]) -> Result<(), ProviderError>;
}

/// A provider without any account: the feed carries its records to our own nameservers.
#[derive(Clone)]
pub struct Embedded {
    zone: ZoneName,
    store: Arc<dyn ZoneStore>,
    servers: Vec<SocketAddr>,
}

impl Embedded {
    /// `servers` are the addresses at which our nameservers can be asked.
    pub fn new(zone: ZoneName, store: Arc<dyn ZoneStore>, servers: Vec<SocketAddr>) -> Self {
        Self { zone, store, servers }
    }
}

#[async_trait]
impl ZoneProvider for Embedded {
    fn zone(&self) -> &ZoneName {
        &self.zone
    }

    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<RecordData>, ProviderError> {
        check_name(name, &self.zone)?;
        self.store.read(name, record_type).await
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<(), ProviderError> {
        for change in changes {
            check_name(&change.name, &self.zone)?;
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.store.apply(changes).await
    }

    fn authoritative(&self) -> Vec<SocketAddr> {
        self.servers.clone()
    }
}
