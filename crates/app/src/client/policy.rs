//! `mtasts policy show|set|mode|rollback`

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    domains::Mode,
    error::ClientError,
    http::{Answer, Call},
    session::Session,
    views::{Page, Policy},
    watch::{self, Goal, Patience},
};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the current policy, or all versions
    Show {
        /// The domain's name or id
        domain: String,
        /// All versions that there were, newest first
        #[arg(long)]
        history: bool,
    },
    /// Change what is given, and leave the rest as it is
    Set(SetArgs),
    /// Change the mode
    Mode {
        /// The domain's name or id
        domain: String,
        /// The mode
        mode: Mode,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Go back to an earlier version; it becomes a new version with an id of its own
    Rollback {
        /// The domain's name or id
        domain: String,
        /// The version's id (pol_…) or its policy id; the one before the current one where absent
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The domain's name or id
    domain: String,
    /// The mode
    #[arg(long)]
    mode: Option<Mode>,
    /// An MX pattern, once for each: all of them
    #[arg(long, value_name = "PATTERN")]
    mx: Vec<String>,
    /// How long senders may keep the policy, in seconds
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u32>,
    /// Replace the whole policy: what is not given is set to its default. Also for a domain that has none yet
    #[arg(long, requires = "mode")]
    replace: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Options of every change.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Set `enforce` although it is not proven to be safe; the reason is kept in the audit log
    #[arg(long, value_name = "REASON")]
    force: Option<String>,
    /// Only if this is the current version (its id, pol_…)
    #[arg(long, value_name = "VERSION")]
    if_version: Option<String>,
    /// Wait until the new version is published
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
}

impl ChangeArgs {
    fn body(&self, members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        let mut body: Map<_, _> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if let Some(reason) = &self.force {
            body.insert("force".to_owned(), json!(true));
            body.insert("reason".to_owned(), json!(reason));
        }
        Value::Object(body)
    }
}

pub(super) async fn run(session: &Session, command: PolicyCommand) -> Result<(), ClientError> {
    match command {
        PolicyCommand::Show { domain, history: false } => show(session, &domain).await,
        PolicyCommand::Show { domain, history: true } => history(session, &domain).await,
        PolicyCommand::Set(args) => set(session, &args).await,
        PolicyCommand::Mode { domain, mode, change } => {
            let id = session.domain_id(&domain).await?;
            let body = change.body([("mode", json!(mode.as_str()))]);
            make(session, &id, Call::put(&["v1", "domains", &id, "mode"], body), &change).await
        }
        PolicyCommand::Rollback { domain, to, change } => roll_back(session, &domain, to.as_deref(), &change).await,
    }
}

async fn show(session: &Session, domain: &str) -> Result<(), ClientError> {
    let id = session.domain_id(domain).await?;
    let answer = session.api.send(Call::get(&["v1", "domains", &id, "policy"])).await?;
    describe(session, &answer)
}

fn describe(session: &Session, answer: &Answer) -> Result<(), ClientError> {
    let out = &session.out;
    if out.json {
        return out.line(&answer.text);
    }
    let policy: Policy = answer.parse()?;
    let Policy { id, policy_id, state, reason, created_by, created_at, .. } = &policy;
    out.line(format_args!("Policy {policy_id} ({id}) is {state}"))?;
    out.line(format_args!("  made {created_at} by {created_by}: {reason}"))?;
    if let Some(published) = &policy.published_at {
        out.line(format_args!("  published {published}"))?;
    }
    if let Some(forced) = &policy.forced {
        out.line(format_args!("  forced: {forced}"))?;
    }
    out.line("")?;
    out.text(&policy.text)?;
    if !policy.warnings.is_empty() {
        out.line("\nWarnings")?;
    }
    policy.warnings.iter().try_for_each(|warning| out.line(format_args!("  - {} ({})", warning.message, warning.code)))
}

/// As many pages as there are; with --json one document over all.
async fn history(session: &Session, domain: &str) -> Result<(), ClientError> {
    let id = session.domain_id(domain).await?;
    let path = ["v1", "domains", &id, "policy", "versions"];
    let out = &session.out;
    if out.json {
        let all: Vec<Value> = session.all(&path).await?;
        return out.line(json!({"data": all, "next_cursor": null}));
    }
    let all: Vec<Policy> = session.all(&path).await?;
    let rows: Vec<_> = all
        .into_iter()
        .map(|policy| [policy.policy_id, policy.mode, policy.state, policy.reason, policy.created_at, policy.id])
        .map(|row| row.map(|text| text.to_string()))
        .collect();
    out.table(0, ["POLICY ID", "MODE", "STATE", "REASON", "MADE", "VERSION"], &rows)
}

async fn set(session: &Session, args: &SetArgs) -> Result<(), ClientError> {
    let mx = (!args.mx.is_empty()).then(|| ("mx", json!(args.mx)));
    let mode = args.mode.map(|mode| ("mode", json!(mode.as_str())));
    let max_age = args.max_age.map(|seconds| ("max_age", json!(seconds)));
    let members: Vec<_> = [mode, mx, max_age].into_iter().flatten().collect();
    if members.is_empty() {
        return Err(ClientError::Usage("nothing to set: give --mode, --mx or --max-age".to_owned()));
    }
    let id = session.domain_id(&args.domain).await?;
    let (path, body) = (["v1", "domains", &id, "policy"], args.change.body(members));
    let call = if !args.replace {
        Call::patch(&path, body)
    } else if session.has_policy(&id).await? {
        // What is there is replaced only by who says so; where there is nothing, `*` is refused.
        Call::put(&path, body).over_any()
    } else {
        Call::put(&path, body)
    };
    make(session, &id, call, &args.change).await
}

async fn roll_back(session: &Session, domain: &str, to: Option<&str>, change: &ChangeArgs) -> Result<(), ClientError> {
    let id = session.domain_id(domain).await?;
    let version = match to {
        Some(version) if version.starts_with("pol_") => version.to_owned(),
        to => earlier(session, &id, to).await?,
    };
    let body = change.body([("version_id", json!(version))]);
    make(session, &id, Call::post(&["v1", "domains", &id, "policy", "rollback"], body), change).await
}

/// The id of the version with this policy id, or of the one before the current one.
async fn earlier(session: &Session, id: &str, policy_id: Option<&str>) -> Result<String, ClientError> {
    let path = ["v1", "domains", id, "policy", "versions"];
    let found = if let Some(policy_id) = policy_id {
        let all: Vec<Policy> = session.all(&path).await?;
        all.into_iter().find(|policy| policy.policy_id.as_str() == policy_id)
    } else {
        let page: Page<Policy> = session.api.send(Call::get(&path).query("limit", Some(2))).await?.parse()?;
        page.data.into_iter().nth(1)
    };
    found.map(|policy| policy.id.as_str().to_owned()).ok_or_else(|| match policy_id {
        Some(policy_id) => ClientError::NotFound(format!("the domain never had a policy with the id {policy_id}")),
        None => ClientError::No("there is no earlier version to go back to".to_owned()),
    })
}

/// Makes the change, shows the version that is current now, and waits for it where that is asked for.
async fn make(session: &Session, id: &str, call: Call<'_>, change: &ChangeArgs) -> Result<(), ClientError> {
    let answer = session.api.send(call.if_version(change.if_version.as_deref())).await?;
    describe(session, &answer)?;
    if change.wait {
        watch::until(session, id, Goal::Published, change.patience).await?;
    }
    Ok(())
}
