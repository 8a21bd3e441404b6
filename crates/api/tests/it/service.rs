//! A running API, and a client that checks each answer against the OpenAPI document.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::TimeDelta;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mtasts_api::{Api, ApiConfig, ApiServer, WebhookSealer, WebhookSettings};
use mtasts_model::{
    CertificateId, Clock, Condition, DomainId, HostName, MaxAge, Mode, MxPattern, NameRules, OrderId, Policy, PolicyId,
    PolicyVersionId, TenantId, WebhookId, ZoneName,
    clock::{ManualClock, SystemEntropy},
    lifecycle::{CnameSeen, DelegationSeen, MxFailure, MxHostSeen, MxSeen, WatchProblem},
};
use mtasts_store::{CheckOutcome, Lease, NewCertificate, NewVersion, Role, Store, StoreConfig, VersionReason, migrate};
use mtasts_testkit::TestDatabase;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{scripted::ScriptedDns, spec::Spec};

/// All of them, in the order in which they are shown.
pub(crate) const SCOPES: [&str; 9] = [
    "domains:read",
    "domains:write",
    "policy:write",
    "reports:read",
    "keys:write",
    "webhooks:write",
    "audit:read",
    "customers:act",
    "customers:write",
];
pub(crate) const OPERATOR_TOKEN: &str = "operator-token-of-the-tests";

/// Keeps nothing secret, but tells whose it is.
struct FakeSealer;

impl WebhookSealer for FakeSealer {
    fn seal(&self, tenant: TenantId, webhook: WebhookId, secret: &[u8]) -> Vec<u8> {
        format!("{tenant} {webhook} {}", secret.len()).into_bytes()
    }
}

