//! `mtasts admin zones`: where the service's zones are hosted.

use std::{io::Write as _, sync::Arc};

use mtasts_dns::providers::ZoneStore;
use mtasts_model::{Clock, SystemClock, causes};
use mtasts_store::{HostingView, Role, StoreError};

use super::{CommandError, ConfigArgs, Outcome, load, runtime};
use crate::{adapters::StoredZone, logging, roles, startup::StartupError};

/// One line for each hosting that a worker has ever written to.
pub(super) fn list(args: &ConfigArgs) -> Outcome {
    let config = load(args)?;
    logging::start(&config.log)?;
    let hostings = runtime()?.block_on(async {
        let store = roles::connect(&config, Role::Worker).await?;
        Ok::<_, StartupError>(store.hostings().await?)
    })?;
    let now = SystemClock.now();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<20}  {:<28}  {:>7}  {:>7}  {:>7}  {:>7}  {:<7}  {:<20}  {:>7}  PROBLEM",
        "ID", "ZONE", "DOMAINS", "LEAVING", "WAITING", "REFUSED", "WRITTEN", "SWEPT", "DRIFT"
    )?;
    for hosting in hostings {
        let HostingView { id, zone, domains, leaving, waiting, failed, .. } = &hosting;
        let written = if hosting.lease_until > now { "yes" } else { "no" };
        let swept = hosting.swept_at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        let problem = hosting
            .problem
            .as_ref()
            .map_or_else(String::new, |problem| format!("{}: {}", problem.reason, problem.message));
        writeln!(
            out,
            "{id:<20}  {zone:<28}  {:>7}  {:>7}  {:>7}  {:>7}  {written:<7}  {swept:<20}  {:>7}  {problem}",
            counted(*domains),
            counted(*leaving),
            counted(*waiting),
            counted(*failed),
            drift(hosting.sweep.as_ref()),
        )?;
    }
    Ok(())
}

/// What the last sweep found otherwise than wanted, and put right.
fn drift(sweep: Option<&serde_json::Value>) -> String {
    let count = |sweep: &serde_json::Value, what: &str| sweep.get(what).and_then(serde_json::Value::as_u64);
    sweep.map_or_else(
        || "-".to_owned(),
        |sweep| {
            let found = ["missing", "different", "surplus"].into_iter().filter_map(|what| count(sweep, what));
            found.sum::<u64>().to_string()
        },
    )
}

/// The store stops counting at a thousand.
fn counted(number: u64) -> String {
    if number >= 1_000 { "1000+".to_owned() } else { number.to_string() }
}

/// Asks every configured provider.
pub(super) fn check(args: &ConfigArgs) -> Outcome {
    let config = load(args)?;
    logging::start(&config.log)?;
    let failed = runtime()?.block_on(async {
        let store = roles::connect(&config, Role::Worker).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stored: Arc<dyn ZoneStore> = Arc::new(StoredZone::new(&store, &clock, config.service.zone()?));
        let mut failed = 0;
        for hosting in config.zones(&stored, &clock)?.hostings {
            let (id, zone, kind) = (&hosting.id, hosting.provider.zone(), hosting.provider.kind());
            match hosting.provider.check().await {
                Ok(()) => println!("ok    {id}: {zone} at {kind}"),
                Err(error) => {
                    failed += 1;
                    println!("FAIL  {id}: {zone} at {kind}: {}: {}", error.reason(), causes(&error));
                }
            }
        }
        Ok::<_, StartupError>(failed)
    })?;
    if failed == 0 { Ok(()) } else { Err(CommandError::HostingsUnusable(failed).into()) }
}

/// Forgets one.
pub(super) fn forget(id: &str, args: &ConfigArgs) -> Outcome {
    let config = load(args)?;
    logging::start(&config.log)?;
    let forgotten = runtime()?.block_on(async {
        let store = roles::connect(&config, Role::Worker).await?;
        Ok::<_, StartupError>(store.forget_hosting(id).await)
    })?;
    match forgotten {
        Ok(()) => {
            println!("forgot {id}");
            Ok(())
        }
        Err(StoreError::NotFound) => Err(CommandError::NoHosting(id.to_owned()).into()),
        Err(error) => Err(error.into()),
    }
}
