//! No query grows with the number of domains. With tens of thousands of rows, everything that runs often is carried out
//! as the role that does it, and Postgres' own counters must not show one sequential scan of a table that grows.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use mtasts_model::{
    AuditEventId, CheckId, Condition, ConditionKind, DomainId, EventId, EventType, HostName, Mode, NodeId, OperationId,
    Revision, Scope, Scopes, Status, SystemEntropy, TenantId, Timestamp,
    check::CheckWanted,
    feed::RecordType,
    lifecycle::{MxHostSeen, MxSeen, StepKind},
};
use mtasts_store::{
    Actor, Attempt, AttemptOutcome, AuditFilter, CheckOutcome, DeliveryFilter, DeliveryState, DomainFilter,
    DomainPosition, DomainQuery, DomainSort, DomainState, EventFilter, Lease, LineOutcome, MxHostTurn, NewCheck,
    NewOperation, NodeKind, OperationKind, OperationLine, Role, Store, TenantTx, VersionReason, WebhookChange,
};
use mtasts_testkit::wait_until;
use uuid::Uuid;

use crate::fixture::{Fixture, GRACE, LEASE, policy, zone};

/// Often enough for Postgres to try the generic plan of a prepared statement, which it does from the sixth time on.
const TIMES: usize = 8;

