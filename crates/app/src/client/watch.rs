//! `mtasts watch`: looks at a domain again and again, until it is as it should be.

use std::time::Duration;

use clap::{Args, ValueEnum};
use mtasts_model::{Clock, SystemClock};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    error::{ClientError, Exit},
    session::Session,
    views::{Condition, Domain},
};
use crate::startup::causes;

/// How long between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The domain's name or id
    domain: String,
    /// Until when: `healthy` (every condition holds) or `published` (the current policy, its id in DNS)
    #[arg(long, value_enum, default_value = "healthy")]
    until: Goal,
    #[command(flatten)]
    patience: Patience,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Goal {
    Published,
    Healthy,
}

impl Goal {
    fn reached(self, domain: &Domain) -> bool {
        match self {
            Self::Published => domain.is_published(),
            Self::Healthy => domain.is_healthy(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Healthy => "healthy",
        }
    }
}

/// How long to wait.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Patience {
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u32,
}

pub(super) async fn run(session: &Session, args: &WatchArgs) -> Result<(), ClientError> {
    let id = session.domain_id(&args.domain).await?;
    until(session, &id, args.until, args.patience).await
}

/// Shows what changes, until the goal is reached.
pub(super) async fn until(session: &Session, id: &str, goal: Goal, patience: Patience) -> Result<(), ClientError> {
    let patience = Duration::from_secs(patience.timeout.into());
    let deadline = Instant::now() + patience;
    let mut shown = Shown::default();
    loop {
        match timeout_at(deadline, session.domain(id)).await {
            Ok(Ok((answer, domain))) => {
                shown.show(session, &answer.text, domain)?;
            }
            // Seconds of absence do not end a wait of minutes.
            Ok(Err(error)) if error.exit() == Exit::Away => shown.away(error),
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        if shown.domain.as_ref().is_some_and(|domain| goal.reached(domain)) {
            return if session.out.json {
                Ok(())
            } else {
                session.out.line(format_args!("{} is {}", shown.name(id), goal.word()))
            };
        }
        if shown.domain.as_ref().is_some_and(|domain| domain.state.as_str() == "gone") {
            return Err(ClientError::No(format!("{} is gone", shown.name(id))));
        }
        if Instant::now() + INTERVAL >= deadline {
            return Err(shown.late(id, goal, patience));
        }
        sleep(INTERVAL).await;
    }
}

/// What was shown last.
#[derive(Default)]
struct Shown {
    domain: Option<Domain>,
    json: String,
    /// Why the last look failed.
    away: Option<ClientError>,
}

impl Shown {
    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.domain.as_ref().map_or(id, |domain| domain.name.as_str())
    }

    fn show(&mut self, session: &Session, json: &str, domain: Domain) -> Result<(), ClientError> {
        self.away = None;
        if session.out.json {
            if self.json != json {
                session.out.line(json)?;
                json.clone_into(&mut self.json);
            }
        } else {
            self.changes(session, &domain)?;
        }
        self.domain = Some(domain);
        Ok(())
    }

    fn changes(&self, session: &Session, domain: &Domain) -> Result<(), ClientError> {
        let before = self.domain.as_ref();
        let known = before.map_or(&[] as &[Condition], |domain| &domain.conditions);
        let now = SystemClock.now().format("%H:%M:%SZ");
        for condition in domain.conditions.iter().filter(|condition| !known.contains(condition)) {
            session.out.line(format_args!("{now}  {}", session.out.condition(condition)))?;
        }
        let version =
            |domain: &Domain| domain.policy.as_ref().map(|policy| (policy.policy_id.clone(), policy.state.clone()));
        match version(domain) {
            Some((id, state)) if before.and_then(version) != Some((id.clone(), state.clone())) => {
                session.out.line(format_args!("{now}  policy {id} is {state}"))
            }
            _ => Ok(()),
        }
    }

    /// Said once, not at every look.
    fn away(&mut self, error: ClientError) {
        if self.away.is_none() {
            eprintln!("mtasts: {}; looking again", causes(&error));
        }
        self.away = Some(error);
    }

    fn late(self, id: &str, goal: Goal, patience: Duration) -> ClientError {
        if let Some(error) = self.away {
            return error;
        }
        if self.domain.is_none() {
            return ClientError::Silent(patience.as_secs());
        }
        let conditions = self.domain.iter().flat_map(|domain| &domain.conditions);
        let why: Vec<_> = conditions
            .filter(|condition| !condition.holds())
            .map(|condition| format!("\n  - {} ({}): {}", condition.kind, condition.reason, condition.message))
            .collect();
        let (name, word, seconds) = (self.name(id), goal.word(), patience.as_secs());
        ClientError::No(format!("{name} was not {word} within {seconds} s{}", why.concat()))
    }
}
