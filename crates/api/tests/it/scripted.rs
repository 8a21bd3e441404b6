//! The customers' DNS and their DNS providers as a list of calls and answers: what nobody expected fails.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use mtasts_api::{
    BoxError, CustomerDns, CustomerDnsError, DomainConnectWeb, OpenZone, Standing, WebAnswer, ZoneAccess,
};
use mtasts_model::{MailDomain, TenantId};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

/// What a call is answered.
pub(crate) enum Reply {
    Done,
    /// The name of the zone that is opened.
    Zone(&'static str),
    /// Name, type and value of what stands there.
    Standing(Vec<(String, &'static str, String)>),
    /// TXT values.
    Txt(&'static [&'static str]),
    /// Status and content.
    Web(u16, String),
    Fail(CustomerDnsError),
    /// No DNS, no network.
    Broken,
    /// No answer, ever.
    Hang,
}

/// Calls in their order, each with its answer.
#[derive(Default)]
struct Script(Mutex<VecDeque<(String, Reply)>>);

impl Script {
    fn expect(&self, call: String, reply: Reply) {
        self.0.lock().unwrap().push_back((call, reply));
    }

    async fn next(&self, call: String) -> Reply {
        let (expected, reply) = self.0.lock().unwrap().pop_front().unwrap_or_else(|| panic!("nobody expected: {call}"));
        assert_eq!(call, expected);
        match reply {
            Reply::Hang => std::future::pending().await,
            reply => reply,
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let left: Vec<_> = self.0.get_mut().unwrap().iter().map(|(call, _)| call.clone()).collect();
        assert!(left.is_empty() || std::thread::panicking(), "these calls did not come: {left:?}");
    }
}

/// The customers' DNS.
#[derive(Default)]
pub(crate) struct ScriptedDns(Arc<Script>);

impl ScriptedDns {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// `check <provider> <zone or -> <secret>`, `open <domain> <provider> <zone or -> <secret>`, `standing <name>…` or `create <name> <target> <ttl>`.
    pub(crate) fn expect(&self, call: impl Into<String>, reply: Reply) {
        self.0.expect(call.into(), reply);
    }

    /// The calls that were expected need not come.
    pub(crate) fn forget(&self) {
        self.0.0.lock().unwrap().clear();
    }

    /// Whether all calls that were expected have come.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.0.lock().unwrap().is_empty()
    }
}

fn described(access: &ZoneAccess) -> String {
    let zone = access.zone.as_ref().map_or("-", |zone| zone.as_str());
    format!("{} {zone} {}", access.provider.as_str(), access.secret.expose_secret())
}

/// Not secret, but bound to the tenant and unreadable at a glance, as the real thing.
fn scramble(tenant: TenantId, text: &[u8]) -> Vec<u8> {
    let pad = tenant.as_uuid().into_bytes();
    text.iter().zip(pad.iter().cycle()).map(|(byte, pad)| byte ^ pad ^ 0xA5).collect()
}

#[async_trait]
impl CustomerDns for ScriptedDns {
    fn seal(&self, tenant: TenantId, secret: &[u8]) -> Vec<u8> {
        scramble(tenant, secret)
    }

    fn open(&self, tenant: TenantId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BoxError> {
        Ok(Zeroizing::new(scramble(tenant, sealed)))
    }

    async fn check(&self, access: &ZoneAccess) -> Result<(), CustomerDnsError> {
        match self.0.next(format!("check {}", described(access))).await {
            Reply::Done => Ok(()),
            Reply::Fail(error) => Err(error),
            _ => panic!("no answer to a check"),
        }
    }

    async fn zone(&self, access: &ZoneAccess, domain: &MailDomain) -> Result<Box<dyn OpenZone>, CustomerDnsError> {
        match self.0.next(format!("open {domain} {}", described(access))).await {
            Reply::Zone(name) => Ok(Box::new(Opened { name, script: Arc::clone(&self.0) })),
            Reply::Fail(error) => Err(error),
            _ => panic!("no answer to an opening"),
        }
    }
}

struct Opened {
    name: &'static str,
    script: Arc<Script>,
}

#[async_trait]
impl OpenZone for Opened {
    fn name(&self) -> &str {
        self.name
    }

    async fn standing(&self, names: &[String]) -> Result<Vec<Standing>, CustomerDnsError> {
        match self.script.next(format!("standing {}", names.join(" "))).await {
            Reply::Standing(records) => Ok(records
                .into_iter()
                .map(|(name, record_type, value)| Standing { name, record_type: record_type.to_owned(), value })
                .collect()),
            Reply::Fail(error) => Err(error),
            _ => panic!("no answer to a look"),
        }
    }

    async fn create_cname(&self, name: &str, target: &str, ttl: u32) -> Result<(), CustomerDnsError> {
        match self.script.next(format!("create {name} {target} {ttl}")).await {
            Reply::Done => Ok(()),
            Reply::Fail(error) => Err(error),
            _ => panic!("no answer to a creation"),
        }
    }
}

/// DNS and web servers of DNS providers.
#[derive(Default)]
pub(crate) struct ScriptedWeb(Script);

impl ScriptedWeb {
    /// `txt <name>` or `get <url>`.
    pub(crate) fn expect(&self, call: impl Into<String>, reply: Reply) {
        self.0.expect(call.into(), reply);
    }
}

#[async_trait]
impl DomainConnectWeb for ScriptedWeb {
    async fn txt(&self, name: &str) -> Result<Vec<String>, BoxError> {
        match self.0.next(format!("txt {name}")).await {
            Reply::Txt(values) => Ok(values.iter().map(|value| (*value).to_owned()).collect()),
            Reply::Broken => Err("SERVFAIL".into()),
            _ => panic!("no answer to a lookup"),
        }
    }

    async fn get(&self, url: &url::Url) -> Result<WebAnswer, BoxError> {
        match self.0.next(format!("get {url}")).await {
            Reply::Web(status, body) => Ok(WebAnswer { status, body: body.into_bytes() }),
            Reply::Broken => Err("connection refused".into()),
            _ => panic!("no answer of a web server"),
        }
    }
}
