//! Arrivals, what is put in of them, and forgetting it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, TimeDelta};
use mtasts_model::{ArrivalId, DomainId, ReportGrade, ReportId, ReportKind, SystemEntropy, TenantId, Timestamp};
use mtasts_store::{
    Actor, DueArrival, NewReport, NewTlsResult, ReadArrival, ReplayFilter, ReportDimension, ReportOrder, ReportRange,
    ReportRetention, Role, Store, StoreError, Sum, ValueSums,
};
use proptest::prelude::*;

use crate::fixture::{Fixture, LEASE, is_fenced};

const DAY: &str = "2026-01-01";

async fn fixture() -> (Fixture, Store, Store) {
    let fixture = Fixture::new().await;
    fixture.database.psql("SELECT make_report_partitions('2026-01-01', '2026-03-01')").await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    (fixture, api, worker)
}

/// As the intake puts it in.
async fn arrive(fixture: &Fixture, tenant: TenantId, domain: DomainId) -> ArrivalId {
    let id = ArrivalId::draw(fixture.now(), &SystemEntropy);
    let sql = format!(
        "INSERT INTO report_arrivals (id, tenant_id, domain_id, kind, via, received_at, peer, octets, digest, raw, state,
            due_at)
         VALUES ('{}', '{}', '{}', 'tls-rpt', 'https', '{now}', '192.0.2.1', 3, sha256('{}'), 'raw', 'waiting', '{now}')",
        id.as_uuid(),
        tenant.as_uuid(),
        domain.as_uuid(),
        id.as_uuid(),
        now = fixture.now().to_rfc3339(),
    );
    fixture.database.psql(&sql).await;
    id
}

async fn claim(fixture: &Fixture, worker: &Store, tenant: TenantId) -> Vec<DueArrival> {
    let now = fixture.now();
    worker.claim_arrivals(&[(tenant, 1_000)], 1_000, now + LEASE, now).await.unwrap()
}

fn report(fixture: &Fixture, tenant: TenantId, domain: DomainId, id: u8) -> NewReport {
    let sum = |dimension, value: &str, good, bad| Sum { dimension, value: value.to_owned(), reports: 1, good, bad };
    NewReport {
        id: ReportId::draw(fixture.now(), &SystemEntropy),
        tenant,
        domain,
        document: 0,
        kind: ReportKind::TlsRpt,
        grade: ReportGrade::Anonymous,
        signer: None,
        grade_reason: "https",
        organization: "Sender".to_owned(),
        contact: None,
        report_id: id.to_string(),
        begins_at: None,
        ends_at: None,
        day: DAY.parse().unwrap(),
        good: 10,
        bad: 1,
        counts: true,
        complete: true,
        shared: false,
        deviations: 0,
        body: serde_json::json!({}),
        key: [id; 32],
        signed_key: None,
        tls: vec![NewTlsResult {
            result: "validation-failure".to_owned(),
            sessions: 1,
            counts: true,
            receiving_mx: Some("mx".to_owned()),
            receiving_ip: None,
            sending_ip: None,
            origin: mtasts_store::AddressOrigin::default(),
            reason: None,
            additional: None,
            policy_type: "sts".to_owned(),
            policy_version: None,
            edge: None,
        }],
        dmarc: Vec::new(),
        sums: vec![sum("total", "", 10, 1), sum("result", "validation-failure", 0, 1)],
    }
}

async fn apply(fixture: &Fixture, worker: &Store, arrival: DueArrival, reports: Vec<NewReport>) -> (Option<u32>, u32) {
    let read = ReadArrival { arrival, problem: None, reports };
    let applied = worker.apply_arrivals(vec![read], "1", fixture.now()).await.unwrap()[0];
    (applied.new, applied.repeated)
}

/// Days whose sums are not in those of their month, and the other way round.
const NOT_ALIKE: &str = "
    SELECT count(*) FROM (SELECT tenant_id, domain_id, kind, dimension, date_trunc('month', day)::date AS month, value, grade,
            sum(reports) AS reports, sum(good) AS good, sum(bad) AS bad FROM report_days
        GROUP BY 1, 2, 3, 4, 5, 6, 7) d
    FULL JOIN report_months m USING (tenant_id, domain_id, kind, dimension, month, value, grade)
    WHERE (d.reports, d.good, d.bad) IS DISTINCT FROM (m.reports::numeric, m.good::numeric, m.bad::numeric)";

