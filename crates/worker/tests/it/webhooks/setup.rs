//! A database, the customers' DNS, and workers that deliver and nothing else.

use std::{net::IpAddr, sync::Arc, time::Duration};

use mtasts_certs::KeyRing;
use mtasts_dns::{Resolver, ResolverConfig};
use mtasts_model::{Clock, EventType, HostName, SystemEntropy, TenantId, WebhookId, clock::ManualClock};
use mtasts_probe::{Poster, ProbeConfig, roots};
use mtasts_store::{
    Actor, Delivery, DeliveryFilter, DeliveryState, NewTenant, NewWebhook, Role, Store, Webhook, WebhookUrl, migrate,
};
use mtasts_testkit::{TestDatabase, wait_for};
use mtasts_worker::{WebhookConfig, WebhookDeps, WebhookWorker, seal_webhook_secret};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::receiver::{Pki, Receiver};
use crate::world::{CustomerDns, PATIENCE, ZONE, open};

pub(super) const SECRET: [u8; 32] = [7; 32];
pub(super) const HOST: &str = "hooks.customer.test";

pub(super) struct Setup {
    pub(super) database: TestDatabase,
    pub(super) api: Store,
    store: Store,
    pub(super) clock: ManualClock,
    pub(super) dns: CustomerDns,
    pub(super) pki: Pki,
    pub(super) key_ring: KeyRing,
    pub(super) tenant: TenantId,
    pub(super) allow_private: bool,
}

impl Setup {
    pub(super) async fn new() -> Self {
        let database = TestDatabase::create().await;
        migrate(&SecretString::from(database.url()), &ZONE.parse().unwrap()).await.unwrap();
        let (api, store) = (open(&database, Role::Api).await, open(&database, Role::Worker).await);
        let (clock, dns) = (ManualClock::default(), CustomerDns::start().await);
        dns.addresses(HOST, &[IpAddr::from([127, 0, 0, 1])]);
        let tenant = TenantId::draw(clock.now(), &SystemEntropy);
        let new = NewTenant { id: tenant, name: "a tenant".to_owned(), parent: None };
        api.create_tenant(new, &Actor::operator(), clock.now()).await.unwrap();
        let (key_ring, _) = KeyRing::generate(&SystemEntropy);
        Self { database, api, store, clock, dns, pki: Pki::new(), key_ring, tenant, allow_private: true }
    }

    /// A receiver, and a webhook for everything that leads to it.
    pub(super) async fn receiver(&self) -> (Receiver, WebhookId) {
        let receiver = Receiver::start(&self.pki, HOST).await;
        let webhook = self.webhook(&format!("https://{HOST}:{}/in?a=b", receiver.port), None).await;
        (receiver, webhook)
    }

    pub(super) async fn webhook(&self, url: &str, event_types: Option<Vec<EventType>>) -> WebhookId {
        let id = WebhookId::draw(self.clock.now(), &SystemEntropy);
        let new = NewWebhook {
            id,
            url: WebhookUrl::parse(url, true).unwrap(),
            description: String::new(),
            event_types,
            enabled: true,
            sealed: seal_webhook_secret(&self.key_ring, self.tenant, id, &SECRET),
        };
        let mut tx = self.api.tenant_tx(self.tenant).await.unwrap();
        tx.create_webhook(new, &Actor::operator(), self.clock.now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Makes an event for a webhook.
    pub(super) async fn test(&self, webhook: WebhookId) -> Delivery {
        let mut tx = self.api.tenant_tx(self.tenant).await.unwrap();
        let delivery = tx.test_webhook(webhook, &Actor::operator(), self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        delivery
    }

    pub(super) async fn read(&self, webhook: WebhookId) -> Webhook {
        self.api.tenant_tx(self.tenant).await.unwrap().webhook(webhook).await.unwrap().unwrap()
    }

    pub(super) async fn deliveries(&self, webhook: WebhookId) -> Vec<Delivery> {
        let tx = self.api.tenant_tx(self.tenant).await.unwrap();
        tx.deliveries(webhook, DeliveryFilter::default(), None, 201).await.unwrap()
    }

    /// Waits until this holds of a delivery.
    pub(super) async fn when(&self, delivery: &Delivery, what: &str, holds: impl Fn(&Delivery) -> bool) -> Delivery {
        wait_for(PATIENCE, what, || async {
            let tx = self.api.tenant_tx(self.tenant).await.unwrap();
            tx.delivery(delivery.webhook, delivery.id).await.unwrap().filter(&holds)
        })
        .await
    }

    pub(super) async fn delivered(&self, delivery: &Delivery) -> Delivery {
        self.when(delivery, "it is delivered", |delivery| delivery.state == DeliveryState::Delivered).await
    }

    pub(super) async fn tried(&self, delivery: &Delivery, times: u32) -> Delivery {
        self.when(delivery, "it was tried", |delivery| delivery.attempts == times).await
    }

    pub(super) fn start(&self) -> Running {
        self.start_with(config())
    }

    pub(super) fn start_with(&self, config: WebhookConfig) -> Running {
        let resolver = Resolver::new(ResolverConfig {
            upstreams: vec![self.dns.address()],
            timeout: Duration::from_secs(1),
            attempts: 2,
        });
        let probe = ProbeConfig {
            roots: Arc::new(roots(&[self.pki.root()]).unwrap()),
            allow_private_addresses: self.allow_private,
            ..ProbeConfig::new(HostName::parse("worker.test").unwrap(), Arc::new(self.clock.clone()))
        };
        let deps = WebhookDeps {
            store: self.store.clone(),
            poster: Poster::new(probe, resolver.unwrap()).unwrap(),
            key_ring: self.key_ring.clone(),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SystemEntropy),
        };
        let (worker, stop) = (WebhookWorker::new(config, deps), CancellationToken::new());
        let token = stop.clone();
        Running { stop, task: Some(tokio::spawn(async move { worker.run(token).await })) }
    }
}

/// A worker that looks often, since its clock stands still until it is moved.
pub(super) fn config() -> WebhookConfig {
    WebhookConfig {
        poll: Duration::from_millis(50),
        stop_grace: Duration::from_secs(1),
        deadline: Duration::from_secs(5),
        ..WebhookConfig::default()
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

    /// As on SIGKILL: nothing more is sent or recorded.
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
