//! [`Issuer`] over ACME (RFC 8555), by `instant-acme`.

mod account;
mod config;
mod http;
mod outcome;

use std::{borrow::Cow, future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus,
};
use mtasts_model::{Clock, HostName, Timestamp};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use self::{
    account::Accounts,
    http::{Answer, Http, with_answer},
    outcome::{ProblemText, classify, is_about_replaces, is_account_gone, is_bad_nonce},
};
pub use self::{
    account::{AccountStore, AccountStoreError},
    config::{AcmeConfig, AcmeConfigError, ExternalAccount},
};
use crate::{
    chain::IssuedChain,
    challenge::{ChallengeKind, OfferedChallenge},
    issuer::{CaaIdentity, IssueError, Issuer, OrderState, PlacedOrder},
    renewal::{RenewalInfo, RenewalKey},
    seal::KeyRing,
};

/// How often a call is begun anew when the CA refuses our nonces; `instant-acme` itself tries thrice each time.
const NONCE_ROUNDS: usize = 5;
/// What to assume when a CA gives renewal information without saying when to ask again (RFC 9773 §4.3.2).
const DEFAULT_ADVICE_INTERVAL: Duration = Duration::from_hours(6);

/// The requests of one call.
type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, instant_acme::Error>> + Send + 'a>>;

/// A CA that speaks ACME, as one account.
pub struct AcmeIssuer {
    key: String,
    challenge_kinds: Vec<ChallengeKind>,
    caa_identities: Vec<String>,
    profile: Option<String>,
    call_timeout: Duration,
    http: Http,
    accounts: Accounts,
}

impl AcmeIssuer {
    /// Nothing is asked of the CA yet: the account is read from `store`, or made, at first use.
    pub fn new(
        config: &AcmeConfig,
        store: Arc<dyn AccountStore>,
        ring: KeyRing,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AcmeConfigError> {
        if config.directory.scheme() != "https" {
            return Err(AcmeConfigError::NotHttps);
        }
        if config.challenge_kinds.is_empty() {
            return Err(AcmeConfigError::NoChallengeKind);
        }
        let authority = config.directory.authority();
        Ok(Self {
            key: format!("acme:{authority}{}#{}", config.directory.path(), config.name),
            http: Http::new(config.roots_pem.as_deref(), config.request_timeout, clock)?,
            challenge_kinds: config.challenge_kinds.clone(),
            caa_identities: config.caa_identities.clone(),
            profile: config.profile.clone(),
            call_timeout: config.call_timeout,
            accounts: Accounts::new(config, store, ring)?,
        })
    }

    /// Runs one step as the account: within the call's deadline, again when the CA refuses nonces, and with a new
    /// account when the CA has forgotten ours.
    async fn call<'a, T: Send>(
        &'a self,
        step: impl Fn(Account) -> Step<'a, T> + Send + Sync,
    ) -> Result<(T, Answer), IssueError> {
        let rounds = async {
            let mut account_renewed = false;
            let mut nonce_rounds = 0;
            loop {
                let held = match self.accounts.hold(&self.http).await {
                    Err(account::HoldError::Acme(error)) if is_bad_nonce(&error) && nonce_rounds < NONCE_ROUNDS => {
                        nonce_rounds += 1;
                        continue;
                    }
                    held => held?,
                };
                let (result, answer) = with_answer(step(held.account.clone())).await;
                match result {
                    Ok(value) => return Ok((value, answer)),
                    Err(error) if is_bad_nonce(&error) && nonce_rounds < NONCE_ROUNDS => nonce_rounds += 1,
                    Err(error) if is_account_gone(&error) && !account_renewed => {
                        account_renewed = true;
                        tracing::warn!(issuer = %self.key, "the CA does not know our account any more: making another");
                        self.accounts.forget(&held).await;
                    }
                    Err(error) => return Err(classify(error)),
                }
            }
        };
        tokio::time::timeout(self.call_timeout, rounds).await.unwrap_or_else(|_| {
            Err(IssueError::Unavailable {
                retry_after: None,
                detail: format!("no answer within {} s", self.call_timeout.as_secs()),
            })
        })
    }

    async fn place_once(
        &self,
        host: &HostName,
        replaces: Option<&RenewalKey>,
    ) -> Result<Result<PlacedOrder, instant_acme::Error>, IssueError> {
        let (placed, answer) = self
            .call(|account| {
                let identifiers = [Identifier::Dns(host.as_str().to_owned())];
                let replaces = replaces.cloned();
                let profile = self.profile.clone();
                Box::pin(async move {
                    let mut order = NewOrder::new(&identifiers);
                    if let Some(profile) = &profile {
                        order = order.profile(profile);
                    }
                    let renews = replaces.is_some();
                    if let Some(RenewalKey { authority_key, serial }) = replaces {
                        order = order.replaces(CertificateIdentifier {
                            authority_key_identifier: Cow::Owned(authority_key),
                            serial: Cow::Owned(serial),
                        });
                    }
                    match account.new_order(&order).await {
                        Ok(order) => Ok(Ok(order.into_parts().0)),
                        Err(error) if renews && is_about_replaces(&error) => Ok(Err(error)),
                        Err(error) => Err(error),
                    }
                })
            })
            .await
            .map_err(outcome::outside_of_orders)?;
        Ok(placed.map(|url| PlacedOrder { url, expires_at: expiry(&answer) }))
    }
}

