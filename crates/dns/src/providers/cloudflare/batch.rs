//! Carrying out plans: in batches, of which one that is refused is taken apart.

use std::collections::VecDeque;

use super::{
    Cloudflare,
    endpoint::{Batch, BatchBody, Deletion, Id, Patch},
    failure::{CallError, Failure, Refusal},
    plan::{Plan, Write},
    record::{Record, applied},
};
use crate::provider::{Applied, ProviderError};

/// Writes in one batch; the smallest plan has this limit.
pub(super) const MAX_WRITES: usize = 200;
/// How often batches of one call may be split: enough to find two or three culprits among a hundred. The rest is told
/// to come again, and is looked at then.
const MAX_SPLITS: usize = 24;

/// How a plan ended.
pub(super) enum Ending {
    Done(Applied),
    /// Something stands there that was not known of.
    Look,
    Failed(ProviderError),
}

/// Sends the plans in their order and tells each ending. A failure is of all plans that were not told of.
pub(super) async fn carry_out(
    provider: &Cloudflare,
    zone: &Id,
    plans: Vec<Plan>,
    mut tell: impl FnMut(usize, Ending) + Send,
) -> Result<(), Failure> {
    let mut batches = in_batches(plans, provider.batch);
    let (mut splits, mut full) = (MAX_SPLITS, None);
    while let Some(mut batch) = batches.pop_front() {
        if let Some(refusal) = &full {
            for plan in batch.extract_if(.., |plan| plan.grows()) {
                tell(plan.index, Ending::Failed(provider.refused(refusal)));
            }
        }
        if batch.is_empty() {
            continue;
        }
        let refusal = match send(provider, zone, &batch).await {
            Ok(created) => {
                for plan in batch {
                    let ending = ended(provider, &plan, &created);
                    tell(plan.index, ending);
                }
                continue;
            }
            Err(Failure::Refused(refusal)) => refusal,
            Err(failure) => return Err(failure),
        };
        match batch.as_slice() {
            [plan] => {
                if refusal.is_full() && plan.grows() {
                    full = Some(refusal.clone());
                }
                tell(plan.index, alone(provider, plan, &refusal));
            }
            _ if splits == 0 => {
                let beside = "another change of the same batch was refused, and which one is not known yet";
                for plan in batch {
                    let failure = Failure::unavailable(CallError::Other(beside));
                    tell(plan.index, Ending::Failed(failure.into_error(&provider.zone)));
                }
            }
            _ => {
                splits -= 1;
                let rest = batch.split_off(batch.len() / 2);
                batches.push_front(rest);
                batches.push_front(batch);
            }
        }
    }
    Ok(())
}

fn in_batches(plans: Vec<Plan>, size: usize) -> VecDeque<Vec<Plan>> {
    let mut batches = VecDeque::new();
    let (mut batch, mut writes) = (Vec::new(), 0);
    for plan in plans {
        if !batch.is_empty() && (batch.len() >= size || writes + plan.writes.len() > MAX_WRITES) {
            batches.push_back(std::mem::take(&mut batch));
            writes = 0;
        }
        writes += plan.writes.len();
        batch.push(plan);
    }
    if !batch.is_empty() {
        batches.push_back(batch);
    }
    batches
}

/// Gives the records that were created.
async fn send(provider: &Cloudflare, zone: &Id, plans: &[Plan]) -> Result<Vec<Record>, Failure> {
    let mut body = BatchBody::default();
    for write in plans.iter().flat_map(|plan| &plan.writes) {
        match write {
            Write::Delete(id) => body.deletes.push(Deletion { id }),
            Write::Patch(id, record) => body.patches.push(Patch { id, record }),
            Write::Post(record) => body.posts.push(record),
        }
    }
    let answer = provider.api.call(Batch { zone, body }).await?;
    Ok(answer.result.posts.unwrap_or_default())
}

/// The reference names every record of the set; if one is not in the answer there is none, and the next change looks.
fn ended(provider: &Cloudflare, plan: &Plan, created: &[Record]) -> Ending {
    let mut ids = plan.kept.clone();
    for write in &plan.writes {
        match write {
            Write::Delete(_) => {}
            Write::Patch(id, _) => ids.push(id.clone()),
            Write::Post(body) => {
                let named = |record: &&Record| record.owner_name() == body.name && record.kind == body.kind;
                match created.iter().filter(named).find(|record| record.value() == body.value) {
                    Some(record) => ids.push(record.id.clone()),
                    // The API takes a name outside of its zone for one relative to it.
                    None if created.iter().any(|record| !provider.contains(&record.owner_name())) => {
                        let reason = format!("the zone with the configured id is not {}, nor above it", provider.zone);
                        return Ending::Failed(ProviderError::Refused { reason });
                    }
                    None => return Ending::Done(Applied::default()),
                }
            }
        }
    }
    Ending::Done(applied(&ids))
}

/// What a refusal means for the only plan of a batch.
fn alone(provider: &Cloudflare, plan: &Plan, refusal: &Refusal) -> Ending {
    if !plan.looked && (refusal.exists() || refusal.is_gone()) {
        return Ending::Look;
    }
    if refusal.is_gone() {
        let meanwhile = "the record was deleted by somebody else meanwhile";
        return Ending::Failed(Failure::unavailable(CallError::Other(meanwhile)).into_error(&provider.zone));
    }
    Ending::Failed(provider.refused(refusal))
}
