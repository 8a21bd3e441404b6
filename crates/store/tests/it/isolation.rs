//! Invariant 8: row-level security holds even where a handler forgets.

use mtasts_model::{DomainId, Mode, SystemEntropy, TenantId};
use mtasts_store::{Actor, Role, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::{Fixture, policy};

async fn connect(fixture: &Fixture, role: &str) -> PgConnection {
    PgConnection::connect(&fixture.database.url_as(role)).await.unwrap()
}

/// The SQLSTATE with which a statement is refused.
async fn refusal(connection: &mut PgConnection, sql: &str) -> String {
    match connection.execute(AssertSqlSafe(sql.to_owned())).await {
        Err(sqlx::Error::Database(error)) => error.code().unwrap().into_owned(),
        other => panic!("not refused: {sql}: {other:?}"),
    }
}

const INSUFFICIENT_PRIVILEGE: &str = "42501";

#[tokio::test]
async fn every_table_that_holds_tenants_rows_forces_row_level_security_and_has_policies() {
    let fixture = Fixture::new().await;
    let open = "SELECT c.relname FROM pg_class c
        WHERE c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
          AND (c.relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))
          AND NOT (c.relrowsecurity AND c.relforcerowsecurity
                AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid))";
    assert_eq!(fixture.database.psql(open).await, "");
    let watched = "SELECT count(*) FROM pg_class WHERE relforcerowsecurity AND NOT relispartition";
    assert_eq!(fixture.database.psql(watched).await.trim(), "54");
    // What is in a partition is shown by its parent alone: nobody has a right to the partition itself.
    let partitions = "SELECT count(*) FILTER (WHERE relacl IS NULL AND relforcerowsecurity), count(*) FROM pg_class
        WHERE relispartition AND relkind = 'r'";
    let counts = fixture.database.psql(partitions).await;
    let (closed, all) = counts.trim().split_once('|').unwrap();
    assert!(closed == all && all != "0", "{counts}");
    // A function that runs as its owner is a way around all of this: one searches names, as is shown below, two make
    // and drop partitions, by nothing but times, and one notes the ids of sealing keys.
    let definers = "SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc
        WHERE prosecdef AND pronamespace = 'public'::regnamespace";
    let known = "domains_with_name_part drop_report_partitions make_report_partitions note_sealing_key";
    assert_eq!(fixture.database.psql(definers).await.trim(), known);
}

#[tokio::test]
async fn tenants_that_alternate_on_one_connection_see_their_own_domains_only() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 1).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let mut domains = Vec::new();
    for tenant in [one, other] {
        domains.push(fixture.domain(&api, tenant, "example.com").await);
    }
    for round in 0..6 {
        let (mine, foreign) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        let tx = api.tenant_tx(domains[mine].tenant_id).await.unwrap();
        assert!(tx.domain(domains[foreign].id).await.unwrap().is_none());
        let listed = tx.list_domains(&mtasts_store::DomainFilter::default(), None, 200).await.unwrap();
        assert_eq!(listed.iter().map(|domain| domain.id).collect::<Vec<_>>(), [domains[mine].id]);
        assert_eq!(tx.audit_events(None, 200).await.unwrap().len(), 2, "of the tenant and of the domain");
    }
}

#[tokio::test]
async fn names_are_searched_within_the_tenant_and_by_nobody_else() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let mine = fixture.domain(&api, one, "shop.example").await;
    fixture.domain(&api, other, "shop.example").await;
    let mut connection = connect(&fixture, "mtasts_api").await;
    let search = "SELECT domains_with_name_part('hop', 10)::text";
    let found = async |connection: &mut PgConnection| -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(search.to_owned())).fetch_all(connection).await.unwrap()
    };
    assert!(found(&mut connection).await.is_empty(), "without a tenant there is nothing");
    for (tenant, expected) in
        [(one, vec![mine.id.as_uuid().to_string()]), (TenantId::from_uuid(uuid::Uuid::nil()), vec![])]
    {
        let set = format!("SET app.tenant = '{}'", tenant.as_uuid());
        connection.execute(AssertSqlSafe(set)).await.unwrap();
        assert_eq!(found(&mut connection).await, expected);
    }
    for forbidden in ["SELECT * FROM domain_names", "DELETE FROM domain_names", "UPDATE domain_names SET name = 'x'"] {
        assert_eq!(refusal(&mut connection, forbidden).await, INSUFFICIENT_PRIVILEGE, "{forbidden}");
    }
    for role in ["mtasts_worker", "mtasts_edge"] {
        let mut connection = connect(&fixture, role).await;
        assert_eq!(refusal(&mut connection, search).await, INSUFFICIENT_PRIVILEGE, "{role}");
    }
}

