//! The service's zone in the store: written by the worker's provider, followed by nameservers.

use std::sync::Arc;

use async_trait::async_trait;
use mtasts_dns::{ProviderError, RecordChange, providers::ZoneStore};
use mtasts_model::{
    Clock, Revision, ZoneName,
    feed::{Page, RecordData, RecordType, ZoneChange},
};
use mtasts_nameserver::{FeedError, ZoneFeed};
use mtasts_store::{Channel, NudgeReceiver, Store, StoreError, ZoneWrite};
use tokio::sync::Mutex;

use super::Node;

/// What the worker writes the zone's own records to. Those of domains go to the store under their leases.
pub(crate) struct StoredZone {
    store: Store,
    clock: Arc<dyn Clock>,
    zone: ZoneName,
}

impl StoredZone {
    pub(crate) fn new(store: &Store, clock: &Arc<dyn Clock>, zone: ZoneName) -> Self {
        Self { store: store.clone(), clock: Arc::clone(clock), zone }
    }
}

/// Stands for the store where a configuration is only looked at.
pub(crate) struct NoZone;

#[async_trait]
impl ZoneStore for NoZone {
    async fn read(&self, _: &str, _: RecordType) -> Result<Option<RecordData>, ProviderError> {
        Ok(None)
    }

    async fn apply(&self, _: &[RecordChange]) -> Result<(), ProviderError> {
        Err(ProviderError::Refused { reason: "the configuration is only being checked".to_owned() })
    }
}

fn provider_error(error: StoreError) -> ProviderError {
    if error.is_unavailable() || error.is_transient() {
        ProviderError::Unavailable { retry_after: None, source: error.into() }
    } else {
        ProviderError::Other(error.into())
    }
}

#[async_trait]
impl ZoneStore for StoredZone {
    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<RecordData>, ProviderError> {
        self.store.zone_read(name, record_type).await.map_err(provider_error)
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<(), ProviderError> {
        let writes: Vec<_> = changes
            .iter()
            .map(|change| ZoneWrite {
                zone: self.zone.clone(),
                name: change.name.clone(),
                record_type: change.record_type,
                set: change.set.clone(),
            })
            .collect();
        self.store.zone_apply(&writes, self.clock.now()).await.map(drop).map_err(provider_error)
    }
}

/// What a nameserver follows.
pub(crate) struct ZoneFollower {
    node: Arc<Node>,
    nudges: Mutex<NudgeReceiver>,
}

impl ZoneFollower {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let nudges = Mutex::new(node.store.nudges(Channel::Zone));
        Self { node, nudges }
    }
}

#[async_trait]
impl ZoneFeed for ZoneFollower {
    async fn since(&self, after: Revision, limit: u32) -> Result<Page<ZoneChange>, FeedError> {
        self.node.register().await.map_err(FeedError::new)?;
        self.node.store.zone_changes(after, limit).await.map_err(FeedError::new)
    }

    async fn acknowledge(&self, position: Revision) -> Result<(), FeedError> {
        self.node.acknowledge(position).await.map_err(FeedError::new)
    }

    async fn changed(&self) {
        self.nudges.lock().await.changed().await;
    }
}
