//! The proof for `enforce`: looks by day, and what verified reports say.

use chrono::TimeDelta;
use mtasts_model::{
    HostName, Mode,
    lifecycle::{MxFailure, MxHostSeen, MxSeen},
    readiness::{blocking, passing_since},
};
use mtasts_store::{DomainView, Role, Store};

use crate::fixture::Fixture;

fn host(name: &str, failure: Option<&str>) -> MxHostSeen {
    let failure = failure.map(|code| MxFailure { code: code.to_owned(), message: format!("{name}: {code}") });
    MxHostSeen { host: HostName::parse(name).unwrap(), preference: 10, failure, looked_at: None }
}

async fn look(fixture: &Fixture, worker: &Store, domain: &DomainView, hosts: Vec<MxHostSeen>) -> MxSeen {
    let lease = fixture.claim(worker, domain.id).await;
    let seen = MxSeen { hosts, at: fixture.now() };
    let mut tx = fixture.tx(worker, &lease).await;
    tx.mx_seen(&seen).await.unwrap();
    tx.commit().await.unwrap();
    seen
}

#[tokio::test]
async fn looks_leave_one_row_for_each_host_and_day_and_are_forgotten_after_sixty_days() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let name = HostName::parse("mx.example.net").unwrap();
    let begun = fixture.now();
    for failure in [None, Some("certificate-expired"), None, None] {
        look(&fixture, &worker, &domain, vec![host("mx.example.net", failure), host("mx.example.net", None)]).await;
        fixture.clock.advance(TimeDelta::minutes(1));
    }
    let days = api.tenant_tx(tenant).await.unwrap().mx_history(domain.id, fixture.now()).await.unwrap();
    assert_eq!(days.len(), 1, "{days:?}");
    let failed = begun + TimeDelta::minutes(1);
    assert_eq!(days[0].looks.last_failed_at, Some(failed), "also of a host that stands there twice");
    assert_eq!(days[0].failure.as_ref().unwrap().0, "certificate-expired");
    assert_eq!((days[0].looks.first_seen_at, days[0].looks.last_seen_at), (begun, begun + TimeDelta::minutes(3)));

    let mut seen = None;
    for _ in 0..3 {
        fixture.clock.advance(TimeDelta::days(1));
        seen = Some(look(&fixture, &worker, &domain, vec![host("mx.example.net", None)]).await);
    }
    let tx = api.tenant_tx(tenant).await.unwrap();
    let proof = tx.proof(domain.id, seen.as_ref(), fixture.now()).await.unwrap();
    assert_eq!(proof.history.len(), 4);
    assert_eq!(passing_since(&proof.history)[&name], Some(failed));

    fixture.clock.advance(TimeDelta::days(59));
    assert_eq!(worker.prune_mx_history(fixture.now()).await.unwrap(), 2);
    assert_eq!(worker.prune_mx_history(fixture.now()).await.unwrap(), 0);
    assert_eq!(fixture.database.psql("SELECT count(*) FROM mx_days").await.trim(), "2");
}

/// A look counts once, at its own time, however many steps of however many domains go by it (invariant 6).
#[tokio::test]
async fn a_look_that_is_shared_makes_no_second_look_or_day() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    // The fixture's clock stands at midnight: the host was connected to on the day before.
    let connected = fixture.now() - TimeDelta::minutes(10);
    let shared = || vec![MxHostSeen { looked_at: Some(connected), ..host("mx.example.net", None) }];
    for _ in 0..3 {
        look(&fixture, &worker, &domain, shared()).await;
        fixture.clock.advance(TimeDelta::minutes(15));
    }
    let tx = api.tenant_tx(tenant).await.unwrap();
    let days = tx.mx_history(domain.id, fixture.now()).await.unwrap();
    let of = |day: &mtasts_store::MxDayView| (day.day, day.looks.first_seen_at, day.looks.last_seen_at);
    assert_eq!(days.iter().map(of).collect::<Vec<_>>(), [(connected.date_naive(), connected, connected)]);
    drop(tx);

    // A month of steps that go by one and the same look are that one look.
    for _ in 0..30 {
        fixture.clock.advance(TimeDelta::days(1));
        look(&fixture, &worker, &domain, shared()).await;
    }
    let view = fixture.view(&api, &domain).await;
    let seen = view.mx_seen.unwrap();
    assert_eq!((seen.at, seen.oldest_look()), (fixture.now(), connected));
    let tx = api.tenant_tx(tenant).await.unwrap();
    let proof = tx.proof(domain.id, Some(&seen), fixture.now()).await.unwrap();
    assert_eq!(proof.history.len(), 1);
    let policy = view.version.unwrap().policy.with_mode(Mode::Enforce).unwrap();
    let codes: Vec<_> = blocking(&policy, Some(&seen), fixture.now()).into_iter().map(|reason| reason.code).collect();
    assert_eq!(codes, ["mx-check-too-old"], "nobody has looked for a month");
}

#[tokio::test]
async fn only_verified_reports_of_the_last_week_on_this_domain_count() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let (domain, other) =
        (fixture.domain(&api, tenant, "example.com").await, fixture.domain(&api, tenant, "other.example").await);
    for (of, kind, dimension, back, value, grade, good, bad) in [
        (domain.id, "tls-rpt", "total", 0, "", "verified", 10, 1),
        (domain.id, "tls-rpt", "total", 7, "", "verified", 20, 2),
        (domain.id, "tls-rpt", "organization", 0, "one", "verified", 10, 1),
        (domain.id, "tls-rpt", "organization", 7, "one", "verified", 10, 1),
        (domain.id, "tls-rpt", "organization", 7, "two", "verified", 10, 1),
        // None of these.
        (domain.id, "tls-rpt", "total", 8, "", "verified", 100, 100),
        (domain.id, "tls-rpt", "total", 0, "", "unsigned", 100, 100),
        (domain.id, "tls-rpt", "organization", 0, "three", "anonymous", 100, 100),
        (domain.id, "dmarc", "total", 0, "", "verified", 100, 100),
        (other.id, "tls-rpt", "total", 0, "", "verified", 100, 100),
    ] {
        let day = fixture.now().date_naive() - TimeDelta::days(back);
        fixture
            .database
            .psql(&format!(
                "INSERT INTO report_days VALUES ('{}', '{}', '{kind}', '{dimension}', '{day}', '{value}', '{grade}', 1,
                    {good}, {bad})",
                tenant.as_uuid(),
                of.as_uuid()
            ))
            .await;
    }
    let tx = api.tenant_tx(tenant).await.unwrap();
    let reports = tx.proof(domain.id, None, fixture.now()).await.unwrap().reports;
    assert_eq!((reports.good, reports.bad, reports.reporters), (30, 3, 2));
}
