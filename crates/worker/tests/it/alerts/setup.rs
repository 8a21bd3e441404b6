//! A database, a tenant with domains, and the rows that reports leave behind.

use std::{sync::Arc, time::Duration};

use chrono::{NaiveDate, TimeDelta};
use mtasts_model::{
    Clock, DomainId, EventType, Label, MailDomain, MaxAge, Mode, SystemEntropy, TenantId, clock::ManualClock,
    lifecycle::MxSource,
};
use mtasts_store::{Actor, EventFilter, NewDomain, NewTenant, Role, Store, migrate};
use mtasts_testkit::TestDatabase;
use mtasts_worker::{AlertDeps, AlertWorker};
use secrecy::SecretString;
use serde_json::Value as Json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{ZONE, open};

pub(crate) struct Setup {
    pub(crate) database: TestDatabase,
    pub(crate) api: Store,
    pub(crate) worker: Store,
    pub(crate) clock: ManualClock,
    pub(crate) tenant: TenantId,
    pub(crate) stranger: TenantId,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await;
        migrate(&SecretString::from(database.url()), &ZONE.parse().unwrap()).await.unwrap();
        let (api, worker) = (open(&database, Role::Api).await, open(&database, Role::Worker).await);
        let clock = ManualClock::default();
        let (tenant, stranger) = (tenant(&api, &clock).await, tenant(&api, &clock).await);
        Self { database, api, worker, clock, tenant, stranger }
    }

    pub(crate) async fn domain(&self, name: &str) -> DomainId {
        let new = NewDomain {
            id: DomainId::draw(self.clock.now(), &SystemEntropy),
            name: MailDomain::from_stored(name).unwrap(),
            label: Label::draw(&SystemEntropy),
            zone: ZONE.parse().unwrap(),
            mx_source: MxSource::Auto,
            first: None,
            preferred_mode: Mode::Testing,
            preferred_max_age: MaxAge::new(86_400).unwrap(),
            report_uris: Vec::new(),
        };
        let mut tx = self.api.tenant_tx(self.tenant).await.unwrap();
        let id = tx.create_domain(new, &Actor::operator(), self.clock.now()).await.unwrap().id;
        tx.commit().await.unwrap();
        id
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.database.psql(sql).await;
    }

    pub(crate) fn day(&self, ago: i64) -> NaiveDate {
        (self.clock.now() - TimeDelta::days(ago)).date_naive()
    }

    pub(crate) async fn failure(&self, domain: DomainId, result: &str, mx: &str, verified: bool) {
        self.sql(&format!(
            "INSERT INTO failure_kinds VALUES ('{}', '{}', '{result}', '{mx}', '{day}', '{day}', '{now}', '{now}', 3, {verified})",
            self.tenant.as_uuid(),
            domain.as_uuid(),
            day = self.day(1),
            now = self.clock.now().to_rfc3339(),
        ))
        .await;
    }

    /// Sets the sums of a day.
    pub(crate) async fn sums(&self, domain: DomainId, ago: i64, grade: &str, good: i64, bad: i64) {
        self.sql(&format!(
            "INSERT INTO report_days VALUES ('{}', '{}', 'tls-rpt', 'total', '{}', '', '{grade}', 1, {good}, {bad})
             ON CONFLICT (tenant_id, domain_id, kind, dimension, day, value, grade)
             DO UPDATE SET good = excluded.good, bad = excluded.bad",
            self.tenant.as_uuid(),
            domain.as_uuid(),
            self.day(ago),
        ))
        .await;
    }

    /// Somebody who has reported on each day until this one.
    pub(crate) async fn reporter(&self, domain: DomainId, organization: &str, verified: bool, ago: i64) {
        self.sql(&format!(
            "INSERT INTO reporters VALUES ('{}', '{}', 'tls-rpt', '{organization}', {verified}, '{day}', '{day}', 65535,
                '{}', NULL)
             ON CONFLICT (domain_id, kind, organization, verified) DO UPDATE SET last_day = excluded.last_day",
            self.tenant.as_uuid(),
            domain.as_uuid(),
            self.clock.now().to_rfc3339(),
            day = self.day(ago),
        ))
        .await;
    }

    /// The content of all events of a type, newest first.
    pub(crate) async fn events(&self, event_type: &str) -> Vec<Json> {
        self.events_of(self.tenant, event_type).await
    }

    pub(crate) async fn events_of(&self, tenant: TenantId, event_type: &str) -> Vec<Json> {
        let filter = EventFilter { event_type: Some(event_type.parse::<EventType>().unwrap()), domain: None };
        let tx = self.api.tenant_tx(tenant).await.unwrap();
        tx.events(&filter, None, 200).await.unwrap().into_iter().map(|event| event.data).collect()
    }

    pub(crate) async fn queued(&self) -> usize {
        self.database.psql("SELECT count(*) FROM report_alert_queue").await.trim().parse().unwrap()
    }

    pub(crate) fn start(&self) -> Running {
        let deps = AlertDeps {
            store: self.worker.clone(),
            clock: Arc::new(self.clock.clone()),
            poll: Duration::from_millis(30),
        };
        let (worker, stop) = (AlertWorker::new(deps), CancellationToken::new());
        let token = stop.clone();
        Running { stop, _task: tokio::spawn(async move { worker.run(token).await }) }
    }
}

async fn tenant(api: &Store, clock: &ManualClock) -> TenantId {
    let id = TenantId::draw(clock.now(), &SystemEntropy);
    let new = NewTenant { id, name: "a tenant".to_owned(), parent: None };
    api.create_tenant(new, &Actor::operator(), clock.now()).await.unwrap();
    id
}

/// Ends when it is dropped.
pub(crate) struct Running {
    stop: CancellationToken,
    _task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
