//! `mtasts domains add|list|show|rm`

mod list;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use self::list::ListArgs;
use super::{
    checks::{self, SimulateArgs},
    error::ClientError,
    http::Call,
    prompt, rollout,
    session::Session,
    views::{Delegation, Domain},
    watch::{self, Goal, Patience},
};

#[derive(Debug, Subcommand)]
pub(crate) enum DomainsCommand {
    /// Register a domain, and print the CNAMEs to set
    Add(AddArgs),
    /// List domains
    List(ListArgs),
    /// Show a domain: conditions, records, policy, certificate, MX hosts
    Show {
        /// Its name or id
        domain: String,
    },
    /// Say whether `enforce` is safe, with every reason; the exit code is 1 where it would be refused
    Readiness {
        /// Its name or id
        domain: String,
    },
    /// Show what senders find, by the looks from outside; the exit code is 1 where it is not what is meant
    Checks {
        /// Its name or id
        domain: String,
    },
    /// Say what kinds of sender would do today if a draft became the policy; the exit code is 1 where mail would be lost
    Simulate(SimulateArgs),
    /// Withdraw a domain: mode `none` is served until no sender can hold another policy
    Rm {
        /// Its name or id
        domain: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The mail domain: the part behind @
    name: String,
    /// The mode to start in: `testing` where absent
    #[arg(long)]
    mode: Option<Mode>,
    /// An MX pattern, once for each; where absent the MX hosts are found in DNS
    #[arg(long, value_name = "PATTERN")]
    mx: Vec<String>,
    /// How long senders may keep the policy, in seconds
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u32>,
    /// Where TLS reports go (mailto: or https:), once for each
    #[arg(long, value_name = "URI")]
    rua: Vec<String>,
    /// Wait until the policy is published, which takes the CNAMEs
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
}

/// A policy's mode (RFC 8461 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    None,
    Testing,
    Enforce,
}

impl Mode {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Testing => "testing",
            Self::Enforce => "enforce",
        }
    }
}

pub(super) async fn run(session: &Session, command: DomainsCommand) -> Result<(), ClientError> {
    match command {
        DomainsCommand::Add(args) => add(session, &args).await,
        DomainsCommand::List(args) => list::list(session, args).await,
        DomainsCommand::Show { domain } => show(session, &domain).await,
        DomainsCommand::Readiness { domain } => rollout::readiness(session, &domain).await,
        DomainsCommand::Checks { domain } => checks::checks(session, &domain).await,
        DomainsCommand::Simulate(args) => checks::simulate(session, &args).await,
        DomainsCommand::Rm { domain, yes } => remove(session, &domain, yes).await,
    }
}

async fn add(session: &Session, args: &AddArgs) -> Result<(), ClientError> {
    let mut body = Map::from_iter([("name".to_owned(), json!(args.name))]);
    let mut set = |name: &str, value: Option<Value>| body.extend(value.map(|value| (name.to_owned(), value)));
    set("mode", args.mode.map(|mode| json!(mode.as_str())));
    set("mx", (!args.mx.is_empty()).then(|| json!(args.mx)));
    set("max_age", args.max_age.map(|seconds| json!(seconds)));
    set("tls_rpt", (!args.rua.is_empty()).then(|| json!({"rua": args.rua})));
    let answer = session.api.send(Call::post(&["v1", "domains"], Value::Object(body))).await?;
    let domain: Domain = answer.parse()?;
    let out = &session.out;
    if out.json {
        out.line(&answer.text)?;
    } else {
        out.line(format_args!("Registered {} ({})", domain.name, domain.id))?;
        out.line("Set these CNAMEs, once:")?;
        records(session, &domain.delegation)?;
        out.line("\nAs lines of a zone file:")?;
        out.text(&domain.delegation.zone_file)?;
    }
    if args.wait {
        watch::until(session, domain.id.as_str(), Goal::Published, args.patience).await?;
    }
    Ok(())
}

/// The CNAMEs as a table.
pub(super) fn records(session: &Session, delegation: &Delegation) -> Result<(), ClientError> {
    let rows: Vec<_> = delegation
        .records
        .iter()
        .map(|record| {
            let seen = match (&record.seen, &record.seen_target) {
                (None, _) => "not looked at yet".to_owned(),
                (Some(seen), Some(target)) => format!("{seen} ({target})"),
                (Some(seen), None) => seen.to_string(),
            };
            let need = if record.required { "yes" } else { "optional" }.to_owned();
            [record.name.to_string(), record.kind.to_string(), record.target.to_string(), need, seen]
        })
        .collect();
    session.out.table(2, ["NAME", "TYPE", "TARGET", "NEEDED", "SEEN"], &rows)
}

async fn show(session: &Session, domain: &str) -> Result<(), ClientError> {
    let id = session.domain_id(domain).await?;
    let (answer, domain) = session.domain(&id).await?;
    if session.out.json {
        return session.out.line(&answer.text);
    }
    describe(session, &domain)
}

fn describe(session: &Session, domain: &Domain) -> Result<(), ClientError> {
    let out = &session.out;
    let Domain { id, name, unicode_name, state, mode, .. } = domain;
    if unicode_name == name {
        out.line(format_args!("{name} ({id})"))?;
    } else {
        out.line(format_args!("{unicode_name}, {name} ({id})"))?;
    }
    match &domain.policy {
        Some(policy) => {
            out.line(format_args!("  {state}, mode {mode}, policy id {} ({})", policy.policy_id, policy.state))?;
        }
        None => out.line(format_args!("  {state}, no policy yet; it will have mode {mode}"))?,
    }
    if let Some(withdrawal) = &domain.withdrawal {
        out.line(format_args!("  {}", withdrawal.message))?;
    }
    out.line("\nConditions")?;
    out.conditions(domain)?;
    out.line("\nRecords in your zone")?;
    records(session, &domain.delegation)?;
    if let Some(certificate) = &domain.certificate {
        out.line(format_args!("\nCertificate by {}, until {}", certificate.issuer, certificate.not_after))?;
    }
    if domain.mx.hosts.is_empty() {
        return Ok(());
    }
    out.line("\nMX hosts")?;
    let rows: Vec<_> = domain
        .mx
        .hosts
        .iter()
        .map(|host| {
            let covered = match host.covered {
                Some(true) => "covered",
                Some(false) => "not covered",
                None => "no policy",
            };
            let state = match &host.failure {
                Some(failure) => failure.message.to_string(),
                None if host.ready => "ready".to_owned(),
                None => "not ready".to_owned(),
            };
            [host.preference.to_string(), host.host.to_string(), covered.to_owned(), state]
        })
        .collect();
    out.table(2, [""; 4], &rows)
}

async fn remove(session: &Session, domain: &str, yes: bool) -> Result<(), ClientError> {
    let id = session.domain_id(domain).await?;
    if !yes {
        prompt::confirm(&format!("Withdraw {domain}? This cannot be taken back."))?;
    }
    let answer = session.api.send(Call::delete(&["v1", "domains", &id])).await?;
    let out = &session.out;
    if out.json {
        return out.line(&answer.text);
    }
    let domain: Domain = answer.parse()?;
    out.line(format_args!("{} is being withdrawn; leave the CNAMEs where they are until it is safe", domain.name))?;
    domain.withdrawal.map_or(Ok(()), |withdrawal| out.line(withdrawal.message))
}
