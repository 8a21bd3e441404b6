//! Tenants in a tree: who sees, makes and acts for whom.

use mtasts_model::{ApiKeyId, Scope, Scopes, SystemEntropy, TenantId};
use mtasts_store::{Actor, NewApiKey, NewTenant, Role, Store, StoreError};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::Fixture;

fn new(fixture: &Fixture, name: &str, parent: Option<TenantId>) -> NewTenant {
    NewTenant { id: TenantId::draw(fixture.now(), &SystemEntropy), name: name.to_owned(), parent }
}

/// A tenant beneath `provider`, made by it.
async fn customer(fixture: &Fixture, api: &Store, provider: TenantId) -> TenantId {
    let mut tx = api.tenant_tx(provider).await.unwrap();
    let made = tx.create_customer(new(fixture, "customer", None), &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    made.id
}

/// A key of the tenant, whose hash is this octet 32 times.
async fn key(fixture: &Fixture, api: &Store, tenant: TenantId, octet: u8, scopes: Scopes) {
    let id = ApiKeyId::draw(fixture.now(), &SystemEntropy);
    let new =
        NewApiKey { id, name: "k".to_owned(), prefix: "p".to_owned(), hash: [octet; 32], scopes, expires_at: None };
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.create_api_key(new, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_provider_makes_lists_reads_and_renames_what_is_beneath_it_and_nothing_else() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 1).await;
    let (root, stranger) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let provider = customer(&fixture, &api, root).await;
    let child = customer(&fixture, &api, provider).await;
    let sibling = customer(&fixture, &api, root).await;
    let actor = Actor::operator();
    let mut tx = api.tenant_tx(provider).await.unwrap();
    let grandchild = tx.create_customer(new(&fixture, "g", Some(child)), &actor, fixture.now()).await.unwrap();
    assert_eq!(grandchild.parent, Some(child));
    tx.commit().await.unwrap();
    for foreign in [root, sibling, stranger, TenantId::draw(fixture.now(), &SystemEntropy)] {
        let mut tx = api.tenant_tx(provider).await.unwrap();
        assert_eq!(tx.customer(foreign).await.unwrap(), None);
        assert_eq!(tx.list_customers(foreign, None, 10).await.unwrap(), None);
        let refused = tx.create_customer(new(&fixture, "x", Some(foreign)), &actor, fixture.now()).await;
        assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
        drop(tx);
        assert!(api.customer_tx(provider, foreign).await.unwrap().is_none());
    }
    let mut tx = api.tenant_tx(provider).await.unwrap();
    assert_eq!(tx.customer(provider).await.unwrap(), None, "nobody is a customer of itself");
    let ids = |tenants: Option<Vec<mtasts_store::Tenant>>| {
        tenants.unwrap().into_iter().map(|tenant| tenant.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(tx.list_customers(provider, None, 10).await.unwrap()), [child]);
    assert_eq!(ids(tx.list_customers(child, None, 10).await.unwrap()), [grandchild.id]);
    assert_eq!(ids(tx.list_customers(child, Some(grandchild.id), 10).await.unwrap()), []);
    drop(tx);

    let mut tx = api.customer_tx(provider, grandchild.id).await.unwrap().unwrap();
    let renamed = tx.rename("another", &actor, fixture.now()).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.parent), ("another", Some(child)));
    tx.rename("another", &actor, fixture.now()).await.unwrap();
    let events = tx.audit_events(None, 10).await.unwrap();
    let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["tenant.create", "tenant.rename"], "to give it the name that it has leaves no line");
    assert_eq!((&events[1].before, &events[1].after), (&Some(json!({"name": "g"})), &Some(json!({"name": "another"}))));
    tx.commit().await.unwrap();
    let mut tx = api.tenant_tx(grandchild.id).await.unwrap();
    let refused = tx.rename("my own choice", &actor, fixture.now()).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
}

#[tokio::test]
async fn making_a_customer_is_told_in_both_logs_and_both_chains_hold() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let provider = fixture.tenant(&api).await;
    let id = customer(&fixture, &api, provider).await;
    for (tenant, expected) in [(provider, ["tenant.create", "customer.create"].as_slice()), (id, &["tenant.create"])] {
        let events = api.tenant_tx(tenant).await.unwrap().audit_events(None, 10).await.unwrap();
        let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(actions, expected);
        let last = events.last().unwrap();
        let after = json!({"name": "customer", "parent": provider});
        assert_eq!((last.object.clone(), &last.after), (id.to_string(), &Some(after)));
        let report = api.verify_audit_chain(tenant).await.unwrap();
        assert!(report.fault.is_none(), "{report:?}");
    }
}

#[tokio::test]
async fn there_are_five_levels_whoever_makes_them() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let root = fixture.tenant(&api).await;
    let mut lowest = root;
    for _ in 0..4 {
        lowest = customer(&fixture, &api, lowest).await;
    }
    let actor = Actor::operator();
    let mut tx = api.tenant_tx(root).await.unwrap();
    let refused = tx.create_customer(new(&fixture, "x", Some(lowest)), &actor, fixture.now()).await;
    assert!(matches!(refused, Err(StoreError::TooDeep)), "{refused:?}");
    let refused = api.create_tenant(new(&fixture, "x", Some(lowest)), &actor, fixture.now()).await;
    assert!(matches!(refused, Err(StoreError::TooDeep)), "{refused:?}");
    // The table holds it where the code forgets.
    let insert = format!(
        "DO $$ BEGIN
            INSERT INTO tenants (id, name, parent_id, created_at) VALUES (gen_random_uuid(), 'x', '{}', now());
            RAISE 'a sixth level was made';
        EXCEPTION WHEN check_violation THEN NULL; END $$",
        lowest.as_uuid()
    );
    fixture.database.psql(&insert).await;
}

