//! `mtasts admin reports`: arrivals that could not be read.

use std::{fs, io::Write as _, path::PathBuf};

use clap::{Args, Subcommand};
use mtasts_model::{ArrivalId, Clock, SystemClock};
use mtasts_store::{Actor, AnyArrival, ReplayFilter, Role, Store, StoreError};

use super::{CommandError, ConfigArgs, Outcome, load, runtime};
use crate::{logging, roles, startup::StartupError};

/// Arrivals that are looked at, or sent back, at once.
const PAGE: u32 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum ArrivalsCommand {
    /// List arrivals that could not be read, oldest first
    Quarantined {
        /// Only those with this reason, such as `not-json`
        #[arg(long)]
        reason: Option<String>,
        /// Go on behind this one, as the last line of the list before says
        #[arg(long)]
        after: Option<ArrivalId>,
        /// How many at most
        #[arg(long, default_value_t = 200)]
        limit: usize,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Have arrivals read again, after an upgrade say. What was read of them before is not counted twice
    Replay(ReplayArgs),
    /// Show one arrival
    Show {
        /// Its id
        arrival: ArrivalId,
        /// Write it, as it came, to this file, which must not be there yet
        #[arg(long)]
        raw: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// All that could not be read for this reason
    #[arg(long)]
    reason: Option<String>,
    /// This one, whether it could be read or not
    #[arg(long)]
    arrival: Option<ArrivalId>,
    /// All that could not be read
    #[arg(long)]
    all: bool,
}

impl Which {
    fn filter(&self) -> ReplayFilter {
        match (self.arrival, &self.reason) {
            (Some(arrival), _) => ReplayFilter::One(arrival),
            (None, Some(reason)) => ReplayFilter::Reason(reason.clone()),
            (None, None) => ReplayFilter::All,
        }
    }
}

/// Why a command came to no end.
#[derive(Debug, thiserror::Error)]
enum ArrivalsError {
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no arrival {0}")]
    NoArrival(ArrivalId),
    #[error("what arrived as {0} is not kept any more")]
    NoOctets(ArrivalId),
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

pub(super) fn run(command: &ArrivalsCommand) -> Outcome {
    let config = match command {
        ArrivalsCommand::Quarantined { config, .. } | ArrivalsCommand::Show { config, .. } => config,
        ArrivalsCommand::Replay(args) => &args.config,
    };
    let config = load(config)?;
    logging::start(&config.log)?;
    runtime()?.block_on(async {
        let store = roles::connect(&config, Role::Worker).await?;
        match command {
            ArrivalsCommand::Quarantined { reason, after, limit, json, .. } => {
                list(&store, reason.as_deref(), *after, *limit, *json).await?;
            }
            ArrivalsCommand::Replay(args) => replay(&store, &args.which.filter()).await?,
            ArrivalsCommand::Show { arrival, raw: None, .. } => show(&store, *arrival).await?,
            ArrivalsCommand::Show { arrival, raw: Some(path), .. } => {
                let octets = store.arrival_raw(*arrival).await?.ok_or(ArrivalsError::NoOctets(*arrival))?;
                let write = fs::File::create_new(path).and_then(|mut file| file.write_all(&octets));
                write.map_err(|source| CommandError::Write { path: path.clone(), source })?;
                println!("wrote {} octets to {}", octets.len(), path.display());
            }
        }
        Ok(())
    })
}

async fn list(
    store: &Store,
    reason: Option<&str>,
    mut after: Option<ArrivalId>,
    limit: usize,
    json: bool,
) -> Result<(), ArrivalsError> {
    let mut left = limit;
    if !json {
        let header = ("ID", "RECEIVED", "REASON", "VIA", "OCTETS");
        println!("{:<30}  {:<20}  {:<22}  {:<5}  {:>10}  PROBLEM", header.0, header.1, header.2, header.3, header.4);
    }
    while left > 0 {
        let page = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let arrivals = store.quarantined_arrivals(reason, after, page).await?;
        let Some(last) = arrivals.last() else { return Ok(()) };
        after = Some(last.id);
        left -= arrivals.len().min(left);
        let mut out = std::io::stdout().lock();
        for arrival in &arrivals {
            if json {
                writeln!(out, "{}", serde_json::to_string(arrival)?)?;
            } else {
                writeln!(out, "{}", line(arrival))?;
            }
        }
        if arrivals.len() < page as usize {
            return Ok(());
        }
    }
    if let Some(after) = after.filter(|_| !json) {
        println!("there may be more: --after {after}");
    }
    Ok(())
}

/// One line; what strangers wrote cannot steer the terminal.
fn line(arrival: &AnyArrival) -> String {
    let received = arrival.received_at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let printable =
        |text: &str| text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect::<String>();
    let reason = printable(arrival.reason.as_deref().unwrap_or_default());
    let problem = printable(arrival.problem.as_deref().unwrap_or_default());
    format!(
        "{:<30}  {received:<20}  {reason:<22}  {:<5}  {:>10}  {problem}",
        arrival.id.to_string(),
        arrival.via,
        arrival.octets
    )
}

async fn show(store: &Store, id: ArrivalId) -> Result<(), ArrivalsError> {
    let arrival = store.arrival(id).await?.ok_or(ArrivalsError::NoArrival(id))?;
    println!("{}", serde_json::to_string_pretty(&arrival)?);
    Ok(())
}

async fn replay(store: &Store, filter: &ReplayFilter) -> Result<(), ArrivalsError> {
    let (mut after, mut total) = (None, 0);
    loop {
        let batch = store.replay_arrivals(filter, after, PAGE, &Actor::operator(), SystemClock.now()).await?;
        let Some(last) = batch.last else { break };
        total += batch.arrivals;
        after = Some(last);
        if matches!(filter, ReplayFilter::One(_)) {
            break;
        }
        println!("{total} are to be read again so far");
    }
    if let (ReplayFilter::One(id), 0) = (filter, total) {
        let arrival = store.arrival(*id).await?.ok_or(ArrivalsError::NoArrival(*id))?;
        // One that waits already is read anyway.
        if arrival.state != "waiting" {
            return Err(ArrivalsError::NoOctets(*id));
        }
    }
    println!("{total} are to be read again");
    Ok(())
}
