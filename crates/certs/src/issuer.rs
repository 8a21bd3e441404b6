//! What the worker asks of a CA: one order, step by step, resumable after a crash between any two steps.

use std::time::Duration;

use async_trait::async_trait;
use mtasts_model::{HostName, Timestamp};

use crate::{
    chain::IssuedChain,
    challenge::{ChallengeKind, OfferedChallenge},
    renewal::{RenewalInfo, RenewalKey},
};

/// A CA, as one account sees it. Every call is short, has its own deadline, and may be repeated.
#[async_trait]
pub trait Issuer: Send + Sync + 'static {
    /// A stable name of CA and account: for budgets, logs and the rows of orders.
    fn key(&self) -> &str;

    /// The kinds of challenges to use, best first. Empty if the CA asks for none.
    fn challenge_kinds(&self) -> &[ChallengeKind];

    /// What a CAA record set must allow for this CA to issue. An ACME account is created for it if there is none yet.
    async fn caa_identity(&self) -> Result<CaaIdentity, IssueError>;

    /// Opens an order for one name. `replaces` names the certificate that it renews (RFC 9773 §5); a CA that will not
    /// hear of it is asked again without.
    async fn place(&self, host: &HostName, replaces: Option<&RenewalKey>) -> Result<PlacedOrder, IssueError>;

    /// How far the order has come, and the challenges while it waits for an answer.
    async fn state(&self, url: &str) -> Result<OrderState, IssueError>;

    /// Tells the CA to look. Does nothing if the CA was told already.
    async fn answer(&self, url: &str, kind: ChallengeKind) -> Result<(), IssueError>;

    /// Sends the certificate request (PKCS #10 DER). Does nothing if the CA has one already: the order's key is
    /// persisted before, so it is the same one, and [`crate::prove`] tells if it is not.
    async fn finalize(&self, url: &str, csr_der: &[u8]) -> Result<(), IssueError>;

    /// Fetches what was issued. [`IssueError::NotReady`] until the order is valid.
    async fn download(&self, url: &str) -> Result<IssuedChain, IssueError>;

    /// When the CA would like to see the certificate renewed (RFC 9773); None where the CA has no opinion.
    async fn renewal_info(&self, chain: &IssuedChain) -> Result<Option<RenewalInfo>, IssueError>;
}

/// Who issues, in the words of CAA (RFC 8659 §4.2, RFC 8657).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaaIdentity {
    /// Issuer domain names that a CAA record may hold. Empty: the CA does not look at CAA.
    pub issuer_domains: Vec<String>,
    /// The account, for `accounturi` parameters.
    pub account_uri: Option<String>,
}

/// An order that the CA knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedOrder {
    /// What all later calls name it by. Persist it before the next call.
    pub url: String,
    /// When the CA forgets it, if it says.
    pub expires_at: Option<Timestamp>,
}

/// How far an order has come at the CA (RFC 8555 §7.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderState {
    /// A challenge must be answered, or has been and the CA has not drawn its conclusions yet.
    Pending {
        /// Those of a kind that the issuer may use, best first; at least one.
        challenges: Vec<OfferedChallenge>,
    },
    /// Validated: send the certificate request.
    Ready,
    /// The CA is at work.
    Processing {
        /// Not to be asked again before.
        retry_after: Option<Duration>,
    },
    /// The certificate can be fetched.
    Valid,
    /// Nothing will come of it.
    Invalid {
        /// The CA's words.
        problem: String,
        /// The CA looked and did not find our answer: it counts against its limit of failed validations.
        validation_failed: bool,
    },
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Too many requests, orders or failed validations.
    #[error("the CA limits us: {detail}")]
    RateLimited {
        /// As the CA says.
        retry_after: Option<Duration>,
        /// The CA's words.
        detail: String,
    },
    /// No answer, a late one, or a 5xx. Whether the request took effect is not known.
    #[error("the CA is not available: {detail}")]
    Unavailable {
        /// As the CA says.
        retry_after: Option<Duration>,
        /// What was seen.
        detail: String,
    },
    /// The CA does not know the order (any more).
    #[error("the CA does not know the order")]
    OrderGone,
    /// The order is not at the point where this step can be made.
    #[error("the order is {status} and not ready for this step")]
    NotReady {
        /// Its status at the CA.
        status: &'static str,
    },
    /// The CA understood and refused.
    #[error("the CA refused: {detail} ({problem})")]
    Rejected {
        /// The type of the problem document (RFC 8555 §6.7), such as `urn:ietf:params:acme:error:caa`.
        problem: String,
        /// The CA's words.
        detail: String,
    },
    /// The CA does not let this account do that: wrong external binding, account deactivated, another's order.
    #[error("the CA does not accept the account: {detail}")]
    Unauthorized {
        /// The CA's words.
        detail: String,
    },
    /// The answer is not what ACME promises, or we could not make the request.
    #[error("the CA's answer cannot be understood: {detail}")]
    Malformed {
        /// What was wrong with it.
        detail: String,
    },
    /// The account's credentials, or the local CA's files, could not be read or kept.
    #[error("the issuer's own state cannot be used")]
    State(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl IssueError {
    /// Whether the same call can succeed later. If not, the order is to be given up.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::NotReady { .. }
            | Self::Malformed { .. }
            | Self::State(_) => true,
            Self::OrderGone | Self::Rejected { .. } | Self::Unauthorized { .. } => false,
        }
    }

    /// Not to be tried again before, if the CA said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