/// What the CA knows of an order's challenges.
enum Told {
    /// All that it asks for.
    All,
    /// It waits for our word.
    Waiting,
    /// It does not offer this kind.
    NotOffered,
}

/// Looks which challenges of this kind the CA waits for and, if `speak`, tells it to validate them.
async fn tell(account: &Account, url: String, kind: ChallengeKind, speak: bool) -> Result<Told, instant_acme::Error> {
    let mut order = account.order(url).await?;
    let mut told = Told::All;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        match authorization.challenge(acme_type(kind)) {
            None => told = Told::NotOffered,
            Some(challenge) if challenge.status != ChallengeStatus::Pending => {}
            Some(_) if !speak => told = Told::Waiting,
            Some(mut challenge) => match challenge.set_ready().await {
                // The challenge failed already: the order's state tells, not this step.
                Err(instant_acme::Error::Api(problem)) if !outcome::is_nonce_problem(&problem) => {}
                other => other?,
            },
        }
    }
    Ok(told)
}

#[async_trait]
impl Issuer for AcmeIssuer {
    fn key(&self) -> &str {
        &self.key
    }

    fn challenge_kinds(&self) -> &[ChallengeKind] {
        &self.challenge_kinds
    }

    async fn caa_identity(&self) -> Result<CaaIdentity, IssueError> {
        let (account_uri, _) = self.call(|account| Box::pin(async move { Ok(account.id().to_owned()) })).await?;
        let mut issuer_domains = self.caa_identities.clone();
        if issuer_domains.is_empty() {
            issuer_domains = self.http.caa_identities();
        }
        Ok(CaaIdentity { issuer_domains, account_uri: Some(account_uri) })
    }

    async fn place(&self, host: &HostName, replaces: Option<&RenewalKey>) -> Result<PlacedOrder, IssueError> {
        match self.place_once(host, replaces).await? {
            Ok(placed) => Ok(placed),
            Err(error) => {
                tracing::info!(issuer = %self.key, %host, %error, "ordering again without `replaces`");
                self.place_once(host, None).await?.map_err(classify)
            }
        }
    }

    async fn state(&self, url: &str) -> Result<OrderState, IssueError> {
        let (state, _) = self
            .call(|account| {
                let url = url.to_owned();
                Box::pin(async move {
                    // The answer of this request alone has the Retry-After that is meant for the order.
                    let (order, answer) = with_answer(account.order(url)).await;
                    let mut order = order?;
                    Ok(match order.state().status {
                        OrderStatus::Pending => self.authorizations(&account, &mut order).await?.while_pending(),
                        OrderStatus::Ready => Ok(OrderState::Ready),
                        OrderStatus::Processing => Ok(OrderState::Processing { retry_after: answer.retry_after }),
                        OrderStatus::Valid => Ok(OrderState::Valid),
                        OrderStatus::Invalid => {
                            let own = order.state().error.as_ref().map(ProblemText::of);
                            Ok(self.authorizations(&account, &mut order).await?.verdict(own))
                        }
                    })
                })
            })
            .await?;
        state
    }

    async fn answer(&self, url: &str, kind: ChallengeKind) -> Result<(), IssueError> {
        let (offered, _) = self
            .call(|account| {
                let url = url.to_owned();
                Box::pin(async move {
                    match tell(&account, url.clone(), kind, true).await {
                        // The CA went on between our look and our word: what counts is what is still to be told.
                        Err(error) if outcome::is_malformed(&error) => match tell(&account, url, kind, false).await? {
                            Told::Waiting => Err(error),
                            told => Ok(told),
                        },
                        told => told,
                    }
                })
            })
            .await?;
        if matches!(offered, Told::NotOffered) { Err(not_offered(kind)) } else { Ok(()) }
    }

    async fn finalize(&self, url: &str, csr_der: &[u8]) -> Result<(), IssueError> {
        let (status, _) = self
            .call(|account| {
                let (url, csr_der) = (url.to_owned(), csr_der.to_owned());
                Box::pin(async move {
                    let mut order = account.order(url).await?;
                    let status = order.state().status;
                    if status == OrderStatus::Ready {
                        order.finalize_csr(&csr_der).await?;
                    }
                    Ok(status)
                })
            })
            .await?;
        match status {
            OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Valid => Ok(()),
            OrderStatus::Pending => Err(IssueError::NotReady { status: "pending" }),
            OrderStatus::Invalid => Err(invalid()),
        }
    }

