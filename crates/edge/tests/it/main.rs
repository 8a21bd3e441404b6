//! Edges on loopback, asked over real TLS by rustls, h2, curl and OpenSSL.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod authority;
mod changes;
mod client;
mod feed;
mod harness;
mod keys;
mod ledger;
mod names;
mod peers;
mod proxy;
mod replica;
mod returning;
mod serving;
mod shutdown;
mod slow;
mod smuggling;
mod validation;
