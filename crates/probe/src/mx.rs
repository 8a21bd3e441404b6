//! Looks at one MX host as a sender that enforces a policy does (RFC 8461 §4.2), on every address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use mtasts_dns::Resolver;
use mtasts_model::{HostName, lifecycle::MxFailure};
use tokio::time::{Instant, timeout_at};

use crate::{
    ProbeConfig,
    address::refusal,
    connect::{ConnectFailure, MAX_ADDRESSES, connect},
    inspect::{NoRoom, Pacer},
    smtp::{Conversation, SmtpFailure},
    tls::{TlsFailure, Verifier},
};

/// How long to wait for room at the first address of a host: where many wait, they had better come back.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
/// And at all of them, once there was room at the first: sixteen within one /64 take that long.
const PATIENCE: Duration = Duration::from_secs(15);

/// Probes MX hosts. Clones share their pacing.
#[derive(Clone)]
pub struct MxProber {
    config: ProbeConfig,
    resolver: Resolver,
    pacer: Arc<Pacer>,
    verifier: Verifier,
}

/// What a look at one host came to. It depends on the host's name and addresses, and on no domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLook {
    /// What is wrong; None when it passed.
    pub failure: Option<MxFailure>,
    /// What the name led to.
    pub addresses: Vec<IpAddr>,
}

/// What one address did.
enum Outcome {
    Good,
    /// This machine cannot get there, which says nothing about the host.
    NoRoute(String),
    Failed(MxFailure),
}

impl MxProber {
    /// A prober that asks `resolver` for addresses, and waits for room there with `pacer`: one for a whole process.
    ///
    /// # Errors
    /// Only when the TLS provider does not know TLS 1.2 or 1.3.
    pub fn new(config: ProbeConfig, resolver: Resolver, pacer: Arc<Pacer>) -> Result<Self, rustls::Error> {
        let verifier = Verifier::new(&config, &[])?;
        Ok(Self { config, resolver, pacer, verifier })
    }

    /// The longest that [`Self::probe`] takes: to resolve, to wait for turns, and to talk to one address after the other
    /// where they may not be talked to at the same time.
    pub fn longest(&self) -> Duration {
        self.config.timeouts.mx_host * 3 + PATIENCE
    }

    /// Connects to every address of `host` (at most sixteen) and asks for verified STARTTLS. One failing address
    /// fails the host: a sender may pick it. Addresses of a family that this machine has no route for are passed over
    /// as long as another address is good.
    ///
    /// The failure's code is one of RFC 8460 §4.3.2.1 (`starttls-not-supported`, `certificate-host-mismatch`,
    /// `certificate-expired`, `certificate-not-trusted`, `validation-failure`), or `connection-failed`, or
    /// `mx-unresolvable`.
    ///
    /// # Errors
    /// When there is no room at one of the addresses: that says nothing about the host.
    pub async fn probe(&self, host: &HostName) -> Result<HostLook, NoRoom> {
        let started = Instant::now();
        let look = self.probe_from(host, started).await?;
        let label = look.failure.as_ref().map_or("good", |failure| known_code(&failure.code));
        metrics::counter!("mtasts_probe_mx_hosts_total", "outcome" => label).increment(1);
        metrics::histogram!("mtasts_probe_mx_host_seconds").record(started.elapsed().as_secs_f64());
        Ok(look)
    }

    async fn probe_from(&self, host: &HostName, started: Instant) -> Result<HostLook, NoRoom> {
        let resolved = started + self.config.timeouts.mx_host;
        let unresolvable = |message| {
            let failure = Some(failure("mx-unresolvable", message));
            Ok(HostLook { failure, addresses: Vec::new() })
        };
        let mut addresses = match timeout_at(resolved, self.resolver.addresses(host.as_str())).await {
            Ok(Ok(lookup)) => lookup.found().unwrap_or_default(),
            Ok(Err(error)) => return unresolvable(format!("{host} could not be resolved: {error}")),
            Err(_) => return unresolvable(format!("{host} could not be resolved in time")),
        };
        if addresses.is_empty() {
            return unresolvable(format!("{host} has no address"));
        }
        addresses.truncate(MAX_ADDRESSES);
        self.take_turns(&addresses).await?;
        let deadline = Instant::now() + self.config.timeouts.mx_host * 2;
        let looks = addresses.iter().map(|ip| self.look_at_address(host, *ip, deadline));
        let (mut good, mut no_route, mut no_room) = (false, None, None);
        let mut failed = None;
        for outcome in join_all(looks).await {
            match outcome {
                Ok(Outcome::Good) => good = true,
                Ok(Outcome::NoRoute(message)) => no_route = Some(message),
                Ok(Outcome::Failed(failure)) => failed = failed.or(Some(failure)),
                Err(none) => no_room = Some(none),
            }
        }
        let failure = match (failed, no_room, no_route) {
            (Some(failure), _, _) => Some(failure),
            (None, Some(no_room), _) => return Err(no_room),
            (None, None, Some(message)) if !good => Some(failure("connection-failed", message)),
            (None, None, _) => None,
        };
        Ok(HostLook { failure, addresses })
    }

    /// Takes a turn at every address before any is connected to: half a look would be made again. All take them in one
    /// order, so that those who look at hosts with the same addresses wait at the first, and do not use up each other's
    /// turns at the others.
    async fn take_turns(&self, addresses: &[IpAddr]) -> Result<(), NoRoom> {
        let allow_private = self.config.allow_private_addresses;
        let mut addresses: Vec<IpAddr> =
            addresses.iter().copied().filter(|ip| refusal(*ip, allow_private).is_none()).collect();
        addresses.sort_unstable();
        let started = Instant::now();
        for (position, ip) in addresses.into_iter().enumerate() {
            let patience = if position == 0 { FIRST_PATIENCE } else { PATIENCE };
            self.pacer.begin(ip, started + patience).await?;
        }
        Ok(())
    }

    async fn look_at_address(&self, host: &HostName, ip: IpAddr, deadline: Instant) -> Result<Outcome, NoRoom> {
        let addr = SocketAddr::new(ip, self.config.smtp_port);
        let _permit = self.pacer.room(ip, deadline).await?;
        let late = || Outcome::Failed(failure("connection-failed", format!("{addr} took too long altogether")));
        let deadline = deadline.min(Instant::now() + self.config.timeouts.mx_host);
        Ok(timeout_at(deadline, self.probe_address(host, addr)).await.unwrap_or_else(|_| late()))
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
