//! What goes wrong, and what strangers do on purpose.

use std::io::Write as _;

use chrono::TimeDelta;
use flate2::{Compression, write::GzEncoder};
use mtasts_model::Clock;
use mtasts_reports::Limits;
use mtasts_testkit::wait_until;
use mtasts_worker::ReportConfig;

use super::setup::{Setup, config, failure, report};
use crate::world::PATIENCE;

#[tokio::test]
async fn a_flood_to_one_tenant_does_not_hold_up_anothers_single_report() {
    let setup = Setup::new().await;
    let (flooded, quiet) = (setup.domain("flooded.example").await, setup.domain("quiet.example").await);
    let raw = report("flooded.example", "r1", 1, "");
    let id = setup.arrive(&flooded, "https", raw.as_bytes()).await;
    let copies = format!(
        "INSERT INTO report_arrivals SELECT ('019d' || left(md5(i::text), 8) || '7' || left(md5('x' || i), 19))::uuid,
            tenant_id, domain_id, kind, via, received_at, peer, client_name, envelope_from, content_type, tls_version,
            octets, digest, raw, state, due_at
         FROM report_arrivals, generate_series(1, 500) i WHERE id = '{}'",
        id.as_uuid()
    );
    let copies = copies.replace("'019d' || left(md5(i::text), 8)", "left(id::text, 8) || left(md5(i::text), 4)");
    setup.database.psql(&copies).await;
    let single = setup.arrive(&quiet, "https", report("quiet.example", "r1", 1, "").as_bytes()).await;
    // One place: whoever has it, the other's turn is next.
    let _worker = setup.start_with(ReportConfig { tenants: 1, ..config() });
    assert_eq!(setup.done(single).await, "read 1 0");
    let left = setup.one("SELECT count(*) FROM report_arrivals WHERE state = 'waiting'").await;
    assert!(left.parse::<u32>().unwrap() > 300, "{left} were still waiting");
    wait_until(PATIENCE, "the flood is over", async || {
        setup.one("SELECT count(*) FROM report_arrivals WHERE state = 'waiting'").await == "0"
    })
    .await;
    assert_eq!(setup.totals(&flooded).await, ["anonymous 1 1 0"]);
}

#[tokio::test]
async fn an_arrival_that_ends_its_reader_each_time_is_given_up_after_three_attempts() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let poison = setup.arrive(&domain, "https", report("shop.example", "r1", 1, "").as_bytes()).await;
    // As three workers that died while they read it leave it.
    for attempt in 1..=3 {
        let now = setup.clock.now();
        let claimed = setup.store.claim_arrivals(&[(domain.tenant, 10)], 10, now + config().lease, now).await.unwrap();
        let raw = setup.store.begin_reading(&claimed[0], now + config().lease).await.unwrap();
        assert_eq!(raw.attempts, attempt);
        setup.clock.advance(config().lease + TimeDelta::seconds(1));
    }
    let _worker = setup.start();
    assert_eq!(setup.done(poison).await, "quarantined reading-failed 0 0");
    assert!(setup.totals(&domain).await.is_empty());
    // It is not lost: it can be read again.
    let filter = mtasts_store::ReplayFilter::Reason("reading-failed".to_owned());
    let by = mtasts_store::Actor::operator();
    setup.store.replay_arrivals(&filter, None, 10, &by, setup.clock.now()).await.unwrap();
    assert_eq!(setup.done(poison).await, "read 1 0");
    assert_eq!(setup.totals(&domain).await, ["anonymous 1 1 0"]);
}

#[tokio::test]
async fn a_worker_that_dies_between_the_claim_and_the_commit_is_followed_by_another() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let arrival = setup.arrive(&domain, "https", report("shop.example", "r1", 1, "").as_bytes()).await;
    // The tenant's sums are locked: the first worker gets as far as that.
    let lock = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('mtasts reports ' || '{}', 0)); SELECT pg_sleep(3); COMMIT",
        domain.tenant.as_uuid()
    );
    let database = &setup.database;
    let first = setup.start();
    tokio::join!(database.psql(&lock), async {
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        wait_until(PATIENCE, "the worker waits to put it in", async || setup.one(waits).await == "1").await;
        first.kill().await;
    });
    assert!(setup.state(arrival).await.starts_with("waiting"));
    assert!(setup.totals(&domain).await.is_empty());
    setup.clock.advance(config().lease + TimeDelta::seconds(1));
    let _second = setup.start();
    assert_eq!(setup.done(arrival).await, "read 1 0");
    assert_eq!(setup.totals(&domain).await, ["anonymous 1 1 0"]);
}

#[tokio::test]
async fn a_bomb_is_quarantined_and_what_takes_too_long_is_left() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..20 {
        bomb.write_all(&blanks).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let limits = Limits { inflated: 4 << 20, ..Limits::default() };
    let worker = setup.start_with(ReportConfig { limits, ..config() });
    // The command line that puts it in takes no more than this.
    assert!(bomb.len() < 100_000);
    let arrival = setup.arrive(&domain, "https", &bomb[..bomb.len().min(20_000)]).await;
    assert!(setup.done(arrival).await.starts_with("quarantined inflates-too"), "{}", setup.state(arrival).await);
    worker.stop().await;
    let _impatient = setup.start_with(ReportConfig { deadline: std::time::Duration::ZERO, ..config() });
    let long = vec![failure("validation-failure", "mx.shop.example", 1); 5_000].join(",");
    let mut slow = GzEncoder::new(Vec::new(), Compression::best());
    slow.write_all(report("shop.example", "r1", 1, &long).as_bytes()).unwrap();
    let arrival = setup.arrive(&domain, "https", &slow.finish().unwrap()).await;
    assert_eq!(setup.done(arrival).await, "quarantined too-slow 0 0");
}

#[tokio::test]
async fn what_is_readable_of_an_arrival_is_kept_though_the_rest_is_not() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let _worker = setup.start();
    let part = |octets: &str| format!("--b\r\nContent-Type: application/tlsrpt+json\r\n\r\n{octets}\r\n");
    let mail = format!(
        "From: tls@sender.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}{}--b--\r\n",
        part(&report("shop.example", "r1", 7, "")),
        part("{\"organization-name\": \"x\", \"policies\": [")
    );
    let arrival = setup.arrive(&domain, "smtp", mail.as_bytes()).await;
    assert_eq!(setup.done(arrival).await, "quarantined not-json 1 0");
    assert_eq!(setup.totals(&domain).await, ["unsigned 1 7 0"]);
}
