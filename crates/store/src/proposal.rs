//! Proposals: the policy that would follow from the MX hosts in DNS.

use chrono::TimeDelta;
use mtasts_model::{
    DomainId, Policy, PolicyId, PolicyVersionId, ProposalId, Timestamp,
    drift::{drift, followed},
    event::ProposalMade,
    lifecycle::{MxSeen, MxSource},
};
use sea_orm::FromQueryResult;
use serde_json::json;
use uuid::Uuid;

use crate::{
    Actor, Channel, LeaseTx, NewVersion, PolicyVersion, StoreError, TenantTx, VersionReason,
    audit::InOrder,
    new_version::{self, Target},
    sql,
    stored::At,
};

/// A new host is followed no sooner than this after it was first seen: by then it was looked at again, and an answer that
/// was forged once is over.
const FOLLOWED_AFTER: TimeDelta = TimeDelta::minutes(30);

/// The policy that would follow from the MX hosts in DNS.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Its id: another proposal of the same domain has another one.
    pub id: ProposalId,
    /// The policy.
    pub policy: Policy,
    /// When it was first made.
    pub proposed_at: Timestamp,
    /// When a look last found the same.
    pub last_seen_at: Timestamp,
    /// When the tenant said no to it.
    pub dismissed_at: Option<Timestamp>,
}

/// Ids for a version that may have to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpareIds {
    /// Of the version.
    pub version: PolicyVersionId,
    /// Of its TXT record.
    pub policy: PolicyId,
}

#[derive(Debug, FromQueryResult)]
struct Row {
    id: Uuid,
    policy_text: String,
    proposed_at: Timestamp,
    last_seen_at: Timestamp,
    dismissed_at: Option<Timestamp>,
}

const READ: &str = "SELECT id, policy_text, proposed_at, last_seen_at, dismissed_at FROM mx_proposals
    WHERE domain_id = $1";

impl TryFrom<Row> for Proposal {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: ProposalId::from_uuid(row.id),
            policy: At { table: "mx_proposals", row: row.id }.policy(&row.policy_text)?,
            proposed_at: row.proposed_at,
            last_seen_at: row.last_seen_at,
            dismissed_at: row.dismissed_at,
        })
    }
}

impl LeaseTx {
    /// Makes, keeps or forgets the domain's proposal by a look. The tenant is told of one that is new.
    pub(crate) async fn propose(&mut self, seen: &MxSeen) -> Result<(), StoreError> {
        let newest = self.newest_version().await?;
        let drift = newest.as_ref().and_then(|newest| drift(&newest.policy, seen));
        let (Some(newest), Some(drift)) = (newest, drift) else {
            let sql = "DELETE FROM mx_proposals WHERE domain_id = $1";
            sql::execute(self.db(), sql, vec![self.id().into()]).await?;
            return Ok(());
        };
        let id = ProposalId::draw(self.now(), &InOrder);
        // What was dismissed stays so for as long as the same is proposed.
        let sql = "INSERT INTO mx_proposals AS old (domain_id, tenant_id, id, policy_text, proposed_at, last_seen_at)
            VALUES ($1, $2, $3, $4, $5, $5)
            ON CONFLICT (domain_id) DO UPDATE SET
                id = CASE WHEN old.policy_text = excluded.policy_text THEN old.id ELSE excluded.id END,
                proposed_at = CASE WHEN old.policy_text = excluded.policy_text THEN old.proposed_at ELSE $5 END,
                dismissed_at = CASE WHEN old.policy_text = excluded.policy_text THEN old.dismissed_at END,
                policy_text = excluded.policy_text, last_seen_at = $5
            RETURNING id = $3 AS made";
        let values = vec![
            self.id().into(),
            self.lease().tenant_id.as_uuid().into(),
            id.as_uuid().into(),
            drift.policy.to_text().into(),
            self.now().into(),
        ];
        let row = sql::row(self.db(), sql, values).await?.ok_or(StoreError::NotFound)?;
        if row.try_get::<bool>("", "made")? {
            let domain = self.event_domain()?;
            let mode = newest.policy.mode();
            self.emit(ProposalMade { domain, proposal_id: id, new_mx: drift.new, gone_mx: drift.gone, mode }).await?;
        }
        Ok(())
    }

