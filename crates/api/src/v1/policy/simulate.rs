//! `POST /v1/domains/{domain_id}/policy:simulate`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use chrono::{DateTime, TimeDelta, Utc};
use mtasts_model::{
    ConditionKind, DomainId, Mode, MxPattern, Policy, Status, Timestamp,
    lifecycle::CnameSeen,
    simulation::{ActsBy, Case, Held, HostFate, Scene, Sender, simulate},
};
use mtasts_store::DomainView;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::current;
use crate::{
    auth::TenantScope,
    config::ApiConfig,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once, PathId},
    problem::{Problem, ProblemKind, documented, groups},
    v1::fields::{Faults, ModeSchema, MxPatternSchema, max_age, mx_patterns, policy},
};

/// A policy that is thought of. What is absent is as in the current one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "enforce", "mx": ["mx1.example.com"]}))]
pub(crate) struct SimulatePolicy {
    /// The mode.
    #[schema(value_type = Option<ModeSchema>)]
    mode: Option<Mode>,
    /// The MX patterns, all of them.
    #[schema(value_type = Option<Vec<MxPatternSchema>>, max_items = 100)]
    mx: Option<Vec<String>>,
    /// How long senders may keep the policy, in seconds: 0 to 31,557,600.
    #[schema(minimum = 0, maximum = 31_557_600)]
    max_age: Option<u64>,
}

impl SimulatePolicy {
    fn on(&self, current: &Policy) -> Result<Policy, Problem> {
        let mut faults = Faults::default();
        let mx = match &self.mx {
            Some(mx) => mx_patterns(mx, &mut faults),
            None => Some(current.mx().to_vec()),
        };
        let max_age = match self.max_age {
            Some(seconds) => faults.keep(max_age(seconds)),
            None => Some(current.max_age()),
        };
        let (Some(mx), Some(max_age)) = (mx, max_age) else { return Err(faults.into_problem()) };
        let draft = policy(self.mode.unwrap_or(current.mode()), mx, max_age);
        draft.map_err(|fault| Problem::fields(vec![fault]))
    }
}

/// What senders would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicySimulation)]
pub(crate) struct SimulationBody {
    /// The policy that is thought of.
    draft: DraftBody,
    /// Whether mail would be lost today: some sender finds no MX host that it delivers to, and one that it would without the
    /// policy.
    loses_mail: bool,
    /// Whether senders find the record at this moment.
    record_found: bool,
    /// Whether senders can fetch from the policy host.
    host_answers: bool,
    /// When the MX hosts were last looked at; null where they never were: then nothing is known of them.
    #[schema(required)]
    checked_at: Option<DateTime<Utc>>,
    /// Policies that senders may hold, those that are held longest first.
    held: Vec<HeldBody>,
    /// Every kind of sender, without any policy first, then with each that it may hold.
    senders: Vec<CaseBody>,
}

/// The policy that is thought of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyDraft)]
pub(crate) struct DraftBody {
    /// The mode.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// The MX patterns.
    #[schema(example = json!(["mx1.example.com"]))]
    mx: Vec<String>,
    /// How long senders may keep it, in seconds.
    #[schema(example = 604_800)]
    max_age: u32,
}

impl From<&Policy> for DraftBody {
    fn from(policy: &Policy) -> Self {
        Self {
            mode: policy.mode(),
            mx: policy.mx().iter().map(MxPattern::to_string).collect(),
            max_age: policy.max_age().seconds(),
        }
    }
}

/// A policy that senders may hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HeldPolicy)]
pub(crate) struct HeldBody {
    /// Its version.
    #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
    version_id: String,
    /// Its mode.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// Until when some sender may hold it: when it was last served, and its `max_age`.
    until: DateTime<Utc>,
}

/// One kind of sender in one state of its cache.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulatedSender)]
pub(crate) struct CaseBody {
    /// `strict`: follows RFC 8461 to the letter, and refreshes what it holds daily. `txt-only`: fetches only when the record has
    /// another id. `holds-cache`: looks at nothing until what it holds ends. `no-sni`: names no host in TLS, so that it can
    /// fetch no policy here.
    #[schema(example = "strict")]
    sender: &'static str,
    /// The version that it holds; null: none.
    #[schema(required)]
    holds: Option<String>,
    /// By what it acts today: `draft`, `held`, or `nothing`: it delivers as if there were no MTA-STS.
    #[schema(example = "draft")]
    acts_by: &'static str,
    /// From when on it acts by the draft; null: never, as things stand.
    #[schema(required)]
    draft_from: Option<DateTime<Utc>>,
    /// What becomes of a mail today: `arrives`, `arrives-by-some` (hosts, and not by others), `waits` (and comes back in the
    /// end) or `unknown`.
    #[schema(example = "arrives")]
    mail: &'static str,
    /// Each MX host, in order of preference.
    hosts: Vec<HostFateBody>,
}

