//! Where an embedded nameserver learns the zone from.

use async_trait::async_trait;
use mtasts_model::feed::{Page, Revision, ZoneChange};

use mtasts_dns::provider::BoxError;

/// Why the feed gave nothing.
#[derive(Debug, thiserror::Error)]
#[error("the zone feed is not available")]
pub struct FeedError(#[source] BoxError);

impl FeedError {
    /// With the store's error as its cause.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }
}

/// The service's zone as a feed of states (see [`mtasts_model::feed`]).
#[async_trait]
pub trait ZoneFeed: Send + Sync {
    /// The changes after this revision, at most `limit` of them.
    async fn since(&self, after: Revision, limit: u32) -> Result<Page<ZoneChange>, FeedError>;

    /// Tells that this nameserver answers with everything up to `position`. Also called without progress every few
    /// seconds, as a sign of life.
    async fn acknowledge(&self, position: Revision) -> Result<(), FeedError>;

    /// Resolves when something may have changed, or after a long time. The future is dropped and made anew between
    /// pages, so an implementation keeps a change that comes in between (as `tokio::sync::Notify` keeps a permit).
    async fn changed(&self);
}
