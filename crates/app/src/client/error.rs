//! Why a command of the client ended, and the exit code that says so.

use std::{error::Error, io, path::PathBuf, time::Duration};

use super::problem::Refusal;

/// The exit codes of docs/cli.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The answer is no: a conflict, a refusal, not healthy in time.
    No = 1,
    /// What was typed, or what is in the client's files, cannot be used.
    Usage = 2,
    /// There is no such object.
    NotFound = 3,
    /// No credential, or not a valid one.
    Credential = 4,
    /// The service does not answer, or limits us.
    Away = 5,
}

/// Why a command of the client did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{0}")]
    No(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Credential(String),
    #[error("{0}")]
    Refused(Box<Refusal>),
    #[error("the API at {api} does not answer")]
    Unreachable {
        api: String,
        #[source]
        source: reqwest012::Error,
    },
    #[error("the API at {api} answered what this client cannot read: {what}")]
    Unreadable { api: String, what: String },
    #[error("the API has not answered within {0} s")]
    Silent(u64),
    #[error("no TLS client can be set up")]
    Tls(#[from] rustls::Error),
    #[error("no HTTP client can be set up")]
    Client(#[source] reqwest012::Error),
    #[error("no asynchronous runtime can be started")]
    Runtime(#[source] io::Error),
    #[error("{} cannot be used", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the terminal cannot be used")]
    Terminal(#[source] io::Error),
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl ClientError {
    /// With which exit code the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::No(_) | Self::Output(_) => Exit::No,
            Self::Usage(_)
            | Self::Tls(_)
            | Self::Client(_)
            | Self::Runtime(_)
            | Self::File { .. }
            | Self::Terminal(_) => Exit::Usage,
            Self::NotFound(_) => Exit::NotFound,
            Self::Credential(_) => Exit::Credential,
            Self::Refused(refusal) => refusal.exit(),
            Self::Unreachable { .. } | Self::Unreadable { .. } | Self::Silent(_) => Exit::Away,
        }
    }

    /// Whether the call may have reached the service although there is no answer.
    pub(super) fn may_have_had_effect(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if !source.is_connect())
    }

    /// How long to wait before the same call again, and None where that cannot help. `pause` is what to wait where the
    /// service does not say.
    pub(super) fn retry_after(&self, pause: Duration) -> Option<Duration> {
        match self {
            // A certificate that is not trusted now will not be in a second.
            Self::Unreachable { source, .. } if is_about_tls(source) => None,
            Self::Unreachable { .. } => Some(pause),
            Self::Refused(refusal) if refusal.is_transient() => Some(refusal.retry_after.unwrap_or(pause).max(pause)),
            _ => None,
        }
    }
}

/// Whether TLS itself failed. What an `io::Error` carries is not among its sources, and it may carry another one.
fn is_about_tls(error: &(dyn Error + 'static)) -> bool {
    let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let next = carried.map(|carried| carried as &(dyn Error + 'static)).or_else(|| error.source());
    error.is::<rustls::Error>() || next.is_some_and(is_about_tls)
}
