//! The steps, each carried out outside of any transaction. What they bring about is a [`Finding`].

mod advice;
mod challenge;
mod delegation;
mod issue;
mod mx;
mod mx_hosts;
mod order;
mod records;
mod rollout;
mod serving;
mod watch;

use mtasts_model::{
    Timestamp,
    lifecycle::{DomainFacts, Step},
};
use mtasts_store::{Lease, ZoneWrite};

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
            Step::Watch { version } => self.watch(version).await,
            Step::TellOfExpiry { certificate, days } => {
                Ok(Finding::Expiring { certificate, days, trouble: self.facts.renewal_trouble() })
            }
            Step::AdvanceRollout => Ok(self.advance_rollout()),
            Step::AdvanceMigration => Ok(self.advance_migration()),
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
            Step::EnterZone => self.enter_zone().await,
            Step::LeaveZone => self.leave_zone().await,
            Step::Finish => Ok(Finding::Finished),
        }
    }

    /// Says what the zones are to hold. Under the lease's token: a worker that was frozen past its end cannot put an old
    /// id over what another has wanted since.
    async fn want(&self, writes: &[ZoneWrite]) -> Result<(), StepError> {
        let wanted = async {
            let mut tx = self.deps.store.lease_tx(self.lease, self.now()).await?;
            tx.want_records(writes).await?;
            tx.commit().await
        };
        Ok(answered(wanted).await?)
    }

    fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }
}