/// An API with its database. Both end when it is dropped.
pub(crate) struct Service {
    pub(crate) clock: ManualClock,
    pub(crate) address: String,
    pub(crate) spec: Arc<Spec>,
    pub(crate) database: TestDatabase,
    /// The customers' DNS.
    pub(crate) dns: Arc<ScriptedDns>,
    client: Client<HttpConnector, Full<Bytes>>,
    worker: Store,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

/// An answer whose status and form the OpenAPI document has.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

/// What to send.
#[derive(Clone)]
pub(crate) struct Call<'a> {
    service: &'a Service,
    address: String,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}, |url| url).await
    }

    /// With another configuration, and the API's store behind another address.
    pub(crate) async fn start_with(
        configure: impl FnOnce(&mut ApiConfig),
        reach: impl FnOnce(String) -> String,
    ) -> Self {
        let dns = ScriptedDns::new();
        let wired = Arc::clone(&dns);
        let mut service = Self::start_wired(configure, reach, |server| {
            server
                .with_customer_dns(wired)
                .with_webhooks(WebhookSettings { sealer: Arc::new(FakeSealer), allow_http: false })
        })
        .await;
        service.dns = dns;
        service
    }

    /// With other ways to the outside.
    pub(crate) async fn start_wired(
        configure: impl FnOnce(&mut ApiConfig),
        reach: impl FnOnce(String) -> String,
        wire: impl FnOnce(ApiServer) -> ApiServer,
    ) -> Self {
        let database = TestDatabase::create().await;
        let zone: ZoneName = "sts.example.net".parse().unwrap();
        migrate(&database.url().into(), &zone).await.expect("migrations apply");
        let clock = ManualClock::default();
        let store = store(&reach(database.url()), Role::Api).await;
        let worker = store_of_worker(&database).await;
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let public_url = "https://api.example.net".parse().unwrap();
        let mut config = ApiConfig::new(listen, zone, OPERATOR_TOKEN.into(), public_url);
        config.mail = true;
        config.name_rules = NameRules::allowing(["test"]);
        config.workers = 1;
        config.drain_deadline = Duration::from_secs(1);
        // Tests of other things call as often as they need to.
        config.limits = None;
        configure(&mut config);
        let server = Api::bind(config, store, Arc::new(clock.clone()), Arc::new(SystemEntropy)).expect("binds");
        let server = wire(server);
        let address = server.local_addrs()[0].to_string();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            server.run(stopped).await.expect("runs until stopped");
        });
        Self {
            clock,
            address,
            spec: Arc::new(Spec::load()),
            database,
            dns: ScriptedDns::new(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            worker,
            stop: Some(stop),
            running: Some(running),
        }
    }

    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        self.running.take().expect("runs").await.expect("ends without a panic");
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        let (method, path) = (method.to_owned(), path.to_owned());
        let address = self.address.clone();
        Call { service: self, address, method, path, headers: Vec::new(), body: Vec::new() }
    }

    /// A new tenant and its key, which has all scopes.
    pub(crate) async fn tenant(&self, name: &str) -> Tenant<'_> {
        let made = self.call("POST", "/v1/tenants").token(OPERATOR_TOKEN).json(&json!({"name": name})).send().await;
        assert_eq!(made.status, 201, "{}", made.text);
        let id = made.body["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/tenants/{id}/api-keys");
        let made = self
            .call("POST", &path)
            .token(OPERATOR_TOKEN)
            .json(&json!({"name": "first", "scopes": SCOPES}))
            .send()
            .await;
        assert_eq!(made.status, 201, "{}", made.text);
        let key = made.body["key"].as_str().unwrap().to_owned();
        let key_id = made.body["id"].as_str().unwrap().to_owned();
        Tenant { service: self, id, key, key_id }
    }

    /// What a worker finds out about the MX hosts: name, and what is wrong.
    pub(crate) async fn see_mx(&self, domain: &str, hosts: &[(&str, Option<&str>)]) {
        let seen = MxSeen {
            hosts: hosts
                .iter()
                .map(|(name, failure)| MxHostSeen {
                    host: HostName::parse(name).unwrap(),
                    preference: 10,
                    failure: failure
                        .map(|code| MxFailure { code: code.to_owned(), message: format!("{name}: {code}") }),
                    looked_at: None,
                })
                .collect(),
            at: self.clock.now(),
        };
        let lease = self.claim(domain).await;
        let mut tx = self.worker.lease_tx(&lease, self.clock.now()).await.expect("lease holds");
        tx.mx_seen(&seen).await.expect("is recorded");
        tx.settle(&[], None, true).await.expect("settles");
        tx.commit().await.expect("commits");
    }

    /// What a worker does for `mx: auto` once the hosts are found.
    pub(crate) async fn first_version(&self, domain: &str, mx: &[&str]) {
        let lease = self.claim(domain).await;
        let now = self.clock.now();
        let mx: Vec<MxPattern> = mx.iter().map(|text| text.parse().unwrap()).collect();
        let new = NewVersion {
            id: PolicyVersionId::draw(now, &SystemEntropy),
            policy_id: PolicyId::draw(now, &SystemEntropy),
            policy: Policy::new(Mode::Testing, mx, MaxAge::DAY).unwrap(),
            reason: VersionReason::Discovered,
            forced: None,
        };
        let mut tx = self.worker.lease_tx(&lease, now).await.expect("lease holds");
        assert!(tx.first_version(new).await.expect("is recorded"));
        tx.settle(&[], None, true).await.expect("settles");
        tx.commit().await.expect("commits");
    }

    /// What a verified report of one organisation adds to the sums of today.
    pub(crate) async fn reported(&self, tenant: &str, domain: &str, good: u32, bad: u32) {
        let (tenant, domain): (TenantId, DomainId) = (tenant.parse().unwrap(), domain.parse().unwrap());
        let (tenant, domain, day) = (tenant.as_uuid(), domain.as_uuid(), self.clock.now().date_naive());
        for (dimension, value) in [("total", ""), ("organization", "a reporter")] {
            self.database
                .psql(&format!(
                    "INSERT INTO report_days VALUES ('{tenant}', '{domain}', 'tls-rpt', '{dimension}', '{day}',
                        '{value}', 'verified', 1, {good}, {bad})"
                ))
                .await;
        }
    }

    /// What a look from outside finds wrong with the newest version, if anything.
    pub(crate) async fn watched(&self, domain: &str, problem: Option<&str>) {
        let lease = self.claim(domain).await;
        let now = self.clock.now();
        let grace = TimeDelta::minutes(5);
        let facts = self.worker.facts(&lease, now, grace, &[]).await.expect("lease holds");
        let version = facts.version.expect("has a policy").id;
        let problem = problem.map(|code| WatchProblem { code: code.to_owned(), message: format!("{code}.") });
        let mut tx = self.worker.lease_tx(&lease, now).await.expect("lease holds");
        tx.watched(now, version, problem, json!({"findings": []})).await.expect("is recorded");
        tx.settle(&[], None, true).await.expect("settles");
        tx.commit().await.expect("commits");
    }

    /// The domain's CNAMEs lead here, it has a certificate, and its newest version is published and was served just now.
    pub(crate) async fn reached(&self, domain: &str) {
        let lease = self.claim(domain).await;
        let now = self.clock.now();
        let facts = self.worker.facts(&lease, now, TimeDelta::minutes(5), &[]).await.expect("lease holds");
        let version = facts.version.expect("has a policy").id;
        let ours = || CnameSeen::Ours;
        let seen = DelegationSeen {
            policy_host: ours(),
            sts_record: ours(),
            tls_rpt_record: ours(),
            acme_challenge: CnameSeen::Missing,
            at: now,
            lost_since: None,
            home_since: Some(now),
        };
        let order = OrderId::draw(now, &SystemEntropy);
        let certificate = NewCertificate {
            id: CertificateId::draw(now, &SystemEntropy),
            chain_der: vec![vec![0x30, 0]],
            not_before: now,
            not_after: now + TimeDelta::days(90),
            serial: "1".to_owned(),
            issuer: "CN=a CA".to_owned(),
            renew_at: now + TimeDelta::days(60),
            advice_due_at: None,
            ari_id: None,
        };
        let mut tx = self.worker.lease_tx(&lease, now).await.expect("lease holds");
        tx.delegation_seen(&seen).await.expect("is recorded");
        tx.take_host().await.expect("is taken");
        tx.draft_order(order, "a CA", b"sealed").await.expect("is drafted");
        let id = certificate.id;
        tx.certificate_issued(order, certificate).await.expect("is issued");
        tx.serve_host(version, id).await.expect("is served");
        tx.version_served(version).await.expect("is stamped");
        tx.records_written(version, &facts.zones).await.expect("is written");
        tx.records_confirmed(version, &[]).await.expect("is confirmed");
        tx.settle(&[], None, true).await.expect("settles");
        tx.commit().await.expect("commits");
        self.database
            .psql(&format!(
                "INSERT INTO served_ledger SELECT id, domain_id, tenant_id, '{}', 1 FROM policy_versions WHERE id = '{}'",
                now.to_rfc3339(),
                version.as_uuid()
            ))
            .await;
    }

    /// What a worker does for every check that waits.
    pub(crate) async fn finish_checks(&self, report: &Value) {
        let now = self.clock.now();
        let claimed = self.worker.claim_checks(100, 100, now + TimeDelta::minutes(1), now).await.expect("claims");
        for check in claimed {
            let outcome =
                CheckOutcome { severity: Some("note"), report: Some(report.clone()), ..CheckOutcome::default() };
            self.worker.finish_check(&check, outcome, now).await.expect("is recorded");
        }
    }

    /// Shows these conditions.
    pub(crate) async fn settle(&self, domain: &str, conditions: &[Condition]) {
        let lease = self.claim(domain).await;
        let mut tx = self.worker.lease_tx(&lease, self.clock.now()).await.expect("lease holds");
        tx.settle(conditions, None, true).await.expect("settles");
        tx.commit().await.expect("commits");
    }

    async fn claim(&self, domain: &str) -> Lease {
        let id: DomainId = domain.parse().unwrap();
        // Due again, whatever the last outcome said.
        self.database
            .psql(&format!(
                "UPDATE domain_schedule SET wake_at = '2000-01-01', lease_until = NULL WHERE domain_id = '{}'",
                id.as_uuid()
            ))
            .await;
        let leases = self
            .worker
            .claim_due("test", 100, TimeDelta::minutes(1), self.clock.now(), &mtasts_store::Shares::default())
            .await
            .expect("claims");
        leases.into_iter().find(|lease| lease.domain_id == id).expect("the domain is due")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The server runs on threads of its own and stops when it is told, or when `run` is dropped.
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

async fn store_of_worker(database: &TestDatabase) -> Store {
    store(&database.url(), Role::Worker).await
}

pub(crate) async fn store(url: &str, role: Role) -> Store {
    let config = StoreConfig {
        url: url.into(),
        role,
        max_connections: 4,
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(5),
        redis_url: None,
    };
    Store::connect(config).await.expect("a store is made without connecting")
}

/// A tenant with a key.
pub(crate) struct Tenant<'a> {
    pub(crate) service: &'a Service,
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) key_id: String,
}

