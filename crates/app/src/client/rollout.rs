//! `mtasts rollout start|show|pause|resume|end`, and `mtasts domains readiness`

use clap::Subcommand;
use serde_json::json;

use super::{
    error::ClientError,
    http::{Answer, Call},
    session::Session,
    views::{Readiness, Rollout},
};

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Take a domain from `testing` to `enforce` by the usual plan, each step when it is proven
    Start {
        /// The domain's name or id
        domain: String,
        /// Go back to `testing` where verified failures jump; else the plan pauses
        #[arg(long)]
        fall_back: bool,
    },
    /// Show how far a plan has come
    Show {
        /// The domain's name or id
        domain: String,
    },
    /// Let nothing follow until it is resumed
    Pause {
        /// The domain's name or id
        domain: String,
    },
    /// Let it go on
    Resume {
        /// The domain's name or id
        domain: String,
    },
    /// End a plan; the policy stays as it is
    End {
        /// The domain's name or id
        domain: String,
    },
}

pub(super) async fn run(session: &Session, command: RolloutCommand) -> Result<(), ClientError> {
    let (domain, verb) = match &command {
        RolloutCommand::Start { domain, .. } | RolloutCommand::Show { domain } | RolloutCommand::End { domain } => {
            (domain, "rollout")
        }
        RolloutCommand::Pause { domain } => (domain, "rollout:pause"),
        RolloutCommand::Resume { domain } => (domain, "rollout:resume"),
    };
    let id = session.domain_id(domain).await?;
    let path = ["v1", "domains", &id, verb];
    let call = match command {
        RolloutCommand::Start { fall_back, .. } => {
            Call::put(&path, json!({"fallback": if fall_back { "testing" } else { "pause" }}))
        }
        RolloutCommand::Show { .. } => Call::get(&path),
        RolloutCommand::End { .. } => Call::delete(&path),
        RolloutCommand::Pause { .. } | RolloutCommand::Resume { .. } => Call::post(&path, json!({})),
    };
    describe(session, &session.api.send(call).await?)
}

fn describe(session: &Session, answer: &Answer) -> Result<(), ClientError> {
    let out = &session.out;
    if out.json {
        return out.line(&answer.text);
    }
    let rollout: Rollout = answer.parse()?;
    out.line(format_args!("Step {} of {}: {}", rollout.step, rollout.steps.len(), rollout.state))?;
    if let Some(finding) = &rollout.finding {
        out.line(format_args!("  found: {} ({})", finding.message, finding.code))?;
    }
    if !rollout.waits_for.as_str().is_empty() {
        out.line(format_args!("  {}", rollout.waits_for))?;
    }
    if let Some(at) = &rollout.next_step_at {
        out.line(format_args!("  the next step follows at {at}"))?;
    }
    let rows: Vec<_> = rollout
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let marker = if index + 1 == rollout.step { ">" } else { " " };
            [marker.to_owned(), step.mode.to_string(), step.max_age.to_string(), step.days.to_string()]
        })
        .collect();
    out.table(2, ["", "MODE", "MAX_AGE", "DAYS"], &rows)
}

/// Whether `enforce` is safe. The exit code says it as well.
pub(super) async fn readiness(session: &Session, domain: &str) -> Result<(), ClientError> {
    let id = session.domain_id(domain).await?;
    let answer = session.api.send(Call::get(&["v1", "domains", &id, "readiness"])).await?;
    let out = &session.out;
    let readiness: Readiness = answer.parse()?;
    if out.json {
        out.line(&answer.text)?;
    } else {
        let verdict = match (readiness.ready, readiness.proven) {
            (true, true) => "Enforce is safe: nothing speaks against it",
            (true, false) => "Enforce is possible; more proof would be better",
            (false, _) => "Enforce is not safe",
        };
        out.line(verdict)?;
        for reason in &readiness.reasons {
            let host = reason.host.as_ref().map(|host| format!("{host}: ")).unwrap_or_default();
            let (weight, message, code) = (&reason.weight, &reason.message, &reason.code);
            out.line(format_args!("  {weight:<8}  {host}{message} ({code})"))?;
            out.line(format_args!("            {}", reason.what_to_do))?;
        }
    }
    if readiness.ready { Ok(()) } else { Err(ClientError::No("enforce would be refused".to_owned())) }
}
