use chrono::TimeDelta;
use mtasts_model::{ApiKeyId, SystemEntropy, TenantId};
use mtasts_store::{Actor, NewApiKey, NewTenant, Role, StoreError};

use crate::fixture::Fixture;

fn new_key(fixture: &Fixture, hash: [u8; 32]) -> NewApiKey {
    NewApiKey {
        id: ApiKeyId::draw(fixture.now(), &SystemEntropy),
        name: "a key".to_owned(),
        prefix: "mtasts_ab".to_owned(),
        hash,
        expires_at: None,
    }
}

#[tokio::test]
async fn tenants_are_made_listed_and_audited() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let parent = fixture.tenant(&api).await;
    let id = TenantId::draw(fixture.now(), &SystemEntropy);
    let new = NewTenant { id, name: "child".to_owned(), parent: Some(parent) };
    let actor = Actor::operator().by_request(Some([192, 0, 2, 1].into()), Some("req-1".to_owned()));
    let made = api.create_tenant(new.clone(), &actor, fixture.now()).await.unwrap();
    assert_eq!(api.tenant(id).await.unwrap(), Some(made));
    assert!(matches!(api.create_tenant(new.clone(), &actor, fixture.now()).await, Err(StoreError::Taken { .. })));
    let orphan = NewTenant {
        id: TenantId::draw(fixture.now(), &SystemEntropy),
        parent: Some(TenantId::draw(fixture.now(), &SystemEntropy)),
        ..new
    };
    assert!(matches!(api.create_tenant(orphan, &actor, fixture.now()).await, Err(StoreError::NotFound)));

    let mut all = Vec::new();
    while let page = api.list_tenants(all.last().copied(), 1).await.unwrap()
        && !page.is_empty()
    {
        all.extend(page.iter().map(|tenant| tenant.id));
    }
    let mut expected = vec![parent, id];
    expected.sort();
    assert_eq!(all, expected);

    let events = api.tenant_tx(id).await.unwrap().audit_events(None, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((event.actor.as_str(), event.action.as_str()), ("operator", "tenant.create"));
    assert_eq!((event.source.as_deref(), event.request_id.as_deref()), (Some("192.0.2.1"), Some("req-1")));
}

#[tokio::test]
async fn a_key_speaks_for_its_tenant_until_it_is_revoked_or_expires() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 1).await;
    let tenant = fixture.tenant(&api).await;
    let actor = Actor::operator();
    let (lasting, expiring) = (new_key(&fixture, [1; 32]), new_key(&fixture, [2; 32]));
    let expiring = NewApiKey { expires_at: Some(fixture.now() + TimeDelta::hours(1)), ..expiring };
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.create_api_key(lasting.clone(), &actor, fixture.now()).await.unwrap();
    tx.create_api_key(expiring, &actor, fixture.now()).await.unwrap();
    tx.commit().await.unwrap();

    let found = api.authenticate(&[1; 32], fixture.now()).await.unwrap().unwrap();
    assert_eq!((found.tenant_id, found.key_id), (tenant, lasting.id));
    assert!(api.authenticate(&[2; 32], fixture.now()).await.unwrap().is_some());
    assert!(api.authenticate(&[3; 32], fixture.now()).await.unwrap().is_none());
    fixture.clock.advance(TimeDelta::hours(1));
    assert!(api.authenticate(&[2; 32], fixture.now()).await.unwrap().is_none(), "expired");

    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let revoked = tx.revoke_api_key(lasting.id, &actor, fixture.now()).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(fixture.now()));
    let again = tx.revoke_api_key(lasting.id, &actor, fixture.now() + TimeDelta::hours(1)).await.unwrap().unwrap();
    assert_eq!(again.revoked_at, revoked.revoked_at);
    tx.commit().await.unwrap();
    assert!(api.authenticate(&[1; 32], fixture.now()).await.unwrap().is_none(), "revoked");
}

#[tokio::test]
async fn the_use_of_a_key_is_noted_at_most_once_a_minute() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.create_api_key(new_key(&fixture, [1; 32]), &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    let first = fixture.now();
    let mut seen = Vec::new();
    for _ in 0..3 {
        api.authenticate(&[1; 32], fixture.now()).await.unwrap().unwrap();
        let keys = api.tenant_tx(tenant).await.unwrap().list_api_keys(None, 10).await.unwrap();
        seen.push(keys[0].last_used_at.unwrap() - first);
        fixture.clock.advance(TimeDelta::seconds(40));
    }
    assert_eq!(seen, [TimeDelta::zero(), TimeDelta::zero(), TimeDelta::seconds(80)]);
}

#[tokio::test]
async fn a_key_of_another_tenant_cannot_be_seen_or_revoked() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let key = new_key(&fixture, [1; 32]);
    let mut tx = api.tenant_tx(one).await.unwrap();
    tx.create_api_key(key.clone(), &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = api.tenant_tx(other).await.unwrap();
    assert!(tx.list_api_keys(None, 10).await.unwrap().is_empty());
    assert!(tx.revoke_api_key(key.id, &Actor::operator(), fixture.now()).await.unwrap().is_none());
    tx.commit().await.unwrap();
    assert!(api.authenticate(&[1; 32], fixture.now()).await.unwrap().is_some());
}