    /// Takes new MX hosts into the policy, for a tenant who chose so, as far as that may be done without a person. After
    /// [`Self::mx_seen`] of the same look. True when a version was made.
    pub async fn follow_mx(&mut self, seen: &MxSeen, ids: SpareIds) -> Result<bool, StoreError> {
        let Some(newest) = self.newest_version().await? else { return Ok(false) };
        let proposal = sql::one::<Row>(self.db(), READ, vec![self.id().into()]).await?.map(Proposal::try_from);
        let waited = proposal.transpose()?.is_some_and(|proposal| {
            // By when the hosts were connected to: one look that two steps go by is not two.
            proposal.dismissed_at.is_none() && seen.oldest_look() - proposal.proposed_at >= FOLLOWED_AFTER
        });
        let name = self.at().mail_domain("name", self.name())?;
        let Some(policy) = followed(&newest.policy, seen, &name).filter(|_| waited) else { return Ok(false) };
        let reason = VersionReason::Followed;
        let new = NewVersion { id: ids.version, policy_id: ids.policy, policy, reason, forced: None };
        self.replace_version(new).await?;
        // Whatever is left to propose is so of another policy.
        self.propose(seen).await?;
        Ok(true)
    }

    /// The newest version, if there is any.
    pub(crate) async fn newest_version(&self) -> Result<Option<PolicyVersion>, StoreError> {
        new_version::newest(self.db(), self.version_id()).await?.map(PolicyVersion::try_from).transpose()
    }

    /// Makes a version after the newest one, on the service's own account.
    pub(crate) async fn replace_version(&mut self, new: NewVersion) -> Result<PolicyVersion, StoreError> {
        let name = self.name().to_owned();
        let (domain, tenant) = (self.lease().domain_id, self.lease().tenant_id);
        let target = Target { domain, tenant, name: &name, newest: self.version_id() };
        let made = new_version::make(self.db(), target, new, &Actor::worker(), self.now()).await?;
        self.set_version_id(made.version.id);
        self.tell_of_policy(&made).await?;
        if made.fed {
            self.nudge(Channel::Edge);
        }
        let version = &made.version;
        let detail = json!({ "version": version.id, "policy_id": version.policy_id.as_str(),
            "policy": version.policy, "reason": version.reason.as_str() });
        self.audit("policy.set", detail).await?;
        Ok(made.version)
    }
}

impl TenantTx {
    /// A domain's proposal, dismissed or not.
    pub async fn proposal(&self, domain: DomainId) -> Result<Option<Proposal>, StoreError> {
        let row = sql::one::<Row>(self.db(), READ, vec![domain.as_uuid().into()]).await?;
        row.map(Proposal::try_from).transpose()
    }

    /// Says no to a proposal: it is not made again as long as the same is proposed. None when it is no longer the domain's.
    pub async fn dismiss_proposal(
        &mut self,
        domain: DomainId,
        id: ProposalId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<Proposal>, StoreError> {
        let Some(proposal) = self.proposal(domain).await?.filter(|proposal| proposal.id == id) else {
            return Ok(None);
        };
        if proposal.dismissed_at.is_none() {
            let sql = "UPDATE mx_proposals SET dismissed_at = $1 WHERE domain_id = $2 AND id = $3";
            sql::execute(self.db(), sql, vec![now.into(), domain.as_uuid().into(), id.as_uuid().into()]).await?;
            let after = json!({ "proposal": id, "policy": proposal.policy });
            self.audit(by, "proposal.dismiss", domain.to_string(), (None, Some(after)), now).await?;
        }
        self.proposal(domain).await
    }

    /// Forgets a proposal that was applied.
    pub async fn forget_proposal(&mut self, domain: DomainId) -> Result<(), StoreError> {
        let sql = "DELETE FROM mx_proposals WHERE domain_id = $1";
        sql::execute(self.db(), sql, vec![domain.as_uuid().into()]).await?;
        Ok(())
    }

    /// Whether new MX hosts are taken into the policy by themselves. [`StoreError::Withdrawing`] once the domain is being
    /// taken back.
    pub async fn set_mx_follow(
        &mut self,
        id: DomainId,
        follow: bool,
        by: &Actor,
        now: Timestamp,
    ) -> Result<crate::DomainView, StoreError> {
        let before = self.domain_locked(id).await?.ok_or(StoreError::NotFound)?;
        if !before.is_kept() {
            return Err(StoreError::Withdrawing);
        }
        let wanted = if follow { MxSource::Follow } else { MxSource::Listed };
        if before.mx_source != wanted {
            let word = crate::stored::mx_source_word;
            let sql = "UPDATE domains SET mx_source = $1 WHERE id = $2";
            sql::execute(self.db(), sql, vec![word(wanted).into(), id.as_uuid().into()]).await?;
            let change = (Some(json!(word(before.mx_source))), Some(json!(word(wanted))));
            self.audit(by, "domain.mx-source", id.to_string(), change, now).await?;
        }
        self.domain(id).await?.ok_or(StoreError::NotFound)
    }
}
