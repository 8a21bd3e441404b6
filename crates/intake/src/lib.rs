//! Takes in reports over HTTPS and SMTP: stored first, read later by workers.
//!
//! Nobody is told that a report was taken before it is committed: 201 and 250 mean that it is durable. What was not
//! acknowledged comes again (RFC 8460 §5.6), and what was stored by then is found to be a duplicate. Everything that a stranger
//! sends is capped: connections, lines, recipients, octets of one report, octets of all reports in memory, and time.
//!
//! The way of a report: [`mtasts_store::Store::recipient`] for the label → octets, under one budget → the desk, which
//! commits what comes together in one transaction → the answer.

mod admission;
mod body;
mod config;
mod counters;
mod desk;
mod directory;
mod error;
mod http;
mod intake;
mod smtp;
mod tls;

pub use config::{CertificateFiles, IntakeConfig, Limits};
pub use error::IntakeError;
pub use intake::{Intake, IntakeHandle};
