//! The API over a real listener, with the real store on a private Postgres.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that lacks something may panic anywhere")]

mod audit;
mod bad_fields;
mod bad_input;
mod bulk;
mod checks;
mod conditional;
mod customers;
mod delegation;
mod digests;
mod dns_credentials;
mod domains;
mod dry_run;
mod faults;
mod hcl;
mod idempotency;
mod isolation;
mod limits;
mod lists;
mod migrations;
mod observed;
mod oidc;
mod policy;
mod policy_settings;
mod proposal;
mod readiness;
mod removal;
mod report_exports;
mod report_rows;
mod report_settings;
mod reports;
mod rollout;
mod scopes;
mod scripted;
mod service;
mod simulation;
mod spec;
mod suspension;
mod tenancy;
mod usage;
mod watch;
mod webhooks;
