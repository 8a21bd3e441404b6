//! Tenants as an operator handles them.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use mtasts_model::{ApiKeyId, Label, Scopes, SystemEntropy, TenantId};
use mtasts_store::{Actor, NewApiKey, NewTenant, NotErasable, OperatorAuditFilter, Role, Store, StoreError};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::{Fixture, line};

async fn beneath(fixture: &Fixture, api: &Store, parent: TenantId) -> TenantId {
    let id = TenantId::draw(fixture.now(), &SystemEntropy);
    let new = NewTenant { id, name: "a customer".to_owned(), parent: Some(parent) };
    api.create_tenant(new, &Actor::operator(), fixture.now()).await.unwrap().id
}

async fn key(fixture: &Fixture, api: &Store, tenant: TenantId, octet: u8) -> [u8; 32] {
    let new = NewApiKey {
        id: ApiKeyId::draw(fixture.now(), &SystemEntropy),
        name: "a key".to_owned(),
        prefix: "mts_live_x".to_owned(),
        hash: [octet; 32],
        scopes: Scopes::ALL,
        expires_at: None,
    };
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.create_api_key(new, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    [octet; 32]
}

async fn suspended(fixture: &Fixture, api: &Store, key: &[u8; 32], target: Option<TenantId>) -> bool {
    api.authenticate(key, target, fixture.now()).await.unwrap().unwrap().suspended
}

#[tokio::test]
async fn a_suspended_tenant_is_told_so_by_every_credential_within_it_and_nobody_else() {
    let fixture = Fixture::new().await;
    let (api, operator) = (fixture.store(Role::Api).await, fixture.store(Role::Operator).await);
    let (provider, stranger) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let customer = beneath(&fixture, &api, provider).await;
    let [of_provider, of_customer, of_stranger] = [(provider, 1), (customer, 2), (stranger, 3)];
    let of_provider = key(&fixture, &api, of_provider.0, of_provider.1).await;
    let of_customer = key(&fixture, &api, of_customer.0, of_customer.1).await;
    let of_stranger = key(&fixture, &api, of_stranger.0, of_stranger.1).await;
    let (actor, now) = (Actor::operator(), fixture.now());

    let standing = operator.suspend_tenant(customer, "unpaid", &actor, now).await.unwrap();
    assert_eq!(standing.suspended, Some((now, "unpaid".to_owned())));
    assert!(suspended(&fixture, &api, &of_customer, None).await);
    assert!(suspended(&fixture, &api, &of_provider, Some(customer)).await, "nor does its provider act within it");
    assert!(!suspended(&fixture, &api, &of_provider, None).await);
    assert!(!suspended(&fixture, &api, &of_stranger, None).await);
    assert!(api.admit(customer, Scopes::ALL, None).await.unwrap().unwrap().suspended, "by an identity provider");

    operator.suspend_tenant(provider, "abuse", &actor, now).await.unwrap();
    assert!(suspended(&fixture, &api, &of_provider, None).await);
    operator.resume_tenant(customer, &actor, now).await.unwrap();
    assert!(!suspended(&fixture, &api, &of_customer, None).await, "a customer's own key, though its provider is");
    operator.resume_tenant(provider, &actor, now).await.unwrap();
    operator.resume_tenant(provider, &actor, now).await.unwrap();
    assert!(!suspended(&fixture, &api, &of_provider, Some(customer)).await);

    let filter = OperatorAuditFilter { tenant: Some(provider), ..OperatorAuditFilter::default() };
    let lines = operator.operator_audit(&filter, None, 100).await.unwrap();
    let actions: Vec<_> = lines.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions.iter().filter(|action| **action == "tenant.suspend").count(), 1, "{actions:?}");
    assert_eq!(actions.iter().filter(|action| **action == "tenant.resume").count(), 1, "nothing changed: {actions:?}");
    let nobody = TenantId::draw(now, &SystemEntropy);
    let refused = operator.suspend_tenant(nobody, "x", &actor, now).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    for tenant in [provider, customer] {
        assert_eq!(api.verify_audit_chain(tenant).await.unwrap().fault, None);
    }
}

