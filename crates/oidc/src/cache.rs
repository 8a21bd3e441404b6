//! The keys of an issuer, kept.

use std::sync::{Arc, PoisonError, RwLock};

use chrono::TimeDelta;
use jsonwebtoken::Algorithm;
use mtasts_model::{Clock, Timestamp, causes};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    config::IssuerUrl,
    fetch::{SetupError, Web},
    keys::{Found, KeySet},
};

/// Keys of this age are fetched anew, beside the call that noticed: for so long a key that the issuer took back still
/// verifies.
const REFRESH_AFTER: TimeDelta = TimeDelta::minutes(10);
/// For so long keys serve while the issuer is away.
const SERVE_FOR: TimeDelta = TimeDelta::hours(24);
/// However many tokens name keys that nobody knows, the issuer is asked this often at most.
const ASK_EVERY: TimeDelta = TimeDelta::seconds(5);

/// The keys that were fetched last.
pub(crate) struct Held {
    pub(crate) keys: KeySet,
    at: Timestamp,
}

/// The keys of one issuer.
pub(crate) struct Keys {
    name: String,
    web: Web,
    clock: Arc<dyn Clock>,
    held: RwLock<Option<Arc<Held>>>,
    /// When the issuer was last asked. Locked while it is.
    asked: Arc<Mutex<Option<Timestamp>>>,
}

impl Keys {
    pub(crate) fn new(name: String, issuer: IssuerUrl, clock: Arc<dyn Clock>) -> Result<Arc<Self>, SetupError> {
        let web = Web::new(issuer)?;
        Ok(Arc::new(Self { name, web, clock, held: RwLock::default(), asked: Arc::default() }))
    }

    /// Keys among which that of a token should be: those at hand if it is among them, else what the issuer says now.
    /// None while there are none: the issuer never answered, or not for a day.
    pub(crate) async fn with(self: &Arc<Self>, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<Held>> {
        if let Some(held) = self.held()
            && !matches!(held.keys.find(id, algorithm), Found::Unknown)
        {
            if self.clock.now() - held.at >= REFRESH_AFTER
                && let Ok(asked) = Arc::clone(&self.asked).try_lock_owned()
            {
                self.ask(asked);
            }
            return Some(held);
        }
        // Whoever comes while the issuer is being asked waits for that answer.
        let asked = Arc::clone(&self.asked).lock_owned().await;
        let known = self.held().is_some_and(|held| !matches!(held.keys.find(id, algorithm), Found::Unknown));
        if !known && let Some(asking) = self.ask(asked) {
            // It ends by its own deadlines; that it panicked shows in there being no keys.
            let _ = asking.await;
        }
        self.held()
    }

    /// The keys at hand, unless they are too old to go by.
    fn held(&self) -> Option<Arc<Held>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner).clone();
        held.filter(|held| self.clock.now() - held.at < SERVE_FOR)
    }

    /// Asks the issuer, unless that was done a moment ago. In a task of its own: a caller that loses patience must not
    /// undo what others wait for.
    fn ask(self: &Arc<Self>, mut asked: OwnedMutexGuard<Option<Timestamp>>) -> Option<tokio::task::JoinHandle<()>> {
        let now = self.clock.now();
        // A stamp of the future (the clock was set back) does not count.
        if asked.is_some_and(|at| at <= now && now - at < ASK_EVERY) {
            return None;
        }
        *asked = Some(now);
        let this = Arc::clone(self);
        Some(tokio::spawn(async move {
            this.fetch().await;
            drop(asked);
        }))
    }

    async fn fetch(&self) {
        let outcome = match self.web.keys().await {
            Ok(keys) => {
                let held = Arc::new(Held { keys, at: self.clock.now() });
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
                "fetched"
            }
            Err(error) => {
                tracing::warn!(issuer = self.name, error = %causes(&error), "no keys could be fetched");
                "failed"
            }
        };
        metrics::counter!("mtasts_oidc_fetches_total", "issuer" => self.name.clone(), "outcome" => outcome)
            .increment(1);
    }
}