/// 30,000 domains, two thirds of them one tenant's; every tenth is due, every tenth withdrawing.
pub(crate) const LOAD: &str = r#"
    CREATE FUNCTION uid(kind text, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
        AS $$ SELECT (lpad(to_hex(i), 12, '0') || left(md5(kind || i), 20))::uuid $$;
    CREATE FUNCTION ten(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
        AS $$ SELECT uid('ten', CASE WHEN i % 3 = 0 THEN 2 + i % 500 ELSE 1 END) $$;
    CREATE TABLE n AS SELECT i::bigint, clock_timestamp() AS at FROM generate_series(1, 30000) i;
    INSERT INTO tenants SELECT uid('ten', i), 'tenant', NULL, now() FROM generate_series(1, 502) i;
    INSERT INTO tenants SELECT uid('cus', i), 'customer', uid('ten', 1 + i % 500), now() FROM n;
    INSERT INTO api_keys SELECT uid('key', i), ten(i), 'key', 'p', sha256(i::text::bytea), now() FROM n;
    INSERT INTO labels SELECT lpad(translate(to_hex(i), '0189', 'ghij'), 25, 'z') || 'a', now() FROM n;
    SET session_replication_role = replica;
    INSERT INTO domains (id, tenant_id, name, label, state, mx_source, preferred_mode, preferred_max_age, report_uris,
            created_at, nudged_at, withdraw_requested_at)
        SELECT uid('dom', i), ten(i), 'd' || i || '.example', lpad(translate(to_hex(i), '0189', 'ghij'), 25, 'z') || 'a',
            (ARRAY['withdrawing', 'gone', 'pending'])[1 + i % 10], 'listed', 'testing', 60, '[]', now(), now(), now()
        FROM n WHERE i % 10 < 3;
    INSERT INTO domains (id, tenant_id, name, label, state, mx_source, preferred_mode, preferred_max_age, report_uris,
            created_at, nudged_at)
        SELECT uid('dom', i), ten(i), 'd' || i || '.example', lpad(translate(to_hex(i), '0189', 'ghij'), 25, 'z') || 'a',
            'active', 'listed', 'testing', 60, '[]', now(), now()
        FROM n WHERE i % 10 >= 3;
    INSERT INTO policy_versions (id, tenant_id, domain_id, seq, policy_id, policy_text, mode, max_age, reason,
            created_by, created_at, fed_at)
        SELECT uid('pol', i), ten(i), uid('dom', i), 1, 'p' || i,
            E'version: STSv1\r\nmode: ' || (ARRAY['testing', 'enforce'])[1 + i % 2]
                || E'\r\nmx: mx.example.net\r\nmax_age: 60\r\n',
            (ARRAY['testing', 'enforce'])[1 + i % 2], 60, 'registered', 'worker', now(), now() FROM n;
    INSERT INTO acme_orders (id, tenant_id, domain_id, issuer, state, since, sealed_key, created_at, closed_at)
        SELECT uid('ord', i), ten(i), uid('dom', i), 'ca', 'ready', now(), 'k', now(), now() FROM n;
    INSERT INTO certificates SELECT uid('crt', i), ten(i), uid('dom', i), uid('ord', i), '\x3000', 'k', now(),
        now() + interval '90 days', '1', 'ca', now() + interval '60 days', NULL, NULL, now(), true FROM n;
    UPDATE domains d SET version_id = v.id, mode = v.mode, certificate_id = c.id
        FROM policy_versions v, certificates c WHERE v.domain_id = d.id AND c.domain_id = d.id;
    SET session_replication_role = DEFAULT;
    INSERT INTO domain_names SELECT id, tenant_id, name FROM domains;
    ALTER TABLE domain_counts DISABLE TRIGGER domain_counts_guard;
    INSERT INTO domain_counts SELECT tenant_id, count(*), 0, count(*), 0 FROM domains GROUP BY tenant_id;
    ALTER TABLE domain_counts ENABLE TRIGGER domain_counts_guard;
    INSERT INTO usage_days (tenant_id, day, counted_at, domains, mode_none, mode_testing, mode_enforce)
        SELECT uid('ten', t), date '2025-12-31' - d, now(), 1, 0, 1, 0
        FROM generate_series(1, 502) t, generate_series(0, 100) d;
    INSERT INTO tenant_quotas SELECT uid('ten', i), 1000000, NULL, NULL, now() FROM generate_series(1, 502) i;
    INSERT INTO domain_served_days SELECT uid('dom', i), ten(i), '2025-12-31' FROM n;
    INSERT INTO domain_schedule (domain_id, tenant_id, wake_at)
        SELECT uid('dom', i), ten(i), CASE WHEN i % 10 = 3 THEN timestamptz '2025-01-01' ELSE '2030-01-01' END FROM n;
    INSERT INTO domain_conditions SELECT uid('dom', i), ten(i), k, (ARRAY['False', 'True', 'True'])[1 + i % 3], 'r',
        'm', now() FROM n, unnest(ARRAY['Delegated', 'MxReady', 'PolicyLive']) k;
    INSERT INTO reporters SELECT ten(i), uid('dom', i), 'tls-rpt', 'o', false, '2026-01-01', '2026-01-01', 1, now() FROM n;
    INSERT INTO step_failures SELECT uid('dom', i), ten(i), 'probe-mx', 1, now(), 'r', 'm' FROM n;
    INSERT INTO edge_entries (name, kind, revision, changed_at, domain_id, tenant_id, version_id, certificate_id)
        SELECT 'd' || i || '.example', 'host', nextval('edge_revisions'), now(), uid('dom', i), ten(i), uid('pol', i),
            uid('crt', i) FROM n;
    INSERT INTO zone_records (name, type, revision, changed_at, ttl, record_values, domain_id)
        SELECT i || '.sts.example', 'TXT', nextval('zone_revisions'), now(), 60, '["x"]', uid('dom', i) FROM n;
    INSERT INTO zone_hostings (id, zone, position, writer, lease_token, lease_until)
        SELECT 'main', 'sts.example', max(revision) - 5000, 'w', 1, '2020-01-01' FROM zone_records;
    INSERT INTO zone_writes (hosting, name, type, arrived, retry_at)
        SELECT 'main', i || '.sts.example', 'TXT', true, CASE WHEN i % 100 = 0 THEN timestamptz '2020-01-01' END FROM n;
    INSERT INTO served_ledger SELECT uid('pol', i), uid('dom', i), ten(i), now(), 1 FROM n;
    INSERT INTO domain_tags SELECT ten(i), uid('dom', i), tag, 'd' || i || '.example' FROM n,
        unnest(ARRAY['common', CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END, CASE WHEN i % 1000 = 4 THEN 'rare' END]) tag
        WHERE tag IS NOT NULL;
    SET session_replication_role = replica;
    INSERT INTO audit_events SELECT uid('aud', i), ten(i), now(), 'worker', NULL, NULL,
        (ARRAY['domain.create', 'policy.set', 'host.take'])[1 + i % 3], 'dom_' || i % 5000 FROM n;
    INSERT INTO audit_chain SELECT tenant_id, row_number() OVER (PARTITION BY tenant_id ORDER BY id), id, sha256(''),
        sha256('') FROM audit_events;
    INSERT INTO audit_heads SELECT tenant_id, max(seq), sha256('') FROM audit_chain GROUP BY tenant_id;
    INSERT INTO digest_mails SELECT uid('rcp', i), 'daily', date '2025-12-31', ten(i), 'sent', NULL, NULL, 1, now(), NULL
        FROM n;
    SET session_replication_role = DEFAULT;
    INSERT INTO webhooks SELECT uid('whk', i), uid('ten', 1 + i % 500), 'https://a.example/', '', NULL, true, NULL, NULL,
        's', NULL, NULL, now(), now(), NULL FROM n WHERE i <= 3000;
    INSERT INTO webhooks SELECT uid('whk', i), uid('ten', 1 + i % 500), 'https://a.example/', '', NULL, false, NULL, NULL,
        NULL, NULL, NULL, now(), now(), now() FROM n WHERE i BETWEEN 3001 AND 3010;
    INSERT INTO events SELECT uid('evt', 100000000000 + i), uid('ten', 1 + (1 + i % 3000) % 500),
        (ARRAY['domain.created', 'policy.changed'])[1 + i % 2], NULL, now(), '{}' FROM n;
    INSERT INTO webhook_deliveries SELECT uid('dlv', i), uid('ten', 1 + (1 + i % 3000) % 500), uid('whk', 1 + i % 3000),
        uid('evt', 100000000000 + i), (ARRAY['delivered', 'failed', 'pending'])[1 + i % 3],
        CASE WHEN i % 3 = 2 THEN timestamptz '2025-01-01' END, NULL, 1, now(), now(), now(), 200, '', NULL, now()
        FROM n;
    INSERT INTO idempotency_keys SELECT ten(i), 'k' || i, '\x00', 200, '', now() FROM n;
    INSERT INTO operations (id, tenant_id, kind, state, actor, total, created_at, finished_at, not_before)
        SELECT uid('op', i), ten(i), 'batch', CASE WHEN i % 500 = 0 THEN 'queued' ELSE 'done' END, 'operator', 10, now(),
            CASE WHEN i % 500 > 0 THEN now() END, '2020-01-01' FROM n WHERE i <= 5000;
    INSERT INTO operation_lines (operation_id, tenant_id, line, body, failed, result)
        SELECT uid('op', i), ten(i), l, 'x', CASE WHEN i % 500 > 0 THEN l % 2 = 0 END, CASE WHEN i % 500 > 0 THEN '{}'::jsonb END
        FROM n, generate_series(1, 10) l WHERE i <= 5000;
    INSERT INTO mx_days SELECT uid('dom', i), date '2025-12-31' - d, 'mx.example.net', ten(i), now(), now()
        FROM n, generate_series(0, 1) d;
    INSERT INTO mx_proposals SELECT uid('dom', i), ten(i), uid('prp', i),
        E'version: STSv1\r\nmode: testing\r\nmx: mx2.example.net\r\nmax_age: 60\r\n', now(), now() FROM n;
    INSERT INTO rollouts SELECT uid('dom', i), ten(i), '{"steps": [
            {"mode": "testing", "max_age": 60, "days": 14, "sessions": 1, "reporters": 1, "failures_per_thousand": 5, "clean_days": 1},
            {"mode": "enforce", "max_age": 60, "days": 1, "sessions": 1, "reporters": 1, "failures_per_thousand": 5, "clean_days": 1}],
            "fallback": "pause"}', 0, NULL, NULL, 'running', NULL, NULL, nextval('rollout_revisions'), now(), now() FROM n;
    INSERT INTO mx_migrations SELECT uid('dom', i), ten(i), uid('mig', i), '["mx.example.net"]', '["mx2.example.net"]',
        'under-way', uid('pol', i), now(), NULL, NULL, NULL, NULL, nextval('mx_migration_revisions') FROM n;
    INSERT INTO report_days SELECT ten(i), uid('dom', i), 'tls-rpt', dimension, date '2025-12-31', dimension, 'verified', 1,
        1, 1 FROM n, unnest(ARRAY['total', 'organization']) dimension;
    INSERT INTO policy_settings SELECT uid('ten', i), 7, 14, 100, 2, 5, now() FROM generate_series(1, 502) i;
    INSERT INTO checks (id, tenant_id, domain, wanted, created_at, due_at, finished_at, code, message)
        SELECT uid('chk', 1000000000 + i), ten(i), 'example.com', '{"kind": "inspection", "mx_hosts": true}', now(),
            '2020-01-01', CASE WHEN i % 100 > 0 THEN now() END, 'c', 'm' FROM n;
    INSERT INTO probe_paces SELECT '2001:db8::'::inet + i, CASE WHEN i % 10 = 0 THEN timestamptz '2020-01-01'
        ELSE '2030-01-01' END FROM n;
    INSERT INTO mx_host_looks (host, looked_at, forget_at) SELECT 'mx' || i || '.example.net', timestamptz '2026-01-01',
        CASE WHEN i % 10 = 1 THEN timestamptz '2020-01-01' ELSE '2030-01-01' END FROM n;
    INSERT INTO domain_watches SELECT uid('dom', i), ten(i), now(), uid('pol', i), 0, true, NULL, NULL, '{}' FROM n;
    INSERT INTO watch_days SELECT uid('dom', i), date '2025-12-31' - d, ten(i), 1, 0, now() FROM n, generate_series(0, 1) d;
    SELECT make_report_partitions('2026-01-01', '2026-03-01');
    INSERT INTO report_digests SELECT uid('dom', i), sha256(i::text::bytea), uid('arr', i), now() FROM n;
    INSERT INTO failed_validations SELECT 'd' || i || '.example', now() FROM n;
    ANALYZE"#;

