//! The binary as operators run it: real processes, Postgres, Pebble and BIND.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod arrivals;
mod audit;
mod client;
mod command_line;
mod embedded;
mod gate;
mod hosted;
mod inspect;
mod intake;
mod keys;
mod kill;
mod main_job;
mod oidc;
mod outage;
mod recover;
mod recover_orders;
mod reports;
mod service;
mod shutdown;
mod tenants;
mod traces;
mod watching;
