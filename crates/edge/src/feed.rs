//! What an edge asks of the house. The application implements both over the store.

use async_trait::async_trait;
use mtasts_model::{
    DomainId, Revision, TenantId, Timestamp,
    feed::{EdgeChange, Page, ServedLine},
};
use zeroize::Zeroizing;

use crate::error::{FeedError, KeyOpenError};

/// Where changes come from and where positions and the ledger go. No request waits for any of these.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// What changed after this revision, ascending, at most `limit` changes.
    async fn since(&self, after: Revision, limit: u32) -> Result<Page<EdgeChange>, FeedError>;

    /// "This edge serves everything up to `position`." Repeated at least every ten seconds as a sign of life. Lower
    /// than before when the edge has lost its replica.
    async fn acknowledge(&self, position: Revision) -> Result<(), FeedError>;

    /// Adds to the served ledger. A batch that fails is offered again, so `requests` may count double after a crash;
    /// `last_served_at` is a maximum and cannot.
    ///
    /// `complete_until`: with this batch, which may be empty, all that was served before that moment has been handed
    /// over; None while more batches follow.
    async fn flush_served(&self, lines: Vec<ServedLine>, complete_until: Option<Timestamp>) -> Result<(), FeedError>;

    /// Resolves when something may have changed since the previous call resolved. May also never resolve: the edge
    /// polls as well.
    async fn changed(&self);
}

/// Opens private keys. Called on a thread that may block, once per host that enters the cache.
pub trait KeyOpener: Send + Sync + 'static {
    /// The PKCS #8 DER in `sealed`, which is bound to this tenant and domain.
    fn open(&self, tenant_id: TenantId, domain_id: DomainId, sealed: &[u8])
    -> Result<Zeroizing<Vec<u8>>, KeyOpenError>;
}