/// As `uid` in the load.
async fn uid(fixture: &Fixture, kind: &str, number: u32) -> Uuid {
    fixture.database.psql(&format!("SELECT uid('{kind}', {number})")).await.trim().parse().unwrap()
}

/// How often each table that grows was read from one end to the other.
pub(crate) async fn scans(fixture: &Fixture) -> BTreeMap<String, u64> {
    // A session counts for others once it has ended.
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'mtasts'";
    wait_until(Duration::from_secs(10), "all sessions have ended", async || {
        fixture.database.psql(sessions).await.trim() == "0"
    })
    .await;
    let counters = "SELECT relname, seq_scan FROM pg_stat_user_tables
        WHERE relname NOT IN ('nodes', 'ledger_gaps', 'feed_floors', 'acme_accounts', 'token_buckets', 'seaql_migrations', 'zone_hostings', 'n',
            -- One row.
            'fleet_figures',
            -- The worker notes all of it, tenant by tenant.
            'domain_counts')";
    let lines = fixture.database.psql(counters).await;
    lines
        .lines()
        .map(|line| {
            let (table, scans) = line.split_once('|').unwrap();
            (table.to_owned(), scans.parse().unwrap())
        })
        .collect()
}

/// Rows that were fetched through indexes, over all tables.
pub(crate) async fn fetched(fixture: &Fixture) -> u64 {
    let sum = "SELECT sum(idx_tup_fetch) FROM pg_stat_user_tables";
    fixture.database.psql(sum).await.trim().parse().unwrap()
}

