//! What tenants see of reports on their domains.

use serde_json::{Value, json};

use crate::{
    report_rows::{Report, Reports},
    service::{Service, Tenant},
};

async fn one(service: &Service) -> (Tenant<'_>, String, String) {
    let tenant = service.tenant("one").await;
    let (path, domain) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    (tenant, path, domain)
}

fn of(value: &Value, member: &str) -> Vec<Value> {
    value["data"].as_array().unwrap().iter().map(|row| row[member].clone()).collect()
}

#[tokio::test]
async fn without_reports_every_view_is_empty_and_says_so() {
    let service = Service::start().await;
    let (tenant, path, _) = one(&service).await;
    for base in [path + "/reports", "/v1/reports".to_owned()] {
        for kind in ["tls-rpt", "dmarc"] {
            let summary = tenant.get(&format!("{base}/summary?kind={kind}")).await.body;
            assert_eq!((&summary["from"], &summary["to"]), (&json!("2025-12-03"), &json!("2026-01-01")));
            assert_eq!(summary["totals"]["failure_rate"], Value::Null);
            assert_eq!((&summary["days"], &summary["organizations"]), (&json!([]), &json!(0)));
            assert_eq!((&summary["first_day"], &summary["last_day"]), (&Value::Null, &Value::Null));
            for view in ["breakdown", "results"] {
                assert_eq!(tenant.get(&format!("{base}/{view}?kind={kind}")).await.body["data"], json!([]));
            }
        }
        let failures = tenant.get(&format!("{base}/failures")).await.body;
        assert_eq!((&failures["data"], &failures["policy_host"]), (&json!([]), &json!([])));
        assert_eq!(tenant.get(&base).await.body, json!({"data": [], "next_cursor": null}));
    }
    assert_eq!(tenant.get("/v1/report-arrivals").await.body, json!({"data": [], "next_cursor": null}));
}

#[tokio::test]
async fn a_summary_adds_up_days_and_tells_apart_who_proved_to_be_whom() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let other = tenant.domain(json!({"name": "b.test"})).await.1;
    let reports = Reports::on(&tenant, &domain).await;
    reports.sum(["tls-rpt", "total", "2025-12-30", "", "verified"], 90, 10).await;
    reports.sum(["tls-rpt", "total", "2025-12-30", "", "anonymous"], 1, 99).await;
    reports.sum(["tls-rpt", "total", "2025-12-31", "", "verified"], 100, 0).await;
    reports.sum(["tls-rpt", "total", "2025-11-30", "", "verified"], 1_000, 1_000).await;
    reports.sum(["dmarc", "total", "2025-12-31", "", "unsigned"], 5, 5).await;
    for organization in ["A", "B"] {
        reports.sum(["tls-rpt", "organization", "2025-12-30", organization, "verified"], 45, 5).await;
    }
    reports.sum(["tls-rpt", "organization", "2025-12-31", "A", "verified"], 100, 0).await;
    Reports::on(&tenant, &other).await.sum(["tls-rpt", "total", "2025-12-31", "", "failed"], 7, 0).await;

    let summary = tenant.get(&format!("{path}/reports/summary")).await.body;
    assert_eq!(summary["totals"]["good"], 191);
    assert_eq!(summary["totals"]["bad"], 109);
    assert_eq!(summary["totals"]["by_grade"]["verified"], json!({"reports": 2, "good": 190, "bad": 10}));
    assert_eq!(summary["totals"]["by_grade"]["anonymous"], json!({"reports": 1, "good": 1, "bad": 99}));
    assert_eq!(summary["organizations"], 2);
    assert_eq!((&summary["first_day"], &summary["last_day"]), (&json!("2025-12-30"), &json!("2025-12-31")));
    let days = summary["days"].as_array().unwrap();
    assert_eq!(days.len(), 2);
    assert_eq!(
        (&days[0]["day"], &days[0]["bad"], &days[0]["failure_rate"]),
        (&json!("2025-12-30"), &json!(109), &json!(0.545))
    );

    let verified = tenant.get(&format!("{path}/reports/summary?grade=verified,failed")).await.body;
    assert_eq!((&verified["totals"]["good"], &verified["totals"]["bad"]), (&json!(190), &json!(10)));
    assert_eq!(verified["totals"]["failure_rate"], 0.05);
    let earlier = tenant.get(&format!("{path}/reports/summary?from=2025-11-01&to=2025-12-01")).await.body;
    assert_eq!(earlier["totals"]["bad"], 1_000);
    let dmarc = tenant.get(&format!("{path}/reports/summary?kind=dmarc")).await.body;
    assert_eq!((&dmarc["kind"], &dmarc["totals"]["good"]), (&json!("dmarc"), &json!(5)));
    let all = tenant.get("/v1/reports/summary?grade=failed&grade=anonymous").await.body;
    assert_eq!((&all["totals"]["good"], &all["totals"]["bad"]), (&json!(8), &json!(99)));
}

