//! Implementations of [`crate::ZoneProvider`].

mod embedded;

pub use self::embedded::{Embedded, ZoneStore};
