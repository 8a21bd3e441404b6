//! Moving mail from old MX hosts to new ones.

pub(crate) mod cancel;
pub(crate) mod confirm;
pub(crate) mod create;
pub(crate) mod list;

use chrono::{DateTime, SecondsFormat, Utc};
use mtasts_model::{MxPattern, Timestamp};
use mtasts_store::{DomainView, MigrationState, MigrationView, TenantTx};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, ProblemKind};

/// The migrations that are known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MigrationList)]
pub(crate) struct MigrationList {
    /// The latest one, under way or over; empty where there never was one.
    data: Vec<MigrationBody>,
}

/// A migration from old MX hosts to new ones.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Migration)]
pub(crate) struct MigrationBody {
    /// Its id.
    #[schema(example = "mig_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// `under-way`: the policy has the old hosts and the new ones. `done`: the old ones have left it. `cancelled`: it was
    /// ended by you, and the policy has both. `overruled`: a policy without some of the hosts was set.
    #[schema(example = "under-way")]
    state: &'static str,
    /// The old hosts.
    #[schema(example = json!(["mx.old.example.net"]))]
    from: Vec<String>,
    /// The new ones.
    #[schema(example = json!(["mx.new.example.net"]))]
    to: Vec<String>,
    /// The first version with both.
    #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
    version_id: String,
    /// From when on MX records may name the new hosts alone: no sender can hold a policy without them. Null while that is not
    /// known: the policy with both is on its way, or an edge has not told what it served.
    #[schema(required)]
    safe_to_point_mx_at: Option<DateTime<Utc>>,
    /// When the old hosts may be switched off. Null while DNS names one of them, or the other time is not known.
    #[schema(required)]
    safe_to_switch_off_at: Option<DateTime<Utc>>,
    /// Since when looks have found none of the old hosts among the MX hosts.
    #[schema(required)]
    absent_since: Option<DateTime<Utc>>,
    /// When you said that no MX record leads to an old host any more.
    #[schema(required)]
    confirmed_at: Option<DateTime<Utc>>,
    /// When it was begun.
    created_at: DateTime<Utc>,
    /// When it ended.
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    /// What to do next, in a sentence for people.
    #[schema(
        example = "Leave the MX records as they are until 2026-01-08T00:00:00Z: senders may hold a policy without the new hosts"
    )]
    message: String,
}

impl MigrationBody {
    fn of(view: &MigrationView, now: Timestamp) -> Self {
        let message = what_to_do(view, now);
        let texts = |patterns: &[MxPattern]| patterns.iter().map(MxPattern::to_string).collect();
        let safe_to_switch_off_at = view.migration.safe_to_switch_off_at();
        Self {
            id: view.id.to_string(),
            state: view.state.as_str(),
            from: texts(&view.migration.from),
            to: texts(&view.migration.to),
            version_id: view.version_id.to_string(),
            safe_to_point_mx_at: view.migration.safe_to_point_mx_at,
            safe_to_switch_off_at,
            absent_since: view.migration.absent_since,
            confirmed_at: view.migration.confirmed_at,
            created_at: view.migration.created_at,
            ended_at: view.ended_at,
            message,
        }
    }
}

fn what_to_do(view: &MigrationView, now: Timestamp) -> String {
    let migration = &view.migration;
    match view.state {
        MigrationState::Done => return "It is done: the old hosts have left the policy".to_owned(),
        MigrationState::Cancelled => {
            return "It was cancelled: the policy has the old hosts and the new ones".to_owned();
        }
        MigrationState::Overruled => return "It is over: a policy without some of the hosts was set".to_owned(),
        MigrationState::UnderWay => {}
    }
    match (migration.safe_to_point_mx_at, migration.safe_to_switch_off_at()) {
        (None, _) => "Leave the MX records as they are: the policy with both is on its way to senders".to_owned(),
        (Some(at), _) if at > now => format!(
            "Leave the MX records as they are until {}: senders may hold a policy without the new hosts",
            shown(at)
        ),
        (Some(_), None) => "Let the MX records name the new hosts alone, and leave the old hosts on".to_owned(),
        (Some(_), Some(at)) if at > now => {
            format!("Leave the old hosts on until {}: resolvers may keep the older MX records", shown(at))
        }
        (Some(_), Some(_)) => "The old hosts may be switched off, and are about to leave the policy".to_owned(),
    }
}

fn shown(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The migration under way, which the operation cannot do without.
async fn under_way(tx: &TenantTx, domain: &DomainView) -> Result<MigrationView, Problem> {
    let found = tx.migration(domain.id).await?.filter(|view| view.state == MigrationState::UnderWay);
    found.ok_or_else(|| Problem::not_found("migration"))
}

/// The refusal of what would lose mail, with the time from which on it would not.
pub(crate) fn not_safe(view: &MigrationView, detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    let safe_at = view.migration.safe_to_switch_off_at().or(view.migration.safe_to_point_mx_at);
    Problem::new(ProblemKind::MigrationNotSafe, detail).with("safe_at", safe_at.map(shown))
}
