//! Many changes in one request: read and stored by the request, carried out by the [`Runner`] of whatever process is
//! free, in chunks, each line as the single call would be.

mod body;
mod change;
mod outcome;
mod runner;

pub(crate) use body::{batch_lines, lacking, ndjson_lines, read_body, scopes_of};
pub(crate) use change::{CreateLine, DeleteLine, SetModeLine};
pub(crate) use outcome::Told;
pub(crate) use runner::Runner;
