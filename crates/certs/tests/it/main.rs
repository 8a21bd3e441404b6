//! The issuers against real peers: Pebble as the CA, its challtestsrv as DNS, our own answers to its validation.

#![expect(clippy::unwrap_used, reason = "a test has no better use for an error")]

mod account;
mod acme_proxy;
mod faults;
mod issuance;
mod local_ca;
mod pebble;
mod renewal;
mod seal_speed;
mod validation;
