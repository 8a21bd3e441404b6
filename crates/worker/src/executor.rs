//! The steps, each carried out outside of any transaction. What they bring about is a [`Finding`].

mod advice;
mod challenge;
mod delegation;
mod issue;
mod mx;
mod order;
mod records;
mod serving;

use mtasts_dns::RecordChange;
use mtasts_model::{
    Timestamp,
    lifecycle::{DomainFacts, Step},
};
use mtasts_store::Lease;

use crate::{
    WorkerConfig, WorkerDeps,
    deadline::answered,
    outcome::{Finding, StepError},
};

/// One domain under one lease, with what was known when the step was planned.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a WorkerConfig,
    pub(crate) deps: &'a WorkerDeps,
    pub(crate) lease: &'a Lease,
    pub(crate) facts: &'a DomainFacts,
}

impl Context<'_> {
    /// Does the step. Cancelling it at any point is as good as a crash there: the same plan follows.
    pub(crate) async fn execute(&self, step: Step) -> Result<Finding, StepError> {
        match step {
            Step::ObserveDelegation => self.observe_delegation().await,
            Step::DiscoverMx => self.discover_mx().await,
            Step::ProbeMx => self.probe_mx().await,
            Step::TakeHost => Ok(Finding::TakeHost),
            Step::ReleaseHost => Ok(Finding::ReleaseHost),
            Step::DraftOrder => self.draft_order(),
            Step::PlaceOrder { order } => self.place_order(order).await,
            Step::PublishChallenge { order } => self.publish_challenge(order).await,
            Step::AnswerChallenge { order } => self.answer_challenge(order).await,
            Step::PollOrder { order } => self.poll_order(order).await,
            Step::FinalizeOrder { order } => self.finalize_order(order).await,
            Step::AbandonOrder { order } => self.abandon_order(order).await,
            Step::RefreshAdvice { certificate } => self.refresh_advice(certificate).await,
            Step::ServeHost { version, certificate } => Ok(Finding::ServeHost { version, certificate }),
            Step::MarkServed { version } => Ok(Finding::Served { version }),
            Step::VerifyServed { version } => self.verify_served(version).await,
            Step::WriteRecords { version } => self.write_records(version).await,
            Step::ConfirmRecords { version } => self.confirm_records(version).await,
            Step::RemoveRecords => self.remove_records().await,
            Step::Finish => Ok(Finding::Finished),
        }
    }

    /// Writes into the zone. The lease is asked for just before: a worker that was frozen past its end must not put an
    /// old id over what another has written since.
    async fn apply(&self, changes: &[RecordChange]) -> Result<(), StepError> {
        let now = self.now();
        answered(self.deps.store.extend_lease(self.lease, now + self.config.lease, now)).await?;
        let applied = self.deps.provider.apply(changes).await;
        Ok(applied.map_err(|error| records::provider_failed(&error, self.now()))?)
    }

    fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }
}
