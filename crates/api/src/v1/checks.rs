//! Looks at any domain as a sender would, and policies that are built from one.

pub(crate) mod create;
pub(crate) mod generate;
pub(crate) mod list;
pub(crate) mod read;

use actix_web::{HttpResponse, http::StatusCode};
use chrono::{DateTime, Utc};
use mtasts_model::{CheckId, MailDomain, check::CheckWanted};
use mtasts_store::{AskedCheck, Check, NewCheck, TenantTx};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    auth::TenantScope,
    extract::{Answer, Once},
    problem::{FieldError, Problem, ProblemKind},
    state::State,
};

/// A look at a domain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Check)]
pub(crate) struct CheckBody {
    /// Its id.
    #[schema(example = "chk_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// `inspection`: what a sender finds. `policy`: a policy and its records are built from it.
    #[schema(example = "inspection")]
    kind: &'static str,
    /// The mail domain as A-labels.
    #[schema(example = "example.com")]
    domain: String,
    /// `waiting`, `running`, `done`, or `failed`: then `problem` says why. It is looked at again until it is one of the last
    /// two, for a minute or so.
    #[schema(example = "done")]
    state: &'static str,
    /// When it was asked for. It is kept for 7 days.
    created_at: DateTime<Utc>,
    /// When the look began.
    #[schema(required)]
    started_at: Option<DateTime<Utc>>,
    /// When it was over.
    #[schema(required)]
    finished_at: Option<DateTime<Utc>>,
    /// The worst of what was found: `ok`, `note`, `warning` or `error`; null until the look is over.
    #[schema(required, example = "warning")]
    severity: Option<String>,
    /// Why there is not what was asked for.
    #[schema(required)]
    problem: Option<CheckProblemBody>,
    /// The inspector's report, as `mtasts check --json` prints it: `verdict`, `findings` with their codes, and what was seen.
    /// Null until the look is over, and in lists. `abridged` is true in it if it was too long to be kept whole.
    #[schema(required, value_type = Option<Object>)]
    report: Option<Value>,
    /// For `policy`, what was built: `policy`, `url`, `mode`, `records`, `findings`, and `safe`: whether no mail would be lost
    /// with it today. Null until the look is over, and in lists.
    #[schema(required, value_type = Option<Object>)]
    generated: Option<Value>,
}

/// Why there is not what was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CheckProblem)]
pub(crate) struct CheckProblemBody {
    /// A stable word: `not-seen` (no resolver answered), `not-finished`, and for `policy` `no-mail`, `mx-unusable`,
    /// `policy-impossible` or `tls-rpt-impossible`.
    #[schema(example = "no-mail")]
    code: String,
    /// A sentence for people.
    #[schema(example = "example.com takes no mail: there is nothing to protect")]
    message: String,
}

impl From<Check> for CheckBody {
    fn from(check: Check) -> Self {
        let state = check.state().as_str();
        Self {
            id: check.id.to_string(),
            kind: check.wanted.kind(),
            domain: check.domain.to_string(),
            state,
            created_at: check.created_at,
            started_at: check.started_at,
            finished_at: check.finished_at,
            severity: check.severity,
            problem: check.problem.map(|(code, message)| CheckProblemBody { code, message }),
            report: check.report,
            generated: check.generated,
        }
    }
}

/// The mail domain that is to be looked at: by the same rules as those that can be registered.
fn domain(text: &str, state: &State) -> Result<MailDomain, FieldError> {
    MailDomain::parse(text, &state.config.name_rules)
        .map_err(|error| FieldError::at("/domain", error.code(), error.to_string()))
}

/// Asks for the check, once for each key.
async fn ask(
    scope: &TenantScope,
    once: Once<'_>,
    domain: MailDomain,
    wanted: CheckWanted,
) -> Result<HttpResponse, Problem> {
    let answer = once.run(scope.begin().await?, async |tx| ask_within(tx, scope, domain, wanted).await).await?;
    Ok(answer.respond())
}

/// If the tenant's budget allows one more.
async fn ask_within(
    tx: &mut TenantTx,
    scope: &TenantScope,
    domain: MailDomain,
    wanted: CheckWanted,
) -> Result<Answer, Problem> {
    let (state, now) = (scope.state(), scope.now());
    let per_hour = state.config.checks_per_hour;
    let new = NewCheck { id: CheckId::draw(now, &*state.entropy), domain, wanted };
    match tx.ask_for_check(&new, per_hour, &scope.actor(), now).await? {
        AskedCheck::Made(check) => {
            let location = format!("/v1/checks/{}", check.id);
            Ok(Answer::new(StatusCode::ACCEPTED, &CheckBody::from(*check))?.location(location))
        }
        AskedCheck::TooMany { free_at } => {
            let wait = (free_at - now).to_std().unwrap_or_default().max(std::time::Duration::from_secs(1));
            let detail =
                format!("{per_hour} checks an hour are possible, and as many were asked for within the last one");
            Err(Problem::new(ProblemKind::RateLimited, detail).retry_after(wait))
        }
    }
}