async fn days(fixture: &Fixture, tenant: TenantId) -> Vec<String> {
    assert_eq!(fixture.database.psql(NOT_ALIKE).await.trim(), "0", "the months say the same");
    let sql = format!(
        "SELECT concat_ws(' ', CASE WHEN domain_id = '00000000-0000-0000-0000-000000000000' THEN 'all' ELSE domain_id::text END,
            dimension, value, grade, reports, good, bad)
         FROM report_days WHERE tenant_id = '{}' ORDER BY 1",
        tenant.as_uuid()
    );
    fixture.database.psql(&sql).await.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn each_tenant_has_its_turn_and_an_arrival_is_claimed_by_one_worker() {
    let (fixture, api, worker) = fixture().await;
    let (flooded, quiet) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let (noisy, single) =
        (fixture.domain(&api, flooded, "a.example").await.id, fixture.domain(&api, quiet, "b.example").await.id);
    for _ in 0..20 {
        arrive(&fixture, flooded, noisy).await;
    }
    arrive(&fixture, quiet, single).await;
    let mut waiting = worker.tenants_with_arrivals(None, 10).await.unwrap();
    waiting.sort();
    let mut both = vec![flooded, quiet];
    both.sort();
    assert_eq!(waiting, both);
    assert_eq!(worker.tenants_with_arrivals(Some(both[0]), 10).await.unwrap(), [both[1]]);
    let now = fixture.now();
    let rooms: Vec<_> = both.iter().map(|tenant| (*tenant, 3)).collect();
    let claimed = worker.claim_arrivals(&rooms, 100, now + LEASE, now).await.unwrap();
    assert_eq!(claimed.iter().filter(|arrival| arrival.tenant == flooded).count(), 3);
    assert_eq!(claimed.iter().filter(|arrival| arrival.tenant == quiet).count(), 1);
    assert!(claim(&fixture, &worker, quiet).await.is_empty());
    fixture.clock.advance(LEASE);
    let again = claim(&fixture, &worker, quiet).await.remove(0);
    let before = claimed.iter().find(|arrival| arrival.tenant == quiet).unwrap();
    assert_eq!((again.id, again.attempts), (before.id, 0));
    assert!(again.token > before.token);

    // Whoever was too late neither reads nor puts in anything.
    let until = fixture.now() + LEASE;
    assert!(is_fenced(&worker.begin_reading(before, until).await));
    assert!(is_fenced(&worker.defer_arrival(before, until).await));
    assert_eq!(apply(&fixture, &worker, before.clone(), vec![report(&fixture, quiet, single, 1)]).await, (None, 0));
    assert!(days(&fixture, quiet).await.is_empty());
    let raw = worker.begin_reading(&again, until).await.unwrap();
    assert_eq!((raw.raw.as_deref(), raw.attempts), (Some(&b"raw"[..]), 1));
    worker.defer_arrival(&again, until).await.unwrap();
    fixture.clock.advance(LEASE);
    assert_eq!(claim(&fixture, &worker, quiet).await[0].attempts, 0, "nothing is held against it");
}

