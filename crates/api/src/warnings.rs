//! What is allowed in a policy and yet probably not meant.

use mtasts_model::{
    Policy,
    lifecycle::MxSeen,
    policy::{Remark, remarks},
};
use serde::Serialize;
use utoipa::ToSchema;

/// One remark on a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Warning {
    /// A stable word for programs.
    #[schema(example = "max-age-below-a-day")]
    pub(crate) code: &'static str,
    /// A sentence for people: what is so and what to do.
    #[schema(example = "senders forget a policy with max_age 3600 before they write again: use 86400 or more")]
    pub(crate) message: String,
}

impl From<Remark> for Warning {
    fn from(remark: Remark) -> Self {
        Self { code: remark.code, message: remark.message }
    }
}

/// The remarks on a policy, given what was seen of the MX hosts.
pub(crate) fn of(policy: &Policy, seen: Option<&MxSeen>) -> Vec<Warning> {
    remarks(policy, seen).into_iter().map(Warning::from).collect()
}