#[tokio::test]
async fn a_connection_forgets_its_tenant_with_the_transaction() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 1).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let tx = api.tenant_tx(tenant).await.unwrap();
    assert!(tx.domain(domain.id).await.unwrap().is_some());
    tx.commit().await.unwrap();
    // A statement outside of any transaction, on the same connection: there is a row, but nobody's tenant is set.
    assert_eq!(api.next_due_at().await.unwrap(), None);
}

#[tokio::test]
async fn a_foreign_object_is_as_one_that_never_was() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let foreign = fixture.domain(&api, one, "example.com").await;
    let never = DomainId::draw(fixture.now(), &SystemEntropy);
    let actor = Actor::operator();
    for id in [foreign.id, never] {
        let mut tx = api.tenant_tx(other).await.unwrap();
        let version = fixture.version(policy(Mode::None, &[], 60), mtasts_store::VersionReason::Changed);
        let set = tx.set_policy(id, version, None, &actor, fixture.now()).await;
        assert!(matches!(set, Err(StoreError::NotFound)), "{set:?}");
        assert!(matches!(tx.request_verify(id, &actor, fixture.now()).await, Err(StoreError::NotFound)));
        assert!(matches!(tx.set_report_uris(id, &[], &actor, fixture.now()).await, Err(StoreError::NotFound)));
        let withdrawn = tx.request_withdrawal(id, fixture.none(), &actor, fixture.now()).await;
        assert!(matches!(withdrawn, Err(StoreError::NotFound)));
        assert!(tx.versions(id, None, 10).await.unwrap().is_empty());
        assert!(tx.version(id, foreign.version.as_ref().unwrap().id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn without_a_tenant_there_are_no_rows_and_none_can_be_written() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    fixture.domain(&api, tenant, "example.com").await;
    let mut session = connect(&fixture, "mtasts_api").await;
    for table in ["tenants", "api_keys", "domains", "policy_versions", "audit_events", "domain_schedule", "events"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut session).await.unwrap();
        assert_eq!(count, 0, "{table}");
    }
    let insert = format!(
        "INSERT INTO audit_events (id, tenant_id, at, actor, action, object)
         VALUES (gen_random_uuid(), '{}', now(), 'x', 'x', 'x')",
        tenant.as_uuid()
    );
    assert_eq!(refusal(&mut session, &insert).await, INSUFFICIENT_PRIVILEGE);
}

#[tokio::test]
async fn a_tenant_cannot_write_rows_of_another_or_hang_its_own_onto_anothers_domain() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let foreign = fixture.domain(&api, one, "example.com").await;
    let mut session = connect(&fixture, "mtasts_api").await;
    let become_other = format!("SELECT set_config('app.tenant', '{}', false)", other.as_uuid());
    session.execute(AssertSqlSafe(become_other)).await.unwrap();
    let schedule = |tenant: mtasts_model::TenantId| {
        format!(
            "INSERT INTO domain_schedule (domain_id, tenant_id) VALUES ('{}', '{}')",
            foreign.id.as_uuid(),
            tenant.as_uuid()
        )
    };
    assert_eq!(refusal(&mut session, &schedule(one)).await, INSUFFICIENT_PRIVILEGE);
    let version = format!(
        "INSERT INTO policy_versions (id, tenant_id, domain_id, seq, policy_id, policy_text, mode, max_age, reason,
            created_by, created_at)
         VALUES (gen_random_uuid(), '{}', '{}', 99, 'x', 'x', 'none', 1, 'x', 'x', now())",
        other.as_uuid(),
        foreign.id.as_uuid()
    );
    assert_eq!(refusal(&mut session, &version).await, "23503", "the foreign key holds tenant and domain together");
    let touched = session.execute("UPDATE domains SET nudged_at = now()").await.unwrap().rows_affected();
    assert_eq!(touched, 0);
}