/// A walk along a whole index shows in no count of sequential scans, but in the rows that it fetches.
#[tokio::test]
async fn a_small_tenant_does_not_pay_for_the_large_ones() {
    let fixture = Fixture::new().await;
    fixture.database.psql(LOAD).await;
    let sample = Sample::of(&fixture, 8, 6).await;
    let (scans_before, fetched_before) = (scans(&fixture).await, fetched(&fixture).await);
    let api = fixture.store_of(Role::Api, 1).await;
    reads_of_the_api(&api, &sample).await;
    drop(api);
    assert_eq!(scans(&fixture).await, scans_before);
    let fetched = fetched(&fixture).await - fetched_before;
    assert!(fetched < 10_000, "{fetched} rows for a tenant with 20 domains, over some 150 calls");
}

/// The bound on one page, where every filter matches thousands and all of them together nothing, or the few that there are
/// stand at the far end.
#[tokio::test]
async fn a_page_reads_a_few_thousand_rows_at_most_whatever_is_asked_for() {
    let fixture = Fixture::new().await;
    fixture.database.psql(LOAD).await;
    let tenant = TenantId::from_uuid(uid(&fixture, "ten", 1).await);
    let tag = |tag: &str| tag.parse().unwrap();
    let default = DomainFilter::default;
    let adverse = [
        (DomainFilter { tags: vec![tag("even"), tag("odd")], ..default() }, 0),
        (DomainFilter { tags: vec![tag("even")], mode: Some(Mode::Enforce), ..default() }, 0),
        (DomainFilter { text: Some("a.b".to_owned()), ..default() }, 0),
        (DomainFilter { text: Some("nowhere".to_owned()), ..default() }, 0),
        (DomainFilter { text: Some("29999".to_owned()), ..default() }, 1),
        (DomainFilter { tags: vec![tag("common"), tag("rare")], ..default() }, 20),
        (DomainFilter { tags: vec![tag("common")], name_prefix: Some("d29".to_owned()), ..default() }, 670),
    ];
    for (filter, expected) in adverse {
        for sort in [DomainSort::CreatedDescending, DomainSort::Name] {
            let mut query = DomainQuery { filter: filter.clone(), sort, after: None, limit: 200 };
            let (mut found, mut before) = (0, fetched(&fixture).await);
            loop {
                let api = fixture.store_of(Role::Api, 1).await;
                let tx = api.tenant_tx(tenant).await.unwrap();
                let page = tx.domain_page(&query).await.unwrap();
                tx.commit().await.unwrap();
                drop(api);
                found += page.domains.len();
                // The counters are those of sessions that have ended.
                scans(&fixture).await;
                let now = fetched(&fixture).await;
                assert!(now - before < 15_000, "{} rows for one page of {query:?}", now - before);
                before = now;
                let Some(next) = page.next else { break };
                assert_eq!(next.name.is_some(), sort == DomainSort::Name);
                query.after = Some(next);
            }
            assert_eq!(found, expected, "{filter:?} in order of {}", sort.as_str());
        }
    }
}

/// What the load has under number 4: an active domain of the first, the largest tenant.
struct Sample {
    tenant: TenantId,
    domain: DomainId,
    /// The hash of a key of the tenant with all scopes.
    provider_key: [u8; 32],
    now: Timestamp,
}

impl Sample {
    async fn of(fixture: &Fixture, tenant: u32, domain: u32) -> Self {
        let tenant = TenantId::from_uuid(uid(fixture, "ten", tenant).await);
        let words: Vec<_> = Scopes::ALL.iter().map(Scope::as_str).collect();
        let make = format!(
            "INSERT INTO api_keys (id, tenant_id, name, prefix, hash, created_at, scopes) VALUES
                (gen_random_uuid(), '{}', 'k', 'p', decode(repeat('07', 32), 'hex'), now(), '{{{}}}')",
            tenant.as_uuid(),
            words.join(",")
        );
        fixture.database.psql(&make).await;
        let domain = DomainId::from_uuid(uid(fixture, "dom", domain).await);
        Self { tenant, domain, provider_key: [7; 32], now: fixture.now() }
    }
}

#[tokio::test]
async fn nothing_that_runs_often_reads_a_table_from_end_to_end() {
    let fixture = Fixture::new().await;
    fixture.database.psql(LOAD).await;
    let sample = Sample::of(&fixture, 1, 4).await;
    let before = scans(&fixture).await;
    // One connection each, which prepares each statement once. None is opened before it is used.
    let api = fixture.store_of(Role::Api, 1).await;
    let edge = fixture.store_of(Role::Edge, 1).await;
    let worker = fixture.store_of(Role::Worker, 1).await;
    let intake = fixture.store_of(Role::Intake, 1).await;
    for time in 0..TIMES {
        reads_of_the_api(&api, &sample).await;
        writes_of_the_api(&fixture, &api, &sample, time).await;
        operations_of_the_api(&api, &sample).await;
    }
    api.verify_audit_chain(sample.tenant).await.unwrap();
    drop(api);
    assert_eq!(scans(&fixture).await, before, "the API");
    for _ in 0..TIMES {
        all_of_the_edge(&fixture, &edge, &sample).await;
    }
    drop(edge);
    assert_eq!(scans(&fixture).await, before, "the edge");
    for time in 0..TIMES {
        all_of_the_intake(&intake, &sample, time).await;
    }
    drop(intake);
    assert_eq!(scans(&fixture).await, before, "the intake");
    for _ in 0..TIMES {
        all_of_the_worker(&fixture, &worker, &sample).await;
    }
    drop(worker);
    assert_eq!(scans(&fixture).await, before, "the worker");
}

