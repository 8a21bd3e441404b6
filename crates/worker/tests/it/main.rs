//! The worker over a real database, a real nameserver and a fake edge that follows the feed.

#![expect(clippy::unwrap_used, reason = "a test has no better use for an error")]

mod crashes;
mod fences;
mod isolation;
mod lifecycle;
mod ownership;
mod validation;
mod world;
