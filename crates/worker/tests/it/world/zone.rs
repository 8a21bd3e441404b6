//! The service's zone: the embedded provider over the store, and the embedded nameserver that follows it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::TimeDelta;
use mtasts_dns::{
    Known, Lookup, ProviderError, RecordChange, Resolver, ResolverConfig, ZoneProvider,
    providers::{Embedded, ZoneStore},
};
use mtasts_model::{
    Clock, NodeId, Revision, SystemEntropy,
    feed::{Page, RecordData, RecordType, ZoneChange},
};
use mtasts_nameserver::{FeedError, NameServer, Nameserver, NameserverConfig, ZoneFeed};
use mtasts_store::{Channel, NodeKind, NudgeReceiver, Store, StoreError, ZoneWrite};
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{ShiftedClock, ZONE};

pub(crate) struct Zone {
    store: Store,
    clock: ShiftedClock,
    address: SocketAddr,
    _nameserver: Nameserver,
    _stop: DropGuard,
}

impl Zone {
    pub(crate) async fn start(store: &Store, edge_store: &Store, clock: &ShiftedClock) -> Self {
        let mut config = NameserverConfig::new(ZONE.parse().unwrap(), vec!["127.0.0.1:0".parse().unwrap()]);
        let loopback = vec!["127.0.0.1".parse().unwrap()];
        config.name_servers = vec![NameServer { name: format!("ns1.{ZONE}"), addresses: loopback.clone() }];
        config.edge_addresses = loopback;
        let node = NodeId::draw(clock.now(), &SystemEntropy);
        let lease = TimeDelta::minutes(1);
        edge_store.register_node(node, NodeKind::Nameserver, "ns1", clock.now(), lease).await.unwrap();
        let nudges = Mutex::new(edge_store.nudges(Channel::Zone));
        let feed = Feed { store: edge_store.clone(), node, clock: clock.clone(), nudges };
        let stop = CancellationToken::new();
        let nameserver =
            Nameserver::bind(config, Arc::new(feed), Arc::new(SystemEntropy), Arc::new(clock.clone()), stop.clone())
                .await
                .unwrap();
        let address = nameserver.addresses()[0];
        Self { store: store.clone(), clock: clock.clone(), address, _nameserver: nameserver, _stop: stop.drop_guard() }
    }

    pub(crate) fn provider(&self) -> Embedded {
        let store = Records { store: self.store.clone(), clock: self.clock.clone() };
        Embedded::new(ZONE.parse().unwrap(), Arc::new(store), vec![self.address])
    }

    /// Writes as somebody who has the zone's credentials.
    pub(crate) async fn overwrite(&self, name: &str, value: &str) {
        let set = RecordData { ttl: 60, values: vec![value.to_owned()] };
        let change =
            RecordChange { name: name.to_owned(), record_type: RecordType::Txt, set: Some(set), known: Known::Perhaps };
        self.provider().apply(&[change]).await.unwrap();
    }

    /// What the nameserver answers.
    pub(crate) async fn txt(&self, name: &str) -> Option<Vec<String>> {
        let config = ResolverConfig { upstreams: vec![self.address], timeout: Duration::from_secs(2), attempts: 1 };
        let answer = Resolver::new(config).unwrap().query_at(self.address, name, RecordType::Txt).await;
        match answer.unwrap() {
            Lookup::Found(RecordData { values, .. }) => Some(values),
            Lookup::NoData | Lookup::NxDomain => None,
        }
    }
}

struct Records {
    store: Store,
    clock: ShiftedClock,
}

#[async_trait]
impl ZoneStore for Records {
    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<RecordData>, ProviderError> {
        self.store.zone_read(name, record_type).await.map_err(unavailable)
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<(), ProviderError> {
        let write = |change: &RecordChange| ZoneWrite {
            zone: ZONE.parse().unwrap(),
            name: change.name.clone(),
            record_type: change.record_type,
            set: change.set.clone(),
        };
        let writes: Vec<_> = changes.iter().map(write).collect();
        self.store.zone_apply(&writes, self.clock.now()).await.map(|_revision| ()).map_err(unavailable)
    }
}

fn unavailable(error: StoreError) -> ProviderError {
    ProviderError::Unavailable { retry_after: None, source: error.into() }
}

struct Feed {
    store: Store,
    node: NodeId,
    clock: ShiftedClock,
    nudges: Mutex<NudgeReceiver>,
}

#[async_trait]
impl ZoneFeed for Feed {
    async fn since(&self, after: Revision, limit: u32) -> Result<Page<ZoneChange>, FeedError> {
        self.store.zone_changes(after, limit).await.map_err(FeedError::new)
    }

    async fn acknowledge(&self, position: Revision) -> Result<(), FeedError> {
        let now = self.clock.now();
        self.store.acknowledge(self.node, position, now, TimeDelta::minutes(1)).await.map_err(FeedError::new)
    }

    async fn changed(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), async { self.nudges.lock().await.changed().await }).await;
    }
}
