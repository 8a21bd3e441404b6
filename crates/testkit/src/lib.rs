//! What tests need around the code under test: databases of their own, real peers on free loopback ports, and waiting
//! on conditions. A dev-dependency only, and for tools; it depends on no crate of ours, and on no database library.
//!
//! Everything here panics with a sentence that says what to do, because a test has no better use for an error.

#![expect(clippy::missing_panics_doc, reason = "everything here panics when a test's surroundings fail it")]

mod anybody;
mod balancer;
mod bind;
mod cloudflare;
mod collector;
mod database;
mod issuer;
mod knot;
mod mmdb;
mod pebble;
mod ports;
mod powerdns;
mod process;
mod redis;
mod scripts;
mod wait;

pub use anybody::Anybody;
pub use balancer::Balancer;
pub use bind::Bind;
pub use cloudflare::{Calls, CloudflareRecord, FakeCloudflare, Fault, SeenRequest};
pub use collector::{Collector, SeenSpan};
pub use database::TestDatabase;
pub use issuer::{IssuerMood, SigningKey, TestIssuer};
pub use knot::Knot;
pub use mmdb::{country_database, network_database};
pub use pebble::{Pebble, PebbleOptions};
pub use ports::free_port;
pub use powerdns::PowerDns;
pub use process::{Process, Signal};
pub use redis::Redis;
pub use wait::{wait_for, wait_until};
