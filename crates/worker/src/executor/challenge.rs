//! Showing the CA that the name is ours.

use mtasts_certs::{ChallengeKind, OfferedChallenge, OrderState};
use mtasts_model::{
    OrderId,
    feed::RecordData,
    label::DelegationPurpose,
    lifecycle::{CnameSeen, StepKind},
};
use mtasts_store::{Order, OrderChallenge};

use super::{
    Context,
    issue::poll_wait,
    order::{published_kind, url},
};
use crate::outcome::{Failure, Finding, StepError};

/// TTL of a dns-01 answer: it is asked for a few times within a minute, by resolvers that should not keep it.
const CHALLENGE_TTL: u32 = 5;

impl Context<'_> {
    /// Puts the answer to the best challenge that is offered to the edges, or into the zone.
    pub(super) async fn publish_challenge(&self, id: OrderId) -> Result<Finding, StepError> {
        let order = self.order(id).await?;
        if let Some(closed) = self.close_if_foreign(&order).await? {
            return Ok(closed);
        }
        match self.deps.issuer.state(url(&order)?).await {
            Ok(OrderState::Pending { challenges }) => self.publish_one_of(&order, &challenges).await,
            // A CA that still holds the name for validated, or asks for no challenge at all.
            Ok(OrderState::Ready) => Ok(Finding::OrderReady { order: id }),
            Ok(OrderState::Processing { .. } | OrderState::Valid) => Ok(Finding::OrderFinalizing { order: id }),
            Ok(OrderState::Invalid { problem, validation_failed }) => {
                self.invalid(&order, problem, validation_failed).await
            }
            Err(error) => self.issuer_failed(&order, &error).await,
        }
    }

    async fn publish_one_of(&self, order: &Order, offered: &[OfferedChallenge]) -> Result<Finding, StepError> {
        if let Some(challenge) = self.choose(offered) {
            return self.publish(order, challenge).await;
        }
        let kinds: Vec<_> = offered.iter().map(|challenge| challenge.kind.as_str()).collect();
        let message = format!("The CA offers only challenges that are not set up ({}).", kinds.join(", "));
        self.close(order, message.clone(), false, Some(Failure::new("NoChallenge", message))).await
    }

    /// By the operator's preference; dns-01 only where its name is delegated to us as well. After an issuance that
    /// failed it is the next one's turn: whatever is in the way of one kind, such as a blocked port, may not be in that
    /// of another.
    fn choose<'a>(&self, offered: &'a [OfferedChallenge]) -> Option<&'a OfferedChallenge> {
        let acme_delegated = self.facts.delegation.as_ref().is_some_and(|seen| seen.acme_challenge == CnameSeen::Ours);
        let usable: Vec<_> = self
            .config
            .challenge_preference
            .iter()
            .filter(|kind| **kind != ChallengeKind::Dns01 || acme_delegated)
            .filter_map(|kind| offered.iter().find(|challenge| challenge.kind == *kind))
            .collect();
        let failures = self.facts.attempts.of(StepKind::Issuance).map_or(0, |attempt| attempt.failures);
        let turn = usize::try_from(failures).unwrap_or_default().checked_rem(usable.len())?;
        usable.get(turn).copied()
    }

    async fn publish(&self, order: &Order, challenge: &OfferedChallenge) -> Result<Finding, StepError> {
        let for_edges = challenge
            .for_edges(&self.facts.name.policy_host())
            .map_err(|error| Failure::caused("ChallengeNotMade", &error))?;
        if let Some(challenge) = for_edges {
            return Ok(Finding::ChallengeForEdges { order: order.id, challenge });
        }
        let value = challenge.dns_01_value();
        let name = DelegationPurpose::AcmeChallenge.target(&self.facts.label, &self.facts.zones.home);
        let set = RecordData { ttl: CHALLENGE_TTL, values: vec![value.clone()] };
        self.want(&self.in_zones(DelegationPurpose::AcmeChallenge, Some(&set))).await?;
        Ok(Finding::ChallengeInZone { order: order.id, name, value })
    }

    /// Tells the CA to look: every in-service edge has the answer, or every server of the zone.
    pub(super) async fn answer_challenge(&self, id: OrderId) -> Result<Finding, StepError> {
        let order = self.order(id).await?;
        if let Some(closed) = self.close_if_foreign(&order).await? {
            return Ok(closed);
        }
        let Some(kind) = published_kind(&order) else {
            return Err(Failure::new("OrderMissing", format!("The order {id} has no published answer.")).into());
        };
        if let Some(OrderChallenge::Zone { value, .. }) = &order.challenge
            && !self.zones_have(value).await?
        {
            return Ok(Finding::OrderWait { order: id, until: poll_wait(order.since, self.now()) });
        }
        match self.deps.issuer.answer(url(&order)?, kind).await {
            Ok(()) => Ok(Finding::OrderAnswered { order: id }),
            Err(error) => self.issuer_failed(&order, &error).await,
        }
    }

    /// Whether every server of every zone that the customer's CNAME may lead to has the answer.
    async fn zones_have(&self, value: &str) -> Result<bool, StepError> {
        let expected = RecordData { ttl: CHALLENGE_TTL, values: vec![value.to_owned()] };
        for write in self.in_zones(DelegationPurpose::AcmeChallenge, Some(&expected)) {
            if self.lagging(&write).await.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
