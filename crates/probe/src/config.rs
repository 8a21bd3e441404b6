//! What a probe is told: ports, roots, deadlines, and which addresses it may touch.

use std::{sync::Arc, time::Duration};

use mtasts_model::{Clock, HostName};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

/// Configuration of [`crate::PolicyFetcher`] and [`crate::MxProber`].
#[derive(Clone)]
pub struct ProbeConfig {
    /// Where policy hosts listen: 443 but in tests and demos.
    pub policy_port: u16,
    /// Where MX hosts listen: 25 but in tests and demos.
    pub smtp_port: u16,
    /// Whom to trust, see [`roots`].
    pub roots: Arc<RootCertStore>,
    /// Whether loopback and private addresses may be connected to, see [`crate::address::refusal`].
    pub allow_private_addresses: bool,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// What EHLO says (RFC 5321 §4.1.1.1): this machine's name.
    pub helo_name: HostName,
    /// The time by which certificates are judged.
    pub clock: Arc<dyn Clock>,
}

/// Deadlines. Each holds on its own; the first to pass ends the look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// One address: TCP connection.
    pub connect: Duration,
    /// One address: TLS handshake.
    pub handshake: Duration,
    /// One SMTP reply. RFC 5321 §4.5.3.2 lets a banner take five minutes, but no sender that enforces waits so long.
    pub reply: Duration,
    /// The whole of a policy fetch, all addresses (RFC 8461 §3.3 suggests one minute).
    pub fetch: Duration,
    /// The whole of one MX host, all addresses.
    pub mx_host: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(15),
            reply: Duration::from_secs(20),
            fetch: Duration::from_mins(1),
            mx_host: Duration::from_secs(30),
        }
    }
}

impl ProbeConfig {
    /// The Internet's ports, Mozilla's roots, public addresses only.
    pub fn new(helo_name: HostName, clock: Arc<dyn Clock>) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self {
            policy_port: 443,
            smtp_port: 25,
            roots: Arc::new(roots),
            allow_private_addresses: false,
            timeouts: Timeouts::default(),
            helo_name,
            clock,
        }
    }
}

/// An extra root that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("extra root certificate number {position} cannot be used as a trust anchor")]
pub struct RootsError {
    /// Its place in the list, from 1.
    pub position: usize,
    /// What is wrong with it.
    #[source]
    pub source: rustls::Error,
}

/// Mozilla's roots and `extra` ones (DER), for a private CA.
pub fn roots(extra: &[CertificateDer<'static>]) -> Result<RootCertStore, RootsError> {
    let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for (index, root) in extra.iter().enumerate() {
        store.add(root.clone()).map_err(|source| RootsError { position: index + 1, source })?;
    }
    Ok(store)
}
