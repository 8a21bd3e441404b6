//! Carrying out a batch: look, decide, write in one transaction, and part what the server refuses from the rest.

use std::collections::{HashMap, HashSet, VecDeque};

use futures_util::{StreamExt, stream};

use super::{
    api::Api,
    decide::{Sets, clashes, decide, marking},
    sets::Standing,
};
use crate::provider::{Applied, Known, Marker, ProviderError, RecordChange, check_name};

/// Looks at the same time. The server has a handful of threads.
const LOOKS_AT_ONCE: usize = 8;

type Outcome = Result<Applied, ProviderError>;

/// What stands at each name, or why the server does not tell.
type Looks = HashMap<String, Result<Vec<Standing>, ProviderError>>;

/// See [`crate::provider::ZoneProvider::apply`].
pub(super) async fn apply(
    api: &Api,
    marker: &Marker,
    batch: usize,
    changes: &[RecordChange],
) -> Result<Vec<Outcome>, ProviderError> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(changes.len());
    let mut rest = changes;
    while !rest.is_empty() {
        let (run, after) = rest.split_at(run_length(rest, batch));
        match (Run { api, marker, changes: run }).carry_out().await {
            Ok(done) => outcomes.extend(done),
            Err(error) if outcomes.is_empty() => return Err(error),
            Err(error) => {
                // The earlier runs are known.
                outcomes.extend(rest.iter().map(|_| Err(again(&error))));
                break;
            }
        }
        rest = after;
    }
    Ok(outcomes)
}

/// How many of these fit into one transaction, which has no place for two changes of one set.
fn run_length(changes: &[RecordChange], batch: usize) -> usize {
    let mut keys = HashSet::new();
    let distinct = changes.iter().take_while(|change| keys.insert((&change.name, change.record_type))).count();
    distinct.clamp(1, batch)
}

/// Changes of different sets that go together.
struct Run<'a> {
    api: &'a Api,
    marker: &'a Marker,
    changes: &'a [RecordChange],
}

/// The sets to be written for the change with this number.
struct Write {
    change: usize,
    sets: Sets,
}

