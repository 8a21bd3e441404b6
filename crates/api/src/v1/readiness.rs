//! Whether `enforce` is safe.

pub(crate) mod read;
