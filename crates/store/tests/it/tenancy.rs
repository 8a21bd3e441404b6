use std::time::Duration;

use chrono::TimeDelta;
use mtasts_model::{ApiKeyId, Scope, Scopes, SystemEntropy, TenantId};
use mtasts_store::{Actor, NewApiKey, NewTenant, Role, StoreError};
use mtasts_testkit::wait_until;
use serde_json::json;

use crate::fixture::Fixture;

fn new_key(fixture: &Fixture, hash: [u8; 32]) -> NewApiKey {
    NewApiKey {
        id: ApiKeyId::draw(fixture.now(), &SystemEntropy),
        name: "a key".to_owned(),
        prefix: "mtasts_ab".to_owned(),
        hash,
        scopes: Scopes::ALL,
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

    let found = api.authenticate(&[1; 32], None, fixture.now()).await.unwrap().unwrap();
    assert_eq!((found.tenant_id, found.key_id, found.scopes), (tenant, lasting.id, Scopes::ALL));
    assert!(api.authenticate(&[2; 32], None, fixture.now()).await.unwrap().is_some());
    assert!(api.authenticate(&[3; 32], None, fixture.now()).await.unwrap().is_none());
    fixture.clock.advance(TimeDelta::hours(1));
    assert!(api.authenticate(&[2; 32], None, fixture.now()).await.unwrap().is_none(), "expired");

    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let revoked = tx.revoke_api_key(lasting.id, &actor, fixture.now()).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(fixture.now()));
    let again = tx.revoke_api_key(lasting.id, &actor, fixture.now() + TimeDelta::hours(1)).await.unwrap().unwrap();
    assert_eq!(again.revoked_at, revoked.revoked_at);
    tx.commit().await.unwrap();
    assert!(api.authenticate(&[1; 32], None, fixture.now()).await.unwrap().is_none(), "revoked");
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
        api.authenticate(&[1; 32], None, fixture.now()).await.unwrap().unwrap();
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
    assert!(api.authenticate(&[1; 32], None, fixture.now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_key_has_the_scopes_that_it_was_made_with_and_a_key_of_before_has_all() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let scopes = Scopes::new([Scope::AuditRead, Scope::PolicyWrite]).unwrap();
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.create_api_key(NewApiKey { scopes, ..new_key(&fixture, [1; 32]) }, &Actor::operator(), fixture.now())
        .await
        .unwrap();
    let events = tx.audit_events(None, 10).await.unwrap();
    let made = events.iter().find(|event| event.action == "api-key.create").unwrap();
    assert_eq!(made.after.as_ref().unwrap()["scopes"], json!(["policy:write", "audit:read"]));
    tx.commit().await.unwrap();
    assert_eq!(api.authenticate(&[1; 32], None, fixture.now()).await.unwrap().unwrap().scopes, scopes);

    // As the version before writes it, which does not know the column.
    let insert = format!(
        "INSERT INTO api_keys (id, tenant_id, name, prefix, hash, created_at)
         VALUES (gen_random_uuid(), '{}', 'old', 'p', '\\x{}', now())",
        tenant.as_uuid(),
        "02".repeat(32)
    );
    fixture.database.psql(&insert).await;
    assert_eq!(api.authenticate(&[2; 32], None, fixture.now()).await.unwrap().unwrap().scopes, Scopes::USUAL);
}

#[tokio::test]
async fn a_key_that_was_replaced_works_until_the_overlap_ends_or_itself_does() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let (start, actor) = (fixture.now(), Actor::operator());
    let after = |minutes| start + TimeDelta::minutes(minutes);
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    for (hash, ends) in [([1; 32], None), ([2; 32], Some(after(30)))] {
        let old = NewApiKey { expires_at: ends, ..new_key(&fixture, hash) };
        tx.create_api_key(old.clone(), &actor, start).await.unwrap();
        let old = tx.lock_api_key(old.id).await.unwrap().unwrap();
        let new = new_key(&fixture, [hash[0] + 10; 32]);
        let (made, replaced) = tx.replace_api_key(old, new.clone(), after(60), &actor, start).await.unwrap();
        assert_eq!((made.id, made.expires_at), (new.id, None));
        assert_eq!(tx.lock_api_key(replaced.id).await.unwrap(), Some(replaced.clone()), "as it is stored");
        assert_eq!((replaced.expires_at, replaced.successor), (ends.or(Some(after(60))), Some(new.id)));
    }
    let actions: Vec<_> = tx.audit_events(None, 10).await.unwrap().into_iter().map(|event| event.action).collect();
    assert_eq!(actions.iter().filter(|action| *action == "api-key.rotate").count(), 2);
    tx.commit().await.unwrap();
    let works = async |hash: u8, at| api.authenticate(&[hash; 32], None, at).await.unwrap().is_some();
    assert!(works(1, after(59)).await && !works(1, after(60)).await);
    assert!(works(2, after(29)).await && !works(2, after(30)).await, "no overlap prolongs a key");
    assert!(works(11, after(60)).await && works(12, after(60)).await);
}

#[tokio::test]
async fn no_key_of_another_tenant_can_be_locked_or_named_as_successor() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let (mine, foreign) = (new_key(&fixture, [1; 32]), new_key(&fixture, [2; 32]));
    for (tenant, key) in [(one, &mine), (other, &foreign)] {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        tx.create_api_key(key.clone(), &Actor::operator(), fixture.now()).await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut tx = api.tenant_tx(one).await.unwrap();
    assert!(tx.lock_api_key(foreign.id).await.unwrap().is_none());
    let name = format!(
        "DO $$ BEGIN
            UPDATE api_keys SET successor_id = '{}' WHERE id = '{}';
            RAISE 'a foreign key was named';
        EXCEPTION WHEN foreign_key_violation THEN NULL; END $$",
        foreign.id.as_uuid(),
        mine.id.as_uuid()
    );
    fixture.database.psql(&name).await;
}

#[tokio::test]
async fn whoever_locks_a_key_second_waits_and_sees_what_the_first_did() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let (key, now) = (new_key(&fixture, [1; 32]), fixture.now());
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.create_api_key(key.clone(), &Actor::operator(), now).await.unwrap();
    tx.commit().await.unwrap();

    let mut first = api.tenant_tx(tenant).await.unwrap();
    let old = first.lock_api_key(key.id).await.unwrap().unwrap();
    let mut second = api.tenant_tx(tenant).await.unwrap();
    let waiting = tokio::spawn(async move { second.lock_api_key(key.id).await.unwrap().unwrap() });
    wait_until(Duration::from_secs(10), "the second waits for the first", async || {
        let waits = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%api_keys%'";
        fixture.database.psql(waits).await.trim() == "1"
    })
    .await;
    assert!(api.authenticate(&[1; 32], None, now).await.unwrap().is_some(), "calls with the key wait for nobody");
    let new = new_key(&fixture, [2; 32]);
    first.replace_api_key(old, new.clone(), now + TimeDelta::hours(1), &Actor::operator(), now).await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().successor, Some(new.id));
}
