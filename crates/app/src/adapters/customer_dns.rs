//! The customers' own DNS: Cloudflare by its API, any other server by dynamic updates.
//!
//! A customer chooses the server's name, so its addresses are filtered after they were resolved, and what was filtered
//! is what is connected to.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use mtasts_api::{BoxError, CustomerDns, CustomerDnsError, OpenZone, Standing, ZoneAccess};
use mtasts_certs::{KeyRing, Purpose};
use mtasts_dns::{
    CustomerZone, Marker, Pace, ProviderError, Resolver, StandingRecord, ZoneProvider,
    providers::{
        cloudflare::{CloudflareCustomer, CloudflareCustomerConfig},
        rfc2136::{CustomerConfig, Rfc2136, Rfc2136Config, Rfc2136Customer},
    },
    tsig::{TsigAlgorithm, TsigKey},
};
use mtasts_model::{Clock, MailDomain, TenantId, ZoneName};
use mtasts_probe::address::refusal;
use mtasts_store::{CustomerProvider, ServerAddress, TsigKeyName};
use url::Url;
use zeroize::Zeroizing;

/// For one request to Cloudflare, or one exchange with a name server.
const TIMEOUT: Duration = Duration::from_secs(5);
/// At most so many addresses of a name server are tried, one after the other.
const MAX_ADDRESSES: usize = 3;
/// No zone has this name (RFC 6761 §6.4): asked for, it tells whether Cloudflare accepts a token.
const NO_ZONE: &str = "zone.invalid";

/// The way to customers' DNS.
pub(crate) struct CustomersDns {
    pub(crate) key_ring: KeyRing,
    pub(crate) resolver: Resolver,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where Cloudflare's API is.
    pub(crate) cloudflare_api: Url,
    /// Whether name servers on loopback and private addresses may be asked: in demos and private networks.
    pub(crate) allow_private_addresses: bool,
}

/// Where a customer's zone is kept, as far as one call needs it.
struct Server<'a> {
    address: &'a ServerAddress,
    key: TsigKey,
}

impl CustomersDns {
    fn cloudflare(&self, access: &ZoneAccess) -> CloudflareCustomerConfig {
        CloudflareCustomerConfig {
            api_url: self.cloudflare_api.clone(),
            token: access.secret.clone(),
            pace: pace(),
            timeout: TIMEOUT,
        }
    }

    /// The addresses that may be asked.
    async fn addresses(&self, server: &ServerAddress) -> Result<Vec<SocketAddr>, CustomerDnsError> {
        let unusable = |reason: String| CustomerDnsError::ServerUnusable { reason };
        let addresses = if let Ok(address) = server.host().parse::<IpAddr>() {
            vec![address]
        } else {
            let found = self.resolver.addresses(server.host()).await.map_err(|source| {
                let reason = format!("The addresses of {} could not be looked up", server.host());
                CustomerDnsError::Unavailable { reason, retry_after: None, source: Some(source.into()) }
            })?;
            found.found().unwrap_or_default()
        };
        let Some(first) = addresses.first().copied() else {
            return Err(unusable(format!("The name server {} has no address", server.host())));
        };
        let allowed = addresses.into_iter().filter(|address| refusal(*address, self.allow_private_addresses).is_none());
        let allowed: Vec<_> =
            allowed.take(MAX_ADDRESSES).map(|address| SocketAddr::new(address, server.port())).collect();
        match refusal(first, self.allow_private_addresses) {
            Some(refusal) if allowed.is_empty() => Err(unusable(format!(
                "The name server {} is not asked: its address {refusal}, and only public ones are",
                server.host()
            ))),
            _ => Ok(allowed),
        }
    }

    /// A server that says yes to a request which changes nothing has the zone, and lets the key update it.
    async fn check_server(&self, server: &Server<'_>, zone: &ZoneName) -> Result<(), CustomerDnsError> {
        let whom = server.address.to_string();
        let mut outcome = Ok(());
        for address in self.addresses(server.address).await? {
            let config = Rfc2136Config {
                zone: zone.clone(),
                server: address,
                key: Some(server.key.clone()),
                // Nothing is written, and so nothing is marked.
                marker: Marker::new("check").map_err(|error| told(ProviderError::Other(error.into()), &whom))?,
                authoritative: Vec::new(),
                pace: pace(),
                timeout: TIMEOUT,
                batch: 1,
            };
            let provider = Rfc2136::new(config, Arc::clone(&self.clock));
            let provider = provider.map_err(|error| told(error.into(), &whom))?;
            outcome = provider.check().await;
            if !outcome.as_ref().is_err_and(ProviderError::is_passing) {
                break;
            }
        }
        outcome.map_err(|error| looked(told(error, &whom)))
    }

