//! A domain's policy: its versions, and the one way to set a new one.

pub(crate) mod mode;
pub(crate) mod patch;
pub(crate) mod read;
pub(crate) mod replace;
pub(crate) mod rollback;
pub(crate) mod simulate;
pub(crate) mod version;
pub(crate) mod versions;

use actix_web::{HttpResponse, http::header};
use chrono::{DateTime, Utc};
use mtasts_model::{Mode, Policy, PolicyId, PolicyVersionId, lifecycle::MxSeen};
use mtasts_store::{
    DomainView, MigrationState, MigrationView, NewVersion, PolicyVersion, SetPolicy, StoreError, TenantTx,
    VersionReason,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::TenantScope,
    enforce,
    extract::{EntityTag, IfMatch},
    problem::{Problem, ProblemKind},
    v1::{fields::ModeSchema, migrations, policy_settings::demands},
    warnings::{self, Warning},
};

/// One policy version and how far it has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
pub(crate) struct PolicyBody {
    /// The version's id. In quotes, it names the version in `If-Match`.
    #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// The `id` in the TXT record (RFC 8461 §3.1). Never used again.
    #[schema(example = "20261121213000a1b2c3")]
    policy_id: String,
    /// The mode.
    #[schema(value_type = ModeSchema)]
    mode: mtasts_model::Mode,
    /// The MX patterns.
    #[schema(example = json!(["mx1.example.com", "*.mail.example.net"]))]
    mx: Vec<String>,
    /// How long senders may keep it, in seconds.
    #[schema(example = 604_800, maximum = 31_557_600)]
    max_age: u32,
    /// The policy as it is served, with CRLF.
    #[schema(example = "version: STSv1\r\nmode: testing\r\nmx: mx1.example.com\r\nmax_age: 604800\r\n")]
    text: String,
    /// How far it has come.
    state: VersionState,
    /// Why it was made: `registered`, `discovered`, `changed`, `mode-changed`, `rolled-back`,
    /// `proposed`, `followed`, `rollout-begun`, `rollout-promoted`, `rollout-fell-back`,
    /// `migration-widened`, `migration-narrowed` or `withdrawn`.
    #[schema(example = "changed")]
    reason: &'static str,
    /// Why the proof for `enforce` was overridden.
    #[schema(required)]
    forced: Option<String>,
    /// Who made it: `operator`, `worker`, the id of an API key, or `oidc:<issuer>#<sub>` of a user; with ` of ten_…` where
    /// a provider acted for you.
    #[schema(example = "key_0190c3a0b1c27d3e8f4051627384950a")]
    created_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When every edge served it.
    #[schema(required)]
    served_at: Option<DateTime<Utc>>,
    /// When it was fetched as a sender would.
    #[schema(required)]
    verified_at: Option<DateTime<Utc>>,
    /// When the TXT record with its id was read back.
    #[schema(required)]
    published_at: Option<DateTime<Utc>>,
    /// When a newer version was made.
    #[schema(required)]
    superseded_at: Option<DateTime<Utc>>,
    /// What is allowed and yet probably not meant.
    warnings: Vec<Warning>,
}

/// How far a version has come: each state follows the one before (RFC 8461 §8.1: body first, record second).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VersionState {
    /// Accepted.
    Pending,
    /// Every edge serves it.
    Served,
    /// It was fetched as a sender would.
    Verified,
    /// The TXT record has its id.
    Published,
    /// A newer version was made.
    Superseded,
}

impl VersionState {
    fn of(version: &PolicyVersion) -> Self {
        if version.superseded_at.is_some() {
            Self::Superseded
        } else if version.published_at.is_some() {
            Self::Published
        } else if version.verified_at.is_some() {
            Self::Verified
        } else if version.served_at.is_some() {
            Self::Served
        } else {
            Self::Pending
        }
    }
}

impl PolicyBody {
    pub(crate) fn of(version: &PolicyVersion, seen: Option<&MxSeen>) -> Self {
        let policy = &version.policy;
        Self {
            id: version.id.to_string(),
            policy_id: version.policy_id.to_string(),
            mode: policy.mode(),
            mx: policy.mx().iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            max_age: policy.max_age().seconds(),
            text: policy.to_text(),
            state: VersionState::of(version),
            reason: version.reason.as_str(),
            forced: version.forced.clone(),
            created_by: version.created_by.clone(),
            created_at: version.created_at,
            served_at: version.served_at,
            verified_at: version.verified_at,
            published_at: version.published_at,
            superseded_at: version.superseded_at,
            warnings: warnings::of(policy, seen),
        }
    }

