//! `mtasts`: command line, configuration and wiring of the service. Nothing else lives here.

mod adapters;
mod admin;
mod cli;
mod client;
mod config;
mod logging;
mod metrics;
mod roles;
mod startup;
mod telemetry;
mod vault;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Every TLS user of the process shares one provider; a second call could only come from ourselves.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("mtasts: a crypto provider was installed before main");
        return ExitCode::FAILURE;
    }
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.downcast_ref().map_or_else(
            || {
                eprintln!("mtasts: {}", startup::causes(error.as_ref()));
                ExitCode::FAILURE
            },
            client::Told::code,
        ),
    }
}
