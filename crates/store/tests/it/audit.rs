//! The audit log is one unbroken chain for each tenant, and whatever is done to it shows.

use std::time::Duration;

use chrono::TimeDelta;
use mtasts_model::{AuditEventId, DomainId, SystemEntropy, TenantId};
use mtasts_store::{Actor, AuditFilter, ChainFault, ChainReport, Role, Store, migrate};
use mtasts_testkit::wait_until;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::{Fixture, empty_database, owner_url, zone};

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A tenant with a log of this many lines, at least one of them the worker's.
async fn log_of(fixture: &Fixture, api: &Store, lines: i64) -> TenantId {
    let tenant = fixture.tenant(api).await;
    let insert = format!(
        "INSERT INTO audit_events (id, tenant_id, at, actor, source, request_id, action, object, before, after)
            SELECT gen_random_uuid(), '{}', now(), 'worker', '192.0.2.1', NULL, 'a.' || i, 'ö', NULL,
                '{{\"b\": 1.50, \"a\": \"ä\"}}' FROM generate_series(2, {lines}) i",
        tenant.as_uuid()
    );
    fixture.database.psql(&insert).await;
    tenant
}

/// Statements of somebody who is stronger than any of our roles.
async fn tamper(fixture: &Fixture, tenant: TenantId, statements: &str) {
    let statements = statements.replace("$tenant", &format!("'{}'", tenant.as_uuid()));
    fixture.database.psql(&format!("SET session_replication_role = replica; {statements}")).await;
}

async fn verdict(api: &Store, tenant: TenantId) -> ChainReport {
    api.verify_audit_chain(tenant).await.unwrap()
}

async fn refusal(connection: &mut PgConnection, sql: String) -> String {
    match connection.execute(AssertSqlSafe(sql.clone())).await {
        Err(sqlx::Error::Database(error)) => error.code().unwrap().into_owned(),
        other => panic!("not refused: {sql}: {other:?}"),
    }
}

#[tokio::test]
async fn what_all_roles_write_is_one_chain_that_holds() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let actor = Actor::api_key(mtasts_model::ApiKeyId::draw(fixture.now(), &SystemEntropy), tenant)
        .by_request(Some("2001:db8::1".parse().unwrap()), Some("a request".to_owned()));
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.set_report_uris(domain.id, &["mailto:reports@example.com".parse().unwrap()], &actor, fixture.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let log = api.tenant_tx(tenant).await.unwrap().audit_log(&AuditFilter::default(), None, 200).await.unwrap();
    let report = verdict(&api, tenant).await;
    assert_eq!(report.fault, None);
    assert!(report.sound >= 5, "{report:?}");
    assert_eq!(log.len(), usize::try_from(report.sound).unwrap());
    let last = log.iter().max_by_key(|line| line.seq).unwrap();
    assert_eq!((last.seq, last.hash), (report.sound, report.hash));
    assert_eq!(last.event.actor, actor.word(tenant));
    let mut numbers: Vec<_> = log.iter().map(|line| line.seq).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=report.sound).collect::<Vec<_>>());
    let empty = verdict(&api, TenantId::draw(fixture.now(), &SystemEntropy)).await;
    assert_eq!((empty.sound, empty.fault), (0, None));
}

#[tokio::test]
async fn a_change_of_any_field_of_a_line_is_found() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = log_of(&fixture, &api, 9).await;
    let changes = [
        "at = at + interval '1 microsecond'",
        "actor = 'operator'",
        "source = NULL",
        "request_id = ''",
        "action = 'a.6'",
        "object = 'o'",
        "before = '{}'",
        "after = '{\"b\": 1.5, \"a\": \"ä\"}'",
    ];
    assert_eq!(verdict(&api, tenant).await.fault, None);
    for change in changes {
        let keep = "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT * FROM audit_events";
        let change = format!("UPDATE audit_events SET {change} WHERE action = 'a.5'");
        tamper(&fixture, tenant, &format!("{keep}; {change}")).await;
        let report = verdict(&api, tenant).await;
        assert_eq!((report.sound, report.fault), (4, Some(ChainFault::Altered { seq: 5 })), "{change}");
        tamper(&fixture, tenant, "DELETE FROM audit_events; INSERT INTO audit_events SELECT * FROM kept").await;
        assert_eq!(verdict(&api, tenant).await.fault, None);
    }
}