#[tokio::test]
async fn beyond_the_limit_values_count_together_and_are_taken_back_exactly() {
    let (fixture, api, worker) = fixture().await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "a.example").await.id;
    let with = |id: u8, from: u64, to: u64| {
        let mut report = report(&fixture, tenant, domain, id);
        let sum = |number: u64| Sum { dimension: "mx", value: format!("mx{number}"), reports: 1, good: 0, bad: number };
        report.sums = (from..to).map(sum).collect();
        report.sums.push(Sum { dimension: "total", value: String::new(), reports: 1, good: 0, bad: 1 });
        report
    };
    let count = "SELECT concat_ws(' ', count(*), sum(bad), max(bad) FILTER (WHERE value = '(others)')) FROM report_days
        WHERE dimension = 'mx' AND domain_id <> '00000000-0000-0000-0000-000000000000'";
    for (id, from, to) in [(1, 0, 150), (2, 100, 300)] {
        arrive(&fixture, tenant, domain).await;
        let arrival = claim(&fixture, &worker, tenant).await.remove(0);
        assert_eq!(apply(&fixture, &worker, arrival, vec![with(id, from, to)]).await, (Some(1), 0));
    }
    let sum = |from: u64, to: u64| (from..to).sum::<u64>();
    let (total, rest) = (sum(0, 150) + sum(100, 300), 100);
    let line = fixture.database.psql(count).await;
    let numbers: Vec<u64> = line.trim().split(' ').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers[..2], [201, total], "200 and the others: {rest} have no room");
    // The better copy of the second takes all of it back, the others as well.
    let mut better = with(2, 100, 101);
    better.grade = ReportGrade::Verified;
    better.signed_key = Some([9; 32]);
    arrive(&fixture, tenant, domain).await;
    let arrival = claim(&fixture, &worker, tenant).await.remove(0);
    assert_eq!(apply(&fixture, &worker, arrival, vec![better]).await, (Some(1), 0));
    let line = fixture.database.psql(count).await;
    assert_eq!(line.trim(), format!("{} {}", 151, sum(0, 150) + 100));
    assert_eq!(fixture.database.psql(NOT_ALIKE).await.trim(), "0", "the months say the same");
}

#[tokio::test]
async fn what_postgres_would_choke_on_is_put_in_all_the_same() {
    let (fixture, api, worker) = fixture().await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "a.example").await.id;
    let mut odd = report(&fixture, tenant, domain, 1);
    odd.organization = format!("a\0b{}", "x".repeat(1_000));
    odd.body = serde_json::json!({"a\0": "\0", "n": 1e308});
    odd.good = u64::MAX;
    odd.tls[0].sessions = u64::MAX;
    odd.tls[0].reason = Some("\0".repeat(5_000));
    odd.begins_at = Some(Timestamp::MAX_UTC);
    odd.sums[0].good = u64::MAX;
    odd.sums.push(Sum { dimension: "mx", value: "y".repeat(5_000), reports: 1, good: 0, bad: u64::MAX });
    for id in 1..4 {
        arrive(&fixture, tenant, domain).await;
        let arrival = claim(&fixture, &worker, tenant).await.remove(0);
        let mut report = odd.clone();
        (report.id, report.key) = (ReportId::draw(fixture.now(), &SystemEntropy), [id; 32]);
        assert_eq!(apply(&fixture, &worker, arrival, vec![report]).await, (Some(1), 0));
    }
    let row = fixture.database.psql("SELECT left(organization, 3), good, begins_at IS NULL FROM reports LIMIT 1").await;
    assert_eq!(row.trim(), "abx|100000000000|t");
}