async fn all_of_the_intake(intake: &Store, sample: &Sample, time: usize) {
    let label = format!("{}zzza", "z".repeat(22)).parse().unwrap();
    intake.recipient(&label, 100, sample.now).await.unwrap();
    // One alone, and as many as come together.
    for count in [1, 64] {
        let new =
            |number| crate::intake::arrival(sample.tenant, sample.domain, &format!("{time} {number}"), sample.now);
        let batch: Vec<_> = (0..count).map(new).collect();
        intake.accept_reports(&batch, 1_000_000, sample.now).await.unwrap();
    }
    intake.ensure_report_partitions(sample.now).await.unwrap();
}

async fn reads_of_the_api(api: &Store, sample: &Sample) {
    let mut hash = [0; 32];
    hash[0] = 1;
    api.authenticate(&hash, None, sample.now).await.unwrap();
    customers(api, sample).await;
    api.tenant(sample.tenant).await.unwrap().unwrap();
    let tx = api.tenant_tx(sample.tenant).await.unwrap();
    let view = tx.domain(sample.domain).await.unwrap().unwrap();
    tx.domain_by_name(&view.name).await.unwrap().unwrap();
    tx.versions(sample.domain, None, 50).await.unwrap();
    let seen = mx_seen(sample.now);
    tx.proof(sample.domain, Some(&seen), sample.now).await.unwrap();
    tx.proposal(sample.domain).await.unwrap();
    tx.rollout(sample.domain).await.unwrap().unwrap();
    tx.migration(sample.domain).await.unwrap().unwrap();
    tx.mx_history(sample.domain, sample.now).await.unwrap();
    tx.watch(sample.domain).await.unwrap().unwrap();
    tx.watch_days(sample.domain, Some(sample.now.date_naive()), 50).await.unwrap();
    tx.held_policies(sample.domain, sample.now).await.unwrap();
    tx.list_api_keys(None, 50).await.unwrap();
    tx.audit_events(None, 50).await.unwrap();
    audit_log(&tx).await;
    events_and_webhooks(&tx, sample).await;
    lists_of_domains(&tx, sample.domain).await;
    operations_and_usage(&tx, sample.now).await;
    tx.commit().await.unwrap();
}

async fn operations_and_usage(tx: &TenantTx, now: Timestamp) {
    tx.granted_quotas().await.unwrap();
    tx.policy_settings().await.unwrap();
    tx.quota_use(now).await.unwrap();
    tx.usage(now.date_naive() - TimeDelta::days(30), now.date_naive()).await.unwrap();
    let operation = tx.list_operations(None, 50).await.unwrap()[0].id;
    tx.list_operations(Some(operation), 50).await.unwrap();
    tx.operation(operation).await.unwrap().unwrap();
    let check = tx.checks(None, 50).await.unwrap()[0].id;
    tx.checks(Some(check), 50).await.unwrap();
    tx.check(check).await.unwrap().unwrap();
    for only_failed in [false, true] {
        tx.operation_results(operation, only_failed, Some(2), 50).await.unwrap();
    }
}

/// Every filter alone, and several together, by id and by name, from the beginning and from a place in the middle.
async fn lists_of_domains(tx: &TenantTx, middle: DomainId) {
    let default = DomainFilter::default;
    let tag = |tag: &str| tag.parse().unwrap();
    let filters = [
        default(),
        DomainFilter { mode: Some(Mode::Enforce), ..default() },
        DomainFilter { mode: Some(Mode::None), ..default() },
        DomainFilter { state: Some(DomainState::Withdrawing), ..default() },
        DomainFilter { state: Some(DomainState::Gone), mode: Some(Mode::Testing), ..default() },
        DomainFilter { conditions: vec![(ConditionKind::MxReady, Status::True)], ..default() },
        DomainFilter { conditions: vec![(ConditionKind::MxReady, Status::Unknown)], ..default() },
        DomainFilter { name_prefix: Some("d1".to_owned()), ..default() },
        DomainFilter { tags: vec![tag("common")], ..default() },
        DomainFilter { tags: vec![tag("common"), tag("rare")], ..default() },
        DomainFilter { tags: vec![tag("even"), tag("odd")], ..default() },
        DomainFilter { text: Some("9.exa".to_owned()), ..default() },
        DomainFilter { text: Some("29999".to_owned()), ..default() },
        DomainFilter { text: Some("nowhere".to_owned()), tags: vec![tag("common")], ..default() },
        DomainFilter {
            conditions: vec![(ConditionKind::Delegated, Status::True), (ConditionKind::MxReady, Status::True)],
            mode: Some(Mode::Testing),
            state: Some(DomainState::Active),
            tags: vec![tag("common")],
            ..default()
        },
    ];
    for filter in filters {
        for sort in [DomainSort::Created, DomainSort::NameDescending] {
            let mut query = DomainQuery { filter: filter.clone(), sort, after: None, limit: 50 };
            tx.domain_page(&query).await.unwrap();
            let name = sort.as_str().ends_with("name").then(|| "d15".to_owned());
            query.after = Some(DomainPosition { id: middle, name });
            tx.domain_page(&query).await.unwrap();
        }
    }
}

