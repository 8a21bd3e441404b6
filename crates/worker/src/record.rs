//! From a finding to the store: one transaction under the lease's fencing token.

use chrono::TimeDelta;
use mtasts_model::{
    Condition, Timestamp,
    lifecycle::{DomainFacts, StepKind},
};
use mtasts_store::{Lease, LeaseTx, Store, StoreError};

use crate::{
    deadline::answered,
    outcome::{Failure, Finding},
};

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    /// It was done; the conditions are those of before it, so that whoever watches sees a long session move on.
    Done { finding: &'a Finding, conditions: &'a [Condition] },
    /// It failed; the planner backs off.
    Failed(&'a Failure),
}

/// Records what a step came to.
pub(crate) async fn record(
    store: &Store,
    lease: &Lease,
    kind: StepKind,
    outcome: &Outcome<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    answered(write(store, lease, kind, outcome, now)).await
}

async fn write(
    store: &Store,
    lease: &Lease,
    kind: StepKind,
    outcome: &Outcome<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = store.lease_tx(lease, now).await?;
    match outcome {
        Outcome::Done { finding, conditions } => {
            apply(&mut tx, finding).await?;
            // What was put off has not succeeded either: what failed before it did still counts.
            if !matches!(finding, Finding::MxPutOff { .. }) {
                tx.step_succeeded(kind).await?;
            }
            // Due at once should this worker be gone; while the lease is held nobody claims it.
            tx.settle(conditions, Some(now), false).await?;
        }
        Outcome::Failed(Failure { reason, message, retry_after }) => {
            tx.step_failed(kind, reason, message, *retry_after).await?;
        }
    }
    tx.commit().await
}

/// Gives the domain back until `wake_at`.
pub(crate) async fn record_settled(
    store: &Store,
    lease: &Lease,
    conditions: &[Condition],
    wake_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    answered(async {
        let mut tx = store.lease_tx(lease, now).await?;
        tx.settle(conditions, wake_at, true).await?;
        tx.commit().await
    })
    .await
}

async fn apply(tx: &mut LeaseTx, finding: &Finding) -> Result<(), StoreError> {
    match finding {
        Finding::Delegation(seen) => tx.delegation_seen(seen).await,
        Finding::FirstVersion { version, mx } => {
            if let Some(seen) = mx {
                tx.mx_seen(seen).await?;
            }
            tx.first_version(version.clone()).await.map(|_made| ())
        }
        Finding::Mx { seen, follow } => {
            tx.mx_seen(seen).await?;
            match follow {
                Some(ids) => tx.follow_mx(seen, ids.clone()).await.map(|_made| ()),
                None => Ok(()),
            }
        }
        Finding::MxPutOff { until } => tx.put_off_mx(*until).await,
        Finding::Watched { version, at, problem, report } => {
            tx.watched(*at, *version, problem.clone(), report.clone()).await
        }
        Finding::Expiring { certificate, days, trouble } => {
            tx.tell_of_expiry(*certificate, *days, trouble.clone()).await
        }
        Finding::Rollout { action, decided_on, ids } => tx.advance_rollout(action, *decided_on, ids.clone()).await,
        Finding::Migration { action, decided_on, ids } => tx.advance_migration(action, *decided_on, ids.clone()).await,
        Finding::Nothing => Ok(()),
        Finding::TakeHost => {
            let taken = tx.take_host().await?;
            if let Some(previous) = taken.previous_owner {
                tracing::info!(%previous, "the policy host was taken over: its CNAME has moved");
            }
            Ok(())
        }
        Finding::ReleaseHost => tx.release_host().await,
        Finding::ServeHost { version, certificate } => tx.serve_host(*version, *certificate).await.map(|_revision| ()),
        Finding::OrderDrafted { order, issuer, sealed_key } => tx.draft_order(*order, issuer, sealed_key).await,
        Finding::OrderPlaced { order, url, expires_at } => tx.order_placed(*order, url, *expires_at).await,
        Finding::ChallengeForEdges { order, challenge } => {
            tx.challenge_published(*order, challenge).await.map(|_revision| ())
        }
        Finding::ChallengeInZone { order, name, value } => tx.challenge_in_zone(*order, name, value).await,
        Finding::OrderAnswered { order } => tx.order_answered(*order).await,
        Finding::OrderReady { order } => tx.order_ready(*order).await,
        Finding::OrderFinalizing { order } => tx.order_finalizing(*order).await,
        Finding::OrderWait { order, until } => tx.order_wait(*order, *until).await,
        Finding::OrderClosed { order, problem, validation_failed, failure } => {
            tx.order_failed(*order, problem, *validation_failed).await?;
            match failure {
                Some(failure) => {
                    let Failure { reason, message, retry_after } = failure;
                    tx.step_failed(StepKind::Issuance, reason, message, *retry_after).await
                }
                None => Ok(()),
            }
        }
        Finding::CertificateIssued { order, certificate } => {
            tx.certificate_issued(*order, certificate.clone()).await?;
            tx.step_succeeded(StepKind::Issuance).await
        }
        Finding::Advice { certificate, renew_at, advice_due_at } => {
            tx.renewal_advice(*certificate, *renew_at, *advice_due_at).await
        }
        Finding::Served { version } => tx.version_served(*version).await,
        Finding::Verified { version } => tx.version_verified(*version).await,
        Finding::RecordsWritten { version, zones } => tx.records_written(*version, zones).await,
        Finding::RecordsConfirmed { version, report_uris } => tx.records_confirmed(*version, report_uris).await,
        Finding::RecordsRemoved => tx.records_removed().await,
        Finding::ZoneEntered { zone } => tx.zone_entered(zone).await,
        Finding::ZoneLeft { zone } => tx.zone_left(zone).await,
        Finding::Finished => tx.finished().await,
    }
}

/// How long senders waited for a new version: measured once for each, when it comes to them.
pub(crate) fn measure(facts: &DomainFacts, finding: &Finding, now: Timestamp) {
    let Some(version) = &facts.version else { return };
    let age = seconds(now - version.created_at);
    // The first of a domain waits until its owner has delegated it, for days if need be.
    let change = if facts.record.confirmed.is_some() { "later" } else { "first" };
    match finding {
        Finding::Served { .. } => {
            metrics::histogram!("mtasts_worker_policy_served_seconds", "change" => change).record(age);
        }
        Finding::RecordsConfirmed { .. } if version.published_at.is_none() => {
            metrics::histogram!("mtasts_worker_policy_published_seconds", "change" => change).record(age);
        }
        _ => {}
    }
}

/// Never below zero, should a clock have been stepped.
pub(crate) fn seconds(span: TimeDelta) -> f64 {
    span.to_std().unwrap_or_default().as_secs_f64()
}
