//! `mtasts domains checks` and `mtasts domains simulate`

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{domains::Mode, error::ClientError, http::Call, session::Session, text::Text};

/// What the looks from outside came to.
#[derive(Debug, Deserialize)]
struct Checks {
    latest: Option<Latest>,
    data: Vec<CheckedDay>,
}

#[derive(Debug, Deserialize)]
struct Latest {
    looked_at: Text,
    good: Option<bool>,
    problem: Option<Problem>,
}

#[derive(Debug, Deserialize)]
struct Problem {
    code: Text,
    message: Text,
}

#[derive(Debug, Deserialize)]
struct CheckedDay {
    day: Text,
    looks: u32,
    failed: u32,
    problem: Option<Problem>,
}

/// What senders find, by the looks from outside. The exit code says it as well.
pub(super) async fn checks(session: &Session, domain: &str) -> Result<(), ClientError> {
    let id = session.domain_id(domain).await?;
    let answer = session.api.send(Call::get(&["v1", "domains", &id, "checks"])).await?;
    let (out, checks) = (&session.out, answer.parse::<Checks>()?);
    if out.json {
        out.line(&answer.text)?;
    } else {
        match &checks.latest {
            None => out.line("Nobody has looked from outside yet")?,
            Some(Latest { looked_at, problem: None, .. }) => {
                out.line(format_args!("{looked_at}: senders find what they are meant to find"))?;
            }
            Some(Latest { looked_at, problem: Some(Problem { code, message }), .. }) => {
                out.line(format_args!("{looked_at}: {message} ({code})"))?;
            }
        }
        let rows: Vec<_> = checks
            .data
            .iter()
            .map(|day| {
                let code = day.problem.as_ref().map_or("", |problem| problem.code.as_str());
                [day.day.to_string(), day.looks.to_string(), day.failed.to_string(), code.to_owned()]
            })
            .collect();
        out.table(2, ["DAY", "LOOKS", "FAILED", "LAST FAILURE"], &rows)?;
    }
    let wrong = checks.latest.is_some_and(|latest| latest.good == Some(false));
    if wrong { Err(ClientError::No("senders do not find what they are meant to find".to_owned())) } else { Ok(()) }
}

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// The domain's name or id
    domain: String,
    /// The mode; that of the current policy where absent
    #[arg(long)]
    mode: Option<Mode>,
    /// An MX pattern, once for each: all of them; those of the current policy where absent
    #[arg(long, value_name = "PATTERN")]
    mx: Vec<String>,
    /// How long senders may keep the policy, in seconds
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Simulation {
    loses_mail: bool,
    senders: Vec<SimulatedSender>,
}

#[derive(Debug, Deserialize)]
struct SimulatedSender {
    sender: Text,
    holds: Option<Text>,
    acts_by: Text,
    draft_from: Option<Text>,
    mail: Text,
    hosts: Vec<SimulatedHost>,
}

#[derive(Debug, Deserialize)]
struct SimulatedHost {
    host: Text,
    fate: Text,
    reason: Option<Text>,
}

/// What senders would do with a draft. The exit code says whether mail would be lost.
pub(super) async fn simulate(session: &Session, args: &SimulateArgs) -> Result<(), ClientError> {
    let id = session.domain_id(&args.domain).await?;
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| body.extend(value.map(|value| (name.to_owned(), value)));
    set("mode", args.mode.map(|mode| json!(mode.as_str())));
    set("mx", (!args.mx.is_empty()).then(|| json!(args.mx)));
    set("max_age", args.max_age.map(|seconds| json!(seconds)));
    let path = ["v1", "domains", &id, "policy:simulate"];
    let answer = session.api.send(Call::post(&path, Value::Object(body))).await?;
    let (out, simulation) = (&session.out, answer.parse::<Simulation>()?);
    if out.json {
        out.line(&answer.text)?;
    } else {
        for case in &simulation.senders {
            let holds = case.holds.as_ref().map_or("nothing", Text::as_str);
            let from = case.draft_from.as_ref().map(|at| format!(", the draft from {at}")).unwrap_or_default();
            out.line(format_args!(
                "{} that holds {holds}: mail {} (acts by {}{from})",
                case.sender, case.mail, case.acts_by
            ))?;
            for host in &case.hosts {
                let reason = host.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
                out.line(format_args!("  {}: {}{reason}", host.host, host.fate))?;
            }
        }
    }
    if simulation.loses_mail { Err(ClientError::No("mail would be lost".to_owned())) } else { Ok(()) }
}