#[tokio::test]
async fn a_line_that_was_rewritten_with_a_fitting_hash_is_found() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let rewrite = "UPDATE audit_events SET actor = 'operator' WHERE tenant_id = $tenant AND action = 'a.5';
        UPDATE audit_chain c SET hash = audit_hash(e, c.seq, c.previous_hash)
            FROM audit_events e WHERE e.id = c.event_id AND c.tenant_id = $tenant";
    let in_the_middle = log_of(&fixture, &api, 9).await;
    tamper(&fixture, in_the_middle, rewrite).await;
    assert_eq!(verdict(&api, in_the_middle).await.fault, Some(ChainFault::Altered { seq: 6 }), "the next does not fit");
    let at_the_end = log_of(&fixture, &api, 5).await;
    tamper(&fixture, at_the_end, rewrite).await;
    assert_eq!(verdict(&api, at_the_end).await.fault, Some(ChainFault::Head { seq: 5 }));
}

#[tokio::test]
async fn a_line_that_is_gone_is_missing() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    for delete in [
        "DELETE FROM audit_events WHERE tenant_id = $tenant AND action = 'a.4'",
        "DELETE FROM audit_chain WHERE tenant_id = $tenant AND seq = 4",
        "DELETE FROM audit_events WHERE tenant_id = $tenant AND action = 'a.4';
            DELETE FROM audit_chain WHERE tenant_id = $tenant AND seq = 4",
    ] {
        let tenant = log_of(&fixture, &api, 9).await;
        tamper(&fixture, tenant, delete).await;
        let report = verdict(&api, tenant).await;
        assert_eq!((report.sound, report.fault), (3, Some(ChainFault::Missing { seq: 4 })), "{delete}");
    }
}

#[tokio::test]
async fn lines_that_changed_places_are_reordered() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    for swap in [
        "UPDATE audit_chain SET seq = 99 WHERE tenant_id = $tenant AND seq = 3;
            UPDATE audit_chain SET seq = 3 WHERE tenant_id = $tenant AND seq = 7;
            UPDATE audit_chain SET seq = 7 WHERE tenant_id = $tenant AND seq = 99",
        "CREATE TABLE swapped AS SELECT seq, event_id FROM audit_chain WHERE tenant_id = $tenant AND seq IN (3, 7);
            UPDATE audit_chain SET event_id = gen_random_uuid() WHERE tenant_id = $tenant AND seq IN (3, 7);
            UPDATE audit_chain c SET event_id = s.event_id FROM swapped s
                WHERE c.tenant_id = $tenant AND c.seq = 10 - s.seq",
    ] {
        let tenant = log_of(&fixture, &api, 9).await;
        tamper(&fixture, tenant, swap).await;
        let report = verdict(&api, tenant).await;
        assert_eq!((report.sound, report.fault), (2, Some(ChainFault::Reordered { seq: 3 })), "{swap}");
    }
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_truncated_and_one_that_grew_past_its_head_is_noticed() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let cut = "DELETE FROM audit_events e USING audit_chain c
            WHERE c.event_id = e.id AND c.tenant_id = $tenant AND c.seq > 6;
        DELETE FROM audit_chain WHERE tenant_id = $tenant AND seq > 6";
    let tenant = log_of(&fixture, &api, 9).await;
    tamper(&fixture, tenant, cut).await;
    assert_eq!(verdict(&api, tenant).await.fault, Some(ChainFault::Truncated { seq: 7 }));
    let emptied = log_of(&fixture, &api, 3).await;
    tamper(&fixture, emptied, "DELETE FROM audit_chain WHERE tenant_id = $tenant").await;
    assert_eq!(verdict(&api, emptied).await.fault, Some(ChainFault::Truncated { seq: 1 }));
    for head in [
        "UPDATE audit_heads SET seq = 5 WHERE tenant_id = $tenant",
        "UPDATE audit_heads SET hash = sha256('') WHERE tenant_id = $tenant",
        "DELETE FROM audit_heads WHERE tenant_id = $tenant",
    ] {
        let tenant = log_of(&fixture, &api, 9).await;
        tamper(&fixture, tenant, head).await;
        assert_eq!(verdict(&api, tenant).await.fault, Some(ChainFault::Head { seq: 9 }), "{head}");
    }
    let tenant = log_of(&fixture, &api, 9).await;
    let id = AuditEventId::draw(fixture.now(), &SystemEntropy);
    let beside = format!(
        "INSERT INTO audit_events (id, tenant_id, at, actor, action, object)
            VALUES ('{}', $tenant, now(), 'operator', 'a', 'o')",
        id.as_uuid()
    );
    tamper(&fixture, tenant, &beside).await;
    assert_eq!(verdict(&api, tenant).await.fault, Some(ChainFault::Unchained { event: id }));
}