    async fn open_server(&self, server: &Server<'_>, zone: &str) -> Result<ServerZone, CustomerDnsError> {
        let whom = server.address.to_string();
        let zones = self.addresses(server.address).await?.into_iter().map(|address| {
            let config = CustomerConfig {
                zone: zone.to_owned(),
                server: address,
                key: Some(server.key.clone()),
                timeout: TIMEOUT,
            };
            Rfc2136Customer::new(config, pace(), Arc::clone(&self.clock))
        });
        let zones: Vec<_> = zones.collect::<Result<_, _>>().map_err(|error| told(error.into(), &whom))?;
        Ok(ServerZone { name: zone.to_owned(), whom, zones, good: AtomicUsize::new(0) })
    }
}

/// For the calls of one request, which are few.
fn pace() -> Arc<Pace> {
    Arc::new(Pace::new(10.0, 40))
}

fn tsig_key(
    name: &TsigKeyName,
    algorithm: mtasts_store::TsigAlgorithm,
    access: &ZoneAccess,
) -> Result<TsigKey, CustomerDnsError> {
    let algorithm = match algorithm {
        mtasts_store::TsigAlgorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
        mtasts_store::TsigAlgorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
    };
    TsigKey::new(name.as_str(), algorithm, &access.secret)
        .map_err(|error| CustomerDnsError::Unauthorized { reason: format!("The TSIG key cannot be used: {error}") })
}

/// The zone that the credential names; a credential for dynamic updates always does.
fn zone_of(access: &ZoneAccess) -> &str {
    access.zone.as_ref().map_or("", |zone| zone.as_str())
}