impl Run<'_> {
    async fn carry_out(self) -> Result<Vec<Outcome>, ProviderError> {
        let mut outcomes: Vec<Option<Outcome>> = self.changes.iter().map(|_| None).collect();
        let mut writes = Vec::new();
        for (change, decided) in self.decide().await?.into_iter().enumerate() {
            match decided {
                Ok(sets) if sets.is_empty() => set(&mut outcomes, change, Ok(Applied::default())),
                Ok(sets) => writes.push(Write { change, sets }),
                Err(error) => set(&mut outcomes, change, Err(error)),
            }
        }
        if let Err(error) = self.write(writes, &mut outcomes).await {
            if outcomes.iter().all(Option::is_none) {
                return Err(error);
            }
            for open in outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
                *open = Some(Err(again(&error)));
            }
        }
        let forgotten = || Err(ProviderError::Other("the change was not carried out".into()));
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(forgotten)).collect())
    }

    /// The sets to be written for each change.
    async fn decide(&self) -> Result<Vec<Result<Sets, ProviderError>>, ProviderError> {
        let checked: Vec<_> = self.changes.iter().map(|change| self.check(change)).collect();
        let usable = || self.changes.iter().zip(&checked).filter_map(|(change, check)| check.is_ok().then_some(change));
        let at_names = self.look(usable().map(|change| change.name.clone())).await?;
        // What was never written has no marker. Where a set stands all the same, that is what tells whose it is.
        let has_set = |change: &RecordChange| match at_names.get(&change.name) {
            Some(Ok(standing)) => standing.iter().any(|set| set.is(change.record_type)),
            _ => false,
        };
        let marked = usable().filter(|change| change.known != Known::Never || change.set.is_none() || has_set(change));
        let at_markers = self.look(marked.map(|change| self.marker.name_for(&change.name, change.record_type))).await?;
        let decisions = self.changes.iter().zip(checked).map(|(change, check)| {
            check?;
            let at_name = found(&at_names, &change.name)?;
            let at_marker = found(&at_markers, &self.marker.name_for(&change.name, change.record_type))?;
            decide(change, self.marker, at_name, marking(self.marker, at_marker))
        });
        Ok(decisions.collect())
    }

    /// Both names must be fit: a set without a marker would not be ours tomorrow.
    fn check(&self, change: &RecordChange) -> Result<(), ProviderError> {
        check_name(&change.name, self.api.zone())?;
        check_name(&self.marker.name_for(&change.name, change.record_type), self.api.zone())
    }

    /// Fails as a whole when the server does not answer; what it refuses is a matter of one name.
    async fn look(&self, names: impl Iterator<Item = String>) -> Result<Looks, ProviderError> {
        let names: HashSet<String> = names.collect();
        let mut looks = stream::iter(names)
            .map(async |name| {
                let standing = self.api.standing(&name).await;
                (name, standing)
            })
            .buffer_unordered(LOOKS_AT_ONCE);
        let mut all = HashMap::new();
        while let Some((name, standing)) = looks.next().await {
            match standing {
                Ok(_) | Err(ProviderError::Refused { .. }) => all.insert(name, standing),
                Err(error) => return Err(error),
            };
        }
        Ok(all)
    }

    /// Writes as much as the server takes. An error leaves without an outcome what nothing is known of.
    async fn write(&self, writes: Vec<Write>, outcomes: &mut [Option<Outcome>]) -> Result<(), ProviderError> {
        let mut batches = VecDeque::from([writes]);
        let mut clashes = Vec::new();
        while let Some(mut batch) = batches.pop_front() {
            if batch.is_empty() {
                continue;
            }
            match self.api.patch(batch.iter().flat_map(|write| &write.sets)).await {
                Ok(()) => {
                    for write in batch {
                        set(outcomes, write.change, Ok(Applied::default()));
                    }
                }
                // The server stops at the first set that it does not like, and undoes the others.
                Err(ProviderError::Refused { reason }) => {
                    let named = batch.iter().position(|write| write.sets.iter().any(|set| set.is_named_in(&reason)));
                    match (named, batch.len()) {
                        (_, 1) | (Some(_), _) => {
                            let refused = batch.remove(named.unwrap_or_default());
                            if reason.contains("Conflicts with") {
                                clashes.push((refused.change, reason));
                            } else {
                                set(outcomes, refused.change, Err(ProviderError::Refused { reason }));
                            }
                        }
                        (None, length) => batches.push_front(batch.split_off(length / 2)),
                    }
                    batches.push_front(batch);
                }
                Err(error) => {
                    // These were refused, whatever comes now.
                    for (change, reason) in clashes {
                        set(outcomes, change, Err(ProviderError::Refused { reason }));
                    }
                    return Err(error);
                }
            }
        }
        for (change, reason) in clashes {
            set(outcomes, change, Err(self.clash(change, reason).await));
        }
        Ok(())
    }

    /// What stands in the way now that the rest is written: it may have come since the look, or with this very batch.
    async fn clash(&self, change: usize, reason: String) -> ProviderError {
        let Some(RecordChange { name, record_type, .. }) = self.changes.get(change) else {
            return ProviderError::Refused { reason };
        };
        let standing = self.api.standing(name).await.unwrap_or_default();
        let found = standing.iter().find(|other| clashes(other, *record_type)).map_or(reason, Standing::told);
        ProviderError::TypeClash { name: name.clone(), record_type: *record_type, found }
    }
}

fn found<'a>(looks: &'a Looks, name: &str) -> Result<&'a [Standing], ProviderError> {
    match looks.get(name) {
        Some(Ok(standing)) => Ok(standing),
        Some(Err(error)) => Err(again(error)),
        None => Ok(&[]),
    }
}

fn set(outcomes: &mut [Option<Outcome>], change: usize, outcome: Outcome) {
    if let Some(place) = outcomes.get_mut(change) {
        *place = Some(outcome);
    }
}

/// The same error once more, for another change.
fn again(error: &ProviderError) -> ProviderError {
    match error {
        ProviderError::Unavailable { retry_after, source } => {
            ProviderError::Unavailable { retry_after: *retry_after, source: source.to_string().into() }
        }
        ProviderError::RateLimited { retry_after } => ProviderError::RateLimited { retry_after: *retry_after },
        ProviderError::Unauthorized { reason } => ProviderError::Unauthorized { reason: reason.clone() },
        ProviderError::ZoneNotFound { zone } => ProviderError::ZoneNotFound { zone: zone.clone() },
        ProviderError::Refused { reason } => ProviderError::Refused { reason: reason.clone() },
        error => ProviderError::Other(error.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use mtasts_model::feed::RecordType;

    use super::*;

    #[test]
    fn two_changes_of_one_set_never_share_a_transaction() {
        let change = |name: &str, record_type| RecordChange {
            name: name.to_owned(),
            record_type,
            set: None,
            known: Known::Perhaps,
        };
        let changes = [change("a", RecordType::Txt), change("a", RecordType::A), change("a", RecordType::Txt)];
        assert_eq!(run_length(&changes, 10), 2);
        assert_eq!(run_length(&changes[2..], 10), 1);
        assert_eq!(run_length(&changes, 1), 1);
    }
}