#[tokio::test]
async fn replayed_arrivals_are_read_again_and_leave_a_line_in_the_audit_log() {
    let (fixture, api, worker) = fixture().await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "a.example").await.id;
    let mut arrivals = Vec::new();
    for reason in ["not-json", "not-xml", "not-json"] {
        let id = arrive(&fixture, tenant, domain).await;
        let arrival = claim(&fixture, &worker, tenant).await.remove(0);
        let problem = Some((reason.to_owned(), "words".to_owned()));
        let read = ReadArrival { arrival, problem, reports: vec![report(&fixture, tenant, domain, 1)] };
        worker.apply_arrivals(vec![read], "1", fixture.now()).await.unwrap();
        arrivals.push(id);
        fixture.clock.advance(TimeDelta::seconds(1));
    }
    let listed = worker.quarantined_arrivals(None, None, 2).await.unwrap();
    assert_eq!(listed.iter().map(|arrival| arrival.id).collect::<Vec<_>>(), arrivals[..2]);
    let rest = worker.quarantined_arrivals(None, Some(arrivals[1]), 2).await.unwrap();
    assert_eq!((rest.len(), rest[0].id, rest[0].repeated), (1, arrivals[2], 1));
    let listed = worker.quarantined_arrivals(Some("not-xml"), None, 2).await.unwrap();
    assert_eq!((listed.len(), listed[0].problem.as_deref(), listed[0].reports), (1, Some("words"), 0));

    let by = Actor::operator();
    let filter = ReplayFilter::Reason("not-json".to_owned());
    let first = worker.replay_arrivals(&filter, None, 1, &by, fixture.now()).await.unwrap();
    assert_eq!((first.arrivals, first.last), (1, Some(arrivals[0])));
    let second = worker.replay_arrivals(&filter, first.last, 1, &by, fixture.now()).await.unwrap();
    assert_eq!((second.arrivals, second.last), (1, Some(arrivals[2])));
    let third = worker.replay_arrivals(&filter, second.last, 1, &by, fixture.now()).await.unwrap();
    assert_eq!((third.arrivals, third.last), (0, None));
    let lines = "SELECT count(*), max(object), max(after::text) FROM audit_events WHERE action = 'reports.replay'";
    assert_eq!(fixture.database.psql(lines).await.trim(), r#"2|not-json|{"arrivals": 1}"#);

    // The very same is not put in again, nor counted as somebody's copy.
    for arrival in claim(&fixture, &worker, tenant).await {
        let expected = if arrival.id == arrivals[0] { (Some(0), 0) } else { (Some(0), 1) };
        assert_eq!(apply(&fixture, &worker, arrival, vec![report(&fixture, tenant, domain, 1)]).await, expected);
    }
    let one = worker.arrival(arrivals[0]).await.unwrap().unwrap();
    assert_eq!((one.state.as_str(), one.reports, one.repeated, one.reason), ("read", 1, 0, None));
    let one = worker.replay_arrivals(&ReplayFilter::One(arrivals[0]), None, 1, &by, fixture.now()).await.unwrap();
    assert_eq!(one.arrivals, 1, "one that was read as well");
    assert_eq!(worker.arrival_raw(arrivals[0]).await.unwrap().as_deref(), Some(&b"raw"[..]));
}

#[tokio::test]
async fn reporters_are_remembered_by_day_and_a_first_report_wakes_the_domain() {
    let (fixture, api, worker) = fixture().await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "a.example").await;
    fixture.database.psql("UPDATE domain_schedule SET woken = false, wake_at = '2100-01-01'").await;
    let woken = "SELECT woken AND wake_at < '2030-01-01' FROM domain_schedule";
    let first: NaiveDate = DAY.parse().unwrap();
    let mut seen = Vec::new();
    for (id, after) in [(1, 0), (2, 2), (3, 1), (4, 70), (5, 69), (6, 3)] {
        arrive(&fixture, tenant, domain.id).await;
        let arrival = claim(&fixture, &worker, tenant).await.remove(0);
        let mut report = report(&fixture, tenant, domain.id, id);
        report.day = first + TimeDelta::days(after);
        apply(&fixture, &worker, arrival, vec![report]).await;
        let row = "SELECT concat_ws(' ', first_day, last_day, days) FROM reporters";
        seen.push(fixture.database.psql(row).await.trim().to_owned());
        if id == 1 {
            assert_eq!(fixture.database.psql(woken).await.trim(), "t");
            fixture.database.psql("UPDATE domain_schedule SET woken = false, wake_at = '2100-01-01'").await;
        }
    }
    assert_eq!(fixture.database.psql(woken).await.trim(), "f", "what is known already wakes nobody");
    assert_eq!(
        seen,
        [
            "2026-01-01 2026-01-01 1",
            "2026-01-01 2026-01-03 5",
            "2026-01-01 2026-01-03 7",
            "2026-01-01 2026-03-12 1",
            "2026-01-01 2026-03-12 3",
            "2026-01-01 2026-03-12 3",
        ]
    );
    let lease = fixture.claim(&worker, domain.id).await;
    let reports = fixture.facts(&worker, &lease).await.reports;
    assert_eq!(reports.last_day, Some("2026-03-12".parse().unwrap()));
    assert_eq!(reports.last_verified_day, None);
}

