//! What handlers take from a request. Each extractor answers with a problem of its own.

mod conditional;
pub(crate) mod json;
mod once;
mod path;
mod query;

pub(crate) use conditional::{
    DomainIfMatchHeader, EntityTag, IfMatch, IfMatchHeader, IfNoneMatch, IfNoneMatchHeader, SettingsIfMatchHeader,
    not_modified,
};
pub(crate) use json::{Json, NoBody};
pub(crate) use once::{Answer, IdempotencyHeader, IdempotencyKey, Once};
pub(crate) use path::PathId;
pub(crate) use query::{CURSOR_OF_ANOTHER_SORT, Cursor, Page, Query, WhichPage, limit, limit_up_to};
