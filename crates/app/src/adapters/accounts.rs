//! The ACME account in the store.

use std::sync::Arc;

use async_trait::async_trait;
use mtasts_certs::{AccountStore, AccountStoreError};
use mtasts_model::Clock;
use mtasts_store::Store;

pub(crate) struct Accounts {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    /// Which CA and which of our accounts there.
    pub(crate) issuer: String,
}

#[async_trait]
impl AccountStore for Accounts {
    async fn load(&self) -> Result<Option<Vec<u8>>, AccountStoreError> {
        self.store.acme_account(&self.issuer).await.map_err(|error| AccountStoreError(error.into()))
    }

    async fn save(&self, sealed: &[u8], replaces: Option<&[u8]>) -> Result<(), AccountStoreError> {
        let saved = self.store.save_acme_account(&self.issuer, sealed, replaces, self.clock.now()).await;
        saved.map(drop).map_err(|error| AccountStoreError(error.into()))
    }
}
