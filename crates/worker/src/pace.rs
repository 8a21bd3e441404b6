//! The pace that everything in all workers keeps together at one host.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use mtasts_model::Clock;
use mtasts_probe::inspect::{Pacer, SharedPace};
use mtasts_store::Store;

use crate::deadline::answered;

/// The pace of a whole process, which it keeps together with all others: for looks at MX hosts and for checks alike.
pub fn shared_pacer(store: Store, clock: Arc<dyn Clock>) -> Arc<Pacer> {
    Arc::new(Pacer::default().shared_by(Arc::new(StoredPace { store, clock })))
}

/// In Postgres, one row for each host that was lately connected to.
struct StoredPace {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for StoredPace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredPace").finish_non_exhaustive()
    }
}

impl SharedPace for StoredPace {
    fn begin(&self, host: IpAddr) -> BoxFuture<'_, Result<(), Duration>> {
        Box::pin(async move {
            let per_minute = u32::try_from(Pacer::PER_MINUTE).unwrap_or(u32::MAX);
            match answered(self.store.pace_probe(host, per_minute, self.clock.now())).await {
                Ok(answer) => answer,
                Err(error) => {
                    // Each process still keeps its own pace.
                    tracing::warn!(error = &error as &dyn std::error::Error, "the shared pace cannot be asked");
                    Ok(())
                }
            }
        })
    }
}