impl Tenant<'_> {
    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        self.service.call(method, path).token(&self.key)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call(method, path).json(&body).send().await
    }

    /// Registers a domain and gives its path and id.
    pub(crate) async fn domain(&self, body: Value) -> (String, String) {
        let made = self.send("POST", "/v1/domains", body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let id = made.body["id"].as_str().unwrap().to_owned();
        (format!("/v1/domains/{id}"), id)
    }
}

impl Call<'_> {
    /// At another server.
    pub(crate) fn to(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub(crate) fn raw(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", media_type)
    }

    pub(crate) async fn send(self) -> Answer {
        let mut request =
            Request::builder().method(self.method.as_str()).uri(format!("http://{}{}", self.address, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(self.body)).expect("a request");
        let exchange = async {
            let response = self.service.client.request(request).await.expect("an answer");
            let (head, body) = response.into_parts();
            (head, body.collect().await.expect("a whole body").to_bytes())
        };
        let (head, body) = tokio::time::timeout(Duration::from_secs(20), exchange).await.expect("an answer in time");
        let text = String::from_utf8(body.to_vec()).expect("UTF-8");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, text, body };
        let path = self.path.split('?').next().unwrap();
        self.service.spec.check(&self.method, path, &answer);
        answer
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// Asserts that it is this problem.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> &Value {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.text);
        &self.body
    }

    /// The pointers and codes of the field errors.
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let faults = self.body["errors"].as_array().into_iter().flatten();
        faults.map(|fault| (text(&fault["pointer"]) + &text(&fault["parameter"]), text(&fault["code"]))).collect()
    }
}
