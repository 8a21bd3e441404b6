//! Telling a tenant what its own requests have brought about.

use mtasts_model::{DomainId, EventData, EventId, Timestamp};

use super::TenantTx;
use crate::{Channel, Event, EventFilter, StoreError, event, new_version::Made};

impl TenantTx {
    /// Events, newest first, at most 201 with ids below `before`.
    pub async fn events(
        &self,
        filter: &EventFilter,
        before: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        event::list(&self.tx, self.tenant, filter, before, limit).await
    }

    pub(crate) async fn emit(&mut self, data: impl Into<EventData>, now: Timestamp) -> Result<(), StoreError> {
        if event::emit(&self.tx, self.tenant, data, now).await? {
            self.nudges.insert(Channel::Webhooks);
        }
        Ok(())
    }

    pub(super) async fn tell_of_policy(
        &mut self,
        made: &Made,
        (id, name): (DomainId, &str),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.emit(made.event(event::domain(id, name)?), now).await
    }
}
