//! The TLS policy server and its local replica.
//!
//! An [`Edge`] answers `https://mta-sts.<domain>/.well-known/mta-sts.txt` (RFC 8461 §3.3) for every domain of its
//! [`Feed`], and the CA's validations of those names. Everything that an answer needs is in memory or in the replica
//! on the local disk: no request ever waits for the feed, and the edge starts and serves while the feed is away. While
//! the feed answers, an edge that comes back takes connections only after it has caught up.
//!
//! The way of a change: [`Feed::since`] → replica (one transaction per page) → swapped in → a barrier on every worker
//! → [`Feed::acknowledge`]. After the acknowledgement no connection, however old, is given an older policy.

mod admission;
mod catalogue;
mod challenges;
mod config;
mod counters;
mod edge;
mod entry;
mod error;
mod feed;
mod follower;
mod http;
mod intermediates;
mod keys;
mod ledger;
mod readiness;
mod replica;
mod serve;
mod served;
mod tls;

pub use config::EdgeConfig;
pub use edge::{Edge, EdgeHandle, Inventory};
pub use error::{EdgeError, FeedError, InventoryError, KeyOpenError};
pub use feed::{Feed, KeyOpener};
pub use ledger::Handover;
pub use readiness::{NotReadyReason, Readiness};
pub use served::{ServedHost, ServedPage};
