//! Fetches a policy exactly as a sending MTA does (RFC 8461 §3.3).

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use mtasts_dns::Resolver;
use mtasts_model::{HostName, MailDomain};
use tokio::time::{Instant, timeout_at};

use crate::{
    AddressFailure, CertificateSeen, FetchError, FetchFailure, ProbeConfig,
    connect::{ConnectFailure, MAX_ADDRESSES, connect},
    http_get,
    tls::Verifier,
};

/// The longest body that is read (RFC 8461 §3.3: at least 64 KB should be accepted, more may be refused).
pub const MAX_POLICY_BYTES: usize = 64 * 1024;

/// Fetches policies.
#[derive(Clone)]
pub struct PolicyFetcher {
    config: ProbeConfig,
    resolver: Resolver,
    verifier: Verifier,
}

/// A policy as some address of the policy host served it.
#[derive(Debug)]
pub struct FetchedPolicy {
    /// The first address that served one, in the resolver's order.
    pub first: AddressAnswer,
    /// The further addresses that served one, maybe another one.
    pub others: Vec<AddressAnswer>,
    /// The addresses that served none.
    pub failed: Vec<AddressFailure>,
}

/// What one address served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressAnswer {
    /// The address and port.
    pub addr: SocketAddr,
    /// The body, byte for byte, at most [`MAX_POLICY_BYTES`].
    pub text: Bytes,
    /// The Content-Type header as it came.
    pub content_type: String,
    /// The leaf that proved the host; `None` when it verified but could not be parsed for display.
    pub certificate: Option<CertificateSeen>,
    /// From connecting to the last byte.
    pub elapsed: Duration,
}

impl FetchedPolicy {
    /// All answers, the first one first.
    pub fn answers(&self) -> impl Iterator<Item = &AddressAnswer> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl PolicyFetcher {
    /// A fetcher that asks `resolver` for addresses.
    ///
    /// # Errors
    /// Only when the TLS provider does not know TLS 1.2 or 1.3.
    pub fn new(config: ProbeConfig, resolver: Resolver) -> Result<Self, rustls::Error> {
        let verifier = Verifier::new(&config, &[b"http/1.1"])?;
        Ok(Self { config, resolver, verifier })
    }

    /// Fetches the policy of `domain` from every address of its policy host, at most sixteen.
    ///
    /// One address that serves a policy is enough for success, as for a sender; whoever wants all of them looks at
    /// [`FetchedPolicy::others`] and [`FetchedPolicy::failed`].
    pub async fn fetch(&self, domain: &MailDomain) -> Result<FetchedPolicy, FetchFailure> {
        let host = domain.policy_host();
        let deadline = Instant::now() + self.config.timeouts.fetch;
        let addresses = match timeout_at(deadline, self.resolver.addresses(host.as_str())).await {
            Ok(Ok(lookup)) => lookup.found().unwrap_or_default(),
            Ok(Err(source)) => return Err(FetchFailure::Unresolvable { host: host.to_string(), source }),
            Err(_) => return Err(FetchFailure::ResolveDeadline { host: host.to_string() }),
        };
        let addresses = addresses.into_iter().take(MAX_ADDRESSES);
        let looks = addresses.map(|ip| self.fetch_from(&host, SocketAddr::new(ip, self.config.policy_port), deadline));
        let (mut answers, mut failed) = (Vec::new(), Vec::new());
        for look in join_all(looks).await {
            match look {
                Ok(answer) => answers.push(answer),
                Err(failure) => failed.push(failure),
            }
        }
        if answers.is_empty() {
            return Err(every_address(&host, failed));
        }
        let first = answers.remove(0);
        Ok(FetchedPolicy { first, others: answers, failed })
    }

    async fn fetch_from(
        &self,
        host: &HostName,
        addr: SocketAddr,
        deadline: Instant,
    ) -> Result<AddressAnswer, AddressFailure> {
        let started = Instant::now();
        let look = async {
            let tcp = connect(&self.config, addr).await.map_err(|failure| match failure {
                ConnectFailure::Refused(refusal) => FetchError::AddressRefused(refusal),
                ConnectFailure::Deadline => FetchError::Deadline(self.config.timeouts.connect),
                ConnectFailure::NoRoute(error) => FetchError::NoRoute(error),
                ConnectFailure::Failed(error) => FetchError::Connect(error),
            })?;
            let (stream, certificate) = self.verifier.open(host, tcp).await?;
            let answer = http_get::policy(stream, host, MAX_POLICY_BYTES).await?;
            Ok((answer, certificate))
        };
        let outcome = match timeout_at(deadline, look).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FetchError::Deadline(self.config.timeouts.fetch)),
        };
        let elapsed = started.elapsed();
        metrics::histogram!("mtasts_probe_policy_fetch_seconds").record(elapsed.as_secs_f64());
        outcome
            .map(|(answer, certificate)| AddressAnswer {
                addr,
                text: answer.body,
                content_type: answer.content_type,
                certificate,
                elapsed,
            })
            .map_err(|error| AddressFailure { addr, error })
    }
}

fn every_address(host: &HostName, mut failed: Vec<AddressFailure>) -> FetchFailure {
    let worst = (0..failed.len()).max_by_key(|&index| failed.get(index).map(|failure| failure.error.depth()));
    let host = host.to_string();
    match worst {
        None => FetchFailure::NoAddress { host },
        Some(index) => FetchFailure::EveryAddress { host, worst: failed.swap_remove(index), others: failed },
    }
}
