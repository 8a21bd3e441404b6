//! A database, senders' DNS and signatures, and workers that read reports and nothing else.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use data_encoding::{BASE64, HEXLOWER};
use mail_auth::{
    common::{crypto::Ed25519Key, headers::HeaderWriter},
    dkim::DkimSigner,
};
use mtasts_dns::{Resolver, ResolverConfig};
use mtasts_model::{
    ArrivalId, Clock, DomainId, Label, MailDomain, MaxAge, Mode, SystemEntropy, TenantId, clock::ManualClock,
    lifecycle::MxSource,
};
use mtasts_store::{Actor, NewDomain, NewTenant, Role, Store, migrate};
use mtasts_testkit::{TestDatabase, wait_until};
use mtasts_worker::{Origins, ReportConfig, ReportDeps, ReportWorker};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{CustomerDns, PATIENCE, ZONE, open};

/// The day that the reports of these tests speak of; they arrive on the next.
pub(super) const DAY: &str = "2026-03-10";

pub(super) struct Setup {
    pub(super) database: TestDatabase,
    pub(super) api: Store,
    pub(super) store: Store,
    pub(super) clock: ManualClock,
    pub(super) dns: CustomerDns,
}

/// A registered domain.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    pub(super) tenant: TenantId,
    pub(super) id: DomainId,
    pub(super) name: String,
}

impl Setup {
    pub(super) async fn new() -> Self {
        let database = TestDatabase::create().await;
        migrate(&SecretString::from(database.url()), &ZONE.parse().unwrap()).await.unwrap();
        database.psql("SELECT make_report_partitions('2026-03-01', '2026-04-01')").await;
        let (api, store) = (open(&database, Role::Api).await, open(&database, Role::Worker).await);
        let clock = ManualClock::new("2026-03-11T06:00:00Z".parse().unwrap());
        Self { database, api, store, clock, dns: CustomerDns::start().await }
    }

    pub(super) async fn tenant(&self) -> TenantId {
        let tenant = TenantId::draw(self.clock.now(), &SystemEntropy);
        let new = NewTenant { id: tenant, name: "a tenant".to_owned(), parent: None };
        self.api.create_tenant(new, &Actor::operator(), self.clock.now()).await.unwrap();
        tenant
    }

    /// A domain of a tenant of its own.
    pub(super) async fn domain(&self, name: &str) -> Domain {
        let tenant = self.tenant().await;
        self.domain_of(tenant, name).await
    }

    pub(super) async fn domain_of(&self, tenant: TenantId, name: &str) -> Domain {
        let id = DomainId::draw(self.clock.now(), &SystemEntropy);
        let new = NewDomain {
            id,
            name: MailDomain::from_stored(name).unwrap(),
            label: Label::draw(&SystemEntropy),
            zone: ZONE.parse().unwrap(),
            mx_source: MxSource::Auto,
            first: None,
            preferred_mode: Mode::Testing,
            preferred_max_age: MaxAge::new(86_400).unwrap(),
            report_uris: Vec::new(),
        };
        let mut tx = self.api.tenant_tx(tenant).await.unwrap();
        tx.create_domain(new, &Actor::operator(), self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        Domain { tenant, id, name: name.to_owned() }
    }

    /// DNS points the domain's policy host to the service, and to this registration of it.
    pub(super) async fn hold(&self, domain: &Domain) {
        let sql = format!(
            "INSERT INTO edge_entries (name, kind, revision, changed_at, domain_id, tenant_id)
             VALUES ('{}', 'host', (SELECT COALESCE(max(revision), 0) + 1 FROM edge_entries), now(), '{}', '{}')",
            domain.name,
            domain.id.as_uuid(),
            domain.tenant.as_uuid()
        );
        self.database.psql(&sql).await;
    }

    /// Puts an arrival in as the intake does.
    pub(super) async fn arrive(&self, domain: &Domain, via: &str, raw: &[u8]) -> ArrivalId {
        self.arrive_as(domain, via, "tls-rpt", raw).await
    }

    pub(super) async fn arrive_as(&self, domain: &Domain, via: &str, kind: &str, raw: &[u8]) -> ArrivalId {
        let id = ArrivalId::draw(self.clock.now(), &SystemEntropy);
        let now = self.clock.now().to_rfc3339();
        let sql = format!(
            "INSERT INTO report_arrivals (id, tenant_id, domain_id, kind, via, received_at, peer, octets, digest, raw,
                state, due_at)
             VALUES ('{}', '{}', '{}', '{kind}', '{via}', '{now}', '192.0.2.1', {}, '\\x{}', '\\x{}', 'waiting', '{now}')",
            id.as_uuid(),
            domain.tenant.as_uuid(),
            domain.id.as_uuid(),
            raw.len(),
            HEXLOWER.encode(&Sha256::digest(raw)),
            HEXLOWER.encode(raw),
        );
        self.database.psql(&sql).await;
        id
    }

