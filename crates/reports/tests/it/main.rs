//! Reports as they are really sent, and inputs that mean harm.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod bombs;
mod build;
mod corpus;
mod dmarc;
mod identity;
mod opening;
mod properties;
mod samples;
mod tls_rpt;
