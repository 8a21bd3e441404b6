//! How many calls a caller may make: token buckets for each API key, for each tenant and for the operator, and a tighter
//! one for each client's failed authentications, so that guessing is slow.
//!
//! The buckets are in Redis, shared by all replicas, where the server was given [`SharedLimits`]. Without it, and while
//! Redis is away, each process counts by itself, in tables of a fixed size. No request fails because of Redis.

mod client;
mod refused;
mod shown;
mod table;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use actix_web::{
    dev::ServiceRequest,
    http::header::{self, HeaderMap},
};
use data_encoding::HEXLOWER;
use mtasts_model::{ApiKeyId, Network, TenantId, network::site};
use mtasts_store::{LimitBucket, Quota, SharedLimits, Taken};
use sha2::{Digest, Sha256};

pub(crate) use self::shown::Shown;
use self::{
    refused::Refused,
    shown::{Standing, whole_seconds},
    table::Table,
};
use crate::problem::{Problem, ProblemKind};

/// Buckets of keys and tenants that a process keeps: 1 MiB.
const CALLERS: usize = 65_536;
/// Clients whose failed authentications a process counts: 1 MiB.
const CLIENTS: usize = 65_536;
/// Credentials that a process remembers: 1 MiB.
const KNOWN: usize = 65_536;

/// For so long after it was found valid, a credential is looked up even if other credentials from the same address are
/// refused: whoever guesses does not lock out those behind the same address.
const KNOWN_FOR: Duration = Duration::from_mins(10);

/// For so long one credential that is being looked up counts as one guess, however often it is sent: a client that
/// begins with many calls at once is no flood of guesses.
const LOOKUP: Duration = Duration::from_secs(1);

/// How many calls are possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// With one API key, or by one user of an identity provider.
    pub key: Quota,
    /// With all keys and by all users of one tenant together.
    pub tenant: Quota,
    /// With the operator token.
    pub operator: Quota,
    /// With credentials that are not valid, from one IPv4 address or IPv6 /64.
    pub failures: Quota,
    /// Whose `X-Forwarded-For` tells the client's address.
    pub trusted_proxies: Vec<Network>,
}

impl Default for LimitSettings {
    /// 600 calls a minute and 200 at once for a key, 3,000 and 1,000 for a tenant, 6,000 and 2,000 for the operator, 20
    /// and 60 for invalid credentials; proxies on loopback.
    fn default() -> Self {
        const fn quota(per_minute: u32, burst: u32) -> Quota {
            match Quota::per_minute(per_minute, burst) {
                Ok(quota) => quota,
                Err(_) => panic!("each is evaluated when this is compiled"),
            }
        }
        Self {
            key: const { quota(600, 200) },
            tenant: const { quota(3_000, 1_000) },
            operator: const { quota(6_000, 2_000) },
            failures: const { quota(20, 60) },
            trusted_proxies: Network::loopback().to_vec(),
        }
    }
}

/// What became of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is an API key.
    Key(TenantId, ApiKeyId),
    /// It is a token of an identity provider, for this tenant; None: for none that is known. Whose it is, as
    /// [`crate::auth`] hashes it.
    User(Option<TenantId>, [u8; 32]),
    /// It is the operator token.
    Operator,
    /// It is not valid.
    Invalid,
    /// It could not be looked up.
    Unclear,
}

/// The limiter.
pub(crate) struct Limits {
    settings: LimitSettings,
    shared: Option<SharedLimits>,
    callers: Table,
    failures: Table,
    known: Table,
    refused: Refused,
    started: Instant,
}

/// A request whose credential is about to be looked up.
pub(crate) struct Attempt<'a> {
    limits: &'a Limits,
    shown: Shown,
    /// SHA-256 of `Authorization`.
    credential: [u8; 32],
    client: LimitBucket,
    /// What was taken in advance from the client's bucket for failures; None for a credential that was valid lately, or
    /// is being looked up for another request.
    taken: Option<Taken>,
}

impl Limits {
    pub(crate) fn new(settings: LimitSettings) -> Self {
        Self {
            settings,
            shared: None,
            callers: Table::new(CALLERS),
            failures: Table::new(CLIENTS),
            known: Table::new(KNOWN),
            refused: Refused::default(),
            started: Instant::now(),
        }
    }

    /// Shares the buckets with other processes.
    pub(crate) fn share(&mut self, shared: SharedLimits) {
        self.shared = Some(shared);
    }

