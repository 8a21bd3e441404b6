//! The policy that would follow from the MX hosts in DNS.

pub(crate) mod apply;
pub(crate) mod dismiss;
pub(crate) mod read;

use chrono::{DateTime, Utc};
use mtasts_model::{
    MxPattern, ProposalId,
    drift::{Drift, drift},
};
use mtasts_store::{DomainView, Proposal, TenantTx};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{FieldError, Problem, ProblemKind};

/// What is proposed, if anything is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProposalAnswer)]
pub(crate) struct ProposalAnswer {
    /// Null while the policy names the hosts that DNS names.
    #[schema(required)]
    proposal: Option<ProposalBody>,
}

/// The policy that would follow from the MX hosts in DNS.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Proposal)]
pub(crate) struct ProposalBody {
    /// Its id.
    #[schema(example = "prp_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// The version that it would replace.
    #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
    replaces: String,
    /// MX hosts in DNS that the current policy does not cover.
    new: Vec<NewHostBody>,
    /// Patterns of the current policy that no MX host in DNS matches.
    #[schema(example = json!(["mx1.example.com"]))]
    gone: Vec<String>,
    /// The patterns that the policy would have.
    #[schema(example = json!(["mx2.example.com", "mx3.example.com"]))]
    mx: Vec<String>,
    /// The exact policy, as it would be served.
    #[schema(example = "version: STSv1\r\nmode: testing\r\nmx: mx2.example.com\r\nmax_age: 604800\r\n")]
    text: String,
    /// When it was first made.
    proposed_at: DateTime<Utc>,
    /// When a look last found the same.
    last_seen_at: DateTime<Utc>,
    /// When you said no to it.
    #[schema(required)]
    dismissed_at: Option<DateTime<Utc>>,
    /// A sentence for people.
    #[schema(
        example = "DNS names 1 host that the policy does not cover, and no longer names 1 that it does; DNS is not authenticated: apply this if the change is yours"
    )]
    message: String,
}

/// A new MX host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProposedHost)]
pub(crate) struct NewHostBody {
    /// The host.
    #[schema(example = "mx3.example.com")]
    host: String,
    /// Whether it passes every check.
    passes: bool,
    /// What is wrong with it.
    #[schema(required, example = json!(null))]
    failure: Option<String>,
}

impl ProposalBody {
    fn of(proposal: &Proposal, drift: &Drift, domain: &DomainView) -> Self {
        let hosts = domain.mx_seen.iter().flat_map(|seen| &seen.hosts).filter(|mx| drift.new.contains(&mx.host));
        let (new, gone) = (drift.new.len(), drift.gone.len());
        Self {
            id: proposal.id.to_string(),
            replaces: domain.version.as_ref().map(|version| version.id.to_string()).unwrap_or_default(),
            new: hosts
                .map(|mx| NewHostBody {
                    host: mx.host.to_string(),
                    passes: mx.failure.is_none(),
                    failure: mx.failure.as_ref().map(|failure| failure.message.clone()),
                })
                .collect(),
            gone: drift.gone.iter().map(MxPattern::to_string).collect(),
            mx: proposal.policy.mx().iter().map(MxPattern::to_string).collect(),
            text: proposal.policy.to_text(),
            proposed_at: proposal.proposed_at,
            last_seen_at: proposal.last_seen_at,
            dismissed_at: proposal.dismissed_at,
            message: format!(
                "DNS names {new} hosts that the policy does not cover, and no longer names {gone} that it does; DNS is \
                 not authenticated: apply this if the change is yours"
            ),
        }
    }
}

/// The proposal, as long as it is what follows from the current policy and the latest look.
async fn standing(tx: &TenantTx, domain: &DomainView) -> Result<Option<(Proposal, Drift)>, Problem> {
    let (Some(version), Some(seen)) = (&domain.version, &domain.mx_seen) else { return Ok(None) };
    let Some(drift) = drift(&version.policy, seen).filter(|_| domain.is_kept()) else { return Ok(None) };
    let proposal = tx.proposal(domain.id).await?.filter(|proposal| proposal.policy == drift.policy);
    Ok(proposal.map(|proposal| (proposal, drift)))
}

fn parse_id(text: &str) -> Result<ProposalId, FieldError> {
    text.parse::<ProposalId>().map_err(|error| FieldError::at("/proposal_id", "invalid-id", error.to_string()))
}

fn outdated() -> Problem {
    Problem::new(
        ProblemKind::ProposalOutdated,
        "The policy or the MX hosts are others than when this was proposed: read the proposal again",
    )
}