    /// `state reason reports repeated` of an arrival.
    pub(super) async fn state(&self, id: ArrivalId) -> String {
        let sql = format!(
            "SELECT concat_ws(' ', state, reason, reports, repeated) FROM report_arrivals WHERE id = '{}'",
            id.as_uuid()
        );
        self.database.psql(&sql).await.trim().to_owned()
    }

    /// Waits until the arrival waits no more, and gives its state.
    pub(super) async fn done(&self, id: ArrivalId) -> String {
        wait_until(PATIENCE, "the arrival was read", async || !self.state(id).await.starts_with("waiting")).await;
        self.state(id).await
    }

    pub(super) async fn grade(&self, id: ArrivalId) -> String {
        let sql = format!(
            "SELECT concat_ws(' ', grade, grade_reason, signer) FROM reports WHERE arrival_id = '{}'",
            id.as_uuid()
        );
        self.database.psql(&sql).await.trim().to_owned()
    }

    /// The sums by day of a domain, or of its whole tenant, one a line.
    pub(super) async fn sums(&self, domain: &Domain, is_whole_tenant: bool) -> Vec<String> {
        let id = if is_whole_tenant { uuid_nil() } else { domain.id.as_uuid().to_string() };
        let sql = format!(
            "SELECT concat_ws(' ', day, grade, kind, dimension, value, reports, good, bad) FROM report_days
             WHERE tenant_id = '{}' AND domain_id = '{id}' ORDER BY 1",
            domain.tenant.as_uuid()
        );
        self.database.psql(&sql).await.lines().map(str::to_owned).collect()
    }

    /// `grade reports good bad` of the totals of a domain.
    pub(super) async fn totals(&self, domain: &Domain) -> Vec<String> {
        let sql = format!(
            "SELECT concat_ws(' ', grade, reports, good, bad) FROM report_days
             WHERE domain_id = '{}' AND dimension = 'total' ORDER BY 1",
            domain.id.as_uuid()
        );
        self.database.psql(&sql).await.lines().map(str::to_owned).collect()
    }

    pub(super) async fn one(&self, sql: &str) -> String {
        self.database.psql(sql).await.trim().to_owned()
    }

    pub(super) fn start(&self) -> Running {
        self.start_with(config())
    }

    pub(super) fn start_with(&self, config: ReportConfig) -> Running {
        self.start_knowing(config, Origins::default())
    }

    pub(super) fn start_knowing(&self, config: ReportConfig, origins: Origins) -> Running {
        let resolver = Resolver::new(ResolverConfig {
            upstreams: vec![self.dns.address()],
            timeout: Duration::from_secs(1),
            attempts: 1,
        });
        let deps = ReportDeps {
            store: self.store.clone(),
            resolver: resolver.unwrap(),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SystemEntropy),
            origins,
        };
        let (worker, stop) = (ReportWorker::new(config, deps), CancellationToken::new());
        let token = stop.clone();
        Running { stop, task: Some(tokio::spawn(async move { worker.run(token).await })) }
    }
}

fn uuid_nil() -> String {
    "00000000-0000-0000-0000-000000000000".to_owned()
}

/// A worker that looks often, since its clock stands still until it is moved.
pub(super) fn config() -> ReportConfig {
    ReportConfig {
        report_hosts: vec!["reports.sts.test".to_owned()],
        poll: Duration::from_millis(50),
        stop_grace: Duration::from_secs(1),
        lease: TimeDelta::seconds(60),
        ..ReportConfig::default()
    }
}

