//! Opening and closing orders. What is drawn or learnt is persisted before the next call (invariant 9).

use mtasts_certs::{ChallengeKind, IssueError, OrderKey, Purpose, RenewalKey};
use mtasts_model::{OrderId, feed::Challenge, label::DelegationPurpose, lifecycle::Purpose as Kept};
use mtasts_store::{BucketEmpty, Order, OrderChallenge, TokenBucket};

use super::Context;
use crate::{
    Budget, caa,
    deadline::answered,
    outcome::{Failure, Finding, StepError},
};

/// A certificate this near to its end may use the part of the CA's budget that is kept for the urgent.
const URGENT: chrono::TimeDelta = chrono::TimeDelta::days(7);

impl Context<'_> {
    /// Draws the key that the order will be finalized with.
    pub(super) fn draft_order(&self) -> Result<Finding, StepError> {
        let key = OrderKey::generate().map_err(|error| Failure::caused("KeyNotDrawn", &error))?;
        let (tenant, domain) = (self.facts.tenant_id, self.facts.domain_id);
        let sealed_key =
            self.deps.key_ring.seal(Purpose::CertificateKey, Some(tenant), Some(domain), &key.to_pkcs8_der());
        let order = OrderId::draw(self.now(), &*self.deps.entropy);
        Ok(Finding::OrderDrafted { order, issuer: self.deps.issuer.key().to_owned(), sealed_key })
    }

    /// Asks the CA for an order, when CAA and the budgets allow it.
    pub(super) async fn place_order(&self, id: OrderId) -> Result<Finding, StepError> {
        let order = self.order(id).await?;
        if let Some(closed) = self.close_if_foreign(&order).await? {
            return Ok(closed);
        }
        if self.facts.certificate.is_none() {
            // A zone that is being filled may not have them yet, and CAs count validations that failed. Before CAA is
            // looked up, so that no resolver keeps in mind that the name is not there.
            self.expect_edges_in(&self.facts.zones.home).await?;
        }
        self.check_caa().await?;
        let replaces = self.replaced(&order).await?;
        let host = self.facts.name.policy_host();
        let taken = self.take_budget().await?;
        match self.deps.issuer.place(&host, replaces.as_ref()).await {
            Ok(placed) => Ok(Finding::OrderPlaced { order: id, url: placed.url, expires_at: placed.expires_at }),
            Err(error) => {
                if error.is_retryable() {
                    self.give_back(&taken).await;
                }
                self.issuer_failed(&order, &error).await
            }
        }
    }

    /// Closes an order that must not or cannot go on.
    pub(super) async fn abandon_order(&self, id: OrderId) -> Result<Finding, StepError> {
        let order = self.order(id).await?;
        let delegated = self.facts.delegation.as_ref().is_some_and(|seen| seen.lost_since.is_none());
        // Only an order that had its chance speaks against issuance; a lost delegation or a withdrawal does not.
        let (problem, failure) = if delegated && self.facts.purpose == Kept::Live {
            let message = "The CA did not finish the order in a day; a new one will be placed.";
            ("stale", Some(Failure::new("OrderStale", message)))
        } else {
            ("not wanted any more", None)
        };
        self.close(&order, problem.to_owned(), false, failure).await
    }

    async fn check_caa(&self) -> Result<(), StepError> {
        let identity = match self.deps.issuer.caa_identity().await {
            Ok(identity) => identity,
            Err(error) => return Err(self.issuer_failure(&error).into()),
        };
        let host = self.facts.name.policy_host();
        let set = self.deps.resolver.caa(host.as_str()).await.map_err(|error| {
            // A CA that cannot look CAA up must not issue (RFC 8659 §3), so to ask it would be in vain.
            Failure::new("CaaUnresolvable", format!("The CAA records of {host} could not be resolved: {error}"))
        })?;
        match caa::forbids(set.as_ref(), &identity, self.deps.issuer.challenge_kinds()) {
            Some(why) => Err(Failure::new("CaaForbids", format!("No certificate can be ordered: {why}")).into()),
            None => Ok(()),
        }
    }

    /// Takes a token of the tenant's and one of the CA's budget, or none: a flood by one tenant takes nothing from the
    /// CA's budget of all, and a CA's that is empty costs no tenant anything.
    async fn take_budget(&self) -> Result<Vec<TokenBucket>, StepError> {
        let now = self.now();
        let (tenant, ca) = (self.config.tenant_budget, self.config.ca_budget);
        let urgent = self.facts.certificate.is_some_and(|certificate| certificate.not_after - now < URGENT);
        let reserve = if urgent { 0 } else { ca.reserve };
        let mut buckets = Vec::new();
        // A renewal never waits for the tenant's new names.
        let is_new = self.facts.certificate.is_none();
        if is_new {
            let Budget { capacity, per_hour } = tenant;
            buckets.push(TokenBucket::of_tenant(self.facts.tenant_id, "issuance", capacity, per_hour));
        }
        let Budget { capacity, per_hour } = ca.budget;
        buckets.push(TokenBucket::of_issuer(self.deps.issuer.key(), capacity, per_hour, reserve));
        let Err(BucketEmpty { index, until }) = answered(self.deps.store.take_tokens(&buckets, now)).await? else {
            return Ok(buckets);
        };
        let (budget, reason, message) = if is_new && index == 0 {
            let per_hour = tenant.per_hour;
            let message =
                format!("Your account orders more than {per_hour} certificates an hour. Next try at {until}.");
            ("tenant", "AccountBudgetUsedUp", message)
        } else {
            let message = format!("The service orders as many certificates as the CA allows. Next try at {until}.");
            ("ca", "CaBudgetUsedUp", message)
        };
        metrics::counter!("mtasts_worker_orders_deferred_total", "budget" => budget).increment(1);
        Err(Failure::new(reason, message).until(Some(until)).into())
    }

    /// The CA took no order. That a token is lost is no reason to fail in another way than the CA did.
    async fn give_back(&self, taken: &[TokenBucket]) {
        if let Err(error) = answered(self.deps.store.return_tokens(taken)).await {
            tracing::debug!(%error, "tokens could not be given back");
        }
    }

    /// The certificate that the order renews, in the CA's words (RFC 9773 §5), if it came from the same CA.
    async fn replaced(&self, order: &Order) -> Result<Option<RenewalKey>, StepError> {
        let Some(old) = &self.facts.certificate else { return Ok(None) };
        let old = self.deps.store.certificate(self.lease, old.id).await?;
        let old = old.filter(|old| old.issuer == order.issuer);
        Ok(old.and_then(|old| old.ari_id?.parse().ok()))
    }

    pub(super) async fn order(&self, id: OrderId) -> Result<Order, StepError> {
        let order = self.deps.store.order(self.lease, id).await?;
        Ok(order.ok_or_else(|| Failure::new("OrderMissing", format!("The order {id} is not in the database.")))?)
    }

    /// An order at another CA than the configured one cannot go on.
    pub(super) async fn close_if_foreign(&self, order: &Order) -> Result<Option<Finding>, StepError> {
        if order.issuer == self.deps.issuer.key() {
            return Ok(None);
        }
        self.close(order, "the configured CA was changed".to_owned(), false, None).await.map(Some)
    }

    /// Closes the order. Its answer in the zone is taken back first, so that none is ever left behind.
    pub(super) async fn close(
        &self,
        order: &Order,
        problem: String,
        validation_failed: bool,
        failure: Option<Failure>,
    ) -> Result<Finding, StepError> {
        self.clear_challenge(order).await?;
        Ok(Finding::OrderClosed { order: order.id, problem, validation_failed, failure })
    }

    /// Takes a dns-01 answer out of the zone. Answers at the edges go with the order's row.
    pub(super) async fn clear_challenge(&self, order: &Order) -> Result<(), StepError> {
        if let Some(OrderChallenge::Zone { .. }) = &order.challenge {
            self.want(&self.in_zones(DelegationPurpose::AcmeChallenge, None)).await?;
        }
        Ok(())
    }

    /// A failure of the issuer: tried again later, or the end of the order.
    pub(super) async fn issuer_failed(&self, order: &Order, error: &IssueError) -> Result<Finding, StepError> {
        let failure = self.issuer_failure(error);
        if error.is_retryable() {
            return Err(failure.into());
        }
        self.close(order, failure.message.clone(), false, Some(failure)).await
    }

    pub(super) fn issuer_failure(&self, error: &IssueError) -> Failure {
        let reason = match error {
            IssueError::RateLimited { .. } => "CaRateLimited",
            IssueError::Unavailable { .. } => "CaUnavailable",
            IssueError::OrderGone => "OrderGone",
            IssueError::NotReady { .. } => "OrderNotReady",
            IssueError::Rejected { .. } => "CaRefused",
            IssueError::Unauthorized { .. } => "CaUnauthorized",
            IssueError::Malformed { .. } => "CaMalformed",
            IssueError::State(_) => "IssuerState",
        };
        let after = error.retry_after().and_then(|wait| chrono::TimeDelta::from_std(wait).ok());
        Failure::caused(reason, error).until(after.map(|wait| self.now() + wait))
    }
}

/// How the answer was published.
pub(super) fn published_kind(order: &Order) -> Option<ChallengeKind> {
    Some(match order.challenge.as_ref()? {
        OrderChallenge::Edge { challenge: Challenge::Http01 { .. } } => ChallengeKind::Http01,
        OrderChallenge::Edge { challenge: Challenge::TlsAlpn01 { .. } } => ChallengeKind::TlsAlpn01,
        OrderChallenge::Zone { .. } => ChallengeKind::Dns01,
    })
}

/// Where the CA keeps the order.
pub(super) fn url(order: &Order) -> Result<&str, Failure> {
    order.url.as_deref().ok_or_else(|| Failure::new("OrderMissing", format!("The order {} has no URL.", order.id)))
}
