//! What faults of customers' DNS providers mean to the caller.

use std::time::Duration;

use super::{Problem, ProblemKind};
use crate::customer_dns::CustomerDnsError;

/// When to try again where the provider does not say.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// What a provider asks for beyond that is not passed on.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

impl From<CustomerDnsError> for Problem {
    fn from(error: CustomerDnsError) -> Self {
        match error {
            CustomerDnsError::Unauthorized { reason } => Self::new(ProblemKind::DnsCredentialRefused, reason),
            CustomerDnsError::ZoneNotCovered { reason } => Self::new(ProblemKind::DnsZoneNotCovered, reason),
            CustomerDnsError::ServerUnusable { reason } => Self::new(ProblemKind::DnsServerUnusable, reason),
            CustomerDnsError::Unavailable { reason, retry_after, source } => {
                let wait = retry_after.unwrap_or(RETRY_AFTER).min(LONGEST_RETRY_AFTER);
                let problem = Self::new(ProblemKind::DnsProviderUnavailable, reason).retry_after(wait);
                match source {
                    Some(source) => problem.caused_by(source),
                    None => problem,
                }
            }
            // Reading never meets these, and what writing meets is told record by record.
            error @ (CustomerDnsError::Occupied { .. } | CustomerDnsError::Rejected { .. }) => Self::internal(error),
        }
    }
}
