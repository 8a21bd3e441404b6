//! Why a lookup has no conclusive answer.

use std::{io, net::SocketAddr};

use crate::{exchange::ExchangeError, name::InvalidName};

/// "Could not find out". None of these says that a record is absent.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The text cannot be asked for.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The server gave no answer within the deadline.
    #[error("{server} gave no answer in time")]
    Timeout {
        /// Whom we asked.
        server: SocketAddr,
    },
    /// The questions that one lookup takes (alias after alias, or ancestor after ancestor) took too long together.
    #[error("the lookup of {name} took longer than {} s", super::LOOKUP_DEADLINE.as_secs())]
    Deadline {
        /// What was looked up.
        name: String,
    },
    /// The server cannot be reached.
    #[error("{server} cannot be reached")]
    Network {
        /// Whom we asked.
        server: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The server answered with a code other than NOERROR and NXDOMAIN, such as SERVFAIL or REFUSED.
    #[error("{server} answered {code}")]
    Failed {
        /// Whom we asked.
        server: SocketAddr,
        /// The response code's name.
        code: String,
    },
    /// What came back is not a DNS answer to our question.
    #[error("{server} gave a malformed answer: {reason}")]
    Malformed {
        /// Whom we asked.
        server: SocketAddr,
        /// What is wrong with it.
        reason: String,
    },
    /// The server neither resolves for us nor is authoritative: a referral, or a lame server.
    #[error("{server} neither resolves nor is authoritative for {name}")]
    Inconclusive {
        /// Whom we asked.
        server: SocketAddr,
        /// What we asked for.
        name: String,
    },
    /// An authoritative answer was asked for, and the answer is not.
    #[error("{server} is not authoritative for {name}")]
    NotAuthoritative {
        /// Whom we asked.
        server: SocketAddr,
        /// What we asked for.
        name: String,
    },
    /// The name is an alias where the records themselves were asked for.
    #[error("{name} is an alias of {target}")]
    UnexpectedAlias {
        /// What we asked for.
        name: String,
        /// Its CNAME.
        target: String,
    },
    /// CNAMEs lead back to a name that was met before.
    #[error("the CNAMEs from {name} lead in a circle at {at}")]
    CnameLoop {
        /// Where the chain began.
        name: String,
        /// The name that was met twice.
        at: String,
    },
    /// More than [`super::MAX_CNAME_HOPS`] CNAMEs in a row.
    #[error("more than {limit} CNAMEs follow from {name}", limit = super::MAX_CNAME_HOPS)]
    CnameChainTooLong {
        /// Where the chain began.
        name: String,
    },
    /// No upstream is configured and the system's configuration names none.
    #[error("no resolver is configured, and the system's configuration cannot be used: {reason}")]
    NoUpstreams {
        /// What the system's configuration lacks.
        reason: String,
    },
}

impl ResolveError {
    pub(super) fn exchange(server: SocketAddr, error: ExchangeError) -> Self {
        match error {
            ExchangeError::Timeout => Self::Timeout { server },
            ExchangeError::Io(source) => Self::Network { server, source },
            other @ (ExchangeError::Encode(_) | ExchangeError::Decode(_) | ExchangeError::OtherQuestion) => {
                let cause = std::error::Error::source(&other).map(|cause| format!(": {cause}")).unwrap_or_default();
                Self::Malformed { server, reason: format!("{other}{cause}") }
            }
        }
    }
}
