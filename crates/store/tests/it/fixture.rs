//! A migrated database with a clock and ids of its own, and the short ways to what tests need.

use std::time::Duration;

use chrono::TimeDelta;
use mtasts_model::{
    CertificateId, Clock, DomainId, Label, MailDomain, MaxAge, Mode, MxPattern, NodeId, OrderId, Policy, PolicyId,
    PolicyVersionId, Revision, TenantId, Timestamp, ZoneName,
    clock::{ManualClock, SystemEntropy},
    feed::{EdgeChange, ServedLine},
    lifecycle::{DomainFacts, MxSource},
};
use mtasts_store::{
    Actor, DomainView, Lease, LeaseTx, NewCertificate, NewDomain, NewTenant, NewVersion, NodeKind, Role, Store,
    StoreConfig, StoreError, VersionReason, migrate,
};
use mtasts_testkit::{TestDatabase, wait_for};
use secrecy::SecretString;

/// How long a lease of a domain or a node lasts.
pub(crate) const LEASE: TimeDelta = TimeDelta::seconds(60);

/// How long an edge is waited for after its lease.
pub(crate) const GRACE: TimeDelta = TimeDelta::seconds(30);

/// The service's zone.
pub(crate) fn zone() -> ZoneName {
    "sts.example".parse().unwrap()
}

