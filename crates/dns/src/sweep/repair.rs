//! A second look at what seems to differ, and its repair.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use mtasts_model::feed::RecordData;

use super::{Key, Stop, Sweep, SweepConflict};
use crate::provider::{Known, Mark, Observed, ProviderError, RecordChange};

/// Sets that are read at the same time.
const LOOKS_AT_ONCE: usize = 8;

/// How often a batch is written again because what is desired changed under it.
const CORRECTIONS: usize = 3;

/// What seems to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    Missing,
    Different,
    Surplus,
}

/// What is to be written, and why.
type Repair = (RecordChange, Suspicion);

/// What a second look says.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// All is well by now.
    Right,
    Wrong(Suspicion),
    /// It is a stranger's, with these values.
    Foreign(String),
}

impl Sweep<'_> {
    /// Repairs those that are still wrong. Fails when the provider does as a whole.
    pub(super) async fn repair(&mut self, suspects: Vec<Key>, suspicion: Suspicion) -> Result<(), Stop> {
        for batch in suspects.chunks(self.provider.batch_size().max(1)) {
            let repairs = self.confirm(batch, suspicion).await?;
            if !repairs.is_empty() {
                self.write(repairs).await?;
            }
        }
        Ok(())
    }

    /// What has to be written for these, as of now.
    async fn confirm(&mut self, batch: &[Key], suspicion: Suspicion) -> Result<Vec<Repair>, Stop> {
        let mut wanted = self.wanted(batch.iter().map(|(name, _)| name)).await?;
        // A listing may tell of a set twice, when it changes meanwhile.
        let distinct: HashSet<&Key> = batch.iter().collect();
        let candidates: Vec<RecordChange> = distinct
            .into_iter()
            .filter_map(|key| {
                let set = match (suspicion, wanted.remove(key)) {
                    (Suspicion::Surplus, None) => None,
                    (Suspicion::Missing | Suspicion::Different, Some(wanted)) if wanted.settled => Some(wanted.data),
                    _ => return None,
                };
                Some(RecordChange { name: key.0.clone(), record_type: key.1, set, known: Known::Perhaps })
            })
            .collect();
        if candidates.len() > self.limits.looks {
            return Ok(candidates.into_iter().map(|change| (change, suspicion)).collect());
        }

        let provider = self.provider;
        let mut looks = stream::iter(candidates)
            .map(async |change| {
                let found = provider.read(&change.name, change.record_type).await;
                (change, found)
            })
            .buffer_unordered(LOOKS_AT_ONCE);
        let mut repairs = Vec::new();
        while let Some((change, found)) = looks.next().await {
            let found = match found {
                Ok(found) => found,
                Err(error) if concerns_all(&error) => return Err(error.into()),
                Err(error) => {
                    self.count(suspicion);
                    self.fail(&change, &error);
                    continue;
                }
            };
            match judge(change.set.as_ref(), found.as_ref()) {
                Finding::Right => {}
                Finding::Wrong(suspicion) => repairs.push((change, suspicion)),
                Finding::Foreign(found) => self.conflict(&change, found),
            }
        }
        Ok(repairs)
    }

    async fn write(&mut self, repairs: Vec<Repair>) -> Result<(), Stop> {
        let (changes, suspicions): (Vec<_>, Vec<_>) = repairs.into_iter().unzip();
        let outcomes = match self.provider.apply(&changes).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                for suspicion in suspicions {
                    self.count(suspicion);
                }
                self.report.failed += changes.len() as u64;
                return Err(error.into());
            }
        };
        let mut written = Vec::with_capacity(changes.len());
        for ((change, suspicion), outcome) in changes.into_iter().zip(suspicions).zip(outcomes) {
            match outcome {
                Ok(_) => {
                    self.count(suspicion);
                    self.report.repaired += 1;
                    written.push(change);
                }
                Err(ProviderError::Conflict { found, .. } | ProviderError::TypeClash { found, .. }) => {
                    self.conflict(&change, found);
                }
                Err(error) => {
                    self.count(suspicion);
                    self.fail(&change, &error);
                }
            }
        }
        self.correct(written).await
    }

    /// What is desired may have changed, and may have been written by others, between the second look and our write,
    /// which then put an old value over a new one.
    async fn correct(&mut self, mut written: Vec<RecordChange>) -> Result<(), Stop> {
        for _ in 0..CORRECTIONS {
            let mut wanted = self.wanted(written.iter().map(|change| &change.name)).await?;
            let outdated: Vec<RecordChange> = written
                .into_iter()
                .filter_map(|change| {
                    let now = wanted.remove(&(change.name.clone(), change.record_type)).map(|wanted| wanted.data);
                    let is_right = match (&now, &change.set) {
                        (Some(now), Some(written)) => now.same_values(written),
                        (None, None) => true,
                        _ => false,
                    };
                    (!is_right).then_some(RecordChange { set: now, ..change })
                })
                .collect();
            if outdated.is_empty() {
                return Ok(());
            }
            for (change, outcome) in outdated.iter().zip(self.provider.apply(&outdated).await?) {
                if let Err(error) = outcome {
                    tracing::warn!(name = %change.name, %error, "a set that changed during a sweep was not corrected");
                }
            }
            written = outdated;
        }
        Ok(())
    }

    fn count(&mut self, suspicion: Suspicion) {
        match suspicion {
            Suspicion::Missing => self.report.missing += 1,
            Suspicion::Different => self.report.different += 1,
            Suspicion::Surplus => self.report.surplus += 1,
        }
    }

    fn fail(&mut self, change: &RecordChange, error: &ProviderError) {
        self.report.failed += 1;
        tracing::warn!(name = %change.name, record_type = %change.record_type, %error, "drift was not repaired");
    }

    /// A stranger's set is nothing that could be repaired. One that nobody wants to replace is no conflict.
    fn conflict(&mut self, change: &RecordChange, found: String) {
        self.report.foreign += 1;
        if let Some(wanted) = &change.set
            && self.report.conflicts.len() < self.limits.conflicts
        {
            let RecordChange { name, record_type, .. } = change;
            let (name, record_type, wanted) = (name.clone(), *record_type, wanted.shown());
            self.report.conflicts.push(SweepConflict { name, record_type, wanted, found });
        }
    }
}

/// Compares what is wanted with what the provider holds.
fn judge(wanted: Option<&RecordData>, found: Option<&Observed>) -> Finding {
    match (wanted, found) {
        (None, None) => Finding::Right,
        (Some(_), None) => Finding::Wrong(Suspicion::Missing),
        (None, Some(found)) if found.mark == Mark::NotOurs => Finding::Foreign(found.data.shown()),
        (None, Some(_)) => Finding::Wrong(Suspicion::Surplus),
        (Some(wanted), Some(found)) => match (found.data.same_values(wanted), found.mark) {
            (true, Mark::Ours) => Finding::Right,
            (false, Mark::NotOurs) => Finding::Foreign(found.data.shown()),
            _ => Finding::Wrong(Suspicion::Different),
        },
    }
}

/// Whether the next set would fail as well.
fn concerns_all(error: &ProviderError) -> bool {
    match error {
        ProviderError::Unavailable { .. }
        | ProviderError::RateLimited { .. }
        | ProviderError::Unauthorized { .. }
        | ProviderError::ZoneNotFound { .. }
        | ProviderError::Other(_) => true,
        ProviderError::NameOutsideZone { .. }
        | ProviderError::InvalidName(_)
        | ProviderError::Conflict { .. }
        | ProviderError::TypeClash { .. }
        | ProviderError::Refused { .. } => false,
    }
}