pub(super) struct Running {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap();
    }
}

impl Running {
    /// As on SIGKILL: nothing more is put in.
    pub(super) async fn kill(mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A sender with a DKIM key.
pub(super) struct Sender {
    pub(super) domain: &'static str,
    pub(super) selector: &'static str,
    pkcs8: Vec<u8>,
}

impl Sender {
    /// Publishes its key with these tags beside it.
    pub(super) fn publish(dns: &CustomerDns, domain: &'static str, tags: &str) -> Self {
        let sender = Self { domain, selector: "s1", pkcs8: Ed25519Key::generate_pkcs8().unwrap() };
        let public = BASE64.encode(&sender.key().public_key());
        dns.txt(&sender.key_name(), &format!("v=DKIM1; k=ed25519; {tags} p={public}"));
        sender
    }

    pub(super) fn key_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    fn key(&self) -> Ed25519Key {
        Ed25519Key::from_pkcs8_der(&self.pkcs8).unwrap()
    }

    pub(super) fn sign(&self, mail: &str) -> Vec<u8> {
        self.sign_fields(mail, &["From", "To", "Subject"], None)
    }

    pub(super) fn sign_fields(&self, mail: &str, fields: &[&str], expires_in: Option<u64>) -> Vec<u8> {
        let signer = DkimSigner::from_key(self.key())
            .domain(self.domain)
            .selector(self.selector)
            .headers(fields.iter().copied());
        let signer = match expires_in {
            Some(seconds) => signer.expiration(seconds),
            None => signer,
        };
        let signature = signer.sign(mail.as_bytes()).unwrap();
        format!("{}{mail}", signature.to_header()).into_bytes()
    }
}

/// A report on a domain: so many sessions good, and failures as lines of JSON.
pub(super) fn report(domain: &str, id: &str, good: u64, failures: &str) -> String {
    report_by("Sender Inc.", "tls@sender.example", domain, id, good, failures)
}

pub(super) fn report_by(
    organization: &str,
    contact: &str,
    domain: &str,
    id: &str,
    good: u64,
    failures: &str,
) -> String {
    let details: serde_json::Value = serde_json::from_str(&format!("[{failures}]")).unwrap();
    let bad: u64 =
        details.as_array().unwrap().iter().map(|detail| detail["failed-session-count"].as_u64().unwrap()).sum();
    let policy = policy(domain, good, bad, failures);
    document(organization, contact, id, &policy)
}

pub(super) fn policy(domain: &str, good: u64, bad: u64, failures: &str) -> String {
    format!(
        r#"{{"policy": {{"policy-type": "sts", "policy-string": ["version: STSv1", "mode: testing", "mx: mx.{domain}",
            "max_age: 86400"], "policy-domain": "{domain}", "mx-host": ["mx.{domain}"]}},
            "summary": {{"total-successful-session-count": {good}, "total-failure-session-count": {bad}}},
            "failure-details": [{failures}]}}"#
    )
}

pub(super) fn document(organization: &str, contact: &str, id: &str, policies: &str) -> String {
    format!(
        r#"{{"organization-name": "{organization}", "contact-info": "{contact}", "report-id": "{id}",
            "date-range": {{"start-datetime": "{DAY}T00:00:00Z", "end-datetime": "{DAY}T23:59:59Z"}},
            "policies": [{policies}]}}"#
    )
}

pub(super) fn failure(result: &str, mx: &str, sessions: u64) -> String {
    format!(
        r#"{{"result-type": "{result}", "sending-mta-ip": "192.0.2.7", "receiving-mx-hostname": "{mx}",
            "failed-session-count": {sessions}}}"#
    )
}

/// A mail with a report in it.
pub(super) fn mail(from: &str, report: &str) -> String {
    let report = BASE64.encode(report.as_bytes());
    let lines: Vec<&str> = report.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "From: {from}\r\nTo: tlsrpt@reports.sts.test\r\nSubject: Report\r\nMIME-Version: 1.0\r\n\
         Content-Type: application/tlsrpt+json\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        lines.join("\r\n")
    )
}