#[tokio::test]
async fn a_long_log_is_walked_in_pages_and_its_last_line_counts() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = log_of(&fixture, &api, 1_234).await;
    let report = verdict(&api, tenant).await;
    assert_eq!((report.sound, report.fault), (1_234, None));
    tamper(&fixture, tenant, "UPDATE audit_events SET object = 'x' WHERE action = 'a.1234'").await;
    assert_eq!(verdict(&api, tenant).await.fault, Some(ChainFault::Altered { seq: 1_234 }));
}

#[tokio::test]
async fn twenty_writers_of_one_tenant_at_once_leave_one_unbroken_chain() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 24).await;
    let tenant = fixture.tenant(&api).await;
    // The first line is written by all of them at once as well.
    tamper(
        &fixture,
        tenant,
        "DELETE FROM audit_heads; DELETE FROM audit_chain; DELETE FROM audit_events WHERE tenant_id = $tenant",
    )
    .await;
    let writers = (0..20).map(|writer| {
        let (api, fixture) = (api.clone(), &fixture);
        async move {
            for round in 0..5 {
                fixture.domain(&api, tenant, &format!("d{writer}-{round}.example")).await;
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let report = verdict(&api, tenant).await;
    assert_eq!((report.sound, report.fault), (100, None));
}

#[tokio::test]
async fn a_line_holds_up_nobody_before_its_transaction_commits_and_no_other_tenant_ever() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let quickly = async |tenant: TenantId, name: &str| {
        let added = fixture.domain(&api, tenant, name);
        tokio::time::timeout(Duration::from_secs(4), added).await.expect("waits for nobody");
    };
    let mut held = PgConnection::connect(&fixture.database.url_as("mtasts_api")).await.unwrap();
    let begin = format!(
        "BEGIN; SET LOCAL app.tenant = '{0}'; INSERT INTO audit_events (id, tenant_id, at, actor, action, object)
            VALUES (gen_random_uuid(), '{0}', now(), 'x', 'x', 'x')",
        one.as_uuid()
    );
    held.execute(AssertSqlSafe(begin)).await.unwrap();
    quickly(one, "a.example").await;
    // As in the midst of its commit: the head of its tenant is locked.
    held.execute("SET CONSTRAINTS ALL IMMEDIATE").await.unwrap();
    quickly(other, "a.example").await;
    let waiting = tokio::spawn({
        let (api, new) = (api.clone(), fixture.new_domain("b.example", None));
        let now = fixture.now();
        async move {
            let mut tx = api.tenant_tx(one).await.unwrap();
            tx.create_domain(new, &Actor::operator(), now).await.unwrap();
            tx.commit().await.unwrap();
        }
    });
    let blocked = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query = 'COMMIT'";
    wait_until(Duration::from_secs(4), "the same tenant's commit waits", async || {
        fixture.database.psql(blocked).await.trim() == "1"
    })
    .await;
    held.execute("COMMIT").await.unwrap();
    waiting.await.unwrap();
    for (tenant, lines) in [(one, 4), (other, 2)] {
        let report = verdict(&api, tenant).await;
        assert_eq!((report.sound, report.fault), (lines, None));
    }
}

#[tokio::test]
async fn what_is_rolled_back_leaves_no_gap() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.create_domain(fixture.new_domain("a.example", None), &Actor::operator(), fixture.now()).await.unwrap();
    drop(tx);
    fixture.domain(&api, tenant, "b.example").await;
    let report = verdict(&api, tenant).await;
    assert_eq!((report.sound, report.fault), (2, None));
}

#[tokio::test]
async fn no_role_moves_the_chain_but_by_adding_a_line() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = log_of(&fixture, &api, 3).await;
    let id = tenant.as_uuid();
    for role in ["mtasts_api", "mtasts_worker", "mtasts_edge", "mtasts_intake"] {
        let mut session = PgConnection::connect(&fixture.database.url_as(role)).await.unwrap();
        session.execute(AssertSqlSafe(format!("SET app.tenant = '{id}'; SET app.operator = 'on'"))).await.unwrap();
        for sql in [
            "UPDATE audit_heads SET seq = seq + 1".to_owned(),
            "UPDATE audit_heads SET seq = 0, hash = sha256('')".to_owned(),
            format!("UPDATE audit_heads SET tenant_id = '{id}'"),
            format!("INSERT INTO audit_heads VALUES ('{}', 0, sha256(''))", uuid::Uuid::nil()),
            format!("INSERT INTO audit_chain VALUES ('{id}', 4, '{id}', sha256(''), sha256(''))"),
            "UPDATE audit_chain SET hash = sha256('')".to_owned(),
            "DELETE FROM audit_chain".to_owned(),
            "DELETE FROM audit_heads".to_owned(),
            "TRUNCATE audit_chain".to_owned(),
            "ALTER TABLE audit_events DISABLE TRIGGER audit_append".to_owned(),
            "SET session_replication_role = replica".to_owned(),
        ] {
            assert_eq!(refusal(&mut session, sql.clone()).await, INSUFFICIENT_PRIVILEGE, "{role}: {sql}");
        }
    }
    // Nor does a table of the writer's own stand in for the head.
    let mut session = PgConnection::connect(&fixture.database.url_as("mtasts_worker")).await.unwrap();
    let shadowed = format!(
        "CREATE TEMP TABLE audit_heads (tenant_id uuid, seq bigint, hash bytea);
         CREATE TEMP TABLE audit_chain (tenant_id uuid, seq bigint, event_id uuid, previous_hash bytea, hash bytea);
         INSERT INTO audit_events (id, tenant_id, at, actor, action, object)
            VALUES (gen_random_uuid(), '{id}', now(), 'worker', 'a', 'o')"
    );
    session.execute(AssertSqlSafe(shadowed)).await.unwrap();
    let report = verdict(&api, tenant).await;
    assert_eq!((report.sound, report.fault), (4, None));
}