async fn customers(api: &Store, sample: &Sample) {
    let mut tx = api.tenant_tx(sample.tenant).await.unwrap();
    let listed = tx.list_customers(sample.tenant, None, 20).await.unwrap().unwrap();
    let customer = listed[10].id;
    assert_eq!(tx.list_customers(sample.tenant, Some(customer), 2).await.unwrap().unwrap()[0], listed[11]);
    tx.customer(customer).await.unwrap().unwrap();
    assert_eq!(tx.list_customers(customer, None, 20).await.unwrap().unwrap(), []);
    tx.commit().await.unwrap();
    api.customer_tx(sample.tenant, customer).await.unwrap().unwrap().commit().await.unwrap();
    // A key whose hash is this one's may act for those beneath its tenant.
    let provider = api.authenticate(&sample.provider_key, Some(customer), sample.now).await.unwrap().unwrap();
    assert_eq!((provider.tenant_id, provider.acts_for), (sample.tenant, Some(customer)));
    let user = api.admit(sample.tenant, Scopes::ALL, Some(customer)).await.unwrap().map(|found| found.acts_for);
    assert_eq!(user, Some(Some(customer)));
}

async fn audit_log(tx: &TenantTx) {
    let (action_prefix, object) = (Some("policy.".to_owned()), Some("dom_7".to_owned()));
    let before = Some(AuditEventId::from_uuid(Uuid::max()));
    for filter in [
        AuditFilter::default(),
        AuditFilter { action_prefix: action_prefix.clone(), ..AuditFilter::default() },
        AuditFilter { object: object.clone(), ..AuditFilter::default() },
        AuditFilter { object, action_prefix, ..AuditFilter::default() },
        AuditFilter { to: Some(Timestamp::UNIX_EPOCH), ..AuditFilter::default() },
    ] {
        tx.audit_log(&filter, None, 50).await.unwrap();
        tx.audit_log(&filter, before, 201).await.unwrap();
    }
}

async fn events_and_webhooks(tx: &TenantTx, sample: &Sample) {
    for event_type in [None, Some(EventType::PolicyChanged)] {
        for domain in [None, Some(sample.domain)] {
            let filter = EventFilter { event_type, domain };
            tx.events(&filter, None, 50).await.unwrap();
            tx.events(&filter, Some(EventId::from_uuid(Uuid::max())), 201).await.unwrap();
        }
    }
    for webhook in tx.list_webhooks().await.unwrap() {
        tx.webhook(webhook.id).await.unwrap().unwrap();
        for state in [None, Some(DeliveryState::Failed), Some(DeliveryState::Delivered)] {
            let found = tx.deliveries(webhook.id, DeliveryFilter { state }, None, 50).await.unwrap();
            if let Some(found) = found.first() {
                tx.delivery(webhook.id, found.id).await.unwrap().unwrap();
            }
        }
    }
}

async fn webhooks_of_the_api(tx: &mut TenantTx, sample: &Sample) {
    let actor = Actor::operator();
    let webhook = tx.list_webhooks().await.unwrap()[0].id;
    tx.update_webhook(webhook, WebhookChange::default(), &actor, sample.now).await.unwrap();
    tx.rotate_webhook_secret(webhook, (vec![1], sample.now), &actor, sample.now).await.unwrap();
    let test = tx.test_webhook(webhook, &actor, sample.now).await.unwrap();
    tx.replay_delivery((webhook, test.id), &actor, sample.now).await.unwrap();
}

/// Of 3,000 webhooks with ten deliveries each, of which a third waits.
async fn webhooks_of_the_worker(worker: &Store, now: Timestamp) {
    let waiting = worker.webhooks_waiting(None, 256, now).await.unwrap();
    assert_eq!(waiting.len(), 256);
    worker.webhooks_waiting(Some(waiting[255].id), 256, now).await.unwrap();
    let rooms: Vec<_> = waiting.iter().filter(|waiting| waiting.is_due).map(|waiting| (waiting.id, 2)).collect();
    let claimed = worker.claim_deliveries(&rooms, 8, now + LEASE, now).await.unwrap();
    assert_eq!(claimed.len(), 8);
    let outcomes = [
        AttemptOutcome::Delivered,
        AttemptOutcome::Retry(now + LEASE),
        AttemptOutcome::Exhausted("three days".to_owned()),
        AttemptOutcome::Gone("gone".to_owned()),
    ];
    for (delivery, outcome) in claimed.iter().zip(outcomes) {
        worker.delivery_tried(delivery, &Attempt::default(), &outcome, now).await.unwrap();
    }
    worker.prune_events(now).await.unwrap();
    worker.prune_mx_history(now).await.unwrap();
    let claimed = worker.claim_checks(4, 2, now + LEASE, now).await.unwrap();
    assert_eq!(claimed.len(), 4);
    for check in &claimed {
        let problem = Some(("c", "m".to_owned()));
        worker.finish_check(check, CheckOutcome { problem, ..CheckOutcome::default() }, now).await.unwrap();
    }
    for host in ["192.0.2.1", "2001:db8::7"] {
        let _ = worker.pace_probe(host.parse().unwrap(), 30, now).await.unwrap();
    }
    worker.prune_checks(now).await.unwrap();
    looks_at_mx_hosts(worker, now).await;
    worker.prune_watch_history(now).await.unwrap();
}

