//! What the API needs to know.

use std::{net::SocketAddr, time::Duration};

use mtasts_model::{NameRules, ZoneName, label::Placement, readiness::Demands};
use mtasts_store::Quotas;
use secrecy::SecretString;
use url::Url;

use crate::limits::LimitSettings;

/// What the API makes of the trace that a caller names (`traceparent` of W3C Trace Context).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CallersTraces {
    /// Nothing: a stranger's word decides on nothing.
    #[default]
    Ignore,
    /// The request's own trace is linked to it.
    Link,
    /// The request is a part of it, and exported if the caller exports it.
    Parent,
}

/// The configuration of the API.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Where to listen. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The zone that the Domain Connect template names, among the service's own.
    pub zone: ZoneName,
    /// In which of the service's zones new domains are at home.
    pub placement: Placement,
    /// Which names may be registered.
    pub name_rules: NameRules,
    /// The operator's bearer token: at least [`ApiConfig::MIN_OPERATOR_TOKEN`] octets. Only its hash is kept.
    pub operator_token: SecretString,
    /// How callers reach the API: the base of the problem types' URIs.
    pub public_url: Url,
    /// The longest body that is read, in octets.
    pub body_limit: usize,
    /// The longest body of a bulk request, in octets; a line of it may be as long as `body_limit`.
    pub bulk_body_limit: usize,
    /// How long a request's header may take to arrive.
    pub header_deadline: Duration,
    /// How long a request's body may take to arrive.
    pub body_deadline: Duration,
    /// How long a whole request may take. Above `body_deadline`.
    pub request_deadline: Duration,
    /// How long requests that are under way may go on after the shutdown began.
    pub drain_deadline: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long all calls to a customer's DNS provider may take together. Below `request_deadline`.
    pub customer_dns_deadline: Duration,
    /// Requests that call customers' DNS providers at the same time, in all.
    pub customer_dns_calls: usize,
    /// Of these, those of one tenant.
    pub customer_dns_calls_per_tenant: usize,
    /// How many calls are possible; None: as many as anybody likes.
    pub limits: Option<LimitSettings>,
    /// What a tenant may have to which the operator granted nothing else.
    pub quotas: Quotas,
    /// Checks of any domain that a tenant may ask for within an hour.
    pub checks_per_hour: u32,
    /// TTL of the published TXT records, in seconds, as workers write them.
    pub record_ttl: u32,
    /// How much proof for `enforce` is recommended; of it, too many failures in verified reports refuse it.
    pub enforce: Demands,
    /// The host that takes reports in; None: there is none.
    pub report_host: Option<String>,
    /// Where every domain's TLS reports go besides the tenant's own addresses, with `{label}`.
    pub report_uris: Vec<String>,
    /// Whether workers send mail, so that there can be digests.
    pub mail: bool,
    /// What becomes of the trace that a caller names.
    pub callers_traces: CallersTraces,
    /// Threads that handle requests.
    pub workers: usize,
    /// Connections at a time, per worker.
    pub max_connections: usize,
}

impl ApiConfig {
    /// The shortest operator token: one that is drawn at random has 128 bits in 22 characters of base64.
    pub const MIN_OPERATOR_TOKEN: usize = 20;

    /// A configuration with the defaults for everything that has one.
    pub fn new(listen: Vec<SocketAddr>, zone: ZoneName, operator_token: SecretString, public_url: Url) -> Self {
        Self {
            listen,
            placement: Placement::only(zone.clone()),
            zone,
            name_rules: NameRules::strict(),
            operator_token,
            public_url,
            body_limit: 64 * 1024,
            bulk_body_limit: 8 * 1024 * 1024,
            header_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(10),
            request_deadline: Duration::from_secs(20),
            drain_deadline: Duration::from_secs(20),
            keep_alive: Duration::from_secs(75),
            customer_dns_deadline: Duration::from_secs(15),
            customer_dns_calls: 64,
            customer_dns_calls_per_tenant: 4,
            limits: Some(LimitSettings::default()),
            quotas: Quotas::default(),
            checks_per_hour: 60,
            record_ttl: 300,
            enforce: Demands::default(),
            report_host: None,
            report_uris: Vec::new(),
            mail: false,
            callers_traces: CallersTraces::Ignore,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            max_connections: 10_000,
        }
    }
}
