//! Webhooks, what is delivered to them, and who may claim it.

use chrono::TimeDelta;
use mtasts_model::{EventType, SystemEntropy, TenantId, WebhookId};
use mtasts_store::{
    Actor, Attempt, AttemptOutcome, Delivery, DeliveryFilter, DeliveryState, DueDelivery, NewWebhook, Role, Store,
    StoreError, WEBHOOKS_PER_TENANT, Webhook, WebhookChange, WebhookUrl,
};

use crate::fixture::{Fixture, LEASE};

fn new(fixture: &Fixture, url: &str, event_types: Option<Vec<EventType>>) -> NewWebhook {
    NewWebhook {
        id: WebhookId::draw(fixture.now(), &SystemEntropy),
        url: WebhookUrl::parse(url, false).unwrap(),
        description: "a webhook".to_owned(),
        event_types,
        enabled: true,
        sealed: b"sealed".to_vec(),
    }
}

async fn create(fixture: &Fixture, api: &Store, tenant: TenantId, new: NewWebhook) -> Option<Webhook> {
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let made = tx.create_webhook(new, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    made
}

/// A webhook for everything.
pub(crate) async fn webhook(fixture: &Fixture, api: &Store, tenant: TenantId, url: &str) -> Webhook {
    create(fixture, api, tenant, new(fixture, url, None)).await.unwrap()
}

async fn update(fixture: &Fixture, api: &Store, tenant: TenantId, id: WebhookId, change: WebhookChange) -> Webhook {
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let changed = tx.update_webhook(id, change, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    changed
}

async fn read(api: &Store, tenant: TenantId, id: WebhookId) -> Webhook {
    api.tenant_tx(tenant).await.unwrap().webhook(id).await.unwrap().unwrap()
}

async fn deliveries(api: &Store, tenant: TenantId, id: WebhookId) -> Vec<Delivery> {
    api.tenant_tx(tenant).await.unwrap().deliveries(id, DeliveryFilter::default(), None, 201).await.unwrap()
}

async fn claim(fixture: &Fixture, worker: &Store, rooms: &[(WebhookId, u32)]) -> Vec<DueDelivery> {
    worker.claim_deliveries(rooms, 100, fixture.now() + LEASE, fixture.now()).await.unwrap()
}

async fn due(fixture: &Fixture, worker: &Store) -> Vec<WebhookId> {
    let waiting = worker.webhooks_waiting(None, 100, fixture.now()).await.unwrap();
    waiting.into_iter().filter(|waiting| waiting.is_due).map(|waiting| waiting.id).collect()
}

async fn tried(fixture: &Fixture, worker: &Store, delivery: &DueDelivery, outcome: AttemptOutcome) {
    let attempt = Attempt { status: Some(500), excerpt: None, problem: Some("no".to_owned()) };
    worker.delivery_tried(delivery, &attempt, &outcome, fixture.now()).await.unwrap();
}

#[tokio::test]
async fn each_webhook_is_told_of_what_it_wants_while_it_is_switched_on() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let all = webhook(&fixture, &api, tenant, "https://all.example.net/").await;
    let some = new(&fixture, "https://some.example.net/", Some(vec![EventType::PolicyChanged]));
    let some = create(&fixture, &api, tenant, some).await.unwrap();
    let off = webhook(&fixture, &api, tenant, "https://off.example.net/").await;
    update(&fixture, &api, tenant, off.id, WebhookChange { enabled: Some(false), ..WebhookChange::default() }).await;
    let foreign = webhook(&fixture, &api, other, "https://foreign.example.net/").await;
    fixture.domain(&api, tenant, "example.com").await;
    let types = async |tenant, id| -> Vec<_> {
        deliveries(&api, tenant, id).await.iter().map(|delivery| delivery.event_type).collect()
    };
    assert_eq!(types(tenant, all.id).await, [EventType::PolicyChanged, EventType::DomainCreated]);
    assert_eq!(types(tenant, some.id).await, [EventType::PolicyChanged]);
    assert!(types(tenant, off.id).await.is_empty());
    assert!(types(other, foreign.id).await.is_empty());
    // A stranger sees neither the webhook nor what was delivered to it.
    assert!(types(other, all.id).await.is_empty());
    assert!(api.tenant_tx(other).await.unwrap().webhook(all.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_tenant_has_ten_webhooks_at_most_and_room_again_after_a_deletion() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let mut last = None;
    for _ in 0..WEBHOOKS_PER_TENANT {
        last = Some(webhook(&fixture, &api, tenant, "https://a.example.net/").await);
    }
    fixture.domain(&api, tenant, "example.com").await;
    assert!(create(&fixture, &api, tenant, new(&fixture, "https://a.example.net/", None)).await.is_none());
    let last = last.unwrap().id;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    assert!(tx.delete_webhook(last, &Actor::operator(), fixture.now()).await.unwrap().is_some());
    assert!(tx.delete_webhook(last, &Actor::operator(), fixture.now()).await.unwrap().is_none());
    assert!(tx.webhook(last).await.unwrap().is_none());
    assert_eq!(tx.list_webhooks().await.unwrap().len(), 9);
    let update = tx.update_webhook(last, WebhookChange::default(), &Actor::operator(), fixture.now()).await;
    assert!(matches!(update, Err(StoreError::NotFound)));
    tx.commit().await.unwrap();
    assert!(create(&fixture, &api, tenant, new(&fixture, "https://a.example.net/", None)).await.is_some());
    // Its secret went at once, its deliveries are never claimed, and both rows go with the tidying.
    let secrets = "SELECT count(*) FROM webhooks WHERE deleted_at IS NOT NULL AND sealed IS NOT NULL";
    assert_eq!(fixture.database.psql(secrets).await.trim(), "0");
    assert!(claim(&fixture, &worker, &[(last, 10)]).await.is_empty());
    while worker.prune_events(fixture.now()).await.unwrap() > 0 {}
    let left = format!("SELECT count(*) FROM webhooks WHERE id = '{}'", last.as_uuid());
    assert_eq!(fixture.database.psql(&left).await.trim(), "0");
}

#[tokio::test]
async fn a_delivery_is_claimed_by_one_worker_and_by_another_once_its_lease_is_over() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let webhook = webhook(&fixture, &api, tenant, "https://a.example.net/").await.id;
    fixture.domain(&api, tenant, "example.com").await;
    assert_eq!(due(&fixture, &worker).await, [webhook]);
    let first = claim(&fixture, &worker, &[(webhook, 1)]).await;
    let second = claim(&fixture, &worker, &[(webhook, 9)]).await;
    assert_eq!((first.len(), second.len()), (1, 1), "as many as there is room for, and each once");
    assert_eq!(first[0].event_type, "domain.created");
    assert!(due(&fixture, &worker).await.is_empty());
    fixture.clock.advance(LEASE);
    let again = claim(&fixture, &worker, &[(webhook, 1)]).await;
    assert_eq!((again[0].id, again[0].event), (first[0].id, first[0].event));
    assert!(again[0].token > first[0].token);
    // Whoever was frozen in between records nothing.
    let late = worker.delivery_tried(&first[0], &Attempt::default(), &AttemptOutcome::Delivered, fixture.now()).await;
    assert!(matches!(late, Err(StoreError::Fenced)));
    tried(&fixture, &worker, &again[0], AttemptOutcome::Retry(fixture.now() + TimeDelta::minutes(5))).await;
    let seen = deliveries(&api, tenant, webhook).await;
    let seen = seen.iter().find(|delivery| delivery.id == again[0].id).unwrap();
    assert_eq!((seen.state, seen.attempts, seen.response_status), (DeliveryState::Pending, 1, Some(500)));
    assert_eq!(seen.next_attempt_at, Some(fixture.now() + TimeDelta::minutes(5)));
}

#[tokio::test]
async fn a_webhook_that_wants_nothing_more_is_switched_off_and_what_waits_goes_out_when_it_is_on_again() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let webhook = webhook(&fixture, &api, tenant, "https://a.example.net/").await.id;
    fixture.domain(&api, tenant, "example.com").await;
    let claimed = claim(&fixture, &worker, &[(webhook, 1)]).await;
    tried(&fixture, &worker, &claimed[0], AttemptOutcome::Gone("it answered 410".to_owned())).await;
    let off = read(&api, tenant, webhook).await;
    assert!(!off.enabled);
    assert_eq!(off.disabled, Some(("it answered 410".to_owned(), fixture.now())));
    assert!(due(&fixture, &worker).await.is_empty());
    assert!(claim(&fixture, &worker, &[(webhook, 9)]).await.is_empty());
    let line = api.tenant_tx(tenant).await.unwrap().audit_events(None, 200).await.unwrap().pop().unwrap();
    assert_eq!((line.action.as_str(), line.actor.as_str()), ("webhook.disable", "worker"));
    fixture.domain(&api, tenant, "two.example").await;

    let on = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
    let on = update(&fixture, &api, tenant, webhook, on).await;
    assert_eq!((on.enabled, on.disabled), (true, None));
    // The claim above was by a worker that did not look whether it is on.
    fixture.clock.advance(LEASE);
    assert_eq!(due(&fixture, &worker).await, [webhook]);
    assert_eq!(claim(&fixture, &worker, &[(webhook, 9)]).await.len(), 1);
}

#[tokio::test]
async fn what_is_given_up_switches_the_webhook_off_unless_it_took_something_else_since() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    for takes_another in [true, false] {
        let webhook = webhook(&fixture, &api, tenant, "https://a.example.net/").await.id;
        fixture.domain(&api, tenant, &format!("{takes_another}.example")).await;
        let claimed = claim(&fixture, &worker, &[(webhook, 9)]).await;
        tried(&fixture, &worker, &claimed[0], AttemptOutcome::Retry(fixture.now())).await;
        fixture.clock.advance(TimeDelta::days(3));
        if takes_another {
            let other = claim(&fixture, &worker, &[(webhook, 9)]).await;
            let other = other.iter().find(|delivery| delivery.id == claimed[1].id).unwrap();
            tried(&fixture, &worker, other, AttemptOutcome::Delivered).await;
            fixture.clock.advance(LEASE);
        }
        let last = claim(&fixture, &worker, &[(webhook, 9)]).await;
        let last = last.iter().find(|delivery| delivery.id == claimed[0].id).unwrap();
        assert_eq!(last.attempts, 1);
        tried(&fixture, &worker, last, AttemptOutcome::Exhausted("three days".to_owned())).await;
        assert_eq!(read(&api, tenant, webhook).await.enabled, takes_another);
        let failed = DeliveryFilter { state: Some(DeliveryState::Failed) };
        let tx = api.tenant_tx(tenant).await.unwrap();
        assert_eq!(tx.deliveries(webhook, failed, None, 10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_delivery_that_is_asked_for_again_begins_anew_with_the_same_event() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let webhook = webhook(&fixture, &api, tenant, "https://a.example.net/").await.id;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let test = tx.test_webhook(webhook, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    let claimed = claim(&fixture, &worker, &[(webhook, 9)]).await;
    assert_eq!((claimed.len(), claimed[0].event), (1, test.event));
    let replay = async || {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let again = tx.replay_delivery((webhook, test.id), &Actor::operator(), fixture.now()).await.unwrap();
        tx.commit().await.unwrap();
        again
    };
    replay().await;
    let late = worker.delivery_tried(&claimed[0], &Attempt::default(), &AttemptOutcome::Delivered, fixture.now()).await;
    assert!(matches!(late, Err(StoreError::Fenced)), "its attempt was one of before");
    let claimed = claim(&fixture, &worker, &[(webhook, 9)]).await;
    tried(&fixture, &worker, &claimed[0], AttemptOutcome::Delivered).await;
    let again = replay().await;
    assert_eq!((again.state, again.attempts, again.event), (DeliveryState::Pending, 0, test.event));
    assert_eq!(claim(&fixture, &worker, &[(webhook, 9)]).await[0].event, test.event);
}

#[tokio::test]
async fn the_secret_of_before_signs_along_until_its_time_is_over() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let webhook = webhook(&fixture, &api, tenant, "https://a.example.net/").await.id;
    let rotate = async |secret: &[u8], overlap| {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let secrets = (secret.to_vec(), fixture.now() + overlap);
        tx.rotate_webhook_secret(webhook, secrets, &Actor::operator(), fixture.now()).await.unwrap();
        tx.test_webhook(webhook, &Actor::operator(), fixture.now()).await.unwrap();
        tx.commit().await.unwrap();
    };
    let secrets = async || {
        let claimed = claim(&fixture, &worker, &[(webhook, 1)]).await.remove(0);
        (claimed.sealed, claimed.former_sealed)
    };
    rotate(b"second", TimeDelta::hours(1)).await;
    assert_eq!(secrets().await, (b"second".to_vec(), Some(b"sealed".to_vec())));
    fixture.clock.advance(TimeDelta::hours(1));
    assert_eq!(secrets().await, (b"second".to_vec(), None));
    fixture.clock.advance(TimeDelta::seconds(1));
    worker.prune_events(fixture.now()).await.unwrap();
    let left = "SELECT count(*) FROM webhooks WHERE former_sealed IS NOT NULL";
    assert_eq!(fixture.database.psql(left).await.trim(), "0");
    rotate(b"third", TimeDelta::zero()).await;
    assert_eq!(secrets().await, (b"third".to_vec(), None));
}
