//! The nameserver on real sockets of the loopback interface.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod answers;
mod confirm;
mod dnssec;
mod feed;
mod feed_types;
mod notify;
mod peers;
mod proxy;
mod rate_limit;
mod real_secondaries;
mod resolver;
mod secondary;
mod support;
mod tcp;
mod transfer;
mod wire;