    /// With its tag.
    pub(crate) fn tagged(version: &PolicyVersion, seen: Option<&MxSeen>) -> Result<(Self, EntityTag), Problem> {
        let body = Self::of(version, seen);
        let tag = EntityTag::of_version(version.id, &body)?;
        Ok((body, tag))
    }
}

/// A policy that the caller wants.
pub(crate) struct Change {
    pub(crate) policy: Policy,
    pub(crate) reason: VersionReason,
    /// Why to override the proof for `enforce`, if it is to be overridden.
    pub(crate) override_reason: Option<String>,
    /// Whether the new policy was made from the current one, so that it must not have changed in between.
    pub(crate) from_current: bool,
}

/// Sets a policy: the only way, so that nobody forgets the proof for `enforce` (invariant 6) or `If-Match`.
pub(crate) async fn apply(
    tx: &mut TenantTx,
    scope: &TenantScope,
    domain: &DomainView,
    change: Change,
    if_match: &IfMatch,
) -> Result<SetPolicy, Problem> {
    if !domain.is_kept() {
        return Err(StoreError::Withdrawing.into());
    }
    let current = domain.version.as_ref().map(|version| version.id);
    if_match.check(current)?;
    let now = scope.now();
    let mode = domain.version.as_ref().map(|version| version.policy.mode());
    let entering = if change.policy.mode() == Mode::Enforce && mode != Some(Mode::Enforce) {
        let reports = tx.proof(domain.id, domain.mx_seen.as_ref(), now).await?.reports;
        Some((reports, demands(tx, &scope.state().config).await?.failures_per_thousand))
    } else {
        None
    };
    let doubts = enforce::doubts(&change.policy, domain.mx_seen.as_ref(), entering, now);
    let broken = broken_migration(tx, domain, &change.policy).await?;
    let forced = match (change.override_reason, broken) {
        (_, None) if doubts.is_empty() => None,
        (Some(reason), _) => Some(reason),
        (None, Some(view)) => {
            let detail =
                "An MX migration is under way, and the policy lacks some of its hosts: cancel it first, or wait";
            return Err(migrations::not_safe(&view, detail));
        }
        (None, None) => return Err(enforce::refusal(&doubts)),
    };
    let new = new_version(scope, change.policy, change.reason, forced);
    let expected = current.filter(|_| change.from_current || *if_match != IfMatch::Absent);
    match tx.set_policy(domain.id, new, expected, &scope.actor(), now).await {
        Err(StoreError::VersionConflict { current }) => Err(if_match.conflict(current)),
        set => Ok(set?),
    }
}

/// The MX migration under way that the policy would end: it lacks hosts to which senders may be led.
async fn broken_migration(
    tx: &TenantTx,
    domain: &DomainView,
    policy: &Policy,
) -> Result<Option<MigrationView>, Problem> {
    if policy.mode() == Mode::None {
        return Ok(None);
    }
    let view = tx.migration(domain.id).await?.filter(|view| view.state == MigrationState::UnderWay);
    Ok(view.filter(|view| !view.migration.is_held_by(policy)))
}

/// A version with newly drawn ids (invariant 2).
pub(crate) fn new_version(
    scope: &TenantScope,
    policy: Policy,
    reason: VersionReason,
    forced: Option<String>,
) -> NewVersion {
    let (now, entropy) = (scope.now(), &*scope.state().entropy);
    NewVersion {
        id: PolicyVersionId::draw(now, entropy),
        policy_id: PolicyId::draw(now, entropy),
        policy,
        reason,
        forced,
    }
}

/// The current version, which the operation cannot do without.
pub(crate) fn current(domain: &DomainView) -> Result<&PolicyVersion, Problem> {
    domain.version.as_ref().ok_or_else(|| {
        Problem::new(
            ProblemKind::NoPolicyYet,
            "The MX hosts were not found yet, so there is no policy: see the domain's conditions, or set one with PUT",
        )
    })
}

/// The answer to a change.
pub(crate) fn answer(set: &SetPolicy, domain: &DomainView) -> Result<HttpResponse, Problem> {
    let (body, tag) = PolicyBody::tagged(set.version(), domain.mx_seen.as_ref())?;
    Ok(HttpResponse::Ok().insert_header((header::ETAG, tag.quoted())).json(body))
}