#[tokio::test]
async fn lines_of_before_the_migration_are_chained_in_order_of_time() {
    let database = empty_database().await;
    migrate(&owner_url(&database), &zone()).await.unwrap();
    // Back to the schema of before.
    database
        .psql(
            "DROP TRIGGER audit_append ON audit_events; DROP FUNCTION audit_append() CASCADE;
             DROP TABLE audit_chain, audit_heads CASCADE; DROP FUNCTION audit_guard();
             DROP FUNCTION audit_field(bytea) CASCADE; DROP INDEX audit_events_by_object, audit_events_by_action;
             DELETE FROM seaql_migrations WHERE version = '0007_audit_chain'",
        )
        .await;
    database.psql("DROP FUNCTION IF EXISTS audit_hash(audit_events, bigint, bytea)").await;
    let tenants = [1, 2].map(|number| TenantId::from_uuid(uuid::Uuid::from_u128(number)));
    for tenant in tenants {
        database
            .psql(&format!(
                "INSERT INTO audit_events (id, tenant_id, at, actor, action, object)
                 SELECT gen_random_uuid(), '{}', now() - i * interval '1 minute', 'worker', 'a.' || i, 'o'
                 FROM generate_series(1, 7) i",
                tenant.as_uuid()
            ))
            .await;
    }
    migrate(&owner_url(&database), &zone()).await.unwrap();
    let fixture = Fixture { database, clock: mtasts_model::clock::ManualClock::default() };
    let api = fixture.store(Role::Api).await;
    for tenant in tenants {
        let report = verdict(&api, tenant).await;
        assert_eq!((report.sound, report.fault), (7, None));
        let log = api.tenant_tx(tenant).await.unwrap().audit_log(&AuditFilter::default(), None, 200).await.unwrap();
        assert!(log.iter().all(|line| line.event.action == format!("a.{}", 8 - line.seq)), "{log:?}");
    }
    assert_eq!(
        fixture.database.psql("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'audit_events'").await.trim(),
        "t"
    );
}

