//! Why a policy could not be fetched, typed, with stable words.

use std::{io, net::SocketAddr, time::Duration};

use crate::{TlsFailure, address::Refusal};

/// Why no address of a policy host gave a policy.
#[derive(Debug, thiserror::Error)]
pub enum FetchFailure {
    /// The policy host's addresses could not be resolved: conclusive of nothing.
    #[error("the addresses of {host} could not be resolved")]
    Unresolvable {
        /// The policy host.
        host: String,
        /// What the resolver met.
        #[source]
        source: mtasts_dns::ResolveError,
    },
    /// The addresses were not resolved within the fetch's deadline.
    #[error("the addresses of {host} were not resolved in time")]
    ResolveDeadline {
        /// The policy host.
        host: String,
    },
    /// The policy host has no address.
    #[error("{host} has no address")]
    NoAddress {
        /// The policy host.
        host: String,
    },
    /// Each address failed.
    #[error("no address of {host} served a policy; {worst}")]
    EveryAddress {
        /// The policy host.
        host: String,
        /// The failure that came nearest to a policy.
        #[source]
        worst: AddressFailure,
        /// The others.
        others: Vec<AddressFailure>,
    },
}

impl FetchFailure {
    /// RFC 8460 §4.3.2.2's name for it.
    pub fn result_type(&self) -> &'static str {
        match self {
            Self::EveryAddress { worst, .. } => worst.error.result_type(),
            Self::Unresolvable { .. } | Self::ResolveDeadline { .. } | Self::NoAddress { .. } => {
                "sts-policy-fetch-error"
            }
        }
    }

    /// A stable word that says more than [`Self::result_type`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unresolvable { .. } | Self::ResolveDeadline { .. } => "unresolvable",
            Self::NoAddress { .. } => "no-address",
            Self::EveryAddress { worst, .. } => worst.error.code(),
        }
    }
}

/// What happened at one address.
#[derive(Debug, thiserror::Error)]
#[error("{addr}: {error}")]
pub struct AddressFailure {
    /// The address and port.
    pub addr: SocketAddr,
    /// What happened.
    #[source]
    pub error: FetchError,
}

/// Why one address gave no policy.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address must not be connected to.
    #[error("the address {0}")]
    AddressRefused(Refusal),
    /// This machine has no route there: says nothing about the policy host.
    #[error("this machine has no route to it")]
    NoRoute(#[source] io::Error),
    /// No TCP connection.
    #[error("the connection failed: {0}")]
    Connect(#[source] io::Error),
    /// A deadline passed.
    #[error("there was no whole answer within {} s", .0.as_secs_f32())]
    Deadline(Duration),
    /// No verified TLS session.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// The answer is not HTTP, or broke off.
    #[error("the answer cannot be read as HTTP: {0}")]
    Http(#[source] hyper::Error),
    /// A redirect. Senders follow none (RFC 8461 §3.3).
    #[error("it redirects with status {status}, which senders do not follow")]
    Redirect {
        /// The status.
        status: u16,
        /// The Location header, if it can be read.
        location: Option<String>,
    },
    /// Any other status than 200.
    #[error("it answers with status {0}")]
    Status(u16),
    /// Not `text/plain` (RFC 8461 §3.2).
    #[error("the content type is {}, and not text/plain", .0.as_deref().unwrap_or("absent"))]
    ContentType(Option<String>),
    /// The body is longer than 64 KB (RFC 8461 §3.3).
    #[error("the body is longer than {} bytes", crate::MAX_POLICY_BYTES)]
    TooLarge,
}

impl FetchError {
    /// RFC 8460 §4.3.2.2's name for it.
    pub fn result_type(&self) -> &'static str {
        match self {
            Self::Tls(failure) if failure.is_certificate() => "sts-webpki-invalid",
            Self::ContentType(_) | Self::TooLarge => "sts-policy-invalid",
            _ => "sts-policy-fetch-error",
        }
    }

    /// A stable word that says more than [`Self::result_type`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::AddressRefused(_) => "address-refused",
            Self::NoRoute(_) => "no-route",
            Self::Connect(_) => "connection-failed",
            Self::Deadline(_) => "deadline",
            Self::Tls(failure) => failure.code(),
            Self::Http(_) => "http",
            Self::Redirect { .. } => "redirect",
            Self::Status(_) => "status",
            Self::ContentType(_) => "content-type",
            Self::TooLarge => "too-large",
        }
    }

    /// How near to a policy it came: the nearest failure is the one to tell people about.
    pub(crate) fn depth(&self) -> u8 {
        match self {
            Self::NoRoute(_) => 0,
            Self::AddressRefused(_) => 1,
            Self::Connect(_) => 2,
            Self::Deadline(_) => 3,
            Self::Tls(_) => 4,
            Self::Http(_) => 5,
            Self::Redirect { .. } | Self::Status(_) | Self::ContentType(_) | Self::TooLarge => 6,
        }
    }
}
