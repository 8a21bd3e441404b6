//! The store against a real Postgres, as the roles that the processes have: none of them owns a table or is superuser.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as its body may")]

mod alert_plans;
mod audit;
mod checks;
mod dns_credentials;
mod domains;
mod events;
mod facts;
mod feeds;
mod fixture;
mod fleet;
mod hostings;
mod hosts;
mod idempotency;
mod intake;
mod isolation;
mod leases;
mod limits;
mod logins;
mod migrations;
mod mx_hosts;
mod mx_migrations;
mod nudges;
mod operations;
mod operator;
mod orders;
mod outage;
mod plans;
mod proof;
mod proposals;
mod recovery;
mod report_plans;
mod report_view_plans;
mod reports;
mod rollouts;
mod sealing;
mod tenancy;
mod tree;
mod usage;
mod versions;
mod watch;
mod webhooks;
mod withdrawal;
mod zone;