#[tokio::test]
async fn a_key_acts_for_its_own_tenant_and_with_its_scope_for_those_beneath_and_for_nobody_else() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 1).await;
    let (root, stranger) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let provider = customer(&fixture, &api, root).await;
    let sibling = customer(&fixture, &api, root).await;
    let child = customer(&fixture, &api, provider).await;
    let grandchild = customer(&fixture, &api, child).await;
    key(&fixture, &api, provider, 1, Scopes::new([Scope::CustomersAct, Scope::DomainsRead]).unwrap()).await;
    key(&fixture, &api, provider, 2, Scopes::USUAL).await;
    let reached = async |octet: u8, target: Option<TenantId>| {
        let found = api.authenticate(&[octet; 32], target, fixture.now()).await.unwrap().unwrap();
        assert_eq!(found.tenant_id, provider, "whose key it is does not change");
        found.acts_for
    };
    for octet in [1, 2] {
        assert_eq!(reached(octet, None).await, Some(provider));
        assert_eq!(reached(octet, Some(provider)).await, Some(provider));
        for foreign in [root, sibling, stranger, TenantId::draw(fixture.now(), &SystemEntropy)] {
            assert_eq!(reached(octet, Some(foreign)).await, None);
        }
    }
    for beneath in [child, grandchild] {
        assert_eq!(reached(1, Some(beneath)).await, Some(beneath));
        assert_eq!(reached(2, Some(beneath)).await, None, "without its scope");
    }
}

#[tokio::test]
async fn who_comes_with_a_role_is_admitted_to_a_tenant_that_exists_and_reaches_what_a_key_would() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 1).await;
    let (provider, stranger) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let child = customer(&fixture, &api, provider).await;
    let (all, usual) = (Scopes::ALL, Scopes::USUAL);
    let admit =
        async |home, scopes, target| api.admit(home, scopes, target).await.unwrap().map(|admission| admission.acts_for);
    assert_eq!(admit(provider, all, None).await, Some(Some(provider)));
    assert_eq!(admit(provider, all, Some(child)).await, Some(Some(child)));
    assert_eq!(admit(provider, usual, Some(child)).await, Some(None), "without the scope");
    assert_eq!(admit(provider, all, Some(stranger)).await, Some(None));
    assert_eq!(admit(child, all, Some(provider)).await, Some(None), "never upwards");
    assert_eq!(admit(TenantId::draw(fixture.now(), &SystemEntropy), all, None).await, None);
}

#[tokio::test]
async fn row_level_security_shows_a_provider_its_subtree_and_lets_nobody_move_a_tenant() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (root, stranger) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let provider = customer(&fixture, &api, root).await;
    let child = customer(&fixture, &api, provider).await;
    let mut session = PgConnection::connect(&fixture.database.url_as("mtasts_api")).await.unwrap();
    let mut run = async |sql: String| session.execute(AssertSqlSafe(sql)).await.map(|done| done.rows_affected());
    let set = |name: &str, tenant: TenantId| format!("SELECT set_config('app.{name}', '{}', false)", tenant.as_uuid());
    run(set("tenant", provider)).await.unwrap();
    assert_eq!(run("SELECT * FROM tenants".to_owned()).await.unwrap(), 1, "itself alone");
    run(set("provider", provider)).await.unwrap();
    assert_eq!(run("SELECT * FROM tenants".to_owned()).await.unwrap(), 2, "and what is beneath it");
    let rename = |tenant: TenantId| format!("UPDATE tenants SET name = 'x' WHERE id = '{}'", tenant.as_uuid());
    assert_eq!(run(rename(child)).await.unwrap(), 1);
    for above in [provider, root, stranger] {
        assert_eq!(run(rename(above)).await.unwrap(), 0);
    }
    let refused = |outcome: Result<u64, sqlx::Error>| match outcome {
        Err(sqlx::Error::Database(error)) => error.code().unwrap().into_owned(),
        other => panic!("not refused: {other:?}"),
    };
    let insufficient_privilege = "42501";
    for sql in ["SET parent_id = NULL", "SET ancestors = '{}'", "SET id = gen_random_uuid()"] {
        assert_eq!(refused(run(format!("UPDATE tenants {sql}")).await), insufficient_privilege, "{sql}");
    }
    let insert = |parent: String, ancestor: TenantId| {
        format!(
            "INSERT INTO tenants (id, name, parent_id, created_at, ancestors)
             VALUES (gen_random_uuid(), 'x', {parent}, now(), ARRAY['{}'::uuid])",
            ancestor.as_uuid()
        )
    };
    let quoted = |tenant: TenantId| format!("'{}'", tenant.as_uuid());
    // What an insertion claims about its ancestors does not count.
    assert_eq!(refused(run(insert("NULL".to_owned(), provider)).await), insufficient_privilege, "a root");
    assert_eq!(refused(run(insert(quoted(root), provider)).await), "23503", "beneath a parent out of sight");
    assert_eq!(refused(run(insert(quoted(stranger), provider)).await), "23503");
    assert_eq!(run(insert(quoted(child), stranger)).await.unwrap(), 1);
    let ancestors = "SELECT ancestors[1] || ' ' || ancestors[2] || ' ' || ancestors[3] FROM tenants
        WHERE name = 'x' AND parent_id IS NOT NULL AND cardinality(ancestors) = 3";
    let expected = [root, provider, child].map(|tenant| tenant.as_uuid().to_string()).join(" ");
    assert_eq!(fixture.database.psql(ancestors).await.trim(), expected);
}
