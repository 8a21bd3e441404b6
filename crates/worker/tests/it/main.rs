//! The worker over a real database, a real nameserver and a fake edge that follows the feed.

#![expect(clippy::unwrap_used, reason = "a test has no better use for an error")]

mod alerts;
mod checks;
#[path = "../../../dns/tests/it/contract.rs"]
#[expect(dead_code, reason = "what is for providers that others can write to")]
mod contract;
mod crashes;
mod digests;
mod embedded;
mod fences;
mod isolation;
mod lifecycle;
mod mx_hosts;
mod ownership;
mod removal;
mod reports;
mod rollout;
mod validation;
mod watch;
mod webhooks;
mod world;
mod zones;