fn is_inside(domain: &str, zone: &str) -> bool {
    domain.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[async_trait]
impl CustomerDns for CustomersDns {
    fn seal(&self, tenant: TenantId, secret: &[u8]) -> Vec<u8> {
        self.key_ring.seal(Purpose::ProviderToken, Some(tenant), None, secret)
    }

    fn open(&self, tenant: TenantId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BoxError> {
        Ok(self.key_ring.open(Purpose::ProviderToken, Some(tenant), None, sealed)?)
    }

    async fn check(&self, access: &ZoneAccess) -> Result<(), CustomerDnsError> {
        match &access.provider {
            CustomerProvider::Cloudflare => {
                let zone = access.zone.as_ref().map_or(NO_ZONE, |zone| zone.as_str());
                match CloudflareCustomer::find(zone, self.cloudflare(access)).await {
                    Ok(_) => Ok(()),
                    Err(ProviderError::ZoneNotFound { .. }) if access.zone.is_none() => Ok(()),
                    Err(error) => Err(looked(told(error, CLOUDFLARE))),
                }
            }
            CustomerProvider::Rfc2136 { server, key_name, algorithm } => {
                let zone = zone_of(access).parse().map_err(|error| CustomerDnsError::ZoneNotCovered {
                    reason: format!("The zone cannot be written to: {error}"),
                })?;
                let server = Server { address: server, key: tsig_key(key_name, *algorithm, access)? };
                self.check_server(&server, &zone).await
            }
        }
    }

    async fn zone(&self, access: &ZoneAccess, domain: &MailDomain) -> Result<Box<dyn OpenZone>, CustomerDnsError> {
        if let Some(zone) = access.zone.as_ref().filter(|zone| !is_inside(domain.as_str(), zone.as_str())) {
            let reason = format!("{domain} is not in the zone {zone}, which the credential is for");
            return Err(CustomerDnsError::ZoneNotCovered { reason });
        }
        match &access.provider {
            CustomerProvider::Cloudflare => {
                let zone = CloudflareCustomer::find(domain.as_str(), self.cloudflare(access)).await;
                Ok(Box::new(CloudflareZone(zone.map_err(|error| looked(told(error, CLOUDFLARE)))?)))
            }
            CustomerProvider::Rfc2136 { server, key_name, algorithm } => {
                let server = Server { address: server, key: tsig_key(key_name, *algorithm, access)? };
                Ok(Box::new(self.open_server(&server, zone_of(access)).await?))
            }
        }
    }
}

const CLOUDFLARE: &str = "Cloudflare";

struct CloudflareZone(CloudflareCustomer);

#[async_trait]
impl OpenZone for CloudflareZone {
    fn name(&self) -> &str {
        self.0.zone()
    }

    async fn standing(&self, names: &[String]) -> Result<Vec<Standing>, CustomerDnsError> {
        shown(self.0.standing(names).await, CLOUDFLARE)
    }

    async fn create_cname(&self, name: &str, target: &str, ttl: u32) -> Result<(), CustomerDnsError> {
        self.0.create_cname(name, target, ttl).await.map_err(|error| told(error, CLOUDFLARE))
    }
}

/// A zone on a server with one or more addresses.
struct ServerZone {
    name: String,
    /// The server as the customer wrote it.
    whom: String,
    zones: Vec<Rfc2136Customer>,
    /// Which address answered last.
    good: AtomicUsize,
}

#[async_trait]
impl OpenZone for ServerZone {
    fn name(&self) -> &str {
        &self.name
    }

    async fn standing(&self, names: &[String]) -> Result<Vec<Standing>, CustomerDnsError> {
        let mut outcome = Ok(Vec::new());
        for (index, zone) in self.zones.iter().enumerate() {
            outcome = zone.standing(names).await;
            self.good.store(index, Ordering::Relaxed);
            if !outcome.as_ref().is_err_and(ProviderError::is_passing) {
                break;
            }
        }
        shown(outcome, &self.whom)
    }

    /// At the address that answered before: an update that got no answer is not repeated elsewhere.
    async fn create_cname(&self, name: &str, target: &str, ttl: u32) -> Result<(), CustomerDnsError> {
        let zone = self.zones.get(self.good.load(Ordering::Relaxed)).or(self.zones.first());
        let zone = zone.ok_or_else(|| CustomerDnsError::ServerUnusable {
            reason: format!("The name server {} has no address", self.whom),
        })?;
        zone.create_cname(name, target, ttl).await.map_err(|error| told(error, &self.whom))
    }
}

fn shown(outcome: Result<Vec<StandingRecord>, ProviderError>, whom: &str) -> Result<Vec<Standing>, CustomerDnsError> {
    let records = outcome.map_err(|error| looked(told(error, whom)))?;
    let shown = records.into_iter().map(|StandingRecord { name, record_type, value, .. }| Standing {
        name,
        record_type,
        value,
    });
    Ok(shown.collect())
}

/// A provider's error in words for the customer. Why a server cannot be reached is for our log alone: told to whoever
/// names the server, it would map networks for them.
fn told(error: ProviderError, whom: &str) -> CustomerDnsError {
    let unavailable =
        |reason: String, retry_after, source| CustomerDnsError::Unavailable { reason, retry_after, source };
    match error {
        ProviderError::Unavailable { retry_after, source } => {
            unavailable(format!("{whom} cannot be reached, or has a fault of its own"), retry_after, Some(source))
        }
        ProviderError::RateLimited { retry_after } => {
            unavailable(format!("{whom} limits our requests"), retry_after, None)
        }
        ProviderError::Other(source) => unavailable(format!("{whom} could not be asked"), None, Some(source)),
        ProviderError::Unauthorized { reason } => {
            CustomerDnsError::Unauthorized { reason: format!("{whom} refuses the credential: {reason}") }
        }
        ProviderError::ZoneNotFound { zone } if zone == NO_ZONE => {
            CustomerDnsError::ZoneNotCovered { reason: format!("{whom} shows no zone to this credential") }
        }
        ProviderError::ZoneNotFound { zone } => CustomerDnsError::ZoneNotCovered {
            reason: format!("{whom} has no zone for {zone}, or does not show it to this credential"),
        },
        error @ ProviderError::NameOutsideZone { .. } => CustomerDnsError::ZoneNotCovered { reason: error.to_string() },
        ProviderError::Conflict { found, .. } | ProviderError::TypeClash { found, .. } => {
            CustomerDnsError::Occupied { found }
        }
        ProviderError::Refused { reason } => {
            CustomerDnsError::Rejected { reason: format!("{whom} refuses it: {reason}") }
        }
        ProviderError::InvalidName(error) => CustomerDnsError::Rejected { reason: error.to_string() },
    }
}

/// What refuses even to be looked at cannot be used.
fn looked(error: CustomerDnsError) -> CustomerDnsError {
    match error {
        CustomerDnsError::Rejected { reason } | CustomerDnsError::Occupied { found: reason } => {
            CustomerDnsError::ServerUnusable { reason }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use mtasts_dns::ResolverConfig;
    use mtasts_model::{HostName, SystemClock, SystemEntropy};
    use mtasts_testkit::{Bind, FakeCloudflare, free_port};

    use super::*;

    fn adapter(resolver: SocketAddr, allow_private_addresses: bool) -> CustomersDns {
        let resolver = ResolverConfig { upstreams: vec![resolver], ..ResolverConfig::default() };
        CustomersDns {
            key_ring: KeyRing::generate(&SystemEntropy).0,
            resolver: Resolver::new(resolver).unwrap(),
            clock: Arc::new(SystemClock),
            cloudflare_api: "http://127.0.0.1:1/".parse().unwrap(),
            allow_private_addresses,
        }
    }

    fn access(server: &str, key_name: &str, secret: String) -> ZoneAccess {
        ZoneAccess {
            provider: CustomerProvider::Rfc2136 {
                server: server.parse().unwrap(),
                key_name: key_name.parse().unwrap(),
                algorithm: mtasts_store::TsigAlgorithm::HmacSha256,
            },
            zone: Some(HostName::parse("customer.test").unwrap()),
            secret: secret.into(),
        }
    }

    const TARGET: &str = "label.edge.sts.example.net";

    #[tokio::test]
    async fn a_real_server_is_checked_looked_at_and_written_to_and_nothing_is_overwritten() {
        let bind = Bind::start(&["customer.test"], &[]).await;
        let dns = adapter(bind.address(), true);
        let (key, secret) = bind.key();
        // By name: BIND is the resolver too, and the zone's own `ns` is at 127.0.0.1.
        let server = format!("ns.customer.test:{}", bind.address().port());
        let good = access(&server, key, secret.clone());
        dns.check(&good).await.unwrap();

        let other_secret = access(&server, key, "b3RoZXIgc2VjcmV0IG9mIDMyIG9jdGV0cy4uLi4uLi4=".to_owned());
        let other_key = access(&server, "no-such-key", secret.clone());
        for wrong in [&other_secret, &other_key] {
            let error = dns.check(wrong).await.unwrap_err();
            assert!(matches!(error, CustomerDnsError::Unauthorized { .. }), "{error:?}");
        }
        let mut other_zone = good.clone();
        other_zone.zone = Some(HostName::parse("elsewhere.test").unwrap());
        let error = dns.check(&other_zone).await.unwrap_err();
        assert!(matches!(error, CustomerDnsError::ZoneNotCovered { .. }), "{error:?}");

        bind.update("customer.test", &["add taken.customer.test 1 A 192.0.2.7"]).await;
        let domain = MailDomain::from_stored("customer.test").unwrap();
        let zone = dns.zone(&good, &domain).await.unwrap();
        assert_eq!(zone.name(), "customer.test");
        let names = ["mta-sts.customer.test".to_owned(), "taken.customer.test".to_owned()];
        let standing = zone.standing(&names).await.unwrap();
        assert_eq!(standing.len(), 1);
        assert_eq!((standing[0].record_type.as_str(), standing[0].value.as_str()), ("A", "192.0.2.7"));
        zone.create_cname(&names[0], TARGET, 60).await.unwrap();
        let occupied = zone.create_cname(&names[1], TARGET, 60).await.unwrap_err();
        assert!(matches!(occupied, CustomerDnsError::Occupied { .. }), "{occupied:?}");
        assert_eq!(bind.dig(&names[0], "CNAME").await, [format!("{TARGET}.")]);
        assert_eq!(bind.dig(&names[1], "A").await, ["192.0.2.7"]);
        assert!(dns.zone(&good, &MailDomain::from_stored("other.test").unwrap()).await.is_err());
        for error in [format!("{occupied:?}"), format!("{:?}", dns.check(&other_secret).await)] {
            assert!(!error.contains(&secret) && !error.contains("b3RoZXIg"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_cloudflare_token_is_checked_and_opens_the_zone_that_holds_the_domain() {
        let cloudflare = FakeCloudflare::start().await;
        cloudflare.add_zone("customer.test");
        cloudflare.add_zone("stranger.test");
        let token = cloudflare.add_token(&["customer.test"]);
        let mut dns = adapter("127.0.0.1:1".parse().unwrap(), false);
        dns.cloudflare_api = cloudflare.url().parse().unwrap();
        let access = |zone: Option<&str>, token: &str| ZoneAccess {
            provider: CustomerProvider::Cloudflare,
            zone: zone.map(|zone| HostName::parse(zone).unwrap()),
            secret: token.into(),
        };
        dns.check(&access(None, &token)).await.unwrap();
        dns.check(&access(Some("customer.test"), &token)).await.unwrap();
        let elsewhere = dns.check(&access(Some("stranger.test"), &token)).await.unwrap_err();
        assert!(matches!(elsewhere, CustomerDnsError::ZoneNotCovered { .. }), "{elsewhere:?}");

        cloudflare.put_record("customer.test", "A", "_mta-sts.shop.customer.test", "192.0.2.7", None);
        let domain = MailDomain::from_stored("shop.customer.test").unwrap();
        let zone = dns.zone(&access(None, &token), &domain).await.unwrap();
        assert_eq!(zone.name(), "customer.test");
        let names = ["mta-sts.shop.customer.test".to_owned(), "_mta-sts.shop.customer.test".to_owned()];
        let standing = zone.standing(&names).await.unwrap();
        assert_eq!(standing.iter().map(|one| one.value.as_str()).collect::<Vec<_>>(), ["192.0.2.7"]);
        zone.create_cname(&names[0], TARGET, 3600).await.unwrap();
        let occupied = zone.create_cname(&names[1], TARGET, 3600).await.unwrap_err();
        assert!(matches!(occupied, CustomerDnsError::Occupied { .. }), "{occupied:?}");
        let records = cloudflare.records("customer.test");
        let made = records.iter().find(|record| record.name == names[0]).unwrap();
        assert_eq!((made.kind.as_str(), made.content.as_str(), made.proxied), ("CNAME", TARGET, false));
        assert_eq!(records.len(), 2);
        let foreign = MailDomain::from_stored("stranger.test").unwrap();
        let error = dns.zone(&access(None, &token), &foreign).await.err().unwrap();
        assert!(matches!(error, CustomerDnsError::ZoneNotCovered { .. }), "{error:?}");

        cloudflare.revoke_token(&token);
        for zone in [None, Some("customer.test")] {
            let error = dns.check(&access(zone, &token)).await.unwrap_err();
            assert!(matches!(error, CustomerDnsError::Unauthorized { .. }), "{error:?}");
            assert!(!format!("{error:?}").contains(&token));
        }
    }

    #[tokio::test]
    async fn no_server_without_a_public_address_is_connected_to() {
        let bind = Bind::start(&["customer.test"], &[]).await;
        bind.update(
            "customer.test",
            &[
                "add metadata.customer.test 1 A 169.254.169.254",
                "add mapped.customer.test 1 AAAA ::ffff:127.0.0.1",
                "add nat64.customer.test 1 AAAA 64:ff9b::7f00:1",
                "add private.customer.test 1 A 10.0.0.1",
            ],
        )
        .await;
        let dns = adapter(bind.address(), false);
        let domain = MailDomain::from_stored("customer.test").unwrap();
        for server in [
            &format!("127.0.0.1:{}", bind.address().port()),
            "[::1]:53",
            "[::ffff:127.0.0.1]:53",
            "169.254.169.254",
            "ns.customer.test",
            "metadata.customer.test",
            "mapped.customer.test",
            "nat64.customer.test",
            "private.customer.test",
            "nowhere.customer.test",
        ] {
            let (key, secret) = bind.key();
            let access = access(server, key, secret);
            let refused = [dns.check(&access).await.err(), dns.zone(&access, &domain).await.err()];
            for error in refused {
                assert!(matches!(error, Some(CustomerDnsError::ServerUnusable { .. })), "{server}: {error:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_unavailable_and_not_told_why() {
        let bind = Bind::start(&["customer.test"], &[]).await;
        let dns = adapter(bind.address(), true);
        let (key, secret) = bind.key();
        let error = dns.check(&access(&format!("127.0.0.1:{}", free_port()), key, secret)).await.unwrap_err();
        let CustomerDnsError::Unavailable { reason, source, .. } = error else { panic!("{error:?}") };
        assert!(!reason.contains("refused") && source.is_some(), "{reason}");
    }

    #[test]
    fn a_secret_opens_for_its_tenant_alone() {
        let dns = adapter("127.0.0.1:1".parse().unwrap(), false);
        let now = SystemClock.now();
        let tenant = |seed| TenantId::draw(now, &mtasts_model::clock::SeededEntropy::new(seed));
        let sealed = dns.seal(tenant(1), b"canary");
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_eq!(dns.open(tenant(1), &sealed).unwrap().as_slice(), b"canary");
        assert!(dns.open(tenant(2), &sealed).is_err());
    }

    #[test]
    fn a_domain_is_inside_its_zone_and_no_other() {
        assert!(is_inside("customer.test", "customer.test") && is_inside("a.customer.test", "customer.test"));
        assert!(!is_inside("notcustomer.test", "customer.test") && !is_inside("test", "customer.test"));
    }
}