#[tokio::test]
async fn the_owner_sees_no_tenants_rows_either() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    fixture.domain(&api, tenant, "example.com").await;
    let mut session = connect(&fixture, "mtasts_test_owner").await;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM domains").fetch_one(&mut session).await.unwrap();
    assert_eq!(count, 0);
}

#[tokio::test]
async fn the_audit_log_can_only_be_added_to() {
    let fixture = Fixture::new().await;
    for role in ["mtasts_api", "mtasts_worker", "mtasts_edge", "mtasts_intake"] {
        let mut session = connect(&fixture, role).await;
        for sql in ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"] {
            assert_eq!(refusal(&mut session, sql).await, INSUFFICIENT_PRIVILEGE, "{role}: {sql}");
        }
    }
}

#[tokio::test]
async fn nobody_can_change_or_delete_a_policy_version() {
    let fixture = Fixture::new().await;
    let fixed = "id tenant_id domain_id seq policy_id policy_text mode max_age reason forced created_by created_at";
    for role in ["mtasts_api", "mtasts_worker", "mtasts_edge", "mtasts_intake"] {
        let mut session = connect(&fixture, role).await;
        for column in fixed.split(' ') {
            let sql = format!("UPDATE policy_versions SET {column} = DEFAULT");
            assert_eq!(refusal(&mut session, &sql).await, INSUFFICIENT_PRIVILEGE, "{role}: {column}");
        }
        for sql in ["DELETE FROM policy_versions", "DELETE FROM labels", "UPDATE labels SET label = 'x'"] {
            assert_eq!(refusal(&mut session, sql).await, INSUFFICIENT_PRIVILEGE, "{role}: {sql}");
        }
    }
}

#[tokio::test]
async fn edges_see_keys_and_policies_of_what_is_served_and_of_nothing_else() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let served = fixture.domain(&api, tenant, "served.example").await;
    let idle = fixture.domain(&api, tenant, "idle.example").await;
    fixture.serve(&worker, &served).await;
    let lease = fixture.claim(&worker, idle.id).await;
    fixture.issue(&worker, &lease).await;
    let mut session = connect(&fixture, "mtasts_edge").await;
    for table in ["policy_versions", "certificates"] {
        let sql = format!("SELECT count(domain_id) FROM {table}");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut session).await.unwrap();
        assert_eq!(count, 1, "{table}");
    }
    for table in
        ["domains", "api_keys", "tenants", "acme_orders", "acme_accounts", "audit_events", "events", "webhooks"]
    {
        let sql = format!("SELECT * FROM {table}");
        assert_eq!(refusal(&mut session, &sql).await, INSUFFICIENT_PRIVILEGE, "{table}");
    }
    // A version that was replaced is out of reach at once.
    fixture.set_policy(&api, &served, policy(Mode::Enforce, &["mx.example.net"], 86_400)).await;
    let modes: Vec<String> =
        sqlx::query_scalar("SELECT mode FROM policy_versions").fetch_all(&mut session).await.unwrap();
    assert_eq!(modes, ["enforce"]);
}

#[tokio::test]
async fn the_api_cannot_read_keys_of_certificates_or_answers_to_challenges() {
    let fixture = Fixture::new().await;
    let mut session = connect(&fixture, "mtasts_api").await;
    for sql in [
        "SELECT sealed_key FROM certificates",
        "SELECT sealed_key FROM acme_orders",
        "SELECT challenge FROM edge_entries",
        "SELECT sealed FROM acme_accounts",
        "SELECT * FROM labels",
        "SELECT * FROM zone_records",
        "DELETE FROM events",
        "UPDATE events SET data = '{}'",
        "UPDATE webhook_deliveries SET event_id = id",
    ] {
        assert_eq!(refusal(&mut session, sql).await, INSUFFICIENT_PRIVILEGE, "{sql}");
    }
}