/// What a sender does with one MX host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulatedHost)]
pub(crate) struct HostFateBody {
    /// The host.
    #[schema(example = "mx1.example.com")]
    host: String,
    /// `delivers`, `delivers-and-reports` (a failure, in mode `testing`), `unreachable` (whatever the policy says) or `refuses`.
    #[schema(example = "delivers")]
    fate: &'static str,
    /// Why: `mx-not-covered`, or what the latest look found; null where it simply delivers.
    #[schema(required)]
    reason: Option<String>,
}

impl From<HostFate> for HostFateBody {
    fn from(host: HostFate) -> Self {
        Self { host: host.host.to_string(), fate: host.fate.as_str(), reason: host.reason }
    }
}

impl From<Case> for CaseBody {
    fn from(case: Case) -> Self {
        Self {
            sender: case.sender.as_str(),
            holds: case.holds.map(|version| version.to_string()),
            acts_by: match case.acts_by {
                ActsBy::Draft => "draft",
                ActsBy::Held(_) => "held",
                ActsBy::Nothing => "nothing",
            },
            draft_from: case.draft_from,
            mail: case.mail.as_str(),
            hosts: case.hosts.into_iter().map(HostFateBody::from).collect(),
        }
    }
}

impl SimulationBody {
    fn of(draft: &Policy, domain: &DomainView, held: &[Held], config: &ApiConfig, now: Timestamp) -> Self {
        let holds = |kind: ConditionKind| {
            domain.conditions.iter().find(|condition| condition.kind == kind).map(|condition| condition.status)
        };
        let leads_here = |cname: fn(&mtasts_model::lifecycle::DelegationSeen) -> &CnameSeen| {
            domain.delegation_seen.as_ref().is_some_and(|seen| *cname(seen) == CnameSeen::Ours)
        };
        // What the looks from outside say goes before what we think to have done.
        let visible = holds(ConditionKind::PolicyVisible) != Some(Status::False);
        let scene = Scene {
            draft,
            held,
            record_found: leads_here(|seen| &seen.sts_record) && domain.published_version.is_some(),
            host_answers: leads_here(|seen| &seen.policy_host)
                && domain.certificate.as_ref().is_some_and(|certificate| certificate.not_after > now)
                && visible,
            record_ttl: TimeDelta::seconds(config.record_ttl.into()),
            mx: domain.mx_seen.as_ref(),
        };
        let cases = simulate(&scene, now);
        // No policy comes in the way of a sender without SNI: what it cannot deliver, nobody can.
        let arrives_anyway = cases.iter().any(|case| case.sender == Sender::NoSni && case.mail.arrives());
        let loses_mail = arrives_anyway && cases.iter().any(|case| !case.mail.arrives());
        Self {
            draft: draft.into(),
            loses_mail,
            record_found: scene.record_found,
            host_answers: scene.host_answers,
            checked_at: domain.mx_seen.as_ref().map(|seen| seen.at),
            held: held
                .iter()
                .map(|held| HeldBody {
                    version_id: held.version.to_string(),
                    mode: held.policy.mode(),
                    until: held.until,
                })
                .collect(),
            senders: cases.into_iter().map(CaseBody::from).collect(),
        }
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, &[ProblemKind::NoPolicyYet]])
    }
}

/// Simulate senders with a draft
///
/// What named kinds of sender would do today with mail for each MX host if the draft became the policy now: by what they may
/// hold already (the served ledger), what they can find, and the latest look at the MX hosts. Changes nothing.
#[utoipa::path(
    tag = "policy",
    operation_id = "simulate_policy",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = SimulatePolicy,
    responses((status = 200, description = "What they would do.", body = SimulationBody), Errors),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/policy:simulate")]
pub(crate) async fn simulate_policy(
    scope: TenantScope,
    id: PathId<DomainId>,
    key: IdempotencyKey,
    body: Json<SimulatePolicy>,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let answer = Once::new(&key, body.hash, now)
        .run(scope.begin().await?, async |tx| {
            let domain = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
            let draft = body.value.on(&current(&domain)?.policy)?;
            let held = tx.held_policies(id.0, now).await?;
            let simulation = SimulationBody::of(&draft, &domain, &held, &scope.state().config, now);
            Answer::new(StatusCode::OK, &simulation)
        })
        .await?;
    Ok(answer.respond())
}