#[tokio::test]
async fn reports_are_forgotten_by_the_month_and_where_a_tenant_wants_it_by_the_day() {
    let (fixture, api, worker) = fixture().await;
    let (long, short) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    fixture
        .database
        .psql(&format!(
            "INSERT INTO tenant_quotas (tenant_id, report_retention_days, changed_at) VALUES ('{}', 10, now())",
            short.as_uuid()
        ))
        .await;
    for (tenant, name) in [(long, "a.example"), (short, "b.example")] {
        let domain = fixture.domain(&api, tenant, name).await.id;
        arrive(&fixture, tenant, domain).await;
        let arrival = claim(&fixture, &worker, tenant).await.remove(0);
        apply(&fixture, &worker, arrival, vec![report(&fixture, tenant, domain, 1)]).await;
    }
    let tables = ["report_arrivals", "reports", "tls_results", "report_days", "failure_kinds", "reporters"];
    let counts = async || {
        let mut counts = BTreeMap::new();
        for table in tables {
            let sql = format!(
                "SELECT count(*) FILTER (WHERE tenant_id = '{}'), count(*) FILTER (WHERE tenant_id = '{}') FROM {table}",
                long.as_uuid(),
                short.as_uuid()
            );
            counts.insert(table, fixture.database.psql(&sql).await.trim().to_owned());
        }
        counts
    };
    let before = counts().await;
    let kept = ReportRetention::default();
    let forget = async || loop {
        if worker.prune_reports(&kept, fixture.now()).await.unwrap().rows == 0 {
            break;
        }
    };
    fixture.clock.advance(TimeDelta::days(9));
    forget().await;
    assert_eq!(counts().await, before);
    fixture.clock.advance(TimeDelta::days(3));
    forget().await;
    for (table, count) in counts().await {
        let expected = before[table].split_once('|').unwrap().0;
        assert_eq!(count, format!("{expected}|0"), "{table}");
    }
    // At the end of March nothing of January is left as it came; at the end of May none of its results.
    fixture.clock.advance(TimeDelta::days(78));
    forget().await;
    let partitions = async || {
        let sql = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
            WHERE relname ~ '^(reports|report_arrivals|tls_results|dmarc_results)_2026_0[1-6]$' AND relispartition";
        fixture.database.psql(sql).await.trim().to_owned()
    };
    let months = format!(
        "SELECT count(*) FILTER (WHERE tenant_id = '{}') > 0, count(*) FILTER (WHERE tenant_id = '{}') FROM report_months",
        long.as_uuid(),
        short.as_uuid()
    );
    assert_eq!(fixture.database.psql(&months).await.trim(), "t|0", "a month goes when all of it is old");
    assert!(!partitions().await.contains("report_arrivals_2026_01"));
    assert!(
        partitions().await.contains("tls_results_2026_01") && partitions().await.contains("report_arrivals_2026_05")
    );
    fixture.clock.advance(TimeDelta::days(40));
    forget().await;
    assert!(!partitions().await.contains("_2026_01"), "{}", partitions().await);
    assert_ne!(counts().await["report_days"], "0|0", "the sums stay");
    fixture.clock.advance(TimeDelta::days(300));
    forget().await;
    assert!(counts().await.iter().all(|(_, count)| count == "0|0"), "{:?}", counts().await);
    fixture.clock.advance(TimeDelta::days(31));
    forget().await;
    assert_eq!(fixture.database.psql(&months).await.trim(), "f|0");
}

/// Which copy: of what report, signed by whom, and whole or not. Copies that are alike in all of this say the same.
type Copy = (u8, Option<u8>, bool);

fn copy(fixture: &Fixture, tenant: TenantId, domain: DomainId, (id, signer, complete): Copy) -> NewReport {
    let mut report = report(fixture, tenant, domain, id);
    let figure = 1 + u64::from(id) + 100 * u64::from(signer.unwrap_or(9)) + 1_000 * u64::from(complete);
    report.complete = complete;
    report.sums[0].good = figure;
    if let Some(signer) = signer {
        report.grade = ReportGrade::Verified;
        report.signer = Some(format!("s{signer}.example"));
        report.signed_key = Some([100 + 10 * id + signer; 32]);
        report.sums[1].value = format!("by {signer}");
    }
    report
}

