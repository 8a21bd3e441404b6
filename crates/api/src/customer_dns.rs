//! The customers' own DNS, as the API needs it. Who implements [`CustomerDns`] knows the providers and keeps the keys.

mod access;
mod places;

use std::time::Duration;

use async_trait::async_trait;
use mtasts_model::{HostName, MailDomain, TenantId};
use mtasts_store::CustomerProvider;
use secrecy::SecretString;
use zeroize::Zeroizing;

pub(crate) use self::{
    access::{open, seal},
    places::Places,
};
use crate::problem::{Problem, ProblemKind};

/// The cause of an error, as its library tells it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// All that is needed to open a customer's zone.
#[derive(Debug, Clone)]
pub struct ZoneAccess {
    /// Where the zone is kept.
    pub provider: CustomerProvider,
    /// The one zone that the secret is for; None: to be found out from the domain.
    pub zone: Option<HostName>,
    /// Cloudflare: a token. RFC 2136: the TSIG key in base64.
    pub secret: SecretString,
}

/// One record in a customer's zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    /// Owner name, absolute, lower-case, without the trailing dot.
    pub name: String,
    /// Such as `CNAME`.
    pub record_type: String,
    /// As in a zone file; a CNAME's target is absolute, lower-case, without the trailing dot.
    pub value: String,
}

/// Why a customer's DNS provider did not do what was asked. Texts are for the customer, and never hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum CustomerDnsError {
    /// It cannot be reached, is too slow, limits requests or fails. A change may have happened.
    #[error("the customer's DNS provider is unavailable: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
        /// When it asks to be asked again.
        retry_after: Option<Duration>,
        /// For our log.
        #[source]
        source: Option<BoxError>,
    },
    /// It refuses the secret.
    #[error("the customer's DNS provider refuses the credential: {reason}")]
    Unauthorized {
        /// What it says, and what to do.
        reason: String,
    },
    /// The secret is good, and does not open the zone that holds the name.
    #[error("the credential does not open the zone: {reason}")]
    ZoneNotCovered {
        /// What it opens, and what to do.
        reason: String,
    },
    /// The name server has no address that may be asked.
    #[error("the customer's name server cannot be used: {reason}")]
    ServerUnusable {
        /// Why, and what to do.
        reason: String,
    },
    /// Something stands there by now.
    #[error("the name is taken: {found}")]
    Occupied {
        /// What stands there.
        found: String,
    },
    /// It will not have the record.
    #[error("the customer's DNS provider refuses the record: {reason}")]
    Rejected {
        /// What it says.
        reason: String,
    },
}

/// Reaches customers' zones, and seals their secrets. Every call to the outside filters addresses at the connection,
/// caps what it reads, and may be dropped at any moment.
#[async_trait]
pub trait CustomerDns: Send + Sync {
    /// Seals a secret of a tenant. What comes out opens for this tenant alone.
    fn seal(&self, tenant: TenantId, secret: &[u8]) -> Vec<u8>;

    /// Opens what [`Self::seal`] made.
    fn open(&self, tenant: TenantId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BoxError>;

    /// Asks the provider whether the secret is good, and opens the zone if one is named.
    async fn check(&self, access: &ZoneAccess) -> Result<(), CustomerDnsError>;

    /// Opens the zone that holds the domain.
    async fn zone(&self, access: &ZoneAccess, domain: &MailDomain) -> Result<Box<dyn OpenZone>, CustomerDnsError>;
}

/// A customer's zone, opened.
#[async_trait]
pub trait OpenZone: Send + Sync {
    /// Its name, without the trailing dot.
    fn name(&self) -> &str;

    /// Everything that stands at these names, whatever its type.
    async fn standing(&self, names: &[String]) -> Result<Vec<Standing>, CustomerDnsError>;

    /// Creates one CNAME. [`CustomerDnsError::Occupied`] if anything stands there by now: nothing is ever overwritten.
    async fn create_cname(&self, name: &str, target: &str, ttl: u32) -> Result<(), CustomerDnsError>;
}

/// Runs a call to a provider until the deadline, and counts it.
pub(crate) async fn within<T>(
    deadline: tokio::time::Instant,
    what: &'static str,
    call: impl Future<Output = Result<T, CustomerDnsError>>,
) -> Result<T, CustomerDnsError> {
    let outcome = tokio::time::timeout_at(deadline, call).await.unwrap_or_else(|_| {
        let reason = "The DNS provider or name server did not answer in time".to_owned();
        Err(CustomerDnsError::Unavailable { reason, retry_after: None, source: None })
    });
    let word = match &outcome {
        Ok(_) => "done",
        Err(CustomerDnsError::Unavailable { .. }) => "unavailable",
        Err(CustomerDnsError::Unauthorized { .. }) => "unauthorized",
        Err(CustomerDnsError::ZoneNotCovered { .. }) => "zone-not-covered",
        Err(CustomerDnsError::ServerUnusable { .. }) => "server-unusable",
        Err(CustomerDnsError::Occupied { .. }) => "occupied",
        Err(CustomerDnsError::Rejected { .. }) => "rejected",
    };
    metrics::counter!("mtasts_api_customer_dns_calls_total", "call" => what, "outcome" => word).increment(1);
    outcome
}

/// That this installation does not do it.
pub(crate) fn off() -> Problem {
    Problem::new(
        ProblemKind::CustomerDnsOff,
        "This service does not write into the zones of customers: set the records yourself",
    )
}
