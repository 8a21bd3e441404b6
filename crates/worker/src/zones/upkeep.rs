//! What the writer of a hosting does besides: the zone's own records, the sweep for drift, and moving domains out.

use std::time::Duration;

use chrono::TimeDelta;
use mtasts_dns::sweep::{SweepReport, sweep};
use mtasts_store::{HostingLease, StoreError};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    desired::Wanted,
    infrastructure::{OwnSets, ensure, is_complete},
    writer::Writer,
};
use crate::{deadline::answered, outcome::causes};

/// How often it is looked what is due.
const TICK: Duration = Duration::from_secs(2);
/// How often the zone's own records are looked at.
const OWN_RECORDS: Duration = Duration::from_mins(5);
/// After a failure.
const OWN_RECORDS_RETRY: Duration = Duration::from_secs(20);
/// How many domains begin to leave a zone in one tick.
const MOVES: u32 = 200;

impl Writer {
    /// Goes on for ever; returns when another worker has the hosting.
    pub(super) async fn upkeep(&self, lease: &HostingLease) {
        let mut own_records_at = Instant::now();
        let mut own = OwnSets::new();
        loop {
            if own_records_at <= Instant::now() {
                let zone = self.hosting.provider.zone();
                own = self.deps.zones.infrastructure.wanted(zone, &*self.deps.issuer).await;
                let ensured = self.own_records(lease, &own).await && is_complete(&own, zone);
                own_records_at = Instant::now() + if ensured { OWN_RECORDS } else { OWN_RECORDS_RETRY };
            }
            for outcome in [self.sweep_if_due(lease, &own).await, self.drain(lease).await] {
                match outcome {
                    Ok(()) => {}
                    Err(StoreError::Fenced) => return,
                    Err(error) => tracing::debug!(hosting = self.hosting.id, %error, "the store is away"),
                }
            }
            sleep(TICK).await;
        }
    }

    /// Without them senders do not find the edges, so a provider that does not take them is a problem of the hosting.
    async fn own_records(&self, lease: &HostingLease, own: &OwnSets) -> bool {
        let ensured = ensure(&*self.hosting.provider, own).await;
        match &ensured {
            Ok(()) => {
                // Should writes still fail, the next one says so again.
                let over = self.deps.store.hosting_problem(lease, None, self.now());
                if let Err(error) = answered(over).await {
                    tracing::debug!(hosting = self.hosting.id, %error, "the end of a problem could not be noted");
                }
            }
            Err(error) => self.note_problem(lease, error.reason(), &causes(error)).await,
        }
        ensured.is_ok()
    }

    /// Compares all of the zone with what it should hold. Our own nameservers hold the store's records by their feed,
    /// with checksums, and nobody else can write to them.
    async fn sweep_if_due(&self, lease: &HostingLease, own: &OwnSets) -> Result<(), StoreError> {
        if self.hosting.provider.follows_feed() {
            return Ok(());
        }
        let interval = TimeDelta::from_std(self.deps.zones.sweep_interval).unwrap_or(TimeDelta::MAX);
        let swept_at = answered(self.deps.store.swept_at(lease)).await?;
        let id = &self.hosting.id;
        if let Some(at) = swept_at {
            let age = (self.now() - at).as_seconds_f64();
            metrics::gauge!("mtasts_zone_sweep_age_seconds", "hosting" => id.clone()).set(age);
            if at <= self.now() && self.now() < at + interval {
                return Ok(());
            }
        }
        let wanted = Wanted { store: &self.deps.store, lease, own: own.clone() };
        let started = Instant::now();
        match sweep(&*self.hosting.provider, &wanted, mtasts_dns::sweep::SweepLimits::default()).await {
            Ok(report) => {
                metrics::histogram!("mtasts_zone_sweep_seconds", "hosting" => id.clone())
                    .record(started.elapsed().as_secs_f64());
                self.tell(&report);
                if report.postponed > 0 {
                    // More was wrong than one sweep remembers: the next one is due at once.
                    return Ok(());
                }
                answered(self.deps.store.hosting_swept(lease, summary(&report), self.now())).await
            }
            Err(error) => {
                metrics::counter!("mtasts_zone_sweep_failures_total", "hosting" => id.clone()).increment(1);
                tracing::warn!(hosting = id, error = causes(&error), "the sweep was broken off; the next try is soon");
                // Not at every tick.
                sleep(OWN_RECORDS_RETRY).await;
                Ok(())
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges take floats; 2^53 records are enough")]
    fn tell(&self, report: &SweepReport) {
        let id = &self.hosting.id;
        let states = [
            ("observed", report.observed),
            ("desired", report.desired),
            ("missing", report.missing),
            ("different", report.different),
            ("surplus", report.surplus),
            ("foreign", report.foreign),
            ("failed", report.failed),
        ];
        for (state, count) in states {
            metrics::gauge!("mtasts_zone_sweep_records", "hosting" => id.clone(), "state" => state).set(count as f64);
        }
        metrics::counter!("mtasts_zone_repairs_total", "hosting" => id.clone()).increment(report.repaired);
        let SweepReport { missing, different, surplus, foreign, repaired, failed, .. } = report;
        if missing + different + surplus + failed > 0 {
            tracing::warn!(
                hosting = id,
                missing,
                different,
                surplus,
                foreign,
                repaired,
                failed,
                "the zone had drifted"
            );
        }
        for conflict in &report.conflicts {
            tracing::warn!(hosting = id, ?conflict, "a record set of a stranger is left as it is");
        }
    }

    /// Lets domains leave a zone that is drained, some at a time.
    async fn drain(&self, lease: &HostingLease) -> Result<(), StoreError> {
        if !self.hosting.is_draining {
            return Ok(());
        }
        let zones = &self.deps.zones;
        let moves = self.deps.store.begin_moves(&lease.zone, |label| Some(zones.next_home(label)), MOVES, self.now());
        let begun = answered(moves).await?;
        if begun > 0 {
            tracing::info!(zone = %lease.zone, domains = begun, "domains begin to leave the zone");
        }
        Ok(())
    }
}

fn summary(report: &SweepReport) -> serde_json::Value {
    json!({
        "observed": report.observed, "desired": report.desired, "missing": report.missing,
        "different": report.different, "surplus": report.surplus, "foreign": report.foreign,
        "repaired": report.repaired, "failed": report.failed,
    })
}