/// What is left of a set of copies, whatever their order and number: of each signer the best, and where nobody has signed
/// the best of the others.
fn winners(copies: &[Copy]) -> BTreeSet<Copy> {
    let mut winners = BTreeSet::new();
    for (id, signer, complete) in copies {
        let of_report = || copies.iter().filter(|copy| copy.0 == *id);
        let is_best = |signer: Option<u8>| *complete || !of_report().any(|copy| copy.1 == signer && copy.2);
        if is_best(*signer) && (signer.is_some() || of_report().all(|copy| copy.1.is_none())) {
            winners.insert((*id, *signer, *complete));
        }
    }
    winners
}

#[test]
fn any_order_and_any_repetition_of_arrivals_comes_to_the_same_sums() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (fixture, api, worker) = runtime.block_on(fixture());
    let copies = proptest::collection::vec((1_u8..4, proptest::option::of(1_u8..3), any::<bool>()), 1..12);
    let strategy = (copies, proptest::collection::vec(1_usize..4, 12));
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |((copies, batches) in strategy)| {
        let (found, expected) = runtime.block_on(async {
            let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
            let name = format!("d{}.example", tenant.as_uuid().simple());
            let domain = fixture.domain(&api, tenant, &name).await.id;
            let mut left = copies.clone();
            for batch in batches {
                let batch: Vec<Copy> = left.drain(..batch.min(left.len())).collect();
                for _ in &batch {
                    arrive(&fixture, tenant, domain).await;
                }
                let arrivals = claim(&fixture, &worker, tenant).await;
                let read = arrivals.into_iter().zip(&batch).map(|(arrival, which)| {
                    ReadArrival { arrival, problem: None, reports: vec![copy(&fixture, tenant, domain, *which)] }
                });
                worker.apply_arrivals(read.collect(), "1", fixture.now()).await.unwrap();
            }
            // Once through, each of those that stand, by another tenant.
            let model = fixture.domain(&api, other, &name).await.id;
            for which in winners(&copies) {
                arrive(&fixture, other, model).await;
                let arrival = claim(&fixture, &worker, other).await.remove(0);
                let mut report = copy(&fixture, other, model, which);
                let mark = u8::from(which.2) + 2 * which.1.unwrap_or(0) + 10 * which.0;
                (report.key, report.signed_key) = ([200 + mark % 50; 32], None);
                report.key[0] = mark;
                apply(&fixture, &worker, arrival, vec![report]).await;
            }
            let anonymous = |lines: Vec<String>, tenant: DomainId| -> Vec<String> {
                let (uuid, id) = (tenant.as_uuid().to_string(), tenant.to_string());
                lines.into_iter().map(|line| line.replace(&uuid, "own").replace(&id, "own")).collect()
            };
            let mut found = anonymous(days(&fixture, tenant).await, domain);
            let mut expected = anonymous(days(&fixture, other).await, model);
            found.sort();
            expected.sort();
            (found, expected)
        });
        prop_assert_eq!(found, expected);
    });
}

#[tokio::test]
async fn a_transaction_that_does_not_commit_leaves_nothing() {
    let (fixture, api, worker) = fixture().await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "a.example").await.id;
    arrive(&fixture, tenant, domain).await;
    let arrival = claim(&fixture, &worker, tenant).await.remove(0);
    // There is no partition for it: everything before it is undone.
    let mut stray = report(&fixture, tenant, domain, 2);
    stray.id = ReportId::draw("2001-01-01T00:00:00Z".parse().unwrap(), &SystemEntropy);
    let reports = vec![report(&fixture, tenant, domain, 1), stray];
    let read = ReadArrival { arrival: arrival.clone(), problem: None, reports };
    let refused = worker.apply_arrivals(vec![read], "1", fixture.now()).await;
    assert!(matches!(refused, Err(StoreError::Database(_))), "{refused:?}");
    assert!(days(&fixture, tenant).await.is_empty());
    for table in ["reports", "report_keys", "tls_results", "reporters", "failure_kinds"] {
        assert_eq!(fixture.database.psql(&format!("SELECT count(*) FROM {table}")).await.trim(), "0", "{table}");
    }
    assert_eq!(apply(&fixture, &worker, arrival, vec![report(&fixture, tenant, domain, 1)]).await, (Some(1), 0));
}