#[tokio::test]
async fn what_anonymous_reports_claim_cannot_break_a_view() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    for (day, grade) in [("2025-12-30", "anonymous"), ("2025-12-31", "anonymous"), ("2025-12-31", "verified")] {
        for dimension in ["total", "organization", "failure"] {
            reports
                .sum(["tls-rpt", dimension, day, "x", grade], i64::MAX.unsigned_abs(), i64::MAX.unsigned_abs())
                .await;
        }
    }
    for view in ["summary", "breakdown", "breakdown?sort=total", "failures"] {
        let answer = tenant.get(&format!("{path}/reports/{view}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_breakdown_shows_the_largest_values_with_their_share() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let version = tenant.get(&format!("{path}/policy")).await.body["id"].as_str().unwrap().to_owned();
    let reports = Reports::on(&tenant, &domain).await;
    for (day, value, grade, good, bad) in [
        ("2025-12-30", "Large", "verified", 600, 0),
        ("2025-12-31", "Large", "anonymous", 300, 0),
        ("2025-12-31", "Failing", "verified", 50, 40),
        ("2025-12-29", "(others)", "verified", 10, 0),
    ] {
        reports.sum(["tls-rpt", "organization", day, value, grade], good, bad).await;
    }
    reports.sum(["tls-rpt", "result", "2025-12-31", "certificate-expired", "verified"], 0, 40).await;
    reports.sum(["tls-rpt", "policy", "2025-12-31", &version, "verified"], 9, 1).await;
    reports.sum(["tls-rpt", "policy", "2025-12-31", "unknown: no-policy-found", "verified"], 9, 0).await;
    reports.sum(["tls-rpt", "domain", "2025-12-31", &domain, "verified"], 1, 0).await;
    reports.sum(["dmarc", "alignment", "2025-12-31", "dkim=pass spf=fail", "verified"], 3, 0).await;
    let get = async |query: &str| tenant.get(&format!("{path}/reports/breakdown?{query}")).await.body;

    let found = get("").await;
    assert_eq!((&found["by"], &found["values"]), (&json!("organization"), &json!(3)));
    assert_eq!(of(&found, "value"), [json!("Failing"), json!("Large"), json!("(others)")]);
    let large = &found["data"][1];
    assert_eq!((&large["good"], &large["share"]), (&json!(900), &json!(0.9)));
    assert_eq!((&large["first_day"], &large["last_day"]), (&json!("2025-12-30"), &json!("2025-12-31")));
    assert_eq!(large["by_grade"]["anonymous"]["good"], 300);
    let total = get("sort=total&limit=1").await;
    assert_eq!((of(&total, "value"), &total["values"]), (vec![json!("Large")], &json!(3)));
    assert_eq!(of(&get("grade=anonymous").await, "good"), [json!(300)]);

    let result = &get("by=result").await["data"][0];
    assert!(result["result"]["meaning"].as_str().unwrap().contains("expired"), "{result}");
    let policy = get("by=policy&sort=total").await;
    assert_eq!(policy["data"][0]["policy"]["seq"], 1);
    assert_eq!(policy["data"][0]["policy"]["mode"], "testing");
    assert_eq!(policy["data"][1]["policy"], Value::Null);
    assert_eq!(of(&get("kind=dmarc&by=alignment").await, "value"), [json!("dkim=pass spf=fail")]);
    let domains = tenant.get("/v1/reports/breakdown?by=domain").await.body;
    assert_eq!(of(&domains, "domain_name"), [json!("a.test")]);
}

#[tokio::test]
async fn top_failures_tell_what_they_mean_since_when_and_whose_fault_they_are() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    reports.sum(["tls-rpt", "failure", "2025-12-31", "certificate-expired\tmx.a.test", "verified"], 0, 40).await;
    reports.sum(["tls-rpt", "failure", "2025-12-31", "sts-policy-fetch-error\t", "anonymous"], 0, 4).await;
    reports
        .sum(
            ["tls-rpt", "edge", "2025-12-31", "sts-policy-fetch-error\tnot-ours\tserved-all-the-time", "anonymous"],
            0,
            3,
        )
        .await;
    reports
        .sum(["tls-rpt", "edge", "2025-12-31", "sts-policy-fetch-error\tours\tnothing-served-then", "anonymous"], 0, 1)
        .await;
    reports.failure_kind("certificate-expired", "mx.a.test", "2025-12-01", "2025-12-02").await;
    reports.failure_kind("sts-policy-fetch-error", "", "2025-12-31", "2025-12-31T00:00:00Z").await;
    for base in [path + "/reports", "/v1/reports".to_owned()] {
        let found = tenant.get(&format!("{base}/failures")).await.body;
        let first = &found["data"][0];
        assert_eq!((&first["result"], &first["receiving_mx"]), (&json!("certificate-expired"), &json!("mx.a.test")));
        assert_eq!(
            (&first["new"], &first["first_day"], &first["bad"]),
            (&json!(false), &json!("2025-12-01"), &json!(40))
        );
        assert!(first["advice"].as_str().unwrap().contains("Renew"), "{first}");
        let second = &found["data"][1];
        assert_eq!((&second["receiving_mx"], &second["new"]), (&Value::Null, &json!(true)));
        let hosts = found["policy_host"].as_array().unwrap();
        assert_eq!((&hosts[0]["verdict"], &hosts[0]["bad"]), (&json!("not-ours"), &json!(3)));
        assert_eq!((&hosts[1]["verdict"], &hosts[1]["reason"]), (&json!("ours"), &json!("nothing-served-then")));
        let anonymous = tenant.get(&format!("{base}/failures?grade=verified")).await.body;
        assert_eq!((anonymous["data"].as_array().unwrap().len(), &anonymous["policy_host"]), (1, &json!([])));
    }
    service.clock.advance(chrono::TimeDelta::days(1));
    let later = tenant.get("/v1/reports/failures?from=2025-12-01").await.body;
    assert_eq!(later["data"][1]["new"], false, "what was new two days ago is not new");
}

#[tokio::test]
async fn reports_are_listed_by_day_with_filters_and_cursors() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    let mut ids = Vec::new();
    for (day, organization, grade, bad) in [
        ("2025-12-30", "A", "verified", 0),
        ("2025-12-31", "B", "anonymous", 3),
        ("2025-12-29", "A", "verified", 1),
        ("2025-12-31", "B", "verified", 0),
    ] {
        ids.push(reports.report(Report { organization, grade, day, bad, ..Report::default() }).await);
    }
    let dmarc = reports.report(Report { kind: "dmarc", ..Report::default() }).await;
    let expected = [&dmarc, &ids[3], &ids[1], &ids[0], &ids[2]].map(|id| json!(id));
    for base in [path.clone() + "/reports", "/v1/reports".to_owned()] {
        assert_eq!(of(&tenant.get(&base).await.body, "id"), expected);
        let (mut walked, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = tenant.get(&format!("{base}?limit=2{cursor}")).await.body;
            walked.extend(of(&page, "id"));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(walked, expected);
        for (query, found) in [
            ("kind=dmarc", vec![&dmarc]),
            ("organization=A", vec![&ids[0], &ids[2]]),
            ("grade=anonymous", vec![&ids[1]]),
            ("failures=true", vec![&ids[1], &ids[2]]),
            ("failures=false&kind=tls-rpt", vec![&ids[3], &ids[0]]),
            ("to=2025-12-30", vec![&ids[0], &ids[2]]),
            ("from=2025-12-30&to=2025-12-30", vec![&ids[0]]),
            ("organization=A&failures=true&grade=verified", vec![&ids[2]]),
        ] {
            let found: Vec<_> = found.into_iter().map(|id| json!(id)).collect();
            assert_eq!(of(&tenant.get(&format!("{base}?{query}")).await.body, "id"), found, "{query}");
        }
    }
}

#[tokio::test]
async fn a_filter_that_few_match_gives_short_pages_that_lead_on() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    let report = reports.report(Report::default()).await;
    for (number, result) in [(0, "a"), (1_500, "b")] {
        service
            .database
            .psql(&format!(
                "INSERT INTO tls_results (report_id, seq, tenant_id, domain_id, day, organization, grade, counts, result,
                    sessions, policy_type)
                SELECT r.id, n, r.tenant_id, r.domain_id, r.day, 'o', 'verified', true, '{result}', 1, 'sts'
                FROM reports r, generate_series({number}, {number} + 1499) n"
            ))
            .await;
    }
    // The rows are walked from the last on: 1,500 of the other kind come first.
    let (mut pages, mut found, mut cursor) = (0, 0, String::new());
    loop {
        let page = tenant.get(&format!("{path}/reports/results?result=a&limit=100{cursor}")).await.body;
        pages += 1;
        found += page["data"].as_array().unwrap().len();
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((pages, found), (16, 1_500), "an empty page, and fifteen that are full");
    let rows = tenant.get(&format!("/v1/reports/{report}/results?limit=100")).await.body;
    assert_eq!(rows["data"][99]["seq"], 99);
    let next = rows["next_cursor"].as_str().unwrap();
    let rows = tenant.get(&format!("/v1/reports/{report}/results?cursor={next}")).await.body;
    assert_eq!(rows["data"][0]["seq"], 100);
}

