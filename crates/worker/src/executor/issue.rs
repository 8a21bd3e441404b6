//! From a validated order to a proved certificate.

use std::time::Duration;

use chrono::TimeDelta;
use mtasts_certs::{IssueError, IssuedChain, OrderKey, OrderState, Purpose, RenewalKey, prove, renew_at};
use mtasts_model::{CertificateId, OrderId, Timestamp, lifecycle::OrderState as Progress};
use mtasts_store::{NewCertificate, Order};
use zeroize::Zeroizing;

use super::{
    Context,
    order::{published_kind, url},
};
use crate::outcome::{Failure, Finding, StepError};

/// An answered order that the CA does not look at is answered again after this: the first answer may have been lost.
const ANSWER_AGAIN: TimeDelta = TimeDelta::seconds(30);

/// How soon to ask for advice again when the CA could not be asked at issuance.
const ADVICE_RETRY: TimeDelta = TimeDelta::hours(1);

impl Context<'_> {
    /// Asks how the order stands.
    pub(super) async fn poll_order(&self, id: OrderId) -> Result<Finding, StepError> {
        let order = self.order(id).await?;
        if let Some(closed) = self.close_if_foreign(&order).await? {
            return Ok(closed);
        }
        let now = self.now();
        let later = Finding::OrderWait { order: id, until: poll_wait(order.since, now) };
        match self.deps.issuer.state(url(&order)?).await {
            Ok(OrderState::Pending { .. }) => {
                if order.state == Progress::Answered
                    && now - order.since > ANSWER_AGAIN
                    && let Some(kind) = published_kind(&order)
                    && let Err(error) = self.deps.issuer.answer(url(&order)?, kind).await
                {
                    return self.issuer_failed(&order, &error).await;
                }
                Ok(later)
            }
            Ok(OrderState::Ready) => Ok(Finding::OrderReady { order: id }),
            Ok(OrderState::Processing { retry_after }) => Ok(match retry_after {
                Some(wait) => Finding::OrderWait { order: id, until: now + bounded(wait) },
                None => later,
            }),
            Ok(OrderState::Valid) => self.issued(&order).await,
            Ok(OrderState::Invalid { problem, validation_failed }) => {
                self.invalid(&order, problem, validation_failed).await
            }
            Err(error) => self.issuer_failed(&order, &error).await,
        }
    }

    /// Sends the request for the persisted key.
    pub(super) async fn finalize_order(&self, id: OrderId) -> Result<Finding, StepError> {
        let order = self.order(id).await?;
        if let Some(closed) = self.close_if_foreign(&order).await? {
            return Ok(closed);
        }
        let key = match self.open_key(&order) {
            Ok(key) => key,
            Err(failure) => return self.close(&order, failure.message.clone(), false, Some(failure)).await,
        };
        let csr = OrderKey::from_pkcs8_der(&key).and_then(|key| key.csr(&self.facts.name.policy_host()));
        let csr = csr.map_err(|error| Failure::caused("KeyUnreadable", &error))?;
        match self.deps.issuer.finalize(url(&order)?, &csr).await {
            // "Not ready" to be finalized: polling tells what it is.
            Ok(()) | Err(IssueError::NotReady { .. }) => Ok(Finding::OrderFinalizing { order: id }),
            Err(error) => self.issuer_failed(&order, &error).await,
        }
    }

    /// The CA looked and was not content, or gave the order up.
    pub(super) async fn invalid(
        &self,
        order: &Order,
        problem: String,
        validation_failed: bool,
    ) -> Result<Finding, StepError> {
        let reason = if validation_failed { "ValidationFailed" } else { "OrderInvalid" };
        let failure = Failure::new(reason, format!("The CA says: {problem}"));
        self.close(order, problem, validation_failed, Some(failure)).await
    }

    /// Downloads the certificate, and believes it only after proof (invariant 9): a working certificate is never
    /// replaced by a broken one.
    async fn issued(&self, order: &Order) -> Result<Finding, StepError> {
        let chain = match self.deps.issuer.download(url(order)?).await {
            Ok(chain) => chain,
            Err(error) => return self.issuer_failed(order, &error).await,
        };
        let key = match self.open_key(order) {
            Ok(key) => key,
            Err(failure) => return self.close(order, failure.message.clone(), false, Some(failure)).await,
        };
        let now = self.now();
        let proven = match prove(chain.certificates(), &key, &self.facts.name.policy_host(), now) {
            Ok(proven) => proven,
            Err(error) => {
                let failure = Failure::caused("CertificateUnusable", &error);
                return self.close(order, failure.message.clone(), false, Some(failure)).await;
            }
        };
        self.clear_challenge(order).await?;
        let id = CertificateId::draw(now, &*self.deps.entropy);
        let leaf = proven.leaf();
        let (renew_at, advice_due_at) = self.advise(&chain, id, leaf.not_before, leaf.not_after).await;
        let ari_id = RenewalKey::of(chain.leaf()).ok().flatten().map(|key| key.to_string());
        let certificate = NewCertificate {
            id,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            serial: leaf.serial.clone(),
            issuer: order.issuer.clone(),
            renew_at,
            advice_due_at,
            ari_id,
            chain_der: chain.into_der(),
        };
        Ok(Finding::CertificateIssued { order: order.id, certificate })
    }

    /// When to renew a new certificate. That the CA cannot be asked for advice must not cost the certificate.
    async fn advise(
        &self,
        chain: &IssuedChain,
        id: CertificateId,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> (Timestamp, Option<Timestamp>) {
        let now = self.now();
        match self.deps.issuer.renewal_info(chain).await {
            Ok(info) => {
                let due = info.as_ref().map(|info| now + bounded(info.retry_after()));
                (renew_at(not_before, not_after, info.as_ref(), seed(id)), due)
            }
            Err(error) => {
                tracing::debug!(%error, "the CA gave no advice on renewal");
                (renew_at(not_before, not_after, None, seed(id)), Some(now + ADVICE_RETRY))
            }
        }
    }

    fn open_key(&self, order: &Order) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let (tenant, domain) = (self.facts.tenant_id, self.facts.domain_id);
        self.deps
            .key_ring
            .open(Purpose::CertificateKey, Some(tenant), Some(domain), &order.sealed_key)
            .map_err(|error| Failure::caused("KeyUnreadable", &error))
    }
}

/// When to ask the CA again if it does not say: after half of the time waited so far, a quarter of a second to ten.
pub(super) fn poll_wait(since: Timestamp, now: Timestamp) -> Timestamp {
    now + ((now - since) / 2).clamp(TimeDelta::milliseconds(250), TimeDelta::seconds(10))
}

/// What a CA asks for, but not longer than a day, and never nothing.
pub(super) fn bounded(wait: Duration) -> TimeDelta {
    let day = TimeDelta::days(1);
    TimeDelta::from_std(wait).unwrap_or(day).clamp(TimeDelta::milliseconds(250), day)
}

/// The low 64 bits of the id are random.
pub(super) fn seed(id: CertificateId) -> u64 {
    id.as_uuid().as_u64_pair().1
}
