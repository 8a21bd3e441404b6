//! The command line.

mod arrivals;
mod audit;
mod dnssec;
mod inspect;
mod keys;
mod orphans;
mod ready;
mod recover;
mod reports;
mod tenants;
mod zones;

use std::{error::Error, fs, io::Write, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use mtasts_model::{Clock, NodeId, SystemClock, TenantId};

pub(crate) use self::inspect::GenerateArgs;
use crate::{
    client,
    config::{Config, ConfigError, DnssecKeyKind},
    logging::{self, Origin},
    metrics,
    roles::{self, RoleSet},
    startup::StartupError,
    telemetry::Exporter,
};

/// A hosted MTA-STS service (RFC 8461).
#[derive(Debug, Parser)]
#[command(name = "mtasts", version, about = "A hosted MTA-STS service (RFC 8461)", propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every role in one process; needs no configuration but a Postgres
    All(ConfigArgs),
    /// Serve the REST API
    Api(ConfigArgs),
    /// Carry out what is due: delegation, certificates, publication, probes
    Worker(ConfigArgs),
    /// Serve policies over TLS and answer the CA's validations
    Edge(ConfigArgs),
    /// Answer for the service's DNS zone
    Nameserver(ConfigArgs),
    /// Take in reports over HTTPS and SMTP
    Intake(ConfigArgs),
    /// Bring the database to this version's schema
    Migrate(MigrateArgs),
    /// Look at domains as a sending MTA does, and say what to mend; needs no configuration
    Check(inspect::CheckArgs),
    /// Find the cause and the cure of what a sender says: a log line, a bounce, a result type, a code of `check`
    Explain(inspect::ExplainArgs),
    /// Reports that senders sent: read files offline, or see what the service has
    #[command(subcommand)]
    Reports(reports::ReportsCommand),
    /// What only an operator does
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the OpenAPI document of the REST API
    Openapi(OpenapiArgs),
    /// Print the list of all metrics, as Markdown
    Metrics,
    #[command(flatten)]
    Client(client::ClientCommand),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file (TOML); `MTASTS__SECTION__KEY` in the environment outranks it
    #[arg(long, short, env = "MTASTS_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct MigrateArgs {
    /// Also make the logins that `database.*_url` name, with the passwords that stand there: each may take on its role,
    /// and nothing else
    #[arg(long)]
    roles: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Draw a key for the key ring that seals secrets at rest, in the form that `secrets.key_ring` takes
    GenerateKey,
    /// The keys that seal secrets at rest: what is sealed under which, and exchanging them
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// After the database was restored from a backup: fresh policy ids, nothing that senders may hold forgotten, and
    /// nameservers that read everything anew. With the API and the workers stopped, and the edges running
    Recover(recover::RecoverArgs),
    /// After a restore: list what edges serve and the database does not know. Asks their admin ports
    Orphans(orphans::OrphansArgs),
    /// Tidy up now, as the worker does hourly: forget feed entries that have been gone for long, and what has expired
    Prune {
        /// Days that a tombstone is kept; followers that were away for longer read everything anew
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
        days: u16,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Ask processes whether they are ready
    Ready(ready::ReadyArgs),
    /// List edges and nameservers, or take one out of service that cannot do so itself
    Nodes(NodesArgs),
    /// Keys that the service's zone is signed with by our own nameservers
    #[command(subcommand)]
    Dnssec(DnssecCommand),
    /// List where the service's zones are hosted, check each, or forget one that is no longer configured
    Zones(ZonesArgs),
    /// The audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Suspend, move, hand out and erase tenants
    #[command(subcommand)]
    Tenants(tenants::TenantsCommand),
    /// What tenants used, by tenant and day, for bills
    Usage(tenants::UsageArgs),
    /// Reports that have arrived: those that could not be read, and reading them again
    #[command(subcommand)]
    Reports(arrivals::ArrivalsCommand),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Print lines of all logs, oldest first, as JSON
    List(tenants::AuditListArgs),
    /// Walk the hash chain of each tenant's log, and say where one was altered, shortened or reordered
    Verify {
        /// Only this tenant's
        #[arg(long)]
        tenant: Option<TenantId>,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct NodesArgs {
    #[command(subcommand)]
    command: Option<NodesCommand>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
enum NodesCommand {
    /// Take a node out of service: nothing waits for it any more. One that is alive comes back by itself
    Retire {
        /// Its id, as in the list
        id: NodeId,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Subcommand)]
enum DnssecCommand {
    /// Draw a key, write it to a file, sealed with the key ring, and print the parent's DS record
    DrawKey {
        /// What it signs
        #[arg(long, value_enum, default_value = "csk")]
        kind: DnssecKeyKind,
        /// Where to write it; a file that is there is left alone
        #[arg(long, short)]
        output: PathBuf,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print the DS records of the configured keys, for the parent zone
    Ds(ConfigArgs),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct ZonesArgs {
    #[command(subcommand)]
    command: Option<ZonesCommand>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
enum ZonesCommand {
    /// Ask each provider whether it has the zone and takes the credential. Changes nothing
    Check(ConfigArgs),
    /// Forget what is known of a hosting. While it is configured anywhere it comes back, and is filled anew
    Forget {
        /// Its id, as in the list
        id: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the configuration as a role would, and say what is wrong with it
    Check(ConfigArgs),
    /// Print the configuration that is in force, secrets left out
    Show(ConfigArgs),
}

#[derive(Debug, Args)]
struct OpenapiArgs {
    /// Write to this file instead of standard output
    #[arg(long, short, conflicts_with = "check")]
    output: Option<PathBuf>,
    /// Compare with this file and fail if it differs
    #[arg(long)]
    check: Option<PathBuf>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{} is stale: run `make openapi` and commit it", .0.display())]
    Stale(PathBuf),
    #[error("there is no node {0}")]
    NoNode(NodeId),
    #[error("there is no hosting {0:?}")]
    NoHosting(String),
    #[error("{0} of the hostings cannot be used")]
    HostingsUnusable(usize),
    #[error("{0} are not ready")]
    Unready(usize),
    #[error("{0} of the audit logs are broken")]
    AuditBroken(usize),
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

type Outcome = Result<(), Box<dyn Error>>;

pub(crate) fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::All(args) => serve(&args, RoleSet::ALL),
        Command::Api(args) => serve(&args, RoleSet::API),
        Command::Worker(args) => serve(&args, RoleSet::WORKER),
        Command::Edge(args) => serve(&args, RoleSet::EDGE),
        Command::Nameserver(args) => serve(&args, RoleSet::NAMESERVER),
        Command::Intake(args) => serve(&args, RoleSet::INTAKE),
        Command::Migrate(args) => migrate(&args),
        Command::Check(args) => inspect::check(&args),
        Command::Explain(args) => inspect::explain(&args),
        Command::Reports(command) => reports::run(command),
        Command::Admin(AdminCommand::GenerateKey) => {
            generate_key();
            Ok(())
        }
        Command::Admin(AdminCommand::Keys(command)) => keys::run(&command),
        Command::Admin(AdminCommand::Recover(args)) => recover::run(&args),
        Command::Admin(AdminCommand::Orphans(args)) => orphans::run(&args),
        Command::Admin(AdminCommand::Prune { days, config }) => prune(days, &config),
        Command::Admin(AdminCommand::Ready(args)) => ready::ready(&args),
        Command::Admin(AdminCommand::Nodes(NodesArgs { command: None, config })) => list_nodes(&config),
        Command::Admin(AdminCommand::Nodes(NodesArgs {
            command: Some(NodesCommand::Retire { id, config }), ..
        })) => retire_node(id, &config),
        Command::Admin(AdminCommand::Dnssec(DnssecCommand::DrawKey { kind, output, config })) => {
            dnssec::draw_key(kind, &output, &config)
        }
        Command::Admin(AdminCommand::Dnssec(DnssecCommand::Ds(config))) => dnssec::ds(&config),
        Command::Admin(AdminCommand::Zones(ZonesArgs { command: None, config })) => zones::list(&config),
        Command::Admin(AdminCommand::Zones(ZonesArgs { command: Some(ZonesCommand::Check(config)), .. })) => {
            zones::check(&config)
        }
        Command::Admin(AdminCommand::Zones(ZonesArgs {
            command: Some(ZonesCommand::Forget { id, config }), ..
        })) => zones::forget(&id, &config),
        Command::Admin(AdminCommand::Audit(AuditCommand::List(args))) => tenants::audit_list(&args),
        Command::Admin(AdminCommand::Tenants(command)) => tenants::run(&command),
        Command::Admin(AdminCommand::Usage(args)) => tenants::usage(&args),
        Command::Admin(AdminCommand::Audit(AuditCommand::Verify { tenant, config })) => audit::verify(tenant, &config),
        Command::Admin(AdminCommand::Reports(command)) => arrivals::run(&command),
        Command::Config(ConfigCommand::Check(args)) => config_check(&args),
        Command::Config(ConfigCommand::Show(args)) => config_show(&args),
        Command::Openapi(args) => openapi(&args),
        Command::Metrics => Ok(std::io::stdout().lock().write_all(metrics::document().as_bytes())?),
        Command::Client(command) => match command.generates() {
            Some((args, json)) => inspect::generate(args, json),
            None => Ok(client::run::<Cli>(command)?),
        },
    }
}

fn load(args: &ConfigArgs) -> Result<Config, ConfigError> {
    Config::load(args.config.as_deref())
}

fn runtime() -> Result<tokio::runtime::Runtime, StartupError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartupError::Runtime)
}

fn serve(args: &ConfigArgs, roles: RoleSet) -> Outcome {
    let config = load(args)?;
    let origin = Origin::of(&config.log, roles.word());
    let runtime = runtime()?;
    let exporter =
        config.export()?.map(|export| Exporter::start(export, &origin, runtime.handle().clone())).transpose()?;
    logging::start_role(&config.log, &origin, exporter.as_ref())?;
    if exporter.is_some() {
        mtasts_telemetry::enable();
    }
    let outcome = runtime.block_on(roles::run(config, roles));
    // While the runtime still carries the exporter's calls.
    if let Some(exporter) = exporter {
        exporter.stop();
    }
    Ok(outcome?)
}

fn migrate(args: &MigrateArgs) -> Outcome {
    let config = load(&args.config)?;
    logging::start(&config.log)?;
    let report = runtime()?.block_on(mtasts_store::migrate(&config.database.url, &config.service.zone()?))?;
    for name in &report.applied {
        println!("applied {name}");
    }
    println!("the schema is at {}", report.version);
    if args.roles {
        let logins = config.database.logins()?;
        runtime()?.block_on(mtasts_store::make_logins(&config.database.url, &logins, &mtasts_model::SystemEntropy))?;
        for login in &logins {
            println!("login {} may take on {}", login.name(), login.role().name().unwrap_or_default());
        }
    }
    Ok(())
}

fn generate_key() {
    use secrecy::ExposeSecret;
    let (_, text) = mtasts_certs::KeyRing::generate(&mtasts_model::SystemEntropy);
    println!("{}", text.expose_secret());
}

fn prune(days: u16, args: &ConfigArgs) -> Outcome {
    let config = load(args)?;
    logging::start(&config.log)?;
    let kept = config.reports.retention()?;
    let gone = runtime()?.block_on(async {
        let store = roles::connect(&config, mtasts_store::Role::Worker).await?;
        let reports = roles::worker::forget_reports(&store, &kept, &SystemClock).await?;
        let rest = roles::worker::forget(&store, &SystemClock, chrono::TimeDelta::days(days.into())).await?;
        Ok::<_, StartupError>(reports + rest)
    })?;
    println!("forgot {gone} entries");
    Ok(())
}

fn list_nodes(args: &ConfigArgs) -> Outcome {
    let config = load(args)?;
    logging::start(&config.log)?;
    let nodes = runtime()?.block_on(async {
        let store = roles::connect(&config, mtasts_store::Role::Worker).await?;
        Ok::<_, StartupError>(store.list_nodes().await?)
    })?;
    let now = SystemClock.now();
    let grace = chrono::TimeDelta::seconds(config.worker.edge_grace_seconds.into());
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<36}  {:<10}  {:>12}  {:<20}  {:<10}  NAME",
        "ID", "KIND", "POSITION", "LEASE UNTIL", "IN SERVICE"
    )?;
    for node in nodes {
        let in_service = if node.lease_until > now {
            "yes"
        } else if node.lease_until + grace > now {
            "silent"
        } else {
            "no"
        };
        let (id, kind, position) = (node.id.to_string(), node.kind.as_str(), node.position.number());
        let until = node.lease_until.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        writeln!(out, "{id:<36}  {kind:<10}  {position:>12}  {until:<20}  {in_service:<10}  {}", node.name)?;
    }
    Ok(())
}

fn retire_node(id: NodeId, args: &ConfigArgs) -> Outcome {
    let config = load(args)?;
    logging::start(&config.log)?;
    let gone = runtime()?.block_on(async {
        let store = roles::connect(&config, mtasts_store::Role::Worker).await?;
        Ok::<_, StartupError>(store.evict_node(id, SystemClock.now()).await?)
    })?;
    if !gone {
        return Err(CommandError::NoNode(id).into());
    }
    println!("retired {id}");
    Ok(())
}

fn config_check(args: &ConfigArgs) -> Outcome {
    let config = load(args)?;
    config.verify(RoleSet::ALL)?;
    println!("the configuration is sound");
    Ok(())
}

fn config_show(args: &ConfigArgs) -> Outcome {
    println!("{:#?}", load(args)?);
    Ok(())
}

fn openapi(args: &OpenapiArgs) -> Outcome {
    let mut document = mtasts_api::openapi().to_pretty_json()?;
    document.push('\n');
    if let Some(path) = &args.check {
        let found = fs::read_to_string(path).map_err(|source| CommandError::Read { path: path.clone(), source })?;
        return if found == document { Ok(()) } else { Err(CommandError::Stale(path.clone()).into()) };
    }
    match &args.output {
        Some(path) => {
            fs::write(path, document).map_err(|source| CommandError::Write { path: path.clone(), source })?;
        }
        None => std::io::stdout().lock().write_all(document.as_bytes())?,
    }
    Ok(())
}