#[tokio::test]
async fn rows_are_found_by_what_they_say() {
    let service = Service::start().await;
    let (tenant, path, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    let tls = reports.report(Report { bad: 5, ..Report::default() }).await;
    reports.tls_result(&tls, 0, "2025-12-31", "certificate-expired", "mx.a.test", 3).await;
    reports.tls_result(&tls, 1, "2025-12-31", "starttls-not-supported", "mx2.a.test", 2).await;
    let dmarc = reports.report(Report { kind: "dmarc", ..Report::default() }).await;
    reports.dmarc_result(&dmarc, 0, "2025-12-31", "2001:db8::7", true).await;
    reports.dmarc_result(&dmarc, 1, "2025-12-31", "192.0.2.7", false).await;
    for base in [path + "/reports", "/v1/reports".to_owned()] {
        for (query, seqs) in [
            ("", vec![1, 0]),
            ("result=certificate-expired", vec![0]),
            ("mx=mx2.a.test", vec![1]),
            ("sending_ip=198.51.100.7", vec![1, 0]),
            ("sending_ip=198.51.100.8", vec![]),
            ("organization=Sender&grade=verified", vec![1, 0]),
            ("grade=failed", vec![]),
            ("to=2025-12-30", vec![]),
            ("kind=dmarc", vec![1, 0]),
            ("kind=dmarc&source_ip=2001:DB8:0::7", vec![0]),
            ("kind=dmarc&disposition=reject", vec![1]),
            ("kind=dmarc&passed=true", vec![0]),
        ] {
            let answer = tenant.get(&format!("{base}/results?{query}")).await;
            assert_eq!(of(&answer.body, "seq"), seqs, "{query}: {}", answer.text);
        }
    }
    let row = &tenant.get("/v1/reports/results?result=certificate-expired").await.body["data"][0];
    assert_eq!(
        (&row["domain_name"], &row["sending_ip"], &row["sessions"]),
        (&json!("a.test"), &json!("198.51.100.7"), &json!(3))
    );
    let row = &tenant.get(&format!("/v1/reports/{dmarc}/results")).await.body["data"][0];
    assert_eq!((&row["source_ip"], &row["passed"]), (&json!("2001:db8::7"), &json!(true)));
}

#[tokio::test]
async fn a_report_is_read_whole_with_its_octets_and_where_it_came_from() {
    let service = Service::start().await;
    let (tenant, _, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    let raw: Vec<u8> = (0..1_300_000_u32).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
    let arrival = reports.arrival("read", Some(&raw[..1_300]), 1).await;
    // Longer than a statement may be: made there.
    let long = "UPDATE report_arrivals SET raw = convert_to(repeat('abcdefghijklmnopqrstuvwxyz', 50000), 'UTF8')";
    service.database.psql(long).await;
    let report = reports.report_in(&arrival, Report { body: r#"{"policies": [1]}"#, ..Report::default() }).await;
    let read = tenant.get(&format!("/v1/reports/{report}")).await;
    assert_eq!(read.status, 200, "{}", read.text);
    assert_eq!((&read.body["body"], &read.body["has_raw"]), (&json!({"policies": [1]}), &json!(true)));
    assert_eq!((&read.body["origin"]["peer"], &read.body["grade"]), (&json!("192.0.2.1"), &json!("verified")));
    assert!(read.body["grade_explanation"].as_str().unwrap().contains("DKIM"), "{}", read.text);
    for path in [format!("/v1/reports/{report}/raw"), format!("/v1/report-arrivals/{arrival}/raw")] {
        let octets = tenant.get(&path).await;
        assert_eq!((octets.status, octets.text.as_bytes() == raw), (200, true));
        assert_eq!(octets.header("content-length"), Some("1300000"));
        assert_eq!(octets.header("x-content-type-options"), Some("nosniff"));
        assert!(octets.header("content-disposition").unwrap().starts_with("attachment; filename="));
        assert_eq!(tenant.call("HEAD", &path).send().await.text, "");
    }
    service.database.psql("UPDATE report_arrivals SET raw = NULL").await;
    let answer = tenant.get(&format!("/v1/reports/{report}/raw")).await;
    answer.is_problem(404, "not-found");
    assert!(answer.text.contains("not kept any more"), "{}", answer.text);
    assert_eq!(tenant.get(&format!("/v1/reports/{report}")).await.body["has_raw"], false);
}

#[tokio::test]
async fn octets_that_speak_of_others_too_are_shown_to_nobody() {
    let service = Service::start().await;
    let (tenant, _, domain) = one(&service).await;
    let other = service.tenant("other").await;
    let (_, others) = other.domain(json!({"name": "b.test"})).await;
    let (mine, theirs) = (Reports::on(&tenant, &domain).await, Reports::on(&other, &others).await);
    // One document on both domains.
    let both = mine.arrival("read", Some(b"of both"), 2).await;
    let own = mine.report_in(&both, Report { shared: true, ..Report::default() }).await;
    let split = theirs.report_in(&both, Report { shared: true, ..Report::default() }).await;
    tenant.get(&format!("/v1/reports/{own}/raw")).await.is_problem(409, "raw-withheld");
    other.get(&format!("/v1/reports/{split}/raw")).await.is_problem(409, "raw-withheld");
    tenant.get(&format!("/v1/report-arrivals/{both}/raw")).await.is_problem(409, "raw-withheld");
    other.get(&format!("/v1/report-arrivals/{both}/raw")).await.is_problem(404, "not-found");
    assert_eq!(other.get(&format!("/v1/reports/{split}")).await.body["origin"], Value::Null);
    // Two documents, the other of which is not even seen.
    let two = mine.arrival("read", Some(b"two documents"), 2).await;
    let first = mine.report_in(&two, Report::default()).await;
    theirs.report_in(&two, Report { shared: true, ..Report::default() }).await;
    tenant.get(&format!("/v1/reports/{first}/raw")).await.is_problem(409, "raw-withheld");
    tenant.get(&format!("/v1/report-arrivals/{two}/raw")).await.is_problem(409, "raw-withheld");
    // Nothing but somebody else's.
    let foreign = mine.arrival("read", Some(b"of another"), 1).await;
    theirs.report_in(&foreign, Report::default()).await;
    tenant.get(&format!("/v1/report-arrivals/{foreign}/raw")).await.is_problem(409, "raw-withheld");
    let waiting = mine.arrival("waiting", Some(b"who knows"), 0).await;
    tenant.get(&format!("/v1/report-arrivals/{waiting}/raw")).await.is_problem(409, "raw-withheld");
}

#[tokio::test]
async fn what_could_not_be_read_is_listed_with_the_reason_and_what_to_do() {
    let service = Service::start().await;
    let (tenant, _, domain) = one(&service).await;
    let reports = Reports::on(&tenant, &domain).await;
    let read = reports.arrival("read", Some(b"{}"), 0).await;
    let quarantined = reports.arrival("quarantined", Some(b"<nonsense"), 0).await;
    let waiting = reports.arrival("waiting", Some(b"{}"), 0).await;
    let all = tenant.get("/v1/report-arrivals?limit=2").await.body;
    assert_eq!(of(&all, "id"), [json!(waiting), json!(quarantined)]);
    let rest = tenant.get(&format!("/v1/report-arrivals?cursor={}", all["next_cursor"].as_str().unwrap())).await.body;
    assert_eq!((of(&rest, "id"), &rest["next_cursor"]), (vec![json!(read)], &Value::Null));
    for (state, id) in [("read", &read), ("quarantined", &quarantined), ("waiting", &waiting)] {
        assert_eq!(of(&tenant.get(&format!("/v1/report-arrivals?state={state}")).await.body, "id"), [json!(id)]);
    }
    let shown = tenant.get(&format!("/v1/report-arrivals/{quarantined}")).await.body;
    assert_eq!(
        (&shown["problem"]["reason"], &shown["origin"]["client_name"]),
        (&json!("not-json"), &json!("mx.sender.test"))
    );
    assert!(shown["problem"]["advice"].as_str().unwrap().len() > 20);
    assert_eq!(tenant.get(&format!("/v1/report-arrivals/{quarantined}/raw")).await.text, "<nonsense");
    assert_eq!(tenant.get(&format!("/v1/report-arrivals/{read}")).await.body["problem"], Value::Null);
}

#[tokio::test]
async fn a_query_that_makes_no_sense_names_its_parameter() {
    let service = Service::start().await;
    let (tenant, path, _) = one(&service).await;
    for (view, query, parameter) in [
        ("summary", "kind=tls", "kind"),
        ("summary", "from=2026-01-02", "from"),
        ("summary", "from=2024-11-27", "from"),
        ("summary", "to=2026-02-30", "to"),
        ("summary", "grade=good", "grade"),
        ("summary", "grade=verified,", "grade"),
        ("summary", "limit=1", "limit"),
        ("breakdown", "by=colour", "by"),
        ("breakdown", "by=total", "by"),
        ("breakdown", "by=failure", "by"),
        ("breakdown", "by=source_ip", "by"),
        ("breakdown", "kind=dmarc&by=result", "by"),
        ("breakdown", "by=domain", "by"),
        ("breakdown", "sort=good", "sort"),
        ("breakdown", "limit=201", "limit"),
        ("failures", "kind=dmarc", "kind"),
        ("failures", "limit=0", "limit"),
        ("results", "passed=true", "passed"),
        ("results", "kind=dmarc&mx=a", "mx"),
        ("results", "sending_ip=example", "sending_ip"),
        ("results", "kind=dmarc&source_ip=1.2.3", "source_ip"),
        ("results", "result=", "result"),
        ("results", "mx=a%00", "mx"),
        ("results", "cursor=MjAyNi0wMS0wMQ", "cursor"),
    ] {
        let answer = tenant.get(&format!("{path}/reports/{view}?{query}")).await;
        answer.is_problem(400, "invalid-parameters");
        assert_eq!(answer.faults()[0].0, parameter, "{view} {query}: {}", answer.text);
    }
    for query in ["organization=", "failures=yes", "grade=none", "kind=x"] {
        tenant.get(&format!("/v1/reports?{query}")).await.is_problem(400, "invalid-parameters");
    }
    tenant.get("/v1/report-arrivals?state=lost").await.is_problem(400, "invalid-parameters");
    assert_eq!(tenant.get("/v1/reports/breakdown?by=domain").await.status, 200, "over all domains it is possible");
}

#[tokio::test]
async fn reports_need_their_own_scope() {
    let service = Service::start().await;
    let (tenant, path, _) = one(&service).await;
    let narrow = tenant.send("POST", "/v1/api-keys", json!({"name": "n", "scopes": ["domains:read"]})).await.body;
    let call = service.call("GET", &format!("{path}/reports/summary")).token(narrow["key"].as_str().unwrap());
    call.send().await.is_problem(403, "scope-missing");
}

#[tokio::test]
async fn a_domain_shows_where_its_reports_come_in() {
    let service = Service::start_with(
        |config| {
            config.report_host = Some("reports.example.net".to_owned());
            config.report_uris = vec!["mailto:tlsrpt-{label}@reports.example.net".to_owned()];
        },
        |url| url,
    )
    .await;
    let tenant = service.tenant("one").await;
    let body = json!({"name": "a.test", "tls_rpt": {"rua": ["mailto:own@a.test"]}});
    let (path, _) = tenant.domain(body).await;
    let shown = tenant.get(&path).await.body;
    let label = shown["delegation"]["records"][0]["target"].as_str().unwrap().split('.').next().unwrap();
    let expected = json!([format!("mailto:tlsrpt-{label}@reports.example.net"), "mailto:own@a.test"]);
    assert_eq!(shown["reports"]["tls_rpt"], expected);
    assert_eq!(shown["reports"]["dmarc_address"], format!("dmarc-{label}@reports.example.net"));
    let hint = shown["reports"]["dmarc_record_hint"].as_str().unwrap();
    assert!(hint.contains("_dmarc.a.test") && hint.contains(&format!("rua=mailto:dmarc-{label}@")), "{hint}");
    let without = Service::start().await;
    let tenant = without.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test"})).await;
    assert_eq!(tenant.get(&path).await.body["reports"], Value::Null);
}
