//! The zone in our own store, answered by the embedded nameserver.
//!
//! What is wanted is what is published: the store's record sets reach the nameservers by their feed. There is nobody
//! else who could write, so there is no marker, and nothing is left to be done by [`ZoneProvider::apply`] but to see
//! that the store holds what was wanted.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt, stream, stream::BoxStream};
use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
};

use crate::provider::{Applied, Mark, Observed, ProviderError, RecordChange, ZoneProvider, check_name};

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

    fn kind(&self) -> &'static str {
        "embedded"
    }

    fn batch_size(&self) -> usize {
        1000
    }

    fn follows_feed(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<(), ProviderError> {
        self.store.read(self.zone.as_str(), RecordType::Txt).await.map(drop)
    }

    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<Observed>, ProviderError> {
        check_name(name, &self.zone)?;
        let found = self.store.read(name, record_type).await?;
        Ok(found.map(|data| Observed { name: name.to_owned(), record_type, data, mark: Mark::Ours, reference: None }))
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<Vec<Result<Applied, ProviderError>>, ProviderError> {
        let checked: Vec<_> = changes.iter().map(|change| check_name(&change.name, &self.zone)).collect();
        let usable: Vec<_> =
            changes.iter().zip(&checked).filter(|(_, check)| check.is_ok()).map(|(change, _)| change.clone()).collect();
        if !usable.is_empty() {
            self.store.apply(&usable).await?;
        }
        Ok(checked.into_iter().map(|check| check.map(|()| Applied::default())).collect())
    }

    /// Nothing: nobody but the store itself could have changed anything.
    fn list(&self) -> BoxStream<'_, Result<Observed, ProviderError>> {
        stream::empty().boxed()
    }

    fn authoritative(&self) -> Vec<SocketAddr> {
        self.servers.clone()
    }
}
