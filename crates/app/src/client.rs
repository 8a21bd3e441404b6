//! `mtasts` as a client of its own API: docs/cli.md. It knows the service by its OpenAPI document alone, and reads
//! nothing of the service's configuration.

mod checks;
mod dns;
mod dns_credentials;
mod domains;
mod error;
mod http;
mod login;
mod output;
mod policy;
mod problem;
mod prompt;
mod reports;
mod rollout;
mod session;
mod settings;
mod text;
mod views;
mod watch;

use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind},
    process::ExitCode,
};

use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

pub(crate) use self::output::in_colour;
pub(crate) use self::reports::ReportsCommand;
use self::{error::ClientError, session::Connection};
use crate::{cli::GenerateArgs, startup::causes};

/// What a customer types.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Keep the address of an API and a key for it; the key is read from standard input or a prompt
    Login(login::LoginArgs),
    /// Register, list, show and remove domains
    Domains {
        #[command(flatten)]
        connection: Connection,
        #[command(subcommand)]
        command: domains::DomainsCommand,
    },
    /// Show and change a domain's policy
    Policy {
        #[command(flatten)]
        connection: Connection,
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Take a domain from `testing` to `enforce`, step by step
    Rollout {
        #[command(flatten)]
        connection: Connection,
        #[command(subcommand)]
        command: rollout::RolloutCommand,
    },
    /// Show a domain's conditions as they change, until all is well
    Watch {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        args: watch::WatchArgs,
    },
    /// The CNAMEs in your own DNS: show them, or have them set with a credential of yours
    Dns {
        #[command(flatten)]
        connection: Connection,
        #[command(subcommand)]
        command: dns::DnsCommand,
    },
    /// Print a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    #[command(flatten)]
    OfDomain(policy::PolicyCommand),
    /// Build a policy and its records for any domain from its live MX hosts; asks no API
    Generate(GenerateArgs),
}

/// A failure that was told already. What is left is the exit code.
#[derive(Debug)]
pub(crate) struct Told(u8);

impl Told {
    pub(crate) fn new(code: u8) -> Self {
        Self(code)
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.0)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl Error for Told {}

impl ClientCommand {
    /// Of the one command that asks DNS and mail hosts in place of an API: how, and whether JSON is wanted.
    pub(crate) fn generates(&self) -> Option<(&GenerateArgs, bool)> {
        match self {
            Self::Policy { connection, command: PolicyCommand::Generate(args) } => Some((args, connection.json)),
            _ => None,
        }
    }
}

/// Carries a command out. `Root` is the whole command line, for completions.
pub(crate) fn run<Root: CommandFactory>(command: ClientCommand) -> Result<(), Told> {
    let json = match &command {
        ClientCommand::Login(args) => args.json,
        ClientCommand::Domains { connection, .. }
        | ClientCommand::Policy { connection, .. }
        | ClientCommand::Rollout { connection, .. }
        | ClientCommand::Watch { connection, .. }
        | ClientCommand::Dns { connection, .. } => connection.json,
        ClientCommand::Completions { .. } => false,
    };
    told(json, carry_out::<Root>(command))
}

/// The same for what the service has of reports, which stands beside the command that reads files.
pub(crate) fn run_reports(command: ReportsCommand) -> Result<(), Told> {
    let json = command.connection().json;
    let carry_out = || runtime()?.block_on(async { reports::run(&command.connection().open()?, command).await });
    told(json, carry_out())
}

fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)
}

fn told(json: bool, outcome: Result<(), ClientError>) -> Result<(), Told> {
    outcome.or_else(|error| match &error {
        // Whoever reads has seen enough, such as `head`.
        ClientError::Output(source) if source.kind() == ErrorKind::BrokenPipe => Ok(()),
        ClientError::Refused(refusal) if json && refusal.problem.is_some() => {
            eprintln!("{}", refusal.body);
            Err(Told(error.exit() as u8))
        }
        _ => {
            eprintln!("mtasts: {}", causes(&error));
            Err(Told(error.exit() as u8))
        }
    })
}

fn carry_out<Root: CommandFactory>(command: ClientCommand) -> Result<(), ClientError> {
    if let ClientCommand::Completions { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Root::command(), "mtasts", &mut script);
        return Ok(io::Write::write_all(&mut io::stdout().lock(), &script)?);
    }
    runtime()?.block_on(async {
        match command {
            ClientCommand::Login(args) => login::login(&args).await,
            ClientCommand::Domains { connection, command } => domains::run(&connection.open()?, command).await,
            ClientCommand::Policy { connection, command: PolicyCommand::OfDomain(command) } => {
                policy::run(&connection.open()?, command).await
            }
            ClientCommand::Rollout { connection, command } => rollout::run(&connection.open()?, command).await,
            ClientCommand::Watch { connection, args } => watch::run(&connection.open()?, &args).await,
            ClientCommand::Dns { connection, command } => dns::run(&connection.open()?, command).await,
            // Neither asks the API, and both are carried out before.
            ClientCommand::Policy { .. } | ClientCommand::Completions { .. } => Ok(()),
        }
    })
}
