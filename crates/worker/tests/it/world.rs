//! One service in miniature: everything around the worker.

mod ca;
mod clock;
mod dns;
mod edge;
mod hosted;
mod zone;

use std::{path::Path, sync::Arc, time::Duration};

use chrono::TimeDelta;
use mtasts_certs::{Issuer, KeyRing, LocalCa, LocalCaConfig};
use mtasts_dns::{Resolver, ResolverConfig};
use mtasts_model::{
    Clock, Condition, ConditionKind, DomainId, HostName, Label, MailDomain, MaxAge, Mode, MxPattern, Policy, PolicyId,
    PolicyVersionId, ReportUri, Status, SystemEntropy, TenantId, label::DelegationPurpose, lifecycle::MxSource,
};
use mtasts_probe::{MxProber, PolicyFetcher, ProbeConfig, Timeouts, inspect::Inspector, roots};
use mtasts_store::{
    Actor, DomainView, NewDomain, NewTenant, NewVersion, PolicyVersion, Role, SetPolicy, Store, StoreConfig,
    VersionReason, migrate,
};
use mtasts_testkit::{TestDatabase, wait_for, wait_until};
use mtasts_worker::{Worker, WorkerConfig, WorkerDeps, Zones};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    ca::{Call, Gate, GatedCa, KillSwitch, Killed, ScriptedCa, Verdict},
    clock::ShiftedClock,
    dns::CustomerDns,
    edge::FakeEdge,
    hosted::{Hosted, Mood},
    zone::Zone,
};

