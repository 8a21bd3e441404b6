//! Domains: what a tenant registers, and how healthy it is.

pub(crate) mod body;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod update;
pub(crate) mod verify;
