//! What faults of the store mean to the caller.

use std::time::Duration;

use mtasts_store::StoreError;

use super::{Problem, ProblemKind};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::store_unavailable(error),
            StoreError::Busy(_) => {
                let mut problem = Self::new(
                    ProblemKind::StoreUnavailable,
                    "A conflicting change was under way; nothing was changed. Try again",
                )
                .retry_after(Duration::from_secs(1));
                problem.0.cause = Some(Box::new(error));
                problem
            }
            StoreError::NotFound => Self::not_found("object"),
            StoreError::DomainExists { id } => Self::new(
                ProblemKind::DomainExists,
                "You have registered this domain already: change or delete that registration",
            )
            .with("domain_id", id.to_string())
            .with("domain_url", format!("/v1/domains/{id}")),
            StoreError::VersionConflict { .. } => {
                Self::new(ProblemKind::PolicyChanged, "Somebody else set another policy version in between")
            }
            StoreError::Withdrawing => Self::new(
                ProblemKind::DomainWithdrawing,
                "The domain was deleted: nothing of it can be changed any more",
            ),
            StoreError::QuotaExceeded { quota, limit, used } => Self::new(
                ProblemKind::QuotaExceeded,
                format!("You have {used} {quota} and may have {limit}: ask the operator of this service for more"),
            )
            .with("quota", quota)
            .with("limit", limit)
            .with("used", used),
            // Workers' errors, defects and rows that cannot be read: the log says which.
            other => Self::internal(other),
        }
    }
}