#[tokio::test]
async fn a_moved_tenant_takes_what_is_beneath_it_along_and_leaves_its_providers_reach() {
    let fixture = Fixture::new().await;
    let (api, operator) = (fixture.store(Role::Api).await, fixture.store(Role::Operator).await);
    let (old, new) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let middle = beneath(&fixture, &api, new).await;
    let moved = beneath(&fixture, &api, old).await;
    let below = beneath(&fixture, &api, moved).await;
    let (of_old, of_new) = (key(&fixture, &api, old, 1).await, key(&fixture, &api, new, 2).await);
    let (actor, now) = (Actor::operator(), fixture.now());
    let reaches = async |key: &[u8; 32], target| {
        api.authenticate(key, Some(target), now).await.unwrap().unwrap().acts_for == Some(target)
    };
    assert!(reaches(&of_old, below).await && !reaches(&of_new, below).await);
    let standing = operator.move_tenant(moved, Some(middle), &actor, now).await.unwrap();
    assert_eq!(standing.parent, Some(middle));
    for target in [moved, below] {
        assert!(!reaches(&of_old, target).await && reaches(&of_new, target).await);
    }
    for (id, parent) in [(moved, below), (middle, moved), (moved, moved)] {
        let refused = operator.move_tenant(id, Some(parent), &actor, now).await;
        assert!(matches!(refused, Err(StoreError::NotFound)), "beneath itself");
    }
    // new, middle, moved, below: one more level is possible beneath, two are not.
    let tail = beneath(&fixture, &api, old).await;
    beneath(&fixture, &api, tail).await;
    let refused = operator.move_tenant(tail, Some(below), &actor, now).await;
    assert!(matches!(refused, Err(StoreError::TooDeep)), "{refused:?}");
    operator.move_tenant(moved, None, &actor, now).await.unwrap();
    assert!(!reaches(&of_new, below).await, "its own root");
    let ancestors = format!("SELECT ancestors FROM tenants WHERE id = '{}'", below.as_uuid());
    assert_eq!(fixture.database.psql(&ancestors).await.trim(), format!("{{{}}}", moved.as_uuid()));
    for tenant in [old, new, middle, moved] {
        let filter = OperatorAuditFilter { tenant: Some(tenant), ..OperatorAuditFilter::default() };
        let lines = operator.operator_audit(&filter, None, 100).await.unwrap();
        let moves = lines.iter().filter(|line| line.action == "tenant.move").count();
        assert_eq!(moves, if tenant == moved || tenant == middle { 2 } else { usize::from(tenant == old) }, "{tenant}");
        assert_eq!(api.verify_audit_chain(tenant).await.unwrap().fault, None);
    }
}

async fn exported(operator: &Store, tenant: TenantId) -> Vec<(String, Value)> {
    let (own, mut export) = operator.export_tenant(tenant).await.unwrap();
    let mut all = vec![("tenants".to_owned(), own)];
    while let Some((table, rows)) = export.next().await.unwrap() {
        all.extend(rows.into_iter().map(|row| (table.clone(), row)));
    }
    all
}