/// A migrated database.
pub(crate) struct Fixture {
    pub(crate) database: TestDatabase,
    pub(crate) clock: ManualClock,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let database = empty_database().await;
        migrate(&owner_url(&database), &zone()).await.unwrap();
        Self { database, clock: ManualClock::default() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn store(&self, role: Role) -> Store {
        self.store_of(role, 8).await
    }

    pub(crate) async fn store_of(&self, role: Role, max_connections: u32) -> Store {
        Store::connect(config(self.database.url(), role, max_connections)).await.unwrap()
    }

    pub(crate) async fn tenant(&self, api: &Store) -> TenantId {
        let id = TenantId::draw(self.now(), &SystemEntropy);
        let new = NewTenant { id, name: "a tenant".to_owned(), parent: None };
        api.create_tenant(new, &Actor::operator(), self.now()).await.unwrap().id
    }

    /// Registers a name with a policy in mode `testing`.
    pub(crate) async fn domain(&self, api: &Store, tenant: TenantId, name: &str) -> DomainView {
        let first = self.version(policy(Mode::Testing, &["mx.example.net"], 86_400), VersionReason::Registered);
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let view = tx.create_domain(self.new_domain(name, Some(first)), &Actor::operator(), self.now()).await.unwrap();
        tx.commit().await.unwrap();
        view
    }

    pub(crate) fn new_domain(&self, name: &str, first: Option<NewVersion>) -> NewDomain {
        NewDomain {
            id: DomainId::draw(self.now(), &SystemEntropy),
            name: MailDomain::from_stored(name).unwrap(),
            label: Label::draw(&SystemEntropy),
            zone: zone(),
            mx_source: MxSource::Listed,
            first,
            preferred_mode: Mode::Testing,
            preferred_max_age: MaxAge::new(86_400).unwrap(),
            report_uris: Vec::new(),
        }
    }

    pub(crate) fn version(&self, policy: Policy, reason: VersionReason) -> NewVersion {
        NewVersion {
            id: PolicyVersionId::draw(self.now(), &SystemEntropy),
            policy_id: PolicyId::draw(self.now(), &SystemEntropy),
            policy,
            reason,
            forced: None,
        }
    }

    pub(crate) fn none(&self) -> NewVersion {
        self.version(policy(Mode::None, &[], 86_400), VersionReason::Withdrawn)
    }

    /// Sets a policy as the tenant does.
    pub(crate) async fn set_policy(&self, api: &Store, domain: &DomainView, policy: Policy) -> PolicyVersionId {
        let mut tx = api.tenant_tx(domain.tenant_id).await.unwrap();
        let new = self.version(policy, VersionReason::Changed);
        let set = tx.set_policy(domain.id, new, None, &Actor::operator(), self.now()).await.unwrap();
        tx.commit().await.unwrap();
        set.version().id
    }

    pub(crate) async fn view(&self, api: &Store, domain: &DomainView) -> DomainView {
        api.tenant_tx(domain.tenant_id).await.unwrap().domain(domain.id).await.unwrap().unwrap()
    }

    /// Makes a domain due, whoever has it, and claims all that is; gives this one's lease.
    pub(crate) async fn claim(&self, worker: &Store, domain: DomainId) -> Lease {
        self.database
            .psql(&format!(
                "UPDATE domain_schedule SET wake_at = '-infinity', lease_token = NULL, lease_until = NULL
                 WHERE domain_id = '{}'",
                domain.as_uuid()
            ))
            .await;
        // Whoever has the row locked at this moment is passed over.
        wait_for(Duration::from_secs(10), "the domain is claimed", async || {
            let claimed =
                worker.claim_due("a worker", 1_000, LEASE, self.now(), &mtasts_store::Shares::default()).await.unwrap();
            claimed.into_iter().find(|lease| lease.domain_id == domain)
        })
        .await
    }

    pub(crate) async fn tx(&self, worker: &Store, lease: &Lease) -> LeaseTx {
        worker.lease_tx(lease, self.now()).await.unwrap()
    }

    pub(crate) async fn facts(&self, worker: &Store, lease: &Lease) -> DomainFacts {
        worker.facts(lease, self.now(), GRACE, &[]).await.unwrap()
    }

    /// Takes the host and walks an order to its certificate.
    pub(crate) async fn issue(&self, worker: &Store, lease: &Lease) -> CertificateId {
        let order = OrderId::draw(self.now(), &SystemEntropy);
        let mut tx = self.tx(worker, lease).await;
        tx.take_host().await.unwrap();
        tx.draft_order(order, "an issuer", b"sealed").await.unwrap();
        let certificate = self.certificate();
        let id = certificate.id;
        tx.certificate_issued(order, certificate).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    pub(crate) fn certificate(&self) -> NewCertificate {
        NewCertificate {
            id: CertificateId::draw(self.now(), &SystemEntropy),
            chain_der: vec![vec![0x30, 2, 1, 1], vec![0x30, 0]],
            not_before: self.now(),
            not_after: self.now() + TimeDelta::days(90),
            serial: "00ff".to_owned(),
            issuer: "CN=a CA".to_owned(),
            renew_at: self.now() + TimeDelta::days(60),
            advice_due_at: None,
            ari_id: None,
        }
    }

    /// Brings a domain all the way into the feed, with whatever version is the newest then.
    pub(crate) async fn serve(&self, worker: &Store, domain: &DomainView) -> Revision {
        let lease = self.claim(worker, domain.id).await;
        let certificate = self.issue(worker, &lease).await;
        loop {
            let version = self.facts(worker, &lease).await.version.unwrap().id;
            let mut tx = self.tx(worker, &lease).await;
            match tx.serve_host(version, certificate).await {
                Err(StoreError::VersionConflict { .. }) => {}
                served => {
                    let revision = served.unwrap();
                    tx.settle(&[], None, true).await.unwrap();
                    tx.commit().await.unwrap();
                    return revision;
                }
            }
        }
    }

    pub(crate) async fn edge_node(&self, edge: &Store) -> NodeId {
        let node = NodeId::draw(self.now(), &SystemEntropy);
        edge.register_node(node, NodeKind::Edge, "an edge", self.now(), LEASE).await.unwrap();
        node
    }
}

/// An edge served a version at this moment.
pub(crate) fn line(domain: &DomainView, version: PolicyVersionId, at: Timestamp) -> ServedLine {
    ServedLine {
        tenant_id: domain.tenant_id,
        domain_id: domain.id,
        version_id: version,
        last_served_at: at,
        requests: 1,
    }
}

pub(crate) fn config(url: String, role: Role, max_connections: u32) -> StoreConfig {
    StoreConfig {
        url: SecretString::from(url),
        role,
        max_connections,
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(20),
        redis_url: None,
    }
}

/// A database that belongs to a role without special rights, as in production.
/// From PostgreSQL 16 on, an owner needs an administrator's word for roles that somebody else has made, as the superusers of other
/// tests have in this cluster.
const ADMIT_OWNER: &str = "
    DO $$
    DECLARE
        role_name text;
        tries integer;
    BEGIN
        IF current_setting('server_version_num')::integer < 160000 THEN RETURN; END IF;
        FOREACH role_name IN ARRAY ARRAY[
            'mtasts_api', 'mtasts_worker', 'mtasts_edge', 'mtasts_intake', 'mtasts_keeper', 'mtasts_operator'
        ] LOOP
            FOR tries IN 1..50 LOOP
                BEGIN
                    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                        EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
                    END IF;
                    IF NOT pg_has_role('mtasts_test_owner', role_name, 'MEMBER WITH ADMIN OPTION') THEN
                        EXECUTE format('GRANT %I TO mtasts_test_owner WITH ADMIN OPTION', role_name);
                    END IF;
                    EXIT;
                EXCEPTION WHEN duplicate_object OR unique_violation OR internal_error THEN
                    IF tries = 50 THEN RAISE; END IF;
                    PERFORM pg_sleep(0.02);
                END;
            END LOOP;
        END LOOP;
    END $$";

pub(crate) async fn empty_database() -> TestDatabase {
    let database = TestDatabase::create().await;
    database
        .psql(
            "DO $$ BEGIN CREATE ROLE mtasts_test_owner NOLOGIN CREATEROLE;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        )
        .await;
    database.psql(ADMIT_OWNER).await;
    database.psql(&format!("ALTER DATABASE {} OWNER TO mtasts_test_owner", database.name())).await;
    database
}

pub(crate) fn owner_url(database: &TestDatabase) -> SecretString {
    SecretString::from(database.url_as("mtasts_test_owner"))
}

pub(crate) fn policy(mode: Mode, mx: &[&str], max_age: u32) -> Policy {
    let mx: Vec<MxPattern> = mx.iter().map(|pattern| pattern.parse().unwrap()).collect();
    Policy::new(mode, mx, MaxAge::new(max_age).unwrap()).unwrap()
}

/// Everything in the feed after a position.
pub(crate) async fn changes(edge: &Store, after: Revision) -> Vec<EdgeChange> {
    let mut position = after;
    let mut all = Vec::new();
    loop {
        let page = edge.edge_changes(position, 100).await.unwrap();
        position = page.position;
        all.extend(page.changes);
        if !page.more {
            return all;
        }
    }
}

pub(crate) fn is_fenced<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Fenced))
}
