//! Looks at one MX host as a sender that enforces a policy does (RFC 8461 §4.2), on every address.

use std::net::SocketAddr;

use futures_util::future::join_all;
use mtasts_dns::Resolver;
use mtasts_model::{HostName, lifecycle::MxFailure};
use tokio::time::{Instant, timeout_at};

use crate::{
    ProbeConfig,
    connect::{ConnectFailure, MAX_ADDRESSES, connect},
    smtp::{Conversation, SmtpFailure},
    tls::{TlsFailure, Verifier},
};

/// Probes MX hosts.
#[derive(Clone)]
pub struct MxProber {
    pub(crate) config: ProbeConfig,
    pub(crate) resolver: Resolver,
    verifier: Verifier,
}

/// What one address did.
enum Outcome {
    Good,
    /// This machine cannot get there, which says nothing about the host.
    NoRoute(String),
    Failed(MxFailure),
}

impl MxProber {
    /// A prober that asks `resolver` for addresses.
    ///
    /// # Errors
    /// Only when the TLS provider does not know TLS 1.2 or 1.3.
    pub fn new(config: ProbeConfig, resolver: Resolver) -> Result<Self, rustls::Error> {
        let verifier = Verifier::new(&config, &[])?;
        Ok(Self { config, resolver, verifier })
    }

    /// Connects to every address of `host` (at most sixteen) and asks for verified STARTTLS. One failing address
    /// fails the host: a sender may pick it. Addresses of a family that this machine has no route for are passed over
    /// as long as another address is good.
    ///
    /// # Errors
    /// The code is one of RFC 8460 §4.3.2.1 (`starttls-not-supported`, `certificate-host-mismatch`,
    /// `certificate-expired`, `certificate-not-trusted`, `validation-failure`), or `connection-failed`, or
    /// `mx-unresolvable`.
    pub async fn probe(&self, host: &HostName) -> Result<(), MxFailure> {
        let started = Instant::now();
        let deadline = started + self.config.timeouts.mx_host;
        let outcome = self.probe_until(host, deadline).await;
        let label = outcome.as_ref().err().map_or("good", |failure| known_code(&failure.code));
        metrics::counter!("mtasts_probe_mx_hosts_total", "outcome" => label).increment(1);
        metrics::histogram!("mtasts_probe_mx_host_seconds").record(started.elapsed().as_secs_f64());
        outcome
    }

    async fn probe_until(&self, host: &HostName, deadline: Instant) -> Result<(), MxFailure> {
        let addresses = match timeout_at(deadline, self.resolver.addresses(host.as_str())).await {
            Ok(Ok(lookup)) => lookup.found().unwrap_or_default(),
            Ok(Err(error)) => {
                return Err(failure("mx-unresolvable", format!("{host} could not be resolved: {error}")));
            }
            Err(_) => return Err(failure("mx-unresolvable", format!("{host} could not be resolved in time"))),
        };
        if addresses.is_empty() {
            return Err(failure("mx-unresolvable", format!("{host} has no address")));
        }
        let addresses = addresses.into_iter().take(MAX_ADDRESSES);
        let looks = addresses.map(|ip| async move {
            let addr = SocketAddr::new(ip, self.config.smtp_port);
            let late = || Outcome::Failed(failure("connection-failed", format!("{addr} took too long altogether")));
            timeout_at(deadline, self.probe_address(host, addr)).await.unwrap_or_else(|_| late())
        });
        let (mut good, mut no_route) = (false, None);
        for outcome in join_all(looks).await {
            match outcome {
                Outcome::Good => good = true,
                Outcome::NoRoute(message) => no_route = Some(message),
                Outcome::Failed(failure) => return Err(failure),
            }
        }
        match no_route {
            Some(message) if !good => Err(failure("connection-failed", message)),
            _ => Ok(()),
        }
    }

    async fn probe_address(&self, host: &HostName, addr: SocketAddr) -> Outcome {
        let tcp = match connect(&self.config, addr).await {
            Ok(tcp) => tcp,
            Err(ConnectFailure::NoRoute(error)) => return Outcome::NoRoute(format!("no route to {addr}: {error}")),
            Err(ConnectFailure::Refused(refusal)) => {
                return connection_failed(&format!("{addr} is not connected to: the address {refusal}"));
            }
            Err(ConnectFailure::Deadline) => return connection_failed(&format!("{addr} does not answer")),
            Err(ConnectFailure::Failed(error)) => return connection_failed(&format!("{addr}: {error}")),
        };
        let plain = match Conversation::new(tcp, self.config.timeouts.reply).start_tls(&self.config.helo_name).await {
            Ok(plain) => plain,
            Err(error) => return Outcome::Failed(failure(smtp_code(&error), format!("{addr}: {error}"))),
        };
        match self.verifier.open(host, plain).await {
            Ok((tls, _)) => {
                Conversation::new(tls, self.config.timeouts.reply).quit().await;
                Outcome::Good
            }
            Err(error) => Outcome::Failed(tls_failure(addr, &error)),
        }
    }
}

fn smtp_code(error: &SmtpFailure) -> &'static str {
    match error {
        SmtpFailure::NoStartTls | SmtpFailure::StartTlsRefused(_) => "starttls-not-supported",
        SmtpFailure::Io(_) | SmtpFailure::Closed | SmtpFailure::Deadline { .. } | SmtpFailure::Unwilling { .. } => {
            "connection-failed"
        }
        SmtpFailure::TooLong | SmtpFailure::NotSmtp(_) | SmtpFailure::DataBeforeTls => "validation-failure",
    }
}

fn tls_failure(addr: SocketAddr, error: &TlsFailure) -> MxFailure {
    failure(error.code(), format!("{addr}: {error}"))
}

fn connection_failed(message: &str) -> Outcome {
    Outcome::Failed(failure("connection-failed", message.to_owned()))
}

fn failure(code: &str, message: String) -> MxFailure {
    MxFailure { code: code.to_owned(), message }
}

/// A bounded set of values for a metric's label.
fn known_code(code: &str) -> &'static str {
    const KNOWN: [&str; 7] = [
        "starttls-not-supported",
        "certificate-host-mismatch",
        "certificate-expired",
        "certificate-not-trusted",
        "validation-failure",
        "connection-failed",
        "mx-unresolvable",
    ];
    KNOWN.into_iter().find(|known| *known == code).unwrap_or("other")
}
