//! The delegation of a domain: its CNAMEs in the formats that people feed their DNS with, and set by us where a tenant
//! has handed over a credential.

pub(crate) mod apply;
mod format;
mod look;
pub(crate) mod plan;
pub(crate) mod read;
mod terraform;

pub(crate) use self::look::{PlannedRecordBody, TTL};