/// A host that is known, one that is new, and one that is given back.
async fn looks_at_mx_hosts(worker: &Store, now: Timestamp) {
    let host = |name: &str| HostName::parse(name).unwrap();
    let until = now + TimeDelta::minutes(1);
    let turn = worker.mx_host_turn(&host("mx5.example.net"), |_| true, until, now).await.unwrap();
    assert!(matches!(turn, MxHostTurn::Known(_)), "{turn:?}");
    for name in ["mx6.example.net", "mx.elsewhere.example"] {
        let turn = worker.mx_host_turn(&host(name), |_| false, until, now).await.unwrap();
        let MxHostTurn::Ours(claim) = turn else { panic!("{turn:?}") };
        worker.finish_mx_host_look(&claim, None, &["192.0.2.1".parse().unwrap()]).await.unwrap();
        let turn = worker.mx_host_turn(&host(name), |_| false, until, now).await.unwrap();
        let MxHostTurn::Ours(claim) = turn else { panic!("{turn:?}") };
        worker.release_mx_host(&claim).await.unwrap();
    }
    assert!(worker.prune_mx_host_looks(now).await.unwrap() <= 2_000);
}

async fn writes_of_the_api(fixture: &Fixture, api: &Store, sample: &Sample, time: usize) {
    let actor = Actor::operator();
    let mut tx = api.tenant_tx(sample.tenant).await.unwrap();
    let key = format!("new {time}");
    tx.begin_idempotent(&key, &[1; 32], sample.now).await.unwrap();
    let max_age = u32::try_from(time).unwrap();
    let new = fixture.version(policy(Mode::Enforce, &["mx.example.net"], max_age), VersionReason::Changed);
    tx.set_policy(sample.domain, new, None, &actor, sample.now).await.unwrap();
    let first = fixture.version(policy(Mode::None, &[], 60), VersionReason::Registered);
    let new = fixture.new_domain(&format!("new{time}.example"), Some(first));
    tx.make_room_for_domain(1).await.unwrap();
    let made = tx.create_domain(new, &actor, sample.now).await.unwrap();
    tx.request_verify(made.id, &actor, sample.now).await.unwrap();
    tx.request_withdrawal(made.id, fixture.none(), &actor, sample.now).await.unwrap();
    webhooks_of_the_api(&mut tx, sample).await;
    let wanted = CheckWanted::Inspection { mx_hosts: true };
    let check = NewCheck { id: CheckId::draw(sample.now, &SystemEntropy), domain: made.name, wanted };
    tx.ask_for_check(&check, 100, &actor, sample.now).await.unwrap();
    tx.finish_idempotent(&key, 200, b"").await.unwrap();
    tx.commit().await.unwrap();
}

async fn all_of_the_edge(fixture: &Fixture, edge: &Store, sample: &Sample) {
    let node = NodeId::draw(sample.now, &SystemEntropy);
    edge.register_node(node, NodeKind::Edge, "an edge", sample.now, LEASE).await.unwrap();
    for after in [0, 15_000, 29_990, 30_000] {
        edge.edge_changes(Revision::new(after), 500).await.unwrap();
        edge.zone_changes(Revision::new(after), 500).await.unwrap();
    }
    let version = mtasts_model::PolicyVersionId::from_uuid(uid(fixture, "pol", 4).await);
    let line = mtasts_model::feed::ServedLine {
        tenant_id: sample.tenant,
        domain_id: sample.domain,
        version_id: version,
        last_served_at: sample.now,
        requests: 3,
    };
    edge.flush_served(&[line], Some(sample.now), node).await.unwrap();
    edge.acknowledge(node, Revision::new(1), sample.now, LEASE).await.unwrap();
}

