//! The resolver, the providers and the sweep, on real sockets of the loopback interface and with real servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cloudflare;
mod contract;
mod powerdns;
mod resolver;
mod rfc2136;
mod sweep;

use mtasts_dns::providers;