#[tokio::test]
async fn a_view_of_many_days_takes_whole_months_together_and_comes_to_the_same() {
    let (fixture, api, worker) = fixture().await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "a.example").await.id;
    let reported = ["2026-01-15", "2026-02-01", "2026-02-28", "2026-03-01", "2026-03-31", "2026-04-01", "2026-04-20"];
    for (id, day) in (1..).zip(reported) {
        let mut report = report(&fixture, tenant, domain, id);
        report.day = day.parse().unwrap();
        report.sums = vec![
            Sum { dimension: "total", value: String::new(), reports: 1, good: 10, bad: 1 },
            Sum { dimension: "organization", value: format!("o{}", id % 3), reports: 1, good: 10, bad: id.into() },
        ];
        arrive(&fixture, tenant, domain).await;
        let arrival = claim(&fixture, &worker, tenant).await.remove(0);
        assert_eq!(apply(&fixture, &worker, arrival, vec![report]).await, (Some(1), 0));
    }
    let view_of = async |domain: Option<DomainId>, from: &str, to: &str| {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let range = ReportRange { domain, kind: ReportKind::TlsRpt, from, to, grades: Vec::new() };
        let tx = api.tenant_tx(tenant).await.unwrap();
        let found = tx.report_breakdown(&range, ReportDimension::Organization, ReportOrder::Bad, 10).await.unwrap();
        assert_eq!(found.number, tx.report_organizations(&range).await.unwrap());
        let value = |sums: &ValueSums| {
            let sum = sums.sums[0];
            format!("{} {} {} {} {} {}", sums.value, sum.reports, sum.good, sum.bad, sums.first_day, sums.last_day)
        };
        let mut lines: Vec<String> = found.values.iter().map(value).collect();
        lines.sort();
        lines.join(";")
    };
    let view = async |from: &str, to: &str| view_of(None, from, to).await;
    let by_day = async |from: &str, to: &str| {
        let sql = format!(
            "SELECT string_agg(line, ';' ORDER BY line) FROM (SELECT concat_ws(' ', value, sum(reports), sum(good), sum(bad),
                min(day), max(day)) AS line FROM report_days WHERE dimension = 'organization'
                AND domain_id = '00000000-0000-0000-0000-000000000000' AND day BETWEEN '{from}' AND '{to}' GROUP BY value) v"
        );
        fixture.database.psql(&sql).await.trim().to_owned()
    };
    let ends = [
        "2026-01-01",
        "2026-01-15",
        "2026-02-01",
        "2026-02-02",
        "2026-03-01",
        "2026-03-31",
        "2026-04-01",
        "2026-04-30",
    ];
    for (number, from) in ends.iter().enumerate() {
        for to in &ends[number..] {
            let expected = by_day(from, to).await;
            assert_eq!(view(from, to).await, expected, "{from} to {to}");
            assert_eq!(view_of(Some(domain), from, to).await, expected, "{from} to {to}");
        }
    }
    // What is taken from the months shows when they say something else.
    let is_read_by_month = async |from: &str, to: &str| view(from, to).await != by_day(from, to).await;
    fixture.database.psql("UPDATE report_months SET bad = bad + 100 WHERE month = '2026-02-01'").await;
    assert!(is_read_by_month("2026-01-10", "2026-04-30").await);
    assert!(is_read_by_month("2026-02-01", "2026-04-30").await);
    assert!(!is_read_by_month("2026-02-02", "2026-04-30").await, "of which a day is not wanted");
    assert!(!is_read_by_month("2026-02-01", "2026-03-10").await, "few days");
    fixture.database.psql("DELETE FROM report_days WHERE day < '2026-02-20'").await;
    assert!(!is_read_by_month("2026-01-10", "2026-04-30").await, "of which days are forgotten");
}