    async fn download(&self, url: &str) -> Result<IssuedChain, IssueError> {
        let (chain, _) = self
            .call(|account| {
                let url = url.to_owned();
                Box::pin(async move {
                    let mut order = account.order(url).await?;
                    let status = order.state().status;
                    if status != OrderStatus::Valid {
                        return Ok(Err(status));
                    }
                    order.certificate().await.map(Ok)
                })
            })
            .await?;
        match chain {
            Ok(Some(pem)) => IssuedChain::from_pem(pem.as_bytes())
                .map_err(|error| IssueError::Malformed { detail: error.to_string() }),
            Ok(None) | Err(OrderStatus::Valid | OrderStatus::Processing) => {
                Err(IssueError::NotReady { status: "processing" })
            }
            Err(OrderStatus::Pending) => Err(IssueError::NotReady { status: "pending" }),
            Err(OrderStatus::Ready) => Err(IssueError::NotReady { status: "ready" }),
            Err(OrderStatus::Invalid) => Err(invalid()),
        }
    }

    async fn renewal_info(&self, chain: &IssuedChain) -> Result<Option<RenewalInfo>, IssueError> {
        let leaf = CertificateDer::from(chain.leaf());
        let Ok(identifier) = CertificateIdentifier::try_from(&leaf).map(CertificateIdentifier::into_owned) else {
            return Ok(None);
        };
        let asked = self
            .call(|account| {
                let identifier = identifier.clone();
                Box::pin(async move {
                    match account.renewal_info(&identifier).await {
                        Err(instant_acme::Error::Unsupported(_)) => Ok(None),
                        other => other.map(Some),
                    }
                })
            })
            .await;
        match asked {
            Ok((Some((info, retry_after)), _)) => {
                let time = |at: i64| Timestamp::from_timestamp(at, 0);
                let window = info.suggested_window;
                let start = time(window.start.unix_timestamp());
                let advice = start.zip(time(window.end.unix_timestamp()));
                Ok(advice.and_then(|(start, end)| RenewalInfo::new(start, end, retry_after)))
            }
            // RFC 9773 §4.3.3: an error that lasts is as good as no advice. The CA may not know this certificate.
            Ok((None, _))
            | Err(IssueError::Rejected { .. } | IssueError::OrderGone | IssueError::Unauthorized { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AcmeIssuer {
    /// Reads the order's authorizations: one, as each order has one name.
    async fn authorizations(&self, account: &Account, order: &mut Order) -> Result<Seen, instant_acme::Error> {
        let mut seen = Seen::default();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization?;
            let problem = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            seen.problem = seen.problem.or_else(|| problem.map(ProblemText::of));
            seen.failed |= authorization.status == AuthorizationStatus::Invalid;
            seen.pending |= authorization.status == AuthorizationStatus::Pending;
            // A valid one as well: the CA may have found our answer, and not yet moved the order on.
            if !matches!(authorization.status, AuthorizationStatus::Pending | AuthorizationStatus::Valid) {
                continue;
            }
            for kind in &self.challenge_kinds {
                let of_kind = authorization.challenges.iter().filter(|challenge| challenge.r#type == acme_type(*kind));
                // A token goes into a URL that the edges answer, so nothing but base64url gets through (RFC 8555 §8.3).
                seen.offered.extend(of_kind.filter(|challenge| is_token(&challenge.token)).map(|challenge| {
                    let (url, token) = (challenge.url.clone(), challenge.token.clone());
                    OfferedChallenge::new(*kind, url, token, account.key_thumbprint())
                }));
            }
        }
        Ok(seen)
    }
}

/// What an order's authorizations say.
#[derive(Default)]
struct Seen {
    offered: Vec<OfferedChallenge>,
    pending: bool,
    failed: bool,
    problem: Option<ProblemText>,
}

impl Seen {
    /// What the authorizations of a pending order say.
    fn while_pending(self) -> Result<OrderState, IssueError> {
        match self {
            Self { failed: true, .. } => Ok(self.verdict(None)),
            Self { offered, .. } if !offered.is_empty() => Ok(OrderState::Pending { challenges: offered }),
            Self { pending: true, .. } => Err(not_offered("any kind that we may use")),
            Self { .. } => Err(IssueError::NotReady { status: "pending" }),
        }
    }

    /// The problem of the challenge that failed, or else the order's own.
    fn verdict(self, of_order: Option<ProblemText>) -> OrderState {
        let problem = self.problem.or(of_order).map(|problem| problem.to_string());
        OrderState::Invalid {
            problem: problem.unwrap_or_else(|| "the CA gave no reason".to_owned()),
            validation_failed: self.failed,
        }
    }
}

fn not_offered(kind: impl std::fmt::Display) -> IssueError {
    IssueError::Rejected {
        problem: "challengeNotOffered".to_owned(),
        detail: format!("the CA does not offer {kind} for this order"),
    }
}

fn invalid() -> IssueError {
    IssueError::Rejected { problem: "orderInvalid".to_owned(), detail: "the order has become invalid".to_owned() }
}

fn acme_type(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeKind::Dns01 => ChallengeType::Dns01,
    }
}

fn is_token(token: &str) -> bool {
    (1..=128).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// When the CA forgets the order (RFC 8555 §7.1.3), which `instant-acme` does not read.
fn expiry(answer: &Answer) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Expires {
        expires: Option<Timestamp>,
    }
    serde_json::from_slice::<Expires>(&answer.body).ok()?.expires
}