/// From the request to the last chunk, as far as no domain is changed.
async fn operations_of_the_api(api: &Store, sample: &Sample) {
    let actor = Actor::operator();
    let lines = (1..=3).map(|number| OperationLine { number, body: Some(b"{}".to_vec()) }).collect();
    let id = OperationId::draw(sample.now, &SystemEntropy);
    let new = NewOperation { id, kind: OperationKind::Batch, lines };
    let mut tx = api.tenant_tx(sample.tenant).await.unwrap();
    tx.create_operation(&new, 20, &actor, sample.now).await.unwrap();
    tx.commit().await.unwrap();
    let mut chunk = api.next_chunk(50, sample.now).await.unwrap().unwrap();
    chunk.lock_domains(&[sample.domain], &["d7.example".to_owned()]).await.unwrap();
    let outcome = |number| LineOutcome { number, failed: false, result: serde_json::json!({}) };
    let outcomes = chunk.lines().iter().map(|line| outcome(line.number)).collect();
    chunk.finish(outcomes, sample.now).await.unwrap();
    api.note_failed_chunk(id, sample.now).await.unwrap();
    let mut tx = api.tenant_tx(sample.tenant).await.unwrap();
    tx.cancel_operation(id, &actor, sample.now).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

async fn all_of_the_worker(fixture: &Fixture, worker: &Store, sample: &Sample) {
    worker.next_due_at().await.unwrap();
    let claimed = worker.claim_due("w", 20, LEASE, sample.now, &mtasts_store::Shares::default()).await.unwrap();
    assert_eq!(claimed.len(), 20);
    work(fixture, worker, &claimed[0], sample.now).await;
    worker.zone_read("77.sts.example", RecordType::Txt).await.unwrap().unwrap();
    hostings_of_the_worker(worker, sample.now).await;
    worker.prune_tombstones(TimeDelta::days(1), sample.now).await.unwrap();
    worker.prune_expired(sample.now).await.unwrap();
    worker.prune_operations(sample.now).await.unwrap();
    worker.roll_up_usage(sample.now).await.unwrap();
    worker.prune_usage(sample.now + TimeDelta::days(350)).await.unwrap();
    worker.prune_issued(sample.now).await.unwrap();
    webhooks_of_the_worker(worker, sample.now).await;
}

async fn hostings_of_the_worker(worker: &Store, now: Timestamp) {
    let lease = worker.claim_hosting("main", &zone(), "w", LEASE, now).await.unwrap().unwrap();
    let work = worker.hosting_due(&lease, 100, now).await.unwrap();
    assert_eq!((work.writes.len(), work.more), (100, true));
    let keys: Vec<_> = work
        .writes
        .iter()
        .map(|write| mtasts_store::WriteKey { name: write.name.clone(), record_type: write.record_type })
        .collect();
    worker.hosting_begins(&lease, &keys).await.unwrap();
    let result = mtasts_store::WriteResult::Arrived { reference: None };
    let outcomes: Vec<_> =
        keys.iter().map(|key| mtasts_store::WriteOutcome { key: key.clone(), result: result.clone() }).collect();
    worker.hosting_outcomes(&lease, &outcomes, work.position, now).await.unwrap();
    assert!(worker.hosting_retry_at(&lease).await.unwrap().is_some());
    let names: Vec<_> = keys.into_iter().map(|key| key.name).collect();
    assert_eq!(worker.wanted_at(&lease, &names).await.unwrap().len(), 100);
    assert_eq!(worker.wanted_after(&lease, Some(("5.sts.example", RecordType::Txt)), 500).await.unwrap().len(), 500);
    let other: mtasts_model::ZoneName = "other.example".parse().unwrap();
    assert_eq!(worker.begin_moves(&zone(), |_| Some(other.clone()), 10, now).await.unwrap(), 10);
    worker.hostings().await.unwrap();
    worker.hosting_swept(&lease, serde_json::json!({}), now).await.unwrap();
    worker.hosting_problem(&lease, Some(("R", "m")), now).await.unwrap();
}

/// One host that passes.
fn mx_seen(now: Timestamp) -> MxSeen {
    let host = HostName::parse("mx.example.net").unwrap();
    MxSeen { hosts: vec![MxHostSeen { host, preference: 10, failure: None, looked_at: None }], at: now }
}

async fn work(fixture: &Fixture, worker: &Store, lease: &Lease, now: Timestamp) {
    let facts = worker.facts(lease, now, GRACE, &["main".to_owned()]).await.unwrap();
    worker.domain_settings(lease).await.unwrap();
    let (version, certificate) = (facts.version.unwrap().id, facts.certificate.unwrap().id);
    worker.certificate(lease, certificate).await.unwrap().unwrap();
    let order = mtasts_model::OrderId::draw(now, &SystemEntropy);
    let mut tx = worker.lease_tx(lease, now).await.unwrap();
    tx.serve_host(version, certificate).await.unwrap();
    tx.draft_order(order, "ca", b"k").await.unwrap();
    tx.order_failed(order, "no", true).await.unwrap();
    tx.mx_seen(&mx_seen(now)).await.unwrap();
    tx.put_off_mx(now).await.unwrap();
    tx.version_served(version).await.unwrap();
    tx.records_written(version, &mtasts_model::lifecycle::DomainZones::at(zone())).await.unwrap();
    tx.records_confirmed(version, &[]).await.unwrap();
    tx.step_failed(StepKind::ProbeMx, "R", "m", None).await.unwrap();
    tx.step_succeeded(StepKind::ProbeMx).await.unwrap();
    tx.release_host().await.unwrap();
    tx.take_host().await.unwrap();
    let new = fixture.certificate();
    let order = mtasts_model::OrderId::draw(now, &SystemEntropy);
    tx.draft_order(order, "ca", b"k").await.unwrap();
    let certificate = new.id;
    tx.certificate_issued(order, new).await.unwrap();
    tx.serve_host(version, certificate).await.unwrap();
    let condition = Condition::new(ConditionKind::MxReady, Status::True, "R", "m", now);
    tx.settle(&[condition], Some(now + TimeDelta::days(1)), true).await.unwrap();
    tx.commit().await.unwrap();
}
