//! `mtasts admin tenants`, `mtasts admin audit list`, `mtasts admin usage`: what only an operator does (ADR 17).

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use chrono::NaiveDate;
use clap::{Args, Subcommand, ValueEnum};
use mtasts_model::{
    Clock, MaxAge, Mode, Policy, PolicyId, PolicyVersionId, SystemClock, SystemEntropy, TenantId, Timestamp,
};
use mtasts_store::{
    Actor, DomainFilter, DomainState, NewVersion, NotErasable, OperatorAuditFilter, Role, Store, StoreError,
    TenantStanding, VersionReason,
};
use serde_json::{Value, json};

use super::{ConfigArgs, Outcome, load, runtime};
use crate::{logging, roles, startup::StartupError};

/// So many rows are read at once.
const PAGE: u32 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum TenantsCommand {
    /// Refuse all calls by a tenant's credentials; what it has published goes on being served
    Suspend {
        id: TenantId,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
        /// Withdraw its domains as well, safely: mode `none` first, gone when no sender can need them
        #[arg(long)]
        withdraw: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Take a suspension back
    Resume {
        id: TenantId,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Put a tenant, with all beneath it, beneath another
    Move {
        id: TenantId,
        /// The provider that is to manage it
        #[arg(long, required_unless_present = "root", conflicts_with = "root")]
        to: Option<TenantId>,
        /// Beneath nobody
        #[arg(long)]
        root: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Hand out everything that is kept of a tenant, without secrets: JSON, a line for each row
    Export {
        id: TenantId,
        /// Write to this file, which must not be there yet, instead of standard output
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Erase a tenant that is suspended and whose domains are gone, for good
    Erase {
        id: TenantId,
        /// Its id once more: this cannot be taken back
        #[arg(long)]
        confirm: TenantId,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct AuditListArgs {
    /// Only this tenant's log
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Only by this actor, as the log names it: `operator`, `worker`, `key_…`
    #[arg(long)]
    actor: Option<String>,
    /// Only from this moment on (RFC 3339)
    #[arg(long)]
    from: Option<Timestamp>,
    /// Only before this moment (RFC 3339)
    #[arg(long)]
    to: Option<Timestamp>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(super) struct UsageArgs {
    /// The first day (UTC)
    #[arg(long)]
    from: NaiveDate,
    /// The last day
    #[arg(long)]
    to: NaiveDate,
    #[arg(long, value_enum, default_value = "csv")]
    format: UsageFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum UsageFormat {
    /// With a line of names in front
    Csv,
    /// A line for each row
    Ndjson,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum TenantsError {
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no tenant {0}, or it cannot stand there")]
    NoTenant(TenantId),
    #[error("a reason has 1 to 500 characters")]
    Reason,
    #[error("--confirm names another tenant")]
    NotConfirmed,
    #[error(transparent)]
    NotErasable(#[from] NotErasable),
    #[error("no policy of mode `none` can be made")]
    Policy(#[from] mtasts_model::policy::PolicyError),
    #[error("cannot write")]
    Output(#[from] io::Error),
    #[error("cannot write {}", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

pub(super) fn run(command: &TenantsCommand) -> Outcome {
    let (TenantsCommand::Suspend { config, .. }
    | TenantsCommand::Resume { config, .. }
    | TenantsCommand::Move { config, .. }
    | TenantsCommand::Export { config, .. }
    | TenantsCommand::Erase { config, .. }) = command;
    let config = load(config)?;
    logging::start(&config.log)?;
    let done: Result<(), TenantsError> = runtime()?.block_on(async {
        let store = roles::connect(&config, Role::Operator).await?;
        match command {
            TenantsCommand::Suspend { id, reason, withdraw, .. } => {
                if reason.is_empty() || reason.chars().count() > 500 {
                    return Err(TenantsError::Reason);
                }
                let standing = store.suspend_tenant(*id, reason, &Actor::operator(), SystemClock.now()).await;
                tell(&found(*id, standing)?);
                if *withdraw {
                    let api = roles::connect(&config, Role::Api).await?;
                    println!("asked for the withdrawal of {} domains", withdraw_all(&api, *id).await?);
                }
                Ok(())
            }
            TenantsCommand::Resume { id, .. } => {
                tell(&found(*id, store.resume_tenant(*id, &Actor::operator(), SystemClock.now()).await)?);
                Ok(())
            }
            TenantsCommand::Move { id, to, .. } => {
                tell(&found(*id, store.move_tenant(*id, *to, &Actor::operator(), SystemClock.now()).await)?);
                Ok(())
            }
            TenantsCommand::Export { id, output, .. } => export(&store, *id, output.as_deref()).await,
            TenantsCommand::Erase { id, confirm, .. } => {
                if id != confirm {
                    return Err(TenantsError::NotConfirmed);
                }
                let erased = found(*id, store.erase_tenant(*id, &Actor::operator(), SystemClock.now()).await)??;
                println!(
                    "erased {id}: {} rows are gone, {} lines of the log say nothing more",
                    erased.rows, erased.lines
                );
                Ok(())
            }
        }
    });
    Ok(done?)
}

fn found<T>(id: TenantId, answer: Result<T, StoreError>) -> Result<T, TenantsError> {
    match answer {
        Err(StoreError::NotFound) => Err(TenantsError::NoTenant(id)),
        answer => Ok(answer?),
    }
}

fn tell(tenant: &TenantStanding) {
    let parent = tenant.parent.map_or_else(|| "nobody".to_owned(), |parent| parent.to_string());
    let suspended = tenant.suspended.as_ref().map_or_else(
        || "not suspended".to_owned(),
        |(at, reason)| format!("suspended since {}: {reason}", at.format("%Y-%m-%dT%H:%M:%SZ")),
    );
    println!("{} ({}), beneath {parent}, {suspended}", tenant.id, tenant.name);
}

/// As the tenant would ask for it, domain by domain. Asking again changes nothing.
async fn withdraw_all(api: &Store, tenant: TenantId) -> Result<u64, TenantsError> {
    let (mut asked, mut after) = (0, None);
    loop {
        let page = api.tenant_tx(tenant).await?.list_domains(&DomainFilter::default(), after, PAGE).await?;
        let Some(last) = page.last().map(|domain| domain.id) else { return Ok(asked) };
        after = Some(last);
        for domain in page.iter().filter(|domain| matches!(domain.state, DomainState::Pending | DomainState::Active)) {
            let now = SystemClock.now();
            let none = NewVersion {
                id: PolicyVersionId::draw(now, &SystemEntropy),
                policy_id: PolicyId::draw(now, &SystemEntropy),
                policy: Policy::new(Mode::None, Vec::new(), MaxAge::DAY)?,
                reason: VersionReason::Withdrawn,
                forced: None,
            };
            let mut tx = api.tenant_tx(tenant).await?;
            tx.request_withdrawal(domain.id, none, &Actor::operator(), now).await?;
            tx.commit().await?;
            asked += 1;
        }
    }
}

async fn export(store: &Store, id: TenantId, output: Option<&Path>) -> Result<(), TenantsError> {
    let (own, mut rows) = found(id, store.export_tenant(id).await)?;
    let mut out: Box<dyn Write> = match output {
        None => Box::new(io::stdout().lock()),
        Some(path) => {
            use std::os::unix::fs::OpenOptionsExt;
            let file: io::Result<File> = File::options().write(true).create_new(true).mode(0o600).open(path);
            Box::new(file.map_err(|source| TenantsError::File { path: path.to_owned(), source })?)
        }
    };
    let mut out = BufWriter::new(&mut out);
    writeln!(out, "{}", json!({ "table": "tenants", "row": own }))?;
    while let Some((table, rows)) = rows.next().await? {
        for row in rows {
            writeln!(out, "{}", json!({ "table": table, "row": row }))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Lines of all logs, oldest first, as JSON.
pub(super) fn audit_list(args: &AuditListArgs) -> Outcome {
    let config = load(&args.config)?;
    logging::start(&config.log)?;
    let filter = OperatorAuditFilter { tenant: args.tenant, actor: args.actor.clone(), from: args.from, to: args.to };
    let done: Result<(), TenantsError> = runtime()?.block_on(async {
        let store = roles::connect(&config, Role::Operator).await?;
        let (mut out, mut after) = (BufWriter::new(io::stdout().lock()), None);
        loop {
            let lines = store.operator_audit(&filter, after, PAGE).await?;
            let Some(last) = lines.last() else { break };
            after = Some(last.id);
            for line in &lines {
                writeln!(out, "{}", audit_line(line))?;
            }
        }
        out.flush()?;
        Ok(())
    });
    Ok(done?)
}

fn audit_line(line: &mtasts_store::OperatorAuditLine) -> Value {
    json!({
        "at": line.at,
        "tenant": TenantId::from_uuid(line.tenant_id),
        "actor": line.actor,
        "source": line.source,
        "request_id": line.request_id,
        "action": line.action,
        "object": line.object,
        "before": line.before,
        "after": line.after,
    })
}

/// What tenants used, by tenant and day.
pub(super) fn usage(args: &UsageArgs) -> Outcome {
    let config = load(&args.config)?;
    logging::start(&config.log)?;
    let done: Result<(), TenantsError> = runtime()?.block_on(async {
        let store = roles::connect(&config, Role::Operator).await?;
        let (mut out, mut after) = (BufWriter::new(io::stdout().lock()), None);
        if matches!(args.format, UsageFormat::Csv) {
            writeln!(
                out,
                "tenant,day,domains,mode_none,mode_testing,mode_enforce,served_domains,policy_fetches,reports"
            )?;
        }
        loop {
            let rows = store.operator_usage((args.from, args.to), after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = Some((TenantId::from_uuid(last.tenant_id), last.day));
            for row in &rows {
                writeln!(out, "{}", usage_line(row, args.format))?;
            }
        }
        out.flush()?;
        Ok(())
    });
    Ok(done?)
}

fn usage_line(row: &mtasts_store::TenantUsage, format: UsageFormat) -> String {
    let tenant = TenantId::from_uuid(row.tenant_id);
    let counts = [
        ("domains", row.domains),
        ("mode_none", row.mode_none),
        ("mode_testing", row.mode_testing),
        ("mode_enforce", row.mode_enforce),
        ("served_domains", Some(row.served_domains)),
        ("policy_fetches", Some(row.policy_fetches)),
        ("reports", Some(row.reports)),
    ];
    match format {
        UsageFormat::Csv => {
            // What was not counted on that day is empty, and not 0.
            let counts = counts.map(|(_, count)| count.map(|count| count.to_string()).unwrap_or_default());
            format!("{tenant},{},{}", row.day, counts.join(","))
        }
        UsageFormat::Ndjson => {
            let mut line = json!({ "tenant": tenant, "day": row.day });
            for (name, count) in counts {
                line[name] = json!(count);
            }
            line.to_string()
        }
    }
}
