//! Reports as CSV and as lines of JSON.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    report_rows::{Report, Reports},
    service::{Answer, Service, Tenant},
};

async fn one(service: &Service) -> (Tenant<'_>, String, String) {
    let tenant = service.tenant("one").await;
    let (path, domain) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    (tenant, path + "/reports/export", domain)
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// More rows than are read at once.
async fn many(service: &Service, from: u32, number: u32) {
    service
        .database
        .psql(&format!(
            "INSERT INTO tls_results (report_id, seq, tenant_id, domain_id, day, organization, grade, counts, result, sessions,
                policy_type)
            SELECT r.id, n, r.tenant_id, r.domain_id, r.day, 'o', (ARRAY['verified', 'failed'])[1 + n % 2], true, 'x', 1,
                'sts' FROM reports r, generate_series({from}, {from} + {number} - 1) n"
        ))
        .await;
}

#[tokio::test]
async fn an_export_has_every_row_once_in_order_and_says_that_it_is_complete() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let empty = lines(&tenant.get(&path).await);
    assert_eq!(empty, [json!({"end": true, "count": 0, "next_cursor": null})]);
    let reports = Reports::on(&tenant, &domain).await;
    for day in ["2025-12-30", "2025-12-31"] {
        reports.report(Report { day, ..Report::default() }).await;
    }
    many(&service, 0, 1_700).await;
    for path in [path.as_str(), "/v1/reports/export"] {
        let answer = tenant.get(path).await;
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        let rows = lines(&answer);
        let (end, rows) = rows.split_last().unwrap();
        assert_eq!(end, &json!({"end": true, "count": 3_400, "next_cursor": null}));
        let keys: Vec<_> = rows.iter().map(|row| (row["day"].to_string(), row["seq"].as_u64().unwrap())).collect();
        assert!(keys.is_sorted() && keys.iter().collect::<BTreeSet<_>>().len() == 3_400);
        let verified = lines(&tenant.get(&format!("{path}?grade=verified&from=2025-12-31")).await);
        assert_eq!(verified.len(), 850 + 1);
    }
    let csv = tenant.get(&format!("{path}?format=csv")).await;
    let records: Vec<_> = csv.text.split_terminator("\r\n").collect();
    assert!(records[0].starts_with("day,domain_name,domain_id,organization,"), "{}", records[0]);
    assert!(records[1].starts_with("2025-12-30,a.test,dom_"), "{}", records[1]);
    assert_eq!((records.len(), records[3_401].starts_with("#end,3400,,")), (3_402, true));
    let cells = |record: &str| record.matches(',').count();
    assert!(records.iter().all(|record| cells(record) == cells(records[0])));
}

#[tokio::test]
async fn no_cell_of_an_export_is_a_formula() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    let report = reports.report(Report::default()).await;
    reports.tls_result(&report, 0, "2025-12-31", "+1,=2", "@mx.a.test", 3).await;
    let csv = tenant.get(&format!("{path}?format=csv")).await;
    assert!(csv.text.contains(",\"'+1,=2\",3,'@mx.a.test,"), "{}", csv.text);
    assert!(csv.text.contains(",'=cmd(),"), "{}", csv.text);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert!(csv.header("content-disposition").unwrap().starts_with("attachment"));
}

#[tokio::test]
async fn the_sums_by_day_are_exported_dimension_by_dimension() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    reports.sum(["tls-rpt", "total", "2025-12-31", "", "verified"], 9, 1).await;
    reports.sum(["tls-rpt", "failure", "2025-12-31", "certificate-expired\tmx.a.test", "verified"], 0, 1).await;
    reports.sum(["dmarc", "disposition", "2025-12-31", "reject", "anonymous"], 0, 5).await;
    let fill = "INSERT INTO report_days SELECT tenant_id, domain_id, kind, 'mx', day, 'mx' || n, grade, 1, 0, 1
        FROM report_days, generate_series(1, 1000) n WHERE dimension = 'total'";
    service.database.psql(fill).await;
    let rows = lines(&tenant.get(&format!("{path}?what=days")).await);
    assert_eq!(rows.len(), 1 + 1_000 + 1 + 1, "a full page, and what comes behind it");
    assert_eq!(
        rows[0],
        json!({"kind": "tls-rpt", "by": "total", "day": "2025-12-31", "value": "", "grade": "verified",
        "reports": 1, "good": 9, "bad": 1})
    );
    assert_eq!(
        (&rows[1_001]["by"], &rows[1_001]["value"]),
        (&json!("failure"), &json!("certificate-expired\tmx.a.test"))
    );
    let rows = lines(&tenant.get(&format!("{path}?what=days&kind=dmarc&format=ndjson")).await);
    assert_eq!((&rows[0]["by"], &rows[1]["count"]), (&json!("disposition"), &json!(1)));
    for query in ["what=all", "format=xml", "cursor=AAAA", "what=days&cursor=AAAA", "limit=1"] {
        tenant.get(&format!("{path}?{query}")).await.is_problem(400, "invalid-parameters");
    }
}

#[tokio::test]
async fn rows_that_are_added_meanwhile_break_nothing() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    reports.report(Report::default()).await;
    many(&service, 0, 3_000).await;
    let adding = async {
        for round in 0..10 {
            many(&service, 3_000 + round * 100, 100).await;
        }
    };
    let exporting = async {
        let mut exports = Vec::new();
        for _ in 0..5 {
            exports.push(tenant.get(&path).await);
        }
        exports
    };
    let ((), exports) = tokio::join!(adding, exporting);
    for export in exports {
        let rows = lines(&export);
        let (end, rows) = rows.split_last().unwrap();
        assert_eq!(end["count"], rows.len());
        let seqs: BTreeSet<_> = rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs.len(), rows.len(), "each row once");
        assert!((0..3_000).all(|seq| seqs.contains(&seq)), "all that was there before");
    }
}
