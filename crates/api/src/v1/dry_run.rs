//! `dry_run=true`: what a change would do, found out by making it and taking it back.

use actix_web::HttpResponse;
use chrono::{DateTime, SecondsFormat, Utc};
use mtasts_model::{Delegation, DomainId, Mode, Policy, StsRecord, label::DelegationPurpose};
use mtasts_store::{CachedVersion, DomainState, DomainView, TenantTx};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    auth::TenantScope,
    problem::Problem,
    v1::{fields::ModeSchema, policy::PolicyBody},
    warnings::{self, Warning},
};

/// Whether the change is to be made.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DryRun {
    /// `true`: change nothing, and answer with 200 and what would happen. Every check is made, and refused is what would be
    /// refused. An `Idempotency-Key` is not used up.
    #[param(required = false, default = false)]
    pub(crate) dry_run: bool,
}

/// What a change would do. Nothing of it was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DryRun)]
pub(crate) struct DryRunBody {
    /// True: this is no answer to a change.
    #[schema(example = true)]
    dry_run: bool,
    /// Whether anything would change.
    #[schema(example = true)]
    changes: bool,
    /// The domain's state.
    state: StateChange,
    /// The policy.
    policy: PolicyChange,
    /// The TXT record.
    record: RecordChange,
    /// What would be allowed and yet probably not meant.
    warnings: Vec<Warning>,
    /// The older versions that senders may hold beside the one that would be current, as far as the edges have reported.
    caches: Vec<CachedBody>,
}

/// The domain's state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StateChange {
    /// As it is; null for a domain that would be new.
    #[schema(required, example = "active")]
    before: Option<&'static str>,
    /// As it would be.
    #[schema(example = "active")]
    after: &'static str,
}

/// The policy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyChange {
    /// As it is; null where there is none.
    #[schema(required)]
    before: Option<PolicyText>,
    /// As it would be; null where there would be none yet (`mx: \"auto\"`), or no more.
    #[schema(required)]
    after: Option<PolicyText>,
}

/// A policy by its content.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyText {
    /// The mode.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// The MX patterns.
    #[schema(example = json!(["mx1.example.com"]))]
    mx: Vec<String>,
    /// How long senders may keep it, in seconds.
    #[schema(example = 604_800, maximum = 31_557_600)]
    max_age: u32,
    /// As it is served, with CRLF.
    #[schema(example = "version: STSv1\r\nmode: testing\r\nmx: mx1.example.com\r\nmax_age: 604800\r\n")]
    text: String,
}

/// The TXT record.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordChange {
    /// Its name.
    #[schema(example = "_mta-sts.example.com")]
    name: String,
    /// What it says now, as last read back from the zone; null where it is not there.
    #[schema(required, example = "v=STSv1; id=20261121213000a1b2c3;")]
    value: Option<String>,
    /// Whether a new id would be drawn. It is drawn with the change, and published once every edge serves the policy.
    #[schema(example = true)]
    new_id: bool,
}

/// A version that senders may hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CachedPolicy)]
pub(crate) struct CachedBody {
    /// Its id.
    #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
    version_id: String,
    /// The `id` in its TXT record.
    #[schema(example = "20261121213000a1b2c3")]
    policy_id: String,
    /// Its mode.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// Until when: last served, and its max_age from then. For the one that is served now, if a sender fetches it now.
    until: DateTime<Utc>,
}

/// The answer of an operation that sets a policy.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the OpenAPI document")]
pub(crate) enum PolicyOrDryRun {
    /// The current version, new or unchanged.
    Policy(PolicyBody),
    /// With `dry_run=true`: what would happen.
    DryRun(DryRunBody),
}

/// Answers with what `act` would do to the domain with this id. For a domain that `act` would make, that is the id that it
/// would give.
pub(crate) async fn answer<T>(
    scope: &TenantScope,
    id: DomainId,
    act: impl AsyncFnOnce(&mut TenantTx) -> Result<T, Problem>,
) -> Result<HttpResponse, Problem> {
    let body = scope
        .rehearse(async |tx| {
            let before = tx.domain_locked(id).await?;
            let caches = match &before {
                Some(_) => tx.cached_versions(id, scope.now()).await?,
                None => Vec::new(),
            };
            let value = match &before {
                Some(before) => published(tx, before).await?,
                None => None,
            };
            act(tx).await?;
            let after = tx.domain(id).await?.ok_or_else(|| Problem::not_found("domain"))?;
            Ok(DryRunBody::of(before.as_ref(), &after, value, caches))
        })
        .await?;
    Ok(HttpResponse::Ok().json(body))
}

/// What the TXT record says.
async fn published(tx: &TenantTx, domain: &DomainView) -> Result<Option<String>, Problem> {
    let Some(id) = domain.published_version else { return Ok(None) };
    let version = tx.version(domain.id, id).await?;
    Ok(version.map(|version| StsRecord::new(version.policy_id).to_string()))
}

impl DryRunBody {
    fn of(before: Option<&DomainView>, after: &DomainView, value: Option<String>, caches: Vec<CachedVersion>) -> Self {
        let policy = |view: &DomainView| {
            let lives = view.state != DomainState::Gone;
            view.version.as_ref().filter(|_| lives).map(|version| version.policy.clone())
        };
        let version = |view: &DomainView| view.version.as_ref().map(|version| version.id);
        let new_id = version(after).is_some() && before.and_then(version) != version(after);
        let (policy_before, policy_after) = (before.and_then(policy), policy(after));
        let caches: Vec<_> = caches.into_iter().filter(|cached| Some(cached.id) != version(after)).collect();
        let mut warnings =
            policy_after.as_ref().map_or_else(Vec::new, |policy| warnings::of(policy, after.mx_seen.as_ref()));
        let ends = policy_after.as_ref().is_none_or(|policy| policy.mode() == Mode::None);
        let enforced = caches.iter().filter(|cached| cached.mode == Mode::Enforce).map(|cached| cached.until).max();
        warnings.extend(enforced.filter(|_| ends).map(enforced_elsewhere));
        Self {
            dry_run: true,
            changes: new_id || before.is_none_or(|before| before.state != after.state),
            state: StateChange { before: before.map(|before| before.state.as_str()), after: after.state.as_str() },
            policy: PolicyChange {
                before: policy_before.as_ref().map(PolicyText::of),
                after: policy_after.as_ref().map(PolicyText::of),
            },
            record: RecordChange { name: record_name(after), value, new_id },
            warnings,
            caches: caches.into_iter().map(CachedBody::from).collect(),
        }
    }
}

fn enforced_elsewhere(until: DateTime<Utc>) -> Warning {
    let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
    let message = format!(
        "senders that have fetched `enforce` may keep to it until {until}: leave the MX hosts and their certificates as \
         they are until then"
    );
    Warning { code: "enforce-still-cached", message }
}

fn record_name(view: &DomainView) -> String {
    let delegation = Delegation::new(&view.name, &view.label, &view.zones.home);
    let mut records = delegation.records().into_iter();
    records.find(|record| record.purpose == DelegationPurpose::StsRecord).map(|record| record.name).unwrap_or_default()
}

impl PolicyText {
    fn of(policy: &Policy) -> Self {
        Self {
            mode: policy.mode(),
            mx: policy.mx().iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            max_age: policy.max_age().seconds(),
            text: policy.to_text(),
        }
    }
}

impl From<CachedVersion> for CachedBody {
    fn from(cached: CachedVersion) -> Self {
        Self {
            version_id: cached.id.to_string(),
            policy_id: cached.policy_id.to_string(),
            mode: cached.mode,
            until: cached.until,
        }
    }
}
