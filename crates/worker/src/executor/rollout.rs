//! Rollout plans and MX migrations. All of it happens in the transaction that records it: here it is only said what follows.

use super::Context;
use crate::outcome::Finding;

impl Context<'_> {
    /// What follows now for the plan, by the very facts that the step was planned on.
    pub(super) fn advance_rollout(&self) -> Finding {
        let action = self.facts.rollout_next(self.now()).and_then(|next| next.action);
        match (action, &self.facts.rollout, &self.facts.version) {
            (Some(action), Some(rollout), Some(version)) => {
                Finding::Rollout { action, decided_on: (rollout.revision, version.id), ids: self.spare_ids() }
            }
            _ => Finding::Nothing,
        }
    }

    /// What follows now for the MX migration.
    pub(super) fn advance_migration(&self) -> Finding {
        let (action, _) = self.facts.migration_next(self.now());
        match (action, &self.facts.migration, &self.facts.version) {
            (Some(action), Some(migration), Some(version)) => {
                Finding::Migration { action, decided_on: (migration.revision, version.id), ids: self.spare_ids() }
            }
            _ => Finding::Nothing,
        }
    }
}
