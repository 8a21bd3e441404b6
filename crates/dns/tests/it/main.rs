//! The nameserver and the resolver on real sockets of the loopback interface.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod answers;
mod confirm;
mod feed;
mod peers;
mod resolver;
mod support;
mod tcp;
mod wire;
