//! Probes against real listeners on loopback.

#![expect(clippy::unwrap_used, reason = "a test has no better use for an error")]

mod catalogue;
mod dns;
mod inspect;
mod mx;
mod pki;
mod policy_host;
mod support;