    /// Whoever is behind our proxies, or the peer.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        client::client(peer, headers, &self.settings.trusted_proxies)
    }

    /// Before the credential is looked up. None without one. A token for a failure is taken in advance, so that many
    /// guesses at the same time are no more than one after the other; [`Attempt::settle`] gives it back.
    pub(crate) fn attempt(&self, request: &ServiceRequest) -> Result<Option<Attempt<'_>>, Problem> {
        let Some(value) = request.headers().get(header::AUTHORIZATION) else { return Ok(None) };
        let (shown, now) = (Shown::of(request), self.now());
        let credential = Sha256::digest(value.as_bytes()).into();
        if let Some(standings) = self.refused.standings(&credential, now) {
            shown.set(&standings);
            return Err(too_many(&standings));
        }
        let peer = request.peer_addr().as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip);
        let address = site(self.client(peer, request.headers()));
        let client = LimitBucket { name: format!("client:{address}"), quota: self.settings.failures };
        let as_known = self.known.tag(credential);
        let is_known = self.known.is_drained(as_known, now);
        let taken = (!is_known).then(|| self.failures.take(&self.failures.tags([&client]), now));
        if let Some(taken) = taken.as_ref().filter(|taken| !taken.allowed) {
            let standings = standings(&["client"], std::slice::from_ref(&client), taken);
            shown.set(&standings);
            return Err(too_many(&standings));
        }
        self.known.drain(as_known, now + LOOKUP, now);
        Ok(Some(Attempt { limits: self, shown, credential, client, taken }))
    }

    /// Takes from these buckets, in Redis if it answers, else here.
    async fn take(&self, buckets: &[LimitBucket]) -> Taken {
        match self.take_shared(buckets).await {
            Some(taken) => taken,
            None => self.callers.take(&self.callers.tags(buckets), self.now()),
        }
    }

    async fn take_shared(&self, buckets: &[LimitBucket]) -> Option<Taken> {
        let taken = match &self.shared {
            Some(shared) => shared.take(buckets).await,
            None => None,
        };
        let by = if taken.is_some() { "redis" } else { "process" };
        metrics::counter!("mtasts_api_limit_decisions_total", "by" => by).increment(1);
        taken
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Attempt<'_> {
    /// Once it is known whose credential it is: counts the call. [`ProblemKind::RateLimited`] when it was one too many.
    pub(crate) async fn settle(self, found: Found) -> Result<(), Problem> {
        match found {
            Found::Unclear => {
                self.give_back();
                Ok(())
            }
            Found::Invalid => self.failed().await,
            Found::Operator => {
                let bucket = LimitBucket { name: "{operator}".to_owned(), quota: self.limits.settings.operator };
                self.called(&["operator"], &[bucket]).await
            }
            Found::Key(tenant_id, key_id) => self.called_by("key", &key_id.to_string(), tenant_id).await,
            Found::User(Some(tenant_id), user) => self.called_by("user", &HEXLOWER.encode(&user), tenant_id).await,
            Found::User(None, user) => {
                let bucket = LimitBucket { name: HEXLOWER.encode(&user), quota: self.limits.settings.key };
                self.called(&["user"], &[bucket]).await
            }
        }
    }

    /// A call by one of a tenant's callers. Both buckets are in one slot of a Redis cluster.
    async fn called_by(&self, policy: &'static str, caller: &str, tenant_id: TenantId) -> Result<(), Problem> {
        let LimitSettings { key, tenant, .. } = self.limits.settings;
        let buckets = [
            LimitBucket { name: format!("{{{tenant_id}}}:{caller}"), quota: key },
            LimitBucket { name: format!("{{{tenant_id}}}"), quota: tenant },
        ];
        self.called(&[policy, "tenant"], &buckets).await
    }

    async fn called(&self, policies: &[&'static str], buckets: &[LimitBucket]) -> Result<(), Problem> {
        let limits = self.limits;
        self.give_back();
        let now = limits.now();
        limits.known.drain(limits.known.tag(self.credential), now + KNOWN_FOR, now);
        let taken = limits.take(buckets).await;
        let standings = standings(policies, buckets, &taken);
        self.shown.set(&standings);
        if taken.allowed {
            return Ok(());
        }
        limits.refused.note(self.credential, &standings, longest_wait(&standings), limits.now());
        Err(too_many(&standings))
    }

    async fn failed(mut self) -> Result<(), Problem> {
        let limits = self.limits;
        let bucket = limits.failures.tags([&self.client]);
        limits.known.forget(limits.known.tag(self.credential), limits.now());
        let here = self.taken.take().unwrap_or_else(|| limits.failures.take(&bucket, limits.now()));
        let taken = match limits.take_shared(std::slice::from_ref(&self.client)).await {
            Some(shared) => {
                // What the client did elsewhere counts here as well, before its next credential is looked up.
                for ((tag, _), until_full) in bucket.iter().zip(&shared.until_full) {
                    let now = limits.now();
                    limits.failures.drain(*tag, now + *until_full, now);
                }
                shared
            }
            None => here,
        };
        let standings = standings(&["client"], std::slice::from_ref(&self.client), &taken);
        self.shown.set(&standings);
        if taken.allowed { Ok(()) } else { Err(too_many(&standings)) }
    }

    fn give_back(&self) {
        if self.taken.is_some() {
            let failures = &self.limits.failures;
            failures.give_back(failures.tag(&self.client.name), self.client.quota, self.limits.now());
        }
    }
}

fn standings(policies: &[&'static str], buckets: &[LimitBucket], taken: &Taken) -> Vec<Standing> {
    let named = policies.iter().zip(buckets).zip(&taken.until_full);
    named
        .map(|((policy, bucket), until_full)| Standing { policy, quota: bucket.quota, until_full: *until_full })
        .collect()
}

/// After which time none of the buckets is empty.
fn longest_wait(standings: &[Standing]) -> Duration {
    standings.iter().map(|standing| standing.quota.wait(standing.until_full)).max().unwrap_or_default()
}

fn too_many(standings: &[Standing]) -> Problem {
    let slowest = standings.iter().max_by_key(|standing| standing.quota.wait(standing.until_full));
    let policy = slowest.map_or("none", |standing| standing.policy);
    metrics::counter!("mtasts_api_rate_limited_total", "policy" => policy).increment(1);
    let whose = match policy {
        "key" => "calls with this API key",
        "user" => "calls by this user",
        "tenant" => "calls with the credentials of this tenant",
        "operator" => "calls with the operator token",
        _ => "calls with invalid credentials from this address",
    };
    let seconds = whole_seconds(longest_wait(standings)).max(1);
    Problem::new(ProblemKind::RateLimited, format!("Too many {whose}: the next one is possible in {seconds} s"))
        .retry_after(Duration::from_secs(seconds))
}
