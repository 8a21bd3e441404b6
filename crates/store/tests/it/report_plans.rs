//! Nothing that is done for an arrival grows with the number of those that are there.

use std::time::Duration;

use mtasts_model::{ArrivalId, DomainId, ReportGrade, ReportId, ReportKind, SystemEntropy, TenantId};
use mtasts_store::{NewReport, NewTlsResult, ReadArrival, ReplayFilter, Role, Store, Sum};
use mtasts_testkit::wait_until;

use crate::fixture::{Fixture, LEASE};

/// Often enough for Postgres to try the generic plan of a prepared statement, which it does from the sixth time on.
const TIMES: u8 = 8;

/// 30,000 arrivals and reports of 1,000 domains of 100 tenants, all read but for a few.
const LOAD: &str = "
    SELECT make_report_partitions('2026-01-01', '2026-03-01');
    CREATE FUNCTION uid(kind text, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
        AS $$ SELECT (lpad(to_hex(1767225600000 + i), 12, '0') || '7' || left(md5(kind || i), 19))::uuid $$;
    CREATE TABLE n AS SELECT i::bigint FROM generate_series(1, 30000) i;
    INSERT INTO tenants SELECT uid('ten', i), 'tenant', NULL, now() FROM generate_series(0, 99) i;
    SET session_replication_role = replica;
    INSERT INTO domains (id, tenant_id, name, label, state, mx_source, preferred_mode, preferred_max_age, report_uris,
            created_at, nudged_at)
        SELECT uid('dom', i), uid('ten', i % 100), 'd' || i || '.example', lpad(i::text, 25, 'z') || 'a', 'active',
            'listed', 'testing', 60, '[]', now(), now() FROM generate_series(0, 999) i;
    SET session_replication_role = DEFAULT;
    INSERT INTO domain_schedule (domain_id, tenant_id) SELECT uid('dom', i), uid('ten', i % 100) FROM generate_series(0, 999) i;
    INSERT INTO edge_entries (name, kind, revision, changed_at, domain_id, tenant_id)
        SELECT 'd' || i || '.example', 'host', i + 1, now(), uid('dom', i), uid('ten', i % 100) FROM generate_series(0, 999) i;
    INSERT INTO report_arrivals (id, tenant_id, domain_id, kind, via, received_at, peer, octets, digest, raw, state, due_at,
            reason)
        SELECT uid('arr', i), uid('ten', i % 100), uid('dom', i % 1000), 'tls-rpt', 'https', '2026-01-01', '192.0.2.1', 3,
            sha256(i::text::bytea), 'raw', (ARRAY['waiting', 'quarantined', 'read'])[1 + LEAST(i % 100, 2)],
            CASE WHEN i % 100 = 0 THEN timestamptz '2026-01-01' END, CASE WHEN i % 100 = 1 THEN 'not-json' END FROM n;
    INSERT INTO reports (id, tenant_id, domain_id, arrival_id, document, kind, via, received_at, grade, grade_reason,
            organization, report_id, day, good, bad, counts, complete, shared, deviations, body, applied)
        SELECT uid('rpt', i), uid('ten', i % 100), uid('dom', i % 1000), uid('arr', i), 0, 'tls-rpt', 'https', '2026-01-01',
            'anonymous', 'https', 'o', i::text, '2026-01-01', 1, 1, true, true, false, 0, '{}', '[]' FROM n;
    INSERT INTO report_keys SELECT uid('dom', i % 1000), sha256(i::text::bytea), uid('ten', i % 100), uid('rpt', i), 1,
        now() FROM n;
    INSERT INTO tls_results (report_id, seq, tenant_id, domain_id, day, organization, grade, counts, result, sessions,
            policy_type)
        SELECT uid('rpt', i), 0, uid('ten', i % 100), uid('dom', i % 1000), '2026-01-01', 'o', 'anonymous', true, 'x', 1,
            'sts' FROM n;
    INSERT INTO dmarc_results (report_id, seq, tenant_id, domain_id, day, organization, grade, messages, disposition, dkim,
            spf, passed, details)
        SELECT uid('rpt', i), 0, uid('ten', i % 100), uid('dom', i % 1000), '2026-01-01', 'o', 'anonymous', 1, 'none',
            'pass', 'pass', true, '{}' FROM n;
    INSERT INTO report_days SELECT uid('ten', i % 100), uid('dom', i % 1000), 'tls-rpt', 'mx', '2026-01-01', 'mx' || i,
        'anonymous', 1, 1, 1 FROM n;
    INSERT INTO report_months SELECT uid('ten', i % 100), uid('dom', i % 1000), 'tls-rpt', 'mx', '2026-01-01', 'mx' || i, 'anonymous', 1, 1, 1,
        '2026-01-01', '2026-01-01' FROM n;
    INSERT INTO failure_kinds SELECT uid('ten', i % 100), uid('dom', i % 1000), 'x', 'mx' || i, '2026-01-01', '2026-01-01',
        now(), now(), 1, false FROM n;
    INSERT INTO reporters SELECT uid('ten', i % 100), uid('dom', i % 1000), 'tls-rpt', 'o' || i, false, '2026-01-01',
        '2026-01-01', 1, now() FROM n;
    INSERT INTO report_digests SELECT uid('dom', i % 1000), sha256(i::text::bytea), uid('arr', i), now() FROM n;
    ANALYZE";

fn report(fixture: &Fixture, tenant: TenantId, domain: DomainId, number: u8) -> NewReport {
    let sum = |dimension, value: &str| Sum { dimension, value: value.to_owned(), reports: 1, good: 1, bad: 1 };
    let row = NewTlsResult {
        result: "x".to_owned(),
        sessions: 1,
        counts: true,
        receiving_mx: Some(format!("mx{number}")),
        receiving_ip: None,
        sending_ip: None,
        origin: mtasts_store::AddressOrigin::default(),
        reason: None,
        additional: None,
        policy_type: "sts".to_owned(),
        policy_version: None,
        edge: None,
    };
    NewReport {
        id: ReportId::draw(fixture.now(), &SystemEntropy),
        tenant,
        domain,
        document: 0,
        kind: ReportKind::TlsRpt,
        // Each is worth more than the one before, so that it is displaced.
        grade: if number.is_multiple_of(2) { ReportGrade::Anonymous } else { ReportGrade::Verified },
        signer: None,
        grade_reason: "",
        organization: "o".to_owned(),
        contact: None,
        report_id: String::new(),
        begins_at: None,
        ends_at: None,
        day: "2026-01-01".parse().unwrap(),
        good: 1,
        bad: 1,
        counts: true,
        complete: true,
        shared: false,
        deviations: 0,
        body: serde_json::json!({}),
        key: [number / 2; 32],
        signed_key: (!number.is_multiple_of(2)).then_some([100 + number; 32]),
        tls: vec![row],
        dmarc: Vec::new(),
        sums: vec![sum("total", ""), sum("mx", &format!("new{number}")), sum("mx", "mx1")],
    }
}

async fn scans(fixture: &Fixture) -> String {
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'mtasts'";
    wait_until(Duration::from_secs(10), "all sessions have ended", async || {
        fixture.database.psql(sessions).await.trim() == "0"
    })
    .await;
    let counters = "SELECT string_agg(relname || ' ' || seq_scan, E'\\n' ORDER BY relname) FROM pg_stat_user_tables
        WHERE relname ~ '^(report|tls_results|dmarc_results|failure_kinds|domains|edge_entries|domain_schedule|policy_ver|cert)'
            -- Nothing is in these.
            AND relname !~ '2026_0[2-9]|2026_1|2027|policy_ver|cert'";
    fixture.database.psql(counters).await
}

async fn work(fixture: &Fixture, worker: &Store) {
    let uid = async |kind: &str, number: u8| -> uuid::Uuid {
        fixture.database.psql(&format!("SELECT uid('{kind}', {number})")).await.trim().parse().unwrap()
    };
    let (tenant, domain) = (TenantId::from_uuid(uid("ten", 0).await), DomainId::from_uuid(uid("dom", 0).await));
    let read = ArrivalId::from_uuid(uid("arr", 5).await);
    for number in 0..TIMES {
        let now = fixture.now();
        assert_eq!(worker.tenants_with_arrivals(None, 256).await.unwrap(), [tenant]);
        worker.oldest_arrival_due().await.unwrap().unwrap();
        let arrival = worker.claim_arrivals(&[(tenant, 1)], 10, now + LEASE, now).await.unwrap().remove(0);
        worker.begin_reading(&arrival, now + LEASE).await.unwrap().raw.unwrap();
        assert_eq!(worker.held_domains(&["d1.example".to_owned()]).await.unwrap().len(), 1);
        assert_eq!(worker.domain_histories(&[domain]).await.unwrap().len(), 1);
        let other = worker.claim_arrivals(&[(tenant, 1)], 10, now + LEASE, now).await.unwrap().remove(0);
        worker.defer_arrival(&other, now).await.unwrap();
        let reports = vec![report(fixture, tenant, domain, number)];
        let applied =
            worker.apply_arrivals(vec![ReadArrival { arrival, problem: None, reports }], "1", now).await.unwrap();
        assert_eq!(applied[0].new, Some(1));
        assert_eq!(worker.quarantined_arrivals(None, None, 10).await.unwrap().len(), 10);
        assert_eq!(worker.quarantined_arrivals(Some("not-json"), None, 10).await.unwrap().len(), 10);
        worker.arrival(read).await.unwrap().unwrap();
        worker.arrival_raw(read).await.unwrap().unwrap();
        let by = mtasts_store::Actor::operator();
        let replayed = worker.replay_arrivals(&ReplayFilter::All, None, 5, &by, now).await.unwrap();
        assert_eq!(replayed.arrivals, 5);
        // What was replayed waits; it is read, so that the next round finds what this one did.
        let rooms: Vec<_> = worker.tenants_with_arrivals(Some(tenant), 256).await.unwrap();
        let rooms: Vec<_> = rooms.into_iter().map(|tenant| (tenant, 10)).collect();
        let again = worker.claim_arrivals(&rooms, 10, now + LEASE, now).await.unwrap();
        let done = |arrival| ReadArrival { arrival, problem: None, reports: Vec::new() };
        worker.apply_arrivals(again.into_iter().map(done).collect(), "1", now).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_that_is_done_for_an_arrival_reads_a_table_from_end_to_end() {
    let fixture = Fixture::new().await;
    fixture.database.psql(LOAD).await;
    let before = scans(&fixture).await;
    let worker = fixture.store_of(Role::Worker, 1).await;
    work(&fixture, &worker).await;
    drop(worker);
    assert_eq!(scans(&fixture).await, before);
}
