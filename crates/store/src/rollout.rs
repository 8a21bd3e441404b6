//! Rollout plans and how far they have come.

use mtasts_model::{
    DomainId, EventData, PolicyVersionId, Timestamp,
    event::{EventDomain, RolloutCompleted, RolloutFellBack, RolloutPaused, RolloutPromoted, RolloutPromoting},
    rollout::{Action, Finding, Progress, Rollout, RolloutFacts, RolloutPlan},
};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{
    Actor, DomainState, DomainView, LeaseTx, NewVersion, Proof, SpareIds, StoreError, TenantTx, VersionReason, event,
    sql,
    stored::{At, to_json},
};

/// A plan with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutView {
    /// The plan and how far it has come.
    pub rollout: Rollout,
    /// Which state this is: drawn anew with each change.
    pub revision: i64,
    /// Since when there is the plan.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
}

impl RolloutView {
    /// With what the plan is judged by.
    pub fn facts(self, proof: Proof) -> RolloutFacts {
        let Proof { history, published_since, reports } = proof;
        RolloutFacts { rollout: self.rollout, revision: self.revision, history, published_since, reports }
    }
}

#[derive(Debug, FromQueryResult)]
struct Row {
    plan: Json,
    step: i32,
    entered_at: Option<Timestamp>,
    announced_for: Option<Timestamp>,
    progress: String,
    code: Option<String>,
    message: Option<String>,
    revision: i64,
    created_at: Timestamp,
    changed_at: Timestamp,
}

#[derive(Debug, thiserror::Error)]
#[error("no progress of a plan")]
struct NoProgress;

/// The plan of one domain.
pub(crate) async fn read(db: &impl ConnectionTrait, domain: Uuid) -> Result<Option<RolloutView>, StoreError> {
    let sql = "SELECT plan, step, entered_at, announced_for, progress, code, message, revision, created_at, changed_at
        FROM rollouts WHERE domain_id = $1";
    let Some(row) = sql::one::<Row>(db, sql, vec![domain.into()]).await? else { return Ok(None) };
    let at = At { table: "rollouts", row: domain };
    let finding = row.code.zip(row.message).map(|(code, message)| Finding { code, message });
    let progress = Progress::read(&row.progress, finding).ok_or_else(|| at.unreadable("progress", NoProgress))?;
    let rollout = Rollout {
        plan: at.json::<RolloutPlan>("plan", row.plan)?,
        step: at.number("step", row.step)?,
        entered_at: row.entered_at,
        announced_for: row.announced_for,
        progress,
    };
    Ok(Some(RolloutView { rollout, revision: row.revision, created_at: row.created_at, changed_at: row.changed_at }))
}

