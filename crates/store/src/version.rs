//! Policy versions: immutable, numbered, each with an id that is never used again (invariant 2).

use mtasts_model::{Policy, PolicyId, PolicyVersionId, Timestamp};

/// Why a version was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionReason {
    /// The tenant gave a policy with the registration.
    Registered,
    /// Made from the MX hosts that were found (`mx: auto`).
    Discovered,
    /// The tenant replaced or patched the policy.
    Changed,
    /// The tenant changed the mode only.
    ModeChanged,
    /// The tenant went back to an earlier version.
    RolledBack,
    /// The tenant applied a proposal that was made from the MX hosts in DNS.
    Proposed,
    /// New MX hosts were taken in by themselves, as the tenant chose.
    Followed,
    /// A rollout plan has begun.
    RolloutBegun,
    /// A rollout plan has taken a step.
    RolloutPromoted,
    /// A rollout plan has gone back to `testing`.
    RolloutFellBack,
    /// New MX hosts were added beside the old ones: an MX migration has begun.
    MigrationWidened,
    /// The old MX hosts have left: an MX migration is done.
    MigrationNarrowed,
    /// The same policy, or the one that was found to be served, under a fresh id: the database was restored from a backup.
    Recovered,
    /// Mode `none`, so that the domain can be removed safely (RFC 8461 §8.3).
    Withdrawn,
}

impl VersionReason {
    /// All reasons.
    pub const ALL: [Self; 14] = [
        Self::Registered,
        Self::Discovered,
        Self::Changed,
        Self::ModeChanged,
        Self::RolledBack,
        Self::Proposed,
        Self::Followed,
        Self::RolloutBegun,
        Self::RolloutPromoted,
        Self::RolloutFellBack,
        Self::MigrationWidened,
        Self::MigrationNarrowed,
        Self::Recovered,
        Self::Withdrawn,
    ];

    /// The word that the API and the store use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Discovered => "discovered",
            Self::Changed => "changed",
            Self::ModeChanged => "mode-changed",
            Self::RolledBack => "rolled-back",
            Self::Proposed => "proposed",
            Self::Followed => "followed",
            Self::RolloutBegun => "rollout-begun",
            Self::RolloutPromoted => "rollout-promoted",
            Self::RolloutFellBack => "rollout-fell-back",
            Self::MigrationWidened => "migration-widened",
            Self::MigrationNarrowed => "migration-narrowed",
            Self::Recovered => "recovered",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What a new version is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct NewVersion {
    /// Drawn by the caller.
    pub id: PolicyVersionId,
    /// Drawn by the caller.
    pub policy_id: PolicyId,
    /// The policy.
    pub policy: Policy,
    /// Why.
    pub reason: VersionReason,
    /// Why the checks for `enforce` were overridden, in the tenant's words (invariant 6).
    pub forced: Option<String>,
}

/// One version and how far it has come.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyVersion {
    /// Our id.
    pub id: PolicyVersionId,
    /// 1, 2, … within the domain.
    pub seq: u32,
    /// The id of its TXT record.
    pub policy_id: PolicyId,
    /// The policy.
    pub policy: Policy,
    /// Why it was made.
    pub reason: VersionReason,
    /// Why the checks for `enforce` were overridden.
    pub forced: Option<String>,
    /// As [`crate::Actor::word`] gives it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When every in-service edge was first seen to serve it.
    pub served_at: Option<Timestamp>,
    /// When it was fetched as a sender would.
    pub verified_at: Option<Timestamp>,
    /// When the record with its id was read back from all authoritative servers.
    pub published_at: Option<Timestamp>,
    /// When a newer version was made.
    pub superseded_at: Option<Timestamp>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum SetPolicy {
    /// There is a new version.
    Changed(PolicyVersion),
    /// The newest version has that policy already: nothing was made.
    Unchanged(PolicyVersion),
}

impl SetPolicy {
    /// The newest version.
    pub fn version(&self) -> &PolicyVersion {
        match self {
            Self::Changed(version) | Self::Unchanged(version) => version,
        }
    }
}
