//! An intake with a database, a tenant and a domain.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mtasts_intake::{Intake, IntakeConfig, IntakeHandle};
use mtasts_model::{
    Clock, DomainId, HostName, Label, MailDomain, MaxAge, Mode, TenantId, ZoneName,
    clock::{ManualClock, SystemEntropy},
    lifecycle::MxSource,
};
use mtasts_store::{Actor, NewDomain, NewTenant, Role, Store, StoreConfig, migrate};
use mtasts_testkit::TestDatabase;
use secrecy::SecretString;

use crate::gate::Gate;

/// The host that takes reports.
pub(crate) const HOST: &str = "reports.sts.example";

/// One domain that can be sent reports.
#[derive(Debug, Clone)]
pub(crate) struct Domain {
    pub(crate) tenant: TenantId,
    pub(crate) id: DomainId,
    pub(crate) label: Label,
}

impl Domain {
    pub(crate) fn tlsrpt(&self) -> String {
        format!("tlsrpt-{}@{HOST}", self.label)
    }

    pub(crate) fn dmarc(&self) -> String {
        format!("dmarc-{}@{HOST}", self.label)
    }
}

pub(crate) struct House {
    pub(crate) database: TestDatabase,
    pub(crate) clock: ManualClock,
    /// Between the intake and its database.
    pub(crate) gate: Gate,
    pub(crate) intake: Option<IntakeHandle>,
    pub(crate) domain: Domain,
    api: Store,
}

pub(crate) fn config() -> IntakeConfig {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut config = IntakeConfig::new(HostName::parse(HOST).unwrap());
    config.smtp = vec![any];
    config.http = vec![any];
    config.https = vec![any];
    config
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: IntakeConfig) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let database = TestDatabase::create().await;
        let zone: ZoneName = "sts.example".parse().unwrap();
        migrate(&SecretString::from(database.url()), &zone).await.unwrap();
        let clock = ManualClock::default();
        let api = connect(database.url(), Role::Api).await;
        let domain = register(&api, &clock, "example.com").await;
        let gate = Gate::before(&database).await;
        let mut house = Self { database, clock, gate, intake: None, domain, api };
        house.start(config).await;
        house
    }

    /// One more intake in the place of the one that runs, if one does.
    pub(crate) async fn start(&mut self, config: IntakeConfig) {
        let store = connect(self.gate.url(&self.database), Role::Intake).await;
        self.intake =
            Some(Intake::start(config, store, Arc::new(self.clock.clone()), Arc::new(SystemEntropy)).unwrap());
    }

    pub(crate) async fn other_domain(&self, name: &str) -> Domain {
        register(&self.api, &self.clock, name).await
    }

    pub(crate) fn handle(&self) -> &IntakeHandle {
        self.intake.as_ref().unwrap()
    }

    pub(crate) fn smtp(&self) -> SocketAddr {
        self.handle().smtp_addrs()[0]
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.handle().http_addrs()[0]
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.handle().https_addrs()[0]
    }

    /// One value, or rows with fields parted by `|`.
    pub(crate) async fn sql(&self, statement: &str) -> String {
        self.database.psql(statement).await.trim().to_owned()
    }

    pub(crate) async fn arrivals(&self) -> usize {
        self.sql("SELECT count(*) FROM report_arrivals").await.parse().unwrap()
    }

    /// What is stored, as text.
    pub(crate) async fn stored(&self) -> String {
        self.sql("SELECT convert_from(raw, 'UTF8') FROM report_arrivals ORDER BY raw").await
    }

    pub(crate) async fn quota(&self, reports_a_day: u64) {
        let set = format!(
            "INSERT INTO tenant_quotas (tenant_id, reports_a_day, changed_at) VALUES ('{}', {reports_a_day}, now())
             ON CONFLICT (tenant_id) DO UPDATE SET reports_a_day = excluded.reports_a_day",
            self.domain.tenant.as_uuid()
        );
        self.sql(&set).await;
    }
}

pub(crate) async fn connect(url: String, role: Role) -> Store {
    let config = StoreConfig {
        url: SecretString::from(url),
        role,
        max_connections: 8,
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(20),
        redis_url: None,
    };
    Store::connect(config).await.unwrap()
}

async fn register(api: &Store, clock: &ManualClock, name: &str) -> Domain {
    let now = clock.now();
    let new = NewTenant { id: TenantId::draw(now, &SystemEntropy), name: "a tenant".to_owned(), parent: None };
    let tenant = api.create_tenant(new, &Actor::operator(), now).await.unwrap().id;
    let label = Label::draw(&SystemEntropy);
    let new = NewDomain {
        id: DomainId::draw(now, &SystemEntropy),
        name: MailDomain::from_stored(name).unwrap(),
        label: label.clone(),
        zone: "sts.example".parse().unwrap(),
        mx_source: MxSource::Listed,
        first: None,
        preferred_mode: Mode::Testing,
        preferred_max_age: MaxAge::new(86_400).unwrap(),
        report_uris: Vec::new(),
    };
    let id = new.id;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.create_domain(new, &Actor::operator(), now).await.unwrap();
    tx.commit().await.unwrap();
    Domain { tenant, id, label }
}