/// Longer than anything should take here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const ZONE: &str = "sts.test";
/// A second zone of the service, for those tests that have one.
pub(crate) const OTHER_ZONE: &str = "sts2.test";

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) api: Store,
    pub(crate) store: Store,
    pub(crate) clock: ShiftedClock,
    pub(crate) customers: CustomerDns,
    pub(crate) zone: Zone,
    pub(crate) edge: FakeEdge,
    pub(crate) ca: LocalCa,
    pub(crate) key_ring: KeyRing,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        // What the worker says stands beside a failed test; RUST_LOG chooses more of it.
        let filter = tracing_subscriber::EnvFilter::try_from_default_env();
        let filter = filter.unwrap_or_else(|_| "mtasts_worker=info".into());
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let database = TestDatabase::create().await;
        migrate(&SecretString::from(database.url()), &ZONE.parse().unwrap()).await.unwrap();
        let (api, store, edge_store) =
            (open(&database, Role::Api).await, open(&database, Role::Worker).await, open(&database, Role::Edge).await);
        let clock = ShiftedClock::default();
        let folder = TempDir::new().unwrap();
        let ca = local_ca(folder.path(), &clock);
        let (key_ring, _) = KeyRing::generate(&SystemEntropy);
        let zone = Zone::start(&store, &edge_store, &clock).await;
        let edge = FakeEdge::start(edge_store, key_ring.clone(), clock.clone()).await;
        let customers = CustomerDns::start().await;
        Self { database, api, store, clock, customers, zone, edge, ca, key_ring, _folder: folder }
    }

    /// A worker's dependencies, all of them real but for the surroundings.
    pub(crate) fn deps(&self, issuer: Arc<dyn Issuer>, zones: Zones) -> WorkerDeps {
        let resolver = self.resolver();
        let probe = self.probe_config();
        WorkerDeps {
            store: self.store.clone(),
            resolver: resolver.clone(),
            zones,
            issuer,
            key_ring: self.key_ring.clone(),
            policy_fetcher: PolicyFetcher::new(probe.clone(), resolver.clone()).unwrap(),
            inspector: Inspector::new(probe.clone(), resolver.clone(), Arc::default()),
            mx_prober: MxProber::new(probe, resolver, Arc::default()).unwrap(),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SystemEntropy),
        }
    }

    pub(crate) fn resolver(&self) -> Resolver {
        let upstreams = vec![self.customers.address()];
        Resolver::new(ResolverConfig { upstreams, timeout: Duration::from_secs(1), attempts: 2 }).unwrap()
    }

    pub(crate) fn probe_config(&self) -> ProbeConfig {
        let root = CertificateDer::from_pem_slice(self.ca.root_pem().as_bytes()).unwrap();
        let second = Duration::from_secs(1);
        ProbeConfig {
            policy_port: self.edge.address().port(),
            smtp_port: 1,
            roots: Arc::new(roots(&[root]).unwrap()),
            allow_private_addresses: true,
            timeouts: Timeouts { connect: second, handshake: second, reply: second, fetch: second, mx_host: second },
            ..ProbeConfig::new(HostName::parse("worker.test").unwrap(), Arc::new(self.clock.clone()))
        }
    }

    /// Starts a worker that is stopped, at a step's border, when the handle is dropped or [`Running::stop`] is called.
    pub(crate) fn start(&self) -> Running {
        self.start_with(config("first"), Arc::new(self.ca.clone()))
    }

    pub(crate) fn start_with(&self, config: WorkerConfig, issuer: Arc<dyn Issuer>) -> Running {
        Running::new(Worker::new(config, self.deps(issuer, Zones::one(Arc::new(self.zone.provider())))))
    }

    pub(crate) async fn tenant(&self) -> TenantId {
        let id = TenantId::draw(self.clock.now(), &SystemEntropy);
        let new = NewTenant { id, name: "a tenant".to_owned(), parent: None };
        self.api.create_tenant(new, &Actor::operator(), self.clock.now()).await.unwrap();
        id
    }

    /// Registers a domain with MX hosts left to us, and gives it an MX record. The CNAMEs are not there yet.
    pub(crate) async fn register(&self, tenant: TenantId, name: &str) -> DomainView {
        self.register_in(tenant, name, ZONE).await
    }

    pub(crate) async fn register_in(&self, tenant: TenantId, name: &str, zone: &str) -> DomainView {
        self.customers.mx(name, &format!("mx.{name}"));
        self.create(tenant, name, zone).await
    }

    /// Registers a domain with these MX records.
    pub(crate) async fn register_with_mx(&self, tenant: TenantId, name: &str, hosts: &[(u16, &str)]) -> DomainView {
        self.customers.mxs(name, hosts);
        self.create(tenant, name, ZONE).await
    }

    async fn create(&self, tenant: TenantId, name: &str, zone: &str) -> DomainView {
        let new = NewDomain {
            id: DomainId::draw(self.clock.now(), &SystemEntropy),
            name: MailDomain::from_stored(name).unwrap(),
            label: Label::draw(&SystemEntropy),
            zone: zone.parse().unwrap(),
            mx_source: MxSource::Auto,
            first: None,
            preferred_mode: Mode::Testing,
            preferred_max_age: MaxAge::new(604_800).unwrap(),
            report_uris: vec!["mailto:reports@customer.test".parse::<ReportUri>().unwrap()],
        };
        let mut tx = self.api.tenant_tx(tenant).await.unwrap();
        let view = tx.create_domain(new, &Actor::operator(), self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        view
    }

    /// Points the customer's CNAMEs at the registration's label.
    pub(crate) fn delegate(&self, domain: &DomainView) {
        let zone = &domain.zones.home;
        for purpose in [DelegationPurpose::PolicyHost, DelegationPurpose::StsRecord, DelegationPurpose::TlsRptRecord] {
            self.customers.cname(&purpose.name(&domain.name), &purpose.target(&domain.label, zone));
        }
    }

    /// Registers, delegates and waits until the first id is published.
    pub(crate) async fn publish(&self, tenant: TenantId, name: &str) -> DomainView {
        let domain = self.register(tenant, name).await;
        self.delegate(&domain);
        self.verify(&domain).await;
        self.published(&domain).await
    }

    /// Asks to look again at once, as a tenant does.
    pub(crate) async fn verify(&self, domain: &DomainView) {
        let mut tx = self.api.tenant_tx(domain.tenant_id).await.unwrap();
        tx.request_verify(domain.id, &Actor::operator(), self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn view(&self, domain: &DomainView) -> DomainView {
        let tx = self.api.tenant_tx(domain.tenant_id).await.unwrap();
        tx.domain(domain.id).await.unwrap().unwrap()
    }

    /// None while the database is away.
    async fn view_if_there(&self, domain: &DomainView) -> Option<DomainView> {
        let tx = self.api.tenant_tx(domain.tenant_id).await.ok()?;
        tx.domain(domain.id).await.ok()?
    }

    /// Waits until the newest version's id is published.
    pub(crate) async fn published(&self, domain: &DomainView) -> DomainView {
        self.view_when(domain, "the newest id is published", |view| {
            view.version.as_ref().is_some_and(|version| version.published_at.is_some())
        })
        .await
    }

    pub(crate) async fn view_when(
        &self,
        domain: &DomainView,
        what: &str,
        holds: impl Fn(&DomainView) -> bool,
    ) -> DomainView {
        wait_for(PATIENCE, what, || async { self.view_if_there(domain).await.filter(&holds) }).await
    }

    pub(crate) async fn set_mode(&self, domain: &DomainView, mode: Mode) -> PolicyVersion {
        let policy = self.view(domain).await.version.unwrap().policy.with_mode(mode).unwrap();
        let mut tx = self.api.tenant_tx(domain.tenant_id).await.unwrap();
        let new = self.version(policy, VersionReason::ModeChanged);
        let set = tx.set_policy(domain.id, new, None, &Actor::operator(), self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        match set {
            SetPolicy::Changed(version) => version,
            SetPolicy::Unchanged(version) => panic!("{version:?} was there already"),
        }
    }

    pub(crate) async fn withdraw(&self, domain: &DomainView) {
        let max_age = MaxAge::new(mtasts_model::lifecycle::WITHDRAWAL_MAX_AGE).unwrap();
        let mx: Vec<MxPattern> = self.view(domain).await.version.unwrap().policy.mx().to_vec();
        let none = self.version(Policy::new(Mode::None, mx, max_age).unwrap(), VersionReason::Withdrawn);
        let mut tx = self.api.tenant_tx(domain.tenant_id).await.unwrap();
        tx.request_withdrawal(domain.id, none, &Actor::operator(), self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn version(&self, policy: Policy, reason: VersionReason) -> NewVersion {
        let now = self.clock.now();
        NewVersion {
            id: PolicyVersionId::draw(now, &SystemEntropy),
            policy_id: PolicyId::draw(now, &SystemEntropy),
            policy,
            reason,
            forced: None,
        }
    }

    /// What the service's nameserver answers for the domain's MTA-STS record.
    pub(crate) async fn txt(&self, domain: &DomainView) -> Option<Vec<String>> {
        self.zone.txt(&DelegationPurpose::StsRecord.target(&domain.label, &ZONE.parse().unwrap())).await
    }

    /// One number by SQL, as the superuser.
    pub(crate) async fn count(&self, query: &str) -> u64 {
        self.database.psql(&format!("SELECT count(*) FROM {query}")).await.trim().parse().unwrap()
    }

    /// The largest number in a column, as the superuser; 0 if there is none.
    pub(crate) async fn highest(&self, table: &str, column: &str) -> u64 {
        self.database.psql(&format!("SELECT COALESCE(max({column}), 0) FROM {table}")).await.trim().parse().unwrap()
    }

    pub(crate) async fn wait_until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        wait_until(PATIENCE, what, || holds()).await;
    }
}

pub(crate) fn config(name: &str) -> WorkerConfig {
    WorkerConfig {
        lease: TimeDelta::seconds(5),
        poll: Duration::from_millis(200),
        stop_grace: Duration::from_secs(1),
        edge_grace: TimeDelta::seconds(30),
        ..WorkerConfig::new(name)
    }
}

pub(crate) fn status(view: &DomainView, kind: ConditionKind) -> (Status, &str) {
    let condition: Option<&Condition> = view.conditions.iter().find(|condition| condition.kind == kind);
    condition.map_or((Status::Unknown, "Absent"), |condition| (condition.status, condition.reason.as_str()))
}

pub(crate) async fn open(database: &TestDatabase, role: Role) -> Store {
    let config = StoreConfig {
        url: SecretString::from(database.url()),
        role,
        max_connections: 4,
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(10),
        redis_url: None,
    };
    Store::connect(config).await.unwrap()
}

fn local_ca(folder: &Path, clock: &ShiftedClock) -> LocalCa {
    let clock = Arc::new(clock.clone());
    LocalCa::open_or_create(folder, &LocalCaConfig::default(), clock, Arc::new(SystemEntropy)).unwrap()
}

/// A worker at work.
pub(crate) struct Running {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn new(worker: Worker) -> Self {
        let stop = CancellationToken::new();
        let token = stop.clone();
        Self { stop, task: Some(tokio::spawn(async move { worker.run(token).await })) }
    }

    /// Stops as on SIGTERM.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap();
    }

    /// Stops as on SIGKILL: nothing more is done, recorded or given back.
    pub(crate) async fn kill(mut self) {
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
