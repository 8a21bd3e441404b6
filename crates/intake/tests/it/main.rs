//! The intake as strangers meet it, over a real Postgres as the role that it has in production.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers may fail as its body may")]

mod client;
mod faults;
mod gate;
mod harness;
mod limits;
mod posting;
mod proxy;
mod real_clients;
mod smtp;
mod smuggling;
