//! What of the API's answers is shown. Fields that the client does not know are none of its business: a newer service
//! may send them.

use serde::Deserialize;

use super::text::{Lines, Text};

/// Who the key belongs to.
#[derive(Debug, Deserialize)]
pub(super) struct Tenant {
    pub(super) id: Text,
    pub(super) name: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Condition {
    pub(super) kind: Text,
    pub(super) status: Text,
    pub(super) reason: Text,
    pub(super) message: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct DomainSummary {
    pub(super) id: Text,
    pub(super) name: Text,
    pub(super) state: Text,
    pub(super) mode: Text,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Domain {
    pub(super) id: Text,
    pub(super) name: Text,
    pub(super) unicode_name: Text,
    pub(super) state: Text,
    pub(super) mode: Text,
    pub(super) conditions: Vec<Condition>,
    pub(super) delegation: Delegation,
    pub(super) policy: Option<Policy>,
    pub(super) certificate: Option<Certificate>,
    pub(super) mx: Mx,
    pub(super) withdrawal: Option<Withdrawal>,
}

/// Of a domain, and of `GET …/delegation`.
#[derive(Debug, Deserialize)]
pub(super) struct Delegation {
    pub(super) records: Vec<DelegationRecord>,
    pub(super) zone_file: Lines,
}

#[derive(Debug, Deserialize)]
pub(super) struct DelegationRecord {
    pub(super) name: Text,
    #[serde(rename = "type")]
    pub(super) kind: Text,
    pub(super) target: Text,
    pub(super) required: bool,
    pub(super) seen: Option<Text>,
    pub(super) seen_target: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the name that RFC 8461 gives")]
pub(super) struct Policy {
    pub(super) id: Text,
    pub(super) policy_id: Text,
    pub(super) mode: Text,
    pub(super) text: Lines,
    pub(super) state: Text,
    pub(super) reason: Text,
    pub(super) forced: Option<Text>,
    pub(super) created_by: Text,
    pub(super) created_at: Text,
    pub(super) published_at: Option<Text>,
    pub(super) warnings: Vec<Warning>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Warning {
    pub(super) code: Text,
    pub(super) message: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct Certificate {
    pub(super) not_after: Text,
    pub(super) issuer: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct Mx {
    pub(super) hosts: Vec<MxHost>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MxHost {
    pub(super) host: Text,
    pub(super) preference: u16,
    pub(super) ready: bool,
    pub(super) covered: Option<bool>,
    pub(super) failure: Option<Warning>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rollout {
    pub(super) state: Text,
    pub(super) step: usize,
    pub(super) steps: Vec<RolloutStep>,
    pub(super) next_step_at: Option<Text>,
    pub(super) finding: Option<Warning>,
    pub(super) waits_for: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct RolloutStep {
    pub(super) mode: Text,
    pub(super) max_age: u64,
    pub(super) days: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    pub(super) proven: bool,
    pub(super) reasons: Vec<ReadinessReason>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReadinessReason {
    pub(super) host: Option<Text>,
    pub(super) code: Text,
    pub(super) weight: Text,
    pub(super) message: Text,
    pub(super) what_to_do: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct Withdrawal {
    pub(super) message: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct DnsCredential {
    pub(super) id: Text,
    pub(super) name: Text,
    pub(super) zone: Option<Text>,
    pub(super) provider: DnsProvider,
}

#[derive(Debug, Deserialize)]
pub(super) struct DnsProvider {
    #[serde(rename = "type")]
    pub(super) kind: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct DelegationPlan {
    pub(super) plan: Text,
    pub(super) zone: Text,
    pub(super) applicable: bool,
    pub(super) to_create: u64,
    pub(super) message: Text,
    pub(super) records: Vec<PlannedRecord>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PlannedRecord {
    pub(super) name: Text,
    pub(super) target: Text,
    pub(super) action: Text,
    pub(super) message: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct AppliedDelegation {
    pub(super) complete: bool,
    pub(super) records: Vec<AppliedRecord>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AppliedRecord {
    pub(super) name: Text,
    pub(super) target: Text,
    pub(super) outcome: Text,
    pub(super) message: Option<Text>,
}

/// A page of any list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

impl Domain {
    /// Whether the current version has come into the world: served by every edge, its id read back from DNS.
    pub(super) fn is_published(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.state.as_str() == "published")
    }

    pub(super) fn is_healthy(&self) -> bool {
        !self.conditions.is_empty() && self.conditions.iter().all(Condition::holds)
    }
}

impl Condition {
    /// Whether it is as it should be. Of reports nothing is known where nobody collects them, and that is no illness.
    pub(super) fn holds(&self) -> bool {
        match self.status.as_str() {
            "True" => true,
            "Unknown" => self.kind.as_str() == "ReportsArriving",
            _ => false,
        }
    }
}
