//! The edge's feed over the store.

use async_trait::async_trait;
use mtasts_edge::{Feed, FeedError};
use mtasts_model::{
    Revision, Timestamp,
    feed::{EdgeChange, Page, ServedLine},
};
use mtasts_store::{Channel, NudgeReceiver};
use tokio::sync::Mutex;

use super::Node;

pub(crate) struct EdgeFeed {
    node: std::sync::Arc<Node>,
    nudges: Mutex<NudgeReceiver>,
}

impl EdgeFeed {
    pub(crate) fn new(node: std::sync::Arc<Node>) -> Self {
        let nudges = Mutex::new(node.store.nudges(Channel::Edge));
        Self { node, nudges }
    }
}

#[async_trait]
impl Feed for EdgeFeed {
    async fn since(&self, after: Revision, limit: u32) -> Result<Page<EdgeChange>, FeedError> {
        self.node.register().await.map_err(FeedError::new)?;
        self.node.store.edge_changes(after, limit).await.map_err(FeedError::new)
    }

    async fn acknowledge(&self, position: Revision) -> Result<(), FeedError> {
        self.node.acknowledge(position).await.map_err(FeedError::new)
    }

    async fn flush_served(&self, lines: Vec<ServedLine>, complete_until: Option<Timestamp>) -> Result<(), FeedError> {
        self.node.register().await.map_err(FeedError::new)?;
        self.node.store.flush_served(&lines, complete_until, self.node.id).await.map_err(FeedError::new)
    }

    async fn changed(&self) {
        self.nudges.lock().await.changed().await;
    }
}
