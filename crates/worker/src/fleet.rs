//! Shows figures of the whole installation as metrics. Every worker shows the same ones: see [`mtasts_store::FleetFigures`].

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use mtasts_model::{Clock, Timestamp};
use mtasts_store::{EXPIRY_DAYS, FleetFigures, Store, StoreError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{deadline::answered, record::seconds};

/// How often the figures are taken, by whichever worker is first.
const EVERY: TimeDelta = TimeDelta::seconds(30);
/// How often a worker looks whether it is to take them, and what was taken.
const LOOK: Duration = Duration::from_secs(15);

/// Shows the figures until `stop` is cancelled.
pub async fn show_fleet(store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = look(&store, &*clock).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "figures for metrics could not be taken");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(LOOK) => {}
        }
    }
}

async fn look(store: &Store, clock: &dyn Clock) -> Result<(), StoreError> {
    answered(store.take_figures(EVERY, clock.now())).await?;
    if let Some((taken_at, figures)) = answered(store.figures()).await? {
        show(&figures, taken_at, clock.now());
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "gauges take floats; 2^53 is enough")]
fn show(figures: &FleetFigures, taken_at: Timestamp, now: Timestamp) {
    metrics::gauge!("mtasts_fleet_figures_age_seconds").set(seconds(now - taken_at));
    metrics::gauge!("mtasts_certificates_renewal_due").set(figures.renewals_due as f64);
    for (days, count) in EXPIRY_DAYS.iter().zip(&figures.expiring) {
        metrics::gauge!("mtasts_certificates_expiring", "within_days" => days.to_string()).set(*count as f64);
    }
    for queue in &figures.queues {
        let name = queue.queue.clone();
        metrics::gauge!("mtasts_queue_depth", "queue" => name.clone()).set(queue.depth as f64);
        metrics::gauge!("mtasts_queue_age_seconds", "queue" => name).set(queue.age_ms as f64 / 1000.0);
    }
    metrics::gauge!("mtasts_report_arrivals_in_quarantine").set(figures.quarantined as f64);
    for feed in &figures.feeds {
        let kind = feed.kind.clone();
        metrics::gauge!("mtasts_feed_head_revision", "kind" => kind.clone()).set(feed.head as f64);
        metrics::gauge!("mtasts_feed_lag_revisions", "kind" => kind.clone())
            .set(feed.head.saturating_sub(feed.lowest) as f64);
        metrics::gauge!("mtasts_nodes", "kind" => kind.clone(), "state" => "alive").set(feed.alive as f64);
        metrics::gauge!("mtasts_nodes", "kind" => kind, "state" => "silent").set(feed.silent as f64);
    }
    for hosting in &figures.hostings {
        metrics::gauge!("mtasts_zone_writes_refused", "hosting" => hosting.hosting.clone()).set(hosting.refused as f64);
    }
}
