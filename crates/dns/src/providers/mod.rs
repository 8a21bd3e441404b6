//! Implementations of [`crate::ZoneProvider`], and of [`crate::CustomerZone`] where customers' DNS is reached.

pub mod cloudflare;
mod embedded;
pub mod powerdns;
pub mod rfc2136;

pub use self::embedded::{Embedded, ZoneStore};
