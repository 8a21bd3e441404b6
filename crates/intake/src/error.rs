//! What can go wrong.

use std::{io, net::SocketAddr, path::PathBuf};

pub(crate) use mtasts_model::causes;

/// Why an intake did not start.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// It was started outside of a tokio runtime.
    #[error("an intake starts within a tokio runtime")]
    NoRuntime,
    /// There is no host whose mail it takes.
    #[error("the intake needs the name of its host")]
    NoHost,
    /// A listener could not be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The thread of the HTTP server could not be started.
    #[error("the HTTP server cannot start")]
    Http(#[source] io::Error),
    /// A file of the certificate cannot be read.
    #[error("cannot read {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the certificate holds something else.
    #[error("{} holds no usable {what}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or TLS refuses them.
    #[error("the certificate and its key cannot be used")]
    Tls(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("no certificate can be made")]
    SelfSigned(#[from] rcgen::Error),
}

/// Why something was not taken. Whoever sent it should send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be stored now")]
pub(crate) struct NotNow;