#[tokio::test]
async fn an_export_has_everything_of_the_tenant_nothing_of_another_and_no_secret() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let operator = fixture.store(Role::Operator).await;
    let (mine, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    for (tenant, name, octet) in [(mine, "mine.example", 1), (other, "other.example", 2)] {
        key(&fixture, &api, tenant, octet).await;
        let domain = fixture.domain(&api, tenant, name).await;
        fixture.serve(&worker, &domain).await;
    }
    // More rows than are read at once.
    fixture
        .database
        .psql(&format!(
            "INSERT INTO audit_events (id, tenant_id, at, actor, action, object)
                SELECT gen_random_uuid(), '{}', now(), 'operator', 'a', 'o' FROM generate_series(1, 450)",
            mine.as_uuid()
        ))
        .await;
    let all = exported(&operator, mine).await;
    let tables: BTreeSet<_> = all.iter().map(|(table, _)| table.as_str()).collect();
    for table in ["tenants", "domains", "policy_versions", "certificates", "api_keys", "audit_events", "acme_orders"] {
        assert!(tables.contains(table), "{table}: {tables:?}");
    }
    let events = all.iter().filter(|(table, _)| table == "audit_events").count();
    let stored = format!("SELECT count(*) FROM audit_events WHERE tenant_id = '{}'", mine.as_uuid());
    assert_eq!(events.to_string(), fixture.database.psql(&stored).await.trim());
    let text = all.iter().map(|(_, row)| row.to_string()).collect::<String>();
    assert!(text.contains("mine.example") && !text.contains("other.example"));
    assert!(!text.contains(&other.as_uuid().to_string()));
    let hash = "01".repeat(32);
    for secret in ["sealed_key", "\"sealed\"", &hash] {
        assert!(!text.contains(secret), "{secret}");
    }
    // Every table with a tenant is handed out, or is kept back for a reason that stands in the code.
    let readable = "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class c
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
            AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
            AND NOT has_any_column_privilege('mtasts_operator', c.oid, 'SELECT')";
    assert_eq!(fixture.database.psql(readable).await.trim(), "");
    let unknown = operator.export_tenant(TenantId::draw(fixture.now(), &SystemEntropy)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn what_is_erased_is_gone_the_log_still_holds_and_nobody_else_loses_a_row() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let (edge, operator) = (fixture.store(Role::Edge).await, fixture.store(Role::Operator).await);
    let provider = fixture.tenant(&api).await;
    let (mine, other) = (beneath(&fixture, &api, provider).await, fixture.tenant(&api).await);
    let node = fixture.edge_node(&edge).await;
    let mut domains = Vec::new();
    for (tenant, octet) in [(mine, 1), (other, 2)] {
        key(&fixture, &api, tenant, octet).await;
        let domain = fixture.domain(&api, tenant, &format!("d{octet}.example")).await;
        fixture.serve(&worker, &domain).await;
        let version = domain.version.as_ref().unwrap().id;
        edge.flush_served(&[line(&domain, version, fixture.now())], Some(fixture.now()), node).await.unwrap();
        domains.push(domain);
    }
    let (actor, now) = (Actor::operator(), fixture.now());
    assert_eq!(operator.erase_tenant(mine, &actor, now).await.unwrap(), Err(NotErasable::NotSuspended));
    operator.suspend_tenant(mine, "Jane asked for it", &actor, now).await.unwrap();
    assert_eq!(operator.erase_tenant(mine, &actor, now).await.unwrap(), Err(NotErasable::Domains(1)));
    operator.suspend_tenant(provider, "x", &actor, now).await.unwrap();
    assert_eq!(operator.erase_tenant(provider, &actor, now).await.unwrap(), Err(NotErasable::Customers(1)));

    let mut tx = api.tenant_tx(mine).await.unwrap();
    tx.request_withdrawal(domains[0].id, fixture.none(), &actor, now).await.unwrap();
    tx.commit().await.unwrap();
    let lease = fixture.claim(&worker, domains[0].id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.finished().await.unwrap();
    tx.commit().await.unwrap();

    let others = "SELECT md5(string_agg(x, ',' ORDER BY x)) FROM (
        SELECT d::text FROM domains d WHERE tenant_id = '{}' UNION ALL SELECT e::text FROM audit_events e WHERE tenant_id = '{}'
        UNION ALL SELECT v::text FROM policy_versions v WHERE tenant_id = '{}' UNION ALL SELECT k::text FROM api_keys k
        WHERE tenant_id = '{}' UNION ALL SELECT l::text FROM served_ledger l WHERE tenant_id = '{}') AS t (x)";
    let others = others.replace("{}", &other.as_uuid().to_string());
    let before = fixture.database.psql(&others).await;
    fixture.clock.advance(TimeDelta::hours(1));
    let erased = operator.erase_tenant(mine, &actor, fixture.now()).await.unwrap().unwrap();
    assert!(erased.rows > 5 && erased.lines > 3, "{erased:?}");
    assert_eq!(fixture.database.psql(&others).await, before);

    let left = exported(&operator, mine).await;
    let tables: BTreeSet<_> = left.iter().map(|(table, _)| table.as_str()).collect();
    let stay = ["audit_chain", "audit_events", "audit_heads", "tenants", "usage_days"];
    // Also of tables in which this tenant had nothing. What is a tenant's in the edges' feed goes with its domains.
    let holds = "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class c
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
            AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')";
    let holds = fixture.database.psql(holds).await;
    let erased_tables = mtasts_store::erased_tables();
    let spared: Vec<&str> =
        holds.split_whitespace().filter(|table| !stay.contains(table) && !erased_tables.contains(table)).collect();
    assert_eq!(spared, ["edge_entries"]);
    assert!(tables.iter().all(|table| stay.contains(table)), "{tables:?}");
    let text = left.iter().map(|(_, row)| row.to_string()).collect::<String>();
    for personal in ["d1.example", "Jane", "a customer"] {
        assert!(!text.contains(personal), "{personal}: {text}");
    }
    assert_eq!(api.verify_audit_chain(mine).await.unwrap().fault, None, "the hashes still fit each other");
    assert_eq!(api.verify_audit_chain(provider).await.unwrap().fault, None);
    assert!(api.authenticate(&[1; 32], None, fixture.now()).await.unwrap().is_none());
    assert!(matches!(operator.resume_tenant(mine, &actor, fixture.now()).await, Err(StoreError::NotFound)));
    // The label stays spent.
    let spent: &Label = &domains[0].label;
    let count = format!("SELECT count(*) FROM labels WHERE label = '{spent}'");
    assert_eq!(fixture.database.psql(&count).await.trim(), "1");
    let again = operator.erase_tenant(mine, &actor, fixture.now()).await.unwrap().unwrap();
    assert_eq!(again.rows, 0);
    // What an erasure spares, an alteration does not: a line that was changed after it is still found.
    let alter =
        "SET session_replication_role = replica; UPDATE audit_events SET object = 'x' WHERE action = 'tenant.erase'";
    fixture.database.psql(&format!("{alter} AND tenant_id = '{}'", mine.as_uuid())).await;
    assert!(api.verify_audit_chain(mine).await.unwrap().fault.is_some());
}

#[tokio::test]
async fn the_operators_role_can_silence_a_line_of_the_log_and_not_rewrite_it_and_reads_no_secret() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    key(&fixture, &api, tenant, 1).await;
    let mut session = PgConnection::connect(&fixture.database.url_as("mtasts_operator")).await.unwrap();
    let mut refused = async |sql: &str| match session.execute(AssertSqlSafe(sql.to_owned())).await {
        Err(sqlx::Error::Database(error)) => error.code().unwrap() == "42501",
        _ => false,
    };
    for sql in [
        "UPDATE audit_events SET actor = 'worker'",
        "UPDATE audit_events SET action = 'x'",
        "UPDATE audit_events SET after = '{}'",
        "DELETE FROM audit_events",
        "DELETE FROM audit_chain",
        "UPDATE audit_chain SET seq = 9",
        "UPDATE audit_heads SET seq = 9",
        "DELETE FROM tenants",
        "DELETE FROM labels",
        "DELETE FROM usage_days",
        "SELECT hash FROM api_keys",
        "SELECT sealed_key FROM certificates",
        "SELECT sealed FROM webhooks",
        "SELECT sealed FROM dns_credentials",
        "SELECT body FROM idempotency_keys",
        "SELECT sealed FROM acme_accounts",
        "INSERT INTO tenants (id, name, created_at) VALUES (gen_random_uuid(), 'x', now())",
        "UPDATE policy_versions SET policy_text = 'x'",
    ] {
        assert!(refused(sql).await, "{sql}");
    }
}
