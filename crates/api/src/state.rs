//! What every request may use.

use std::sync::Arc;

use mtasts_model::{Clock, Entropy, Timestamp};
use mtasts_store::Store;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{config::ApiConfig, routes::Routes};

/// Shared by all workers.
pub(crate) struct State {
    pub(crate) config: ApiConfig,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) routes: Routes,
    pub(crate) operator_hash: [u8; 32],
}

impl State {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Compares hashes, in constant time: neither content nor length of the operator token shows in the time.
    pub(crate) fn is_operator(&self, token: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        hash.ct_eq(&self.operator_hash).into()
    }
}