/// Writes the state of a plan that there is.
async fn write(db: &impl ConnectionTrait, domain: Uuid, rollout: &Rollout, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE rollouts SET plan = $2, step = $3, entered_at = $4, announced_for = $5, progress = $6, code = $7,
            message = $8, changed_at = $9, revision = nextval('rollout_revisions')
        WHERE domain_id = $1";
    let finding = rollout.progress.finding();
    let values = vec![
        domain.into(),
        to_json(&rollout.plan)?.into(),
        i32::try_from(rollout.step).unwrap_or(i32::MAX).into(),
        rollout.entered_at.into(),
        rollout.announced_for.into(),
        rollout.progress.as_str().into(),
        finding.map(|finding| finding.code.clone()).into(),
        finding.map(|finding| finding.message.clone()).into(),
        now.into(),
    ];
    if sql::execute(db, sql, values).await? == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// As people count.
fn number(step: usize) -> u32 {
    u32::try_from(step).unwrap_or(u32::MAX).saturating_add(1)
}

impl LeaseTx {
    /// Carries an action of the plan out: the version that it makes, the new state, and what is told of it, all in this
    /// transaction. [`StoreError::VersionConflict`] when plan or policy are no longer those that it was decided on.
    pub async fn advance_rollout(
        &mut self,
        action: &Action,
        (revision, expected): (i64, PolicyVersionId),
        ids: SpareIds,
    ) -> Result<(), StoreError> {
        let kept = !matches!(self.at().state(self.state_word())?, DomainState::Withdrawing | DomainState::Gone);
        let stored = read(self.db(), self.id()).await?.filter(|stored| kept && stored.revision == revision);
        let current = self.version_id().map(PolicyVersionId::from_uuid);
        let Some(before) = stored.filter(|_| current == Some(expected)).map(|stored| stored.rollout) else {
            return Err(StoreError::VersionConflict { current });
        };
        let (now, from) = (self.now(), before.step);
        let after = before.after(action, now);
        let made = match action {
            Action::Enter { step: 0, policy } => Some((VersionReason::RolloutBegun, policy)),
            Action::Enter { policy, .. } => Some((VersionReason::RolloutPromoted, policy)),
            Action::FallBack { policy, .. } => Some((VersionReason::RolloutFellBack, policy)),
            _ => None,
        };
        let mut version = expected;
        if let Some((reason, policy)) = made
            && self.newest_version().await?.is_none_or(|newest| newest.policy != *policy)
        {
            let new =
                NewVersion { id: ids.version, policy_id: ids.policy, policy: policy.clone(), reason, forced: None };
            version = self.replace_version(new).await?.id;
        }
        write(self.db(), self.id(), &after, now).await?;
        let domain = self.event_domain()?;
        if let Some(told) = told(action, &after, (domain, from, version)) {
            self.emit(told).await?;
        }
        let detail = json!({ "step": number(after.step), "progress": after.progress.as_str(),
            "announced_for": after.announced_for, "finding": after.progress.finding() });
        self.audit("rollout.advance", detail).await
    }
}

/// What the tenant is told of an action.
fn told(action: &Action, after: &Rollout, of: (EventDomain, usize, PolicyVersionId)) -> Option<EventData> {
    let (domain, from, version_id) = of;
    let steps = after.plan.steps();
    Some(match action {
        Action::Announce { step, at } => {
            let next = steps.get(*step)?;
            let (step, mode, max_age) = (number(*step), next.mode, next.max_age);
            RolloutPromoting { domain, step, mode, max_age, at: *at }.into()
        }
        Action::Enter { step, .. } if *step > 0 => {
            let entered = steps.get(*step)?;
            let (step, mode, max_age) = (number(*step), entered.mode, entered.max_age);
            RolloutPromoted { domain, step, mode, max_age, version_id }.into()
        }
        Action::Pause(finding) => {
            let Finding { code, message } = finding.clone();
            RolloutPaused { domain, step: number(from), reason: code, message }.into()
        }
        Action::Overrule => {
            let message = "The policy was changed to what is not that of the step. Resume the plan to begin it anew.";
            let (reason, message) = ("policy-changed".to_owned(), message.to_owned());
            RolloutPaused { domain, step: number(from), reason, message }.into()
        }
        Action::FallBack { finding, .. } => {
            let Finding { code, message } = finding.clone();
            RolloutFellBack { domain, step: number(from), reason: code, message, version_id }.into()
        }
        Action::Complete => RolloutCompleted { domain }.into(),
        Action::Enter { .. } | Action::Resume => return None,
    })
}

impl TenantTx {
    /// A domain's plan.
    pub async fn rollout(&self, domain: DomainId) -> Result<Option<RolloutView>, StoreError> {
        read(self.db(), domain.as_uuid()).await
    }

    /// Gives a locked domain a plan, which begins at once; one that there was is replaced.
    pub async fn put_rollout(
        &mut self,
        domain: &DomainView,
        plan: RolloutPlan,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let before = self.rollout(domain.id).await?.map(|before| to_json(&before.rollout.plan)).transpose()?;
        let rollout = Rollout::new(plan);
        let after = to_json(&rollout.plan)?;
        let sql = "INSERT INTO rollouts (domain_id, tenant_id, plan, step, progress, revision, created_at, changed_at)
            VALUES ($1, $2, $3, 0, 'running', nextval('rollout_revisions'), $4, $4)
            ON CONFLICT (domain_id) DO UPDATE SET created_at = $4";
        let values = vec![domain.id.as_uuid().into(), self.tenant().as_uuid().into(), after.clone().into(), now.into()];
        sql::execute(self.db(), sql, values).await?;
        write(self.db(), domain.id.as_uuid(), &rollout, now).await?;
        self.audit(by, "rollout.put", domain.id.to_string(), (before, Some(after)), now).await?;
        self.wake(domain.id, now).await
    }

    /// Ends a plan where it is; the policy stays as it is. False when there is none.
    pub async fn delete_rollout(&mut self, domain: DomainId, by: &Actor, now: Timestamp) -> Result<bool, StoreError> {
        let Some(before) = self.rollout(domain).await? else { return Ok(false) };
        let sql = "DELETE FROM rollouts WHERE domain_id = $1";
        sql::execute(self.db(), sql, vec![domain.as_uuid().into()]).await?;
        let before = json!({ "step": number(before.rollout.step), "progress": before.rollout.progress.as_str() });
        self.audit(by, "rollout.delete", domain.to_string(), (Some(before), None), now).await?;
        Ok(true)
    }

    /// Notes that the tenant has stopped a plan, or let it go on, from what it was at this revision on.
    pub async fn change_rollout(
        &mut self,
        domain: &DomainView,
        rollout: &Rollout,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        write(self.db(), domain.id.as_uuid(), rollout, now).await?;
        let held = rollout.progress == Progress::Held;
        if held {
            let (step, reason) = (number(rollout.step), "held".to_owned());
            let message = "The plan was paused by a request. Resume it to go on.".to_owned();
            let of = event::domain(domain.id, domain.name.as_str())?;
            self.emit(RolloutPaused { domain: of, step, reason, message }, now).await?;
        }
        let after = json!({ "step": number(rollout.step), "progress": rollout.progress.as_str() });
        let action = if held { "rollout.pause" } else { "rollout.resume" };
        self.audit(by, action, domain.id.to_string(), (None, Some(after)), now).await?;
        self.wake(domain.id, now).await
    }
}
