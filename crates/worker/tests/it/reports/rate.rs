//! How many reports a minute one worker reads. A measurement, to be asked for by name:
//! `cargo nextest run -p mtasts-worker --run-ignored only -E 'test(rate)' --no-capture`.

use std::time::Instant;

use mtasts_testkit::wait_until;

use super::setup::{Domain, Setup, config, failure, report};
use crate::world::PATIENCE;

const REPORTS: u32 = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn rate_of_one_tenant_with_many_domains() {
    let setup = Setup::new().await;
    let tenant = setup.tenant().await;
    let mut domains = Vec::new();
    for number in 0..100 {
        domains.push(setup.domain_of(tenant, &format!("d{number}.example")).await);
    }
    measure(&setup, &domains).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn rate_of_many_tenants() {
    let setup = Setup::new().await;
    let mut domains = Vec::new();
    for number in 0..100 {
        domains.push(setup.domain(&format!("d{number}.example")).await);
    }
    measure(&setup, &domains).await;
}

async fn measure(setup: &Setup, domains: &[Domain]) {
    let failures: Vec<String> =
        (0..5).map(|number| failure("validation-failure", &format!("mx{number}.shop.example"), 1)).collect();
    for domain in domains {
        let raw = report(&domain.name, "@ID@", 1, &failures.join(","));
        let id = setup.arrive(domain, "https", raw.as_bytes()).await;
        // The id of an arrival keeps its time, in its first twelve digits.
        let copies = format!(
            "INSERT INTO report_arrivals SELECT (left(id::text, 14) || '7' || substr(md5(i || id::text), 1, 3) || '-8'
                    || substr(md5(i || id::text), 4, 3) || '-' || substr(md5(i || id::text), 7, 12))::uuid,
                tenant_id, domain_id, kind, via, received_at, peer, client_name, envelope_from, content_type, tls_version,
                octets, sha256((i || id::text)::bytea),
                convert_to(replace(convert_from(raw, 'UTF8'), '@ID@', 'r' || i), 'UTF8'), state, due_at
             FROM report_arrivals, generate_series(1, {}) i WHERE id = '{}'",
            REPORTS / 100 - 1,
            id.as_uuid()
        );
        setup.database.psql(&copies).await;
    }
    let begun = Instant::now();
    let _worker = setup.start_with(config());
    wait_until(PATIENCE * 10, "all are read", async || {
        setup.one("SELECT count(*) FROM report_arrivals WHERE state = 'waiting'").await == "0"
    })
    .await;
    let seconds = begun.elapsed().as_secs_f64();
    let read = setup.one("SELECT count(*) FROM reports").await;
    println!("{read} reports in {seconds:.1} s: {:.0} a minute", f64::from(REPORTS) * 60.0 / seconds);
    assert_eq!(read, REPORTS.to_string());
}
