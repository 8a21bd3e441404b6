//! One edge with its feed, CA and folder.

use std::{net::SocketAddr, num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use mtasts_edge::{Edge, EdgeConfig, EdgeHandle};
use mtasts_model::{Mode, Revision, SystemClock};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    authority::{Authority, Opener},
    client::Client,
    feed::TableFeed,
};

pub(crate) const PATH: &str = "/.well-known/mta-sts.txt";
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Harness {
    pub(crate) edge: EdgeHandle,
    pub(crate) feed: Arc<TableFeed>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) folder: Arc<TempDir>,
}

impl Harness {
    /// An edge that serves these domains in `testing`.
    pub(crate) async fn serving(domains: &[&str]) -> Self {
        Self::with(domains, |_| ()).await
    }

    pub(crate) async fn with(domains: &[&str], change: impl FnOnce(&mut EdgeConfig)) -> Self {
        let (feed, authority) = (Arc::new(TableFeed::default()), Arc::new(Authority::new()));
        for domain in domains {
            feed.put_host(domain, authority.host(domain, Mode::Testing));
        }
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut config = config(folder.path());
        change(&mut config);
        let harness = Self { edge: start(config, &feed), feed, authority, folder };
        harness.caught_up().await;
        harness
    }

    /// The same edge once more, from its folder.
    pub(crate) fn restarted(feed: &Arc<TableFeed>, authority: &Arc<Authority>, folder: &Arc<TempDir>) -> Self {
        let (feed, authority, folder) = (Arc::clone(feed), Arc::clone(authority), Arc::clone(folder));
        Self { edge: start(config(folder.path()), &feed), feed, authority, folder }
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.edge.local_https_addrs()[0]
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.https(), &self.authority)
    }

    pub(crate) async fn caught_up(&self) {
        until("the edge is ready", || self.edge.readiness().is_ready()).await;
    }

    pub(crate) async fn acknowledged(&self, revision: Revision) {
        until("the change is acknowledged", || self.feed.acknowledged() >= Some(revision)).await;
    }
}

pub(crate) fn config(folder: &Path) -> EdgeConfig {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut config = EdgeConfig::new(vec![any], vec![any], folder.join("replica"));
    config.workers = NonZeroUsize::new(2).unwrap();
    config.ledger_flush = Duration::from_millis(100);
    config.poll = Duration::from_millis(100);
    config
}

pub(crate) fn start(config: EdgeConfig, feed: &Arc<TableFeed>) -> EdgeHandle {
    Edge::start(config, Arc::clone(feed) as _, Arc::new(Opener), Arc::new(SystemClock)).unwrap()
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