#[tokio::test]
async fn the_log_is_listed_newest_first_in_pages_and_by_each_filter() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (tenant, stranger) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let start = fixture.now();
    let mut domains = Vec::new();
    for number in 0..6 {
        fixture.clock.advance(TimeDelta::minutes(1));
        domains.push(fixture.domain(&api, tenant, &format!("d{number}.example")).await.id);
        fixture.clock.advance(TimeDelta::minutes(1));
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        tx.request_verify(domains[number], &Actor::operator(), fixture.now()).await.unwrap();
        tx.commit().await.unwrap();
    }
    fixture.domain(&api, stranger, "foreign.example").await;
    let listed = async |filter: AuditFilter| {
        let tx = api.tenant_tx(tenant).await.unwrap();
        let (mut lines, mut before) = (Vec::new(), None);
        loop {
            let page = tx.audit_log(&filter, before, 2).await.unwrap();
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            before = Some(last.event.id);
            lines.extend(page);
        }
        assert_eq!(lines, tx.audit_log(&filter, None, 200).await.unwrap(), "in pages as at once");
        lines.iter().map(|line| line.seq).collect::<Vec<_>>()
    };
    let all = AuditFilter::default();
    assert_eq!(listed(all.clone()).await, (1..=13).rev().collect::<Vec<_>>());
    let by = |prefix: &str| AuditFilter { action_prefix: Some(prefix.to_owned()), ..AuditFilter::default() };
    assert_eq!(listed(by("domain.")).await, (2..=13).rev().collect::<Vec<_>>());
    assert_eq!(listed(by("domain.v")).await, [13, 11, 9, 7, 5, 3]);
    assert_eq!(listed(by("t")).await, [1]);
    assert!(listed(by("domain%")).await.is_empty() && listed(by("zz")).await.is_empty());
    let object = Some(domains[2].to_string());
    assert_eq!(listed(AuditFilter { object: object.clone(), ..all.clone() }).await, [7, 6]);
    assert_eq!(listed(AuditFilter { object, ..by("domain.c") }).await, [6]);
    let foreign = DomainId::draw(start, &SystemEntropy).to_string();
    assert!(listed(AuditFilter { object: Some(foreign), ..all }).await.is_empty());
    let between = |from: i64, to: i64| AuditFilter {
        from: Some(start + TimeDelta::minutes(from)),
        to: Some(start + TimeDelta::minutes(to)),
        ..AuditFilter::default()
    };
    assert_eq!(listed(between(3, 6)).await, [6, 5, 4], "from is in, to is out");
    assert_eq!(listed(AuditFilter { action_prefix: Some("domain.create".to_owned()), ..between(3, 6) }).await, [6, 4]);
}
