//! Typed statements on a domain's health, as the API shows them.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionKind {
    /// The CNAMEs name this domain's label.
    Delegated,
    /// A certificate for `mta-sts.<domain>` is held, proved and unexpired.
    CertificateReady,
    /// Every in-service edge serves the current policy version, and it was fetched as a sender would.
    PolicyLive,
    /// The TXT record with the current version's id was read back from the zone's authoritative servers.
    RecordPublished,
    /// Every MX host is covered by the policy and speaks verified STARTTLS.
    MxReady,
    /// Senders report on this domain.
    ReportsArriving,
    /// The rollout plan goes on, or is completed. Only where there is a plan.
    RolloutOnTrack,
    /// A look from outside, as a sender's, found record, certificate and policy as they are meant to be. Only once there
    /// was one.
    PolicyVisible,
}

impl ConditionKind {
    /// All kinds, in the order in which a new domain meets them.
    pub const ALL: [Self; 8] = [
        Self::Delegated,
        Self::CertificateReady,
        Self::PolicyLive,
        Self::RecordPublished,
        Self::MxReady,
        Self::ReportsArriving,
        Self::RolloutOnTrack,
        Self::PolicyVisible,
    ];

    /// The name that the API and the store use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delegated => "Delegated",
            Self::CertificateReady => "CertificateReady",
            Self::PolicyLive => "PolicyLive",
            Self::RecordPublished => "RecordPublished",
            Self::MxReady => "MxReady",
            Self::ReportsArriving => "ReportsArriving",
            Self::RolloutOnTrack => "RolloutOnTrack",
            Self::PolicyVisible => "PolicyVisible",
        }
    }
}

/// Whether the statement holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// It holds.
    True,
    /// It does not; `reason` and `message` say why and what to do.
    False,
    /// Not yet known, or being worked on.
    Unknown,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is about.
    pub kind: ConditionKind,
    /// Whether it holds.
    pub status: Status,
    /// A stable word in CamelCase for programs, such as `CnameMissing`.
    pub reason: String,
    /// A sentence for people: what is so and what to do.
    pub message: String,
    /// Since when the status has been what it is.
    pub since: Timestamp,
}

impl Condition {
    /// A condition as seen at `now`; [`merge`] puts in the right `since`.
    pub fn new(kind: ConditionKind, status: Status, reason: &str, message: impl Into<String>, now: Timestamp) -> Self {
        Self { kind, status, reason: reason.to_owned(), message: message.into(), since: now }
    }
}

/// Takes over `since` from `before` where the status has not changed.
pub fn merge(before: &[Condition], mut after: Vec<Condition>) -> Vec<Condition> {
    for condition in &mut after {
        if let Some(old) = before.iter().find(|old| old.kind == condition.kind && old.status == condition.status) {
            condition.since = old.since;
        }
    }
    after
}
