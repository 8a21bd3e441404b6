//! Which deliveries are next: from webhook to webhook, a page at a time and round again, so that a claim costs the same
//! however many wait, and each webhook has its turn.

use std::{collections::HashMap, sync::Arc};

use mtasts_model::WebhookId;
use mtasts_store::{DueDelivery, StoreError};

use super::{WebhookConfig, WebhookDeps};
use crate::deadline::answered;

/// Webhooks that one claim looks at.
const PAGE: u32 = 256;

pub(super) struct Queue {
    config: Arc<WebhookConfig>,
    deps: Arc<WebhookDeps>,
    /// The last webhook that had its turn; None: the round begins.
    after: Option<WebhookId>,
}

impl Queue {
    pub(super) fn new(config: Arc<WebhookConfig>, deps: Arc<WebhookDeps>) -> Self {
        Self { config, deps, after: None }
    }

    /// Whether the last claim was the end of a round.
    pub(super) fn is_at_its_start(&self) -> bool {
        self.after.is_none()
    }

    /// Claims up to `free` due deliveries, and no more of a webhook than it has places beside those that it holds.
    pub(super) async fn claim(
        &mut self,
        free: usize,
        held: &HashMap<WebhookId, u32>,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let Some(free) = u32::try_from(free).ok().filter(|free| *free > 0) else { return Ok(Vec::new()) };
        let store = &self.deps.store;
        let now = self.deps.clock.now();
        let waiting = answered(store.webhooks_waiting(self.after, PAGE, now)).await?;
        let whole_page = waiting.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
        let next = waiting.last().map(|webhook| webhook.id).filter(|_| whole_page);
        let rooms: Vec<_> = waiting
            .into_iter()
            .filter(|webhook| webhook.is_due)
            .map(|webhook| {
                let held = held.get(&webhook.id).copied().unwrap_or_default();
                (webhook.id, self.config.per_webhook.saturating_sub(held))
            })
            .filter(|(_, room)| *room > 0)
            .collect();
        if rooms.is_empty() {
            self.after = next;
            return Ok(Vec::new());
        }
        let claimed = answered(store.claim_deliveries(&rooms, free, now + self.config.lease, now)).await?;
        let filled = claimed.len() >= usize::try_from(free).unwrap_or(usize::MAX);
        // Whoever had no turn because all places were taken is the first of the next claim.
        self.after = if filled { claimed.iter().map(|delivery| delivery.webhook).max() } else { next };
        Ok(claimed)
    }
}
