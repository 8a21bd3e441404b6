//! No view of reports grows with what is stored: as `plans`, with rows of results in several partitions, half of them of
//! one domain.

use mtasts_model::{ArrivalId, DomainId, ReportGrade, ReportId, ReportKind, TenantId};
use mtasts_store::{
    ArrivalState, DmarcResultFilter, ReportDimension, ReportFilter, ReportOrder, ReportPageQuery, ReportPosition,
    ReportRange, Role, Store, TenantTx, TlsResultFilter,
};
use uuid::Uuid;

use crate::{
    fixture::Fixture,
    plans::{fetched, scans},
};

/// Often enough for Postgres to try the generic plan of a prepared statement.
const TIMES: usize = 8;

/// From this month on for 80 days: 200 domains of one tenant and 200 of others; 30,000 rows of each kind, ten a report.
const LOAD: &str = r"
    CREATE FUNCTION uid(kind text, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
        AS $$ SELECT (lpad(to_hex(i), 12, '0') || left(md5(kind || i), 20))::uuid $$;
    CREATE FUNCTION ten(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
        AS $$ SELECT uid('ten', CASE WHEN i % 4 = 3 THEN 2 + i % 50 ELSE 1 END) $$;
    CREATE FUNCTION dom(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
        AS $$ SELECT uid('dom', CASE WHEN i % 4 IN (0, 1) THEN 1 ELSE 2 + i % 200 END) $$;
    CREATE TABLE n AS SELECT i::bigint, (extract(epoch FROM date_trunc('month', now()) + i * interval '80 days' / 6000)
        * 1000)::bigint AS at FROM generate_series(1, 6000) i;
    SET session_replication_role = replica;
    INSERT INTO tenants SELECT uid('ten', i), 'tenant', NULL, now() FROM generate_series(1, 60) i;
    INSERT INTO domains (id, tenant_id, name, label, state, mx_source, preferred_mode, preferred_max_age, report_uris,
            created_at, nudged_at, zone)
        SELECT uid('dom', i), uid('ten', 1), 'd' || i || '.example', lpad(translate(to_hex(i), '0189', 'ghij'), 25, 'z') || 'a',
            'active', 'listed', 'testing', 60, '[]', now(), now(), 'sts.example' FROM generate_series(1, 30000) i;
    INSERT INTO reports (id, tenant_id, domain_id, arrival_id, document, kind, via, received_at, grade, grade_reason,
            organization, report_id, day, good, bad, counts, complete, shared, deviations, body)
        SELECT uid('rpt', at), ten(i), dom(i), uid('arr', at), 0, CASE WHEN i % 2 = 0 THEN 'tls-rpt' ELSE 'dmarc' END, 'smtp',
            now(), 'verified', 'r', 'o' || i % 10, 'r', to_timestamp(at / 1000)::date, 1, 0, true, true, false, 0, '{}' FROM n;
    INSERT INTO report_arrivals (id, tenant_id, domain_id, kind, via, received_at, peer, octets, digest, state, reason, raw)
        SELECT uid('arr', at), ten(i), dom(i), 'tls-rpt', 'smtp', now(), '192.0.2.1', 3, sha256(''),
            CASE WHEN i % 100 = 0 THEN 'quarantined' ELSE 'read' END, 'r', '\x616263' FROM n;
    INSERT INTO tls_results (report_id, seq, tenant_id, domain_id, day, organization, grade, counts, result, sessions,
            policy_type)
        SELECT uid('rpt', at), s, ten(i), dom(i), to_timestamp(at / 1000)::date, 'o', 'verified', true, 'r' || s, 1, 'sts'
        FROM n, generate_series(0, 9) s WHERE i % 2 = 0;
    INSERT INTO dmarc_results (report_id, seq, tenant_id, domain_id, day, organization, grade, source_ip, messages,
            disposition, dkim, spf, passed, details)
        SELECT uid('rpt', at), s, ten(i), dom(i), to_timestamp(at / 1000)::date, 'o', 'verified', '192.0.2.1', 1, 'none',
            'pass', 'pass', true, '{}' FROM n, generate_series(0, 9) s WHERE i % 2 = 1;
    INSERT INTO report_days
        SELECT uid('ten', t), d, k, dimension, current_date + ago, dimension || v, 'verified', 1, 1, v
        FROM generate_series(1, 20) t, (VALUES ('00000000-0000-0000-0000-000000000000'::uuid), (uid('dom', 1))) ds (d),
            unnest(ARRAY['tls-rpt', 'dmarc']) k,
            unnest(ARRAY['total', 'organization', 'result', 'mx', 'failure', 'edge']) dimension,
            generate_series(0, 149) ago, generate_series(1, 5) v;
    INSERT INTO report_months SELECT tenant_id, domain_id, kind, dimension, date_trunc('month', day)::date, value, grade,
        sum(reports), sum(good), sum(bad), min(day), max(day) FROM report_days GROUP BY 1, 2, 3, 4, 5, 6, 7;
    INSERT INTO failure_kinds SELECT uid('ten', 1), uid('dom', i), 'failure' || v, '', current_date, current_date, now(),
        now(), 1, true FROM generate_series(1, 10000) i, generate_series(1, 5) v;
    ANALYZE";

struct Sample {
    tenant: TenantId,
    /// Has half of all rows.
    domain: DomainId,
    report: ReportId,
    arrival: ArrivalId,
    middle: ReportPosition,
    from: chrono::NaiveDate,
}

async fn sample(fixture: &Fixture) -> Sample {
    fixture.database.psql(LOAD).await;
    let ask = async |sql: &str| fixture.database.psql(sql).await.trim().to_owned();
    let uuid = async |sql: &str| ask(sql).await.parse::<Uuid>().unwrap();
    let report = ReportId::from_uuid(uuid("SELECT uid('rpt', at) FROM n WHERE i = 3000").await);
    let day = ask("SELECT to_timestamp(at / 1000)::date FROM n WHERE i = 3000").await.parse().unwrap();
    Sample {
        tenant: TenantId::from_uuid(uuid("SELECT uid('ten', 1)").await),
        domain: DomainId::from_uuid(uuid("SELECT uid('dom', 1)").await),
        report,
        arrival: ArrivalId::from_uuid(uuid("SELECT uid('arr', at) FROM n WHERE i = 3000").await),
        middle: ReportPosition { day, report, seq: 3 },
        from: ask("SELECT date_trunc('month', now())::date").await.parse().unwrap(),
    }
}

impl Sample {
    fn range(&self, domain: Option<DomainId>, kind: ReportKind) -> ReportRange {
        let to = self.from + chrono::Days::new(29);
        ReportRange { domain, kind, from: self.from, to, grades: vec![ReportGrade::Verified] }
    }

    fn page(&self, domain: Option<DomainId>, after: Option<ReportPosition>, descending: bool) -> ReportPageQuery {
        let to = self.from + chrono::Days::new(90);
        ReportPageQuery { domain, from: self.from, to, after, descending, limit: 50 }
    }
}

#[tokio::test]
async fn no_view_of_reports_reads_a_table_from_end_to_end() {
    let fixture = Fixture::new().await;
    let sample = sample(&fixture).await;
    let before = scans(&fixture).await;
    let api = fixture.store_of(Role::Api, 1).await;
    for _ in 0..TIMES {
        let tx = api.tenant_tx(sample.tenant).await.unwrap();
        for domain in [None, Some(sample.domain)] {
            sums(&tx, &sample, domain).await;
        }
        single(&tx, &sample).await;
        for domain in [None, Some(sample.domain)] {
            pages(&tx, &sample, domain).await;
        }
        tx.commit().await.unwrap();
    }
    drop(api);
    assert_eq!(scans(&fixture).await, before);
}

async fn sums(tx: &TenantTx, sample: &Sample, domain: Option<DomainId>) {
    for kind in [ReportKind::TlsRpt, ReportKind::Dmarc] {
        let range = sample.range(domain, kind);
        assert!(tx.report_days(&range).await.unwrap().len() > 20);
        assert_eq!(tx.report_organizations(&range).await.unwrap(), 5);
        let found = tx.report_breakdown(&range, ReportDimension::Organization, ReportOrder::Bad, 50).await.unwrap();
        assert_eq!((found.number, found.values[0].value.as_str()), (5, "organization5"));
        let rows = tx.report_sum_rows(&range, ReportDimension::Mx, None).await.unwrap();
        let middle = &rows[rows.len() / 2];
        let after = Some((middle.day, middle.value.as_str(), ReportGrade::Verified));
        assert!(tx.report_sum_rows(&range, ReportDimension::Mx, after).await.unwrap().len() < rows.len());
    }
    let range = sample.range(domain, ReportKind::TlsRpt);
    let long = ReportRange { to: range.from + chrono::Days::new(120), ..range.clone() };
    assert_eq!(tx.report_organizations(&long).await.unwrap(), 5);
    let failures = tx.report_failures(&range, 50).await.unwrap();
    assert!(failures.len() == 5 && failures[0].first_seen_at.is_some(), "{failures:?}");
    tx.report_verdicts(&range, 50).await.unwrap();
}

async fn single(tx: &TenantTx, sample: &Sample) {
    assert!(tx.has_domain(sample.domain).await.unwrap());
    tx.domain_names(&[sample.domain]).await.unwrap();
    tx.report(sample.report).await.unwrap().unwrap();
    tx.report_body(sample.report).await.unwrap().unwrap();
    assert_eq!(tx.tls_results_of(sample.report, Some(3), 50).await.unwrap().len(), 6);
    tx.dmarc_results_of(sample.report, None, 50).await.unwrap();
    tx.report_arrival(sample.arrival).await.unwrap().unwrap();
    tx.arrival_raw(sample.arrival).await.unwrap();
    assert_eq!(tx.arrival_piece(sample.arrival, 1, 5).await.unwrap(), Some(b"bc".to_vec()));
    for state in [None, Some(ArrivalState::Read), Some(ArrivalState::Quarantined)] {
        let page = tx.report_arrivals(state, None, 20).await.unwrap();
        assert_eq!(tx.report_arrivals(state, Some(page[9].id), 10).await.unwrap()[0].id, page[10].id);
    }
}

async fn pages(tx: &TenantTx, sample: &Sample, domain: Option<DomainId>) {
    for (after, descending) in [(None, true), (Some(sample.middle), true), (Some(sample.middle), false)] {
        let query = sample.page(domain, after, descending);
        let tls = tx.tls_results(&TlsResultFilter::default(), &query).await.unwrap();
        assert_eq!((tls.rows.len(), tls.next.is_some()), (50, true));
        assert_eq!(tx.dmarc_results(&DmarcResultFilter::default(), &query).await.unwrap().rows.len(), 50);
        assert_eq!(tx.reports(&ReportFilter::default(), &query).await.unwrap().rows.len(), 50);
        let filter = TlsResultFilter { result: Some("r7".to_owned()), ..TlsResultFilter::default() };
        assert_eq!(tx.tls_results(&filter, &query).await.unwrap().rows.len(), 50);
    }
}

/// What one page may fetch, with the look for where the next begins: far less than the 15,000 rows and more that are in
/// question.
const BOUND: u64 = 6_000;

/// Where few among many match, or nothing does.
#[tokio::test]
async fn a_page_of_rows_looks_at_a_thousand_whatever_is_asked_for() {
    let fixture = Fixture::new().await;
    let sample = sample(&fixture).await;
    for domain in [None, Some(sample.domain)] {
        for after in [None, Some(sample.middle)] {
            let query = sample.page(domain, after, true);
            let none = TlsResultFilter { result: Some("none".to_owned()), ..TlsResultFilter::default() };
            let costs =
                cost(&fixture, sample.tenant, async |tx| tx.tls_results(&none, &query).await.unwrap().next).await;
            assert!(costs < BOUND, "{costs} rows of TLS");
            let none = DmarcResultFilter { passed: Some(false), ..DmarcResultFilter::default() };
            let costs =
                cost(&fixture, sample.tenant, async |tx| tx.dmarc_results(&none, &query).await.unwrap().next).await;
            assert!(costs < BOUND, "{costs} rows of DMARC");
            let none = ReportFilter { failures: Some(true), ..ReportFilter::default() };
            let costs = cost(&fixture, sample.tenant, async |tx| tx.reports(&none, &query).await.unwrap().next).await;
            assert!(costs < BOUND, "{costs} reports");
        }
    }
}

/// Rows that were fetched for a page that leads on.
async fn cost(fixture: &Fixture, tenant: TenantId, read: impl AsyncFnOnce(&TenantTx) -> Option<ReportPosition>) -> u64 {
    scans(fixture).await;
    let before = fetched(fixture).await;
    let api: Store = fixture.store_of(Role::Api, 1).await;
    let tx = api.tenant_tx(tenant).await.unwrap();
    assert!(read(&tx).await.is_some(), "it goes on");
    tx.commit().await.unwrap();
    drop(api);
    scans(fixture).await;
    fetched(fixture).await - before
}
