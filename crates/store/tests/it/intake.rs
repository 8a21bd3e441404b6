//! Arrivals: durable once they are acknowledged, once each, and not more than a tenant may have.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use mtasts_model::{ArrivalId, DomainId, Label, ReportKind, ReportVia, SystemEntropy, TenantId, Timestamp};
use mtasts_store::{Acceptance, Channel, DomainView, NewArrival, Role, Store};
use sha2::{Digest, Sha256};

use crate::fixture::Fixture;

const DEFAULT_QUOTA: u64 = 100;

pub(crate) fn arrival(tenant: TenantId, domain: DomainId, raw: &str, now: Timestamp) -> NewArrival {
    NewArrival {
        id: ArrivalId::draw(now, &SystemEntropy),
        tenant_id: tenant,
        domain_id: domain,
        kind: ReportKind::TlsRpt,
        via: ReportVia::Https,
        received_at: now,
        peer: "2001:db8::1".parse().unwrap(),
        client_name: Some("sender/1.0".to_owned()),
        envelope_from: None,
        content_type: None,
        tls_version: Some("TLSv1.3".to_owned()),
        digest: Sha256::digest(raw.as_bytes()).into(),
        raw: Bytes::copy_from_slice(raw.as_bytes()),
    }
}

struct World {
    fixture: Fixture,
    intake: Store,
    domain: DomainView,
    other: DomainView,
}

impl World {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let api = fixture.store(Role::Api).await;
        let (one, two) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
        let domain = fixture.domain(&api, one, "example.com").await;
        let other = fixture.domain(&api, two, "example.org").await;
        let intake = fixture.store(Role::Intake).await;
        Self { fixture, intake, domain, other }
    }

    fn arrival(&self, domain: &DomainView, raw: &str) -> NewArrival {
        arrival(domain.tenant_id, domain.id, raw, self.fixture.now())
    }

    async fn accept(&self, arrivals: &[NewArrival]) -> Vec<Acceptance> {
        self.intake.accept_reports(arrivals, DEFAULT_QUOTA, self.fixture.now()).await.unwrap()
    }

    async fn sql(&self, statement: &str) -> String {
        self.fixture.database.psql(statement).await.trim().to_owned()
    }
}

#[tokio::test]
async fn a_label_leads_to_its_domain_until_that_is_gone() {
    let world = World::new().await;
    let find = async |label: &Label, quota| world.intake.recipient(label, quota, world.fixture.now()).await.unwrap();
    let found = find(&world.domain.label, 1).await.unwrap();
    assert_eq!((found.tenant_id, found.domain_id, found.has_room), (world.domain.tenant_id, world.domain.id, true));
    assert!(!find(&world.domain.label, 0).await.unwrap().has_room);
    assert_eq!(find(&Label::draw(&SystemEntropy), 1).await, None);
    world.sql("SET session_replication_role = replica; UPDATE domains SET state = 'gone'").await;
    assert_eq!(find(&world.domain.label, 1).await, None);
}

#[tokio::test]
async fn what_comes_twice_is_stored_once_for_each_domain() {
    use Acceptance::{Accepted, Duplicate};
    let world = World::new().await;
    let batch = [
        world.arrival(&world.domain, "a"),
        world.arrival(&world.domain, "a"),
        world.arrival(&world.other, "a"),
        world.arrival(&world.domain, "b"),
    ];
    assert_eq!(world.accept(&batch).await, [Accepted, Duplicate, Accepted, Accepted]);
    assert_eq!(world.accept(&batch).await, [Duplicate; 4]);
    assert_eq!(world.sql("SELECT count(*), sum(octets) FROM report_arrivals").await, "3|3");
    assert_eq!(world.sql("SELECT sum(reports) FROM usage_days").await, "3");
    assert_eq!(world.accept(&[]).await, []);
}

#[tokio::test]
async fn a_quota_holds_for_its_tenant_and_day_and_duplicates_cost_nothing() {
    let world = World::new().await;
    let (tenant, now) = (world.domain.tenant_id.as_uuid(), world.fixture.now());
    world
        .sql(&format!("INSERT INTO tenant_quotas (tenant_id, reports_a_day, changed_at) VALUES ('{tenant}', 2, now())"))
        .await;
    let batch: Vec<_> = ["a", "b", "c", "a"].map(|raw| world.arrival(&world.domain, raw)).into();
    let again_at = DateTime::from_timestamp(now.timestamp() + 86_400, 0).unwrap();
    let over = Acceptance::OverQuota { again_at };
    assert_eq!(world.accept(&batch).await, [Acceptance::Accepted, Acceptance::Accepted, over, Acceptance::Duplicate]);
    assert_eq!(world.accept(&batch[2..]).await, [over, Acceptance::Duplicate]);
    assert_eq!(world.accept(&[world.arrival(&world.other, "c")]).await, [Acceptance::Accepted]);
    world.fixture.clock.advance(TimeDelta::days(1));
    assert_eq!(world.accept(&batch[2..3]).await, [Acceptance::Accepted]);
    assert_eq!(world.sql("SELECT count(*) FROM report_digests").await, "4", "what was refused left no trace");
}

#[tokio::test]
async fn those_that_bring_the_same_at_the_same_moment_agree_on_who_was_first() {
    let world = World::new().await;
    let rounds = (0..8).map(|round| {
        let store = world.intake.clone();
        let mut batch: Vec<_> = (0..20)
            .map(|number| {
                let domain = if number % 2 == 0 { &world.domain } else { &world.other };
                world.arrival(domain, &format!("{number}"))
            })
            .collect();
        // In another order each, so that whatever is locked in their order ends in a deadlock.
        batch.rotate_left(round * 3 % 20);
        if round % 2 == 0 {
            batch.reverse();
        }
        let now = world.fixture.now();
        tokio::spawn(async move { store.accept_reports(&batch, DEFAULT_QUOTA, now).await.unwrap() })
    });
    let mut accepted = 0;
    for round in rounds.collect::<Vec<_>>() {
        accepted += round.await.unwrap().iter().filter(|fate| **fate == Acceptance::Accepted).count();
    }
    assert_eq!(accepted, 20);
    assert_eq!(world.sql("SELECT count(*), count(DISTINCT (domain_id, digest)) FROM report_arrivals").await, "20|20");
    assert_eq!(world.sql("SELECT sum(reports) FROM usage_days").await, "20");
}

#[tokio::test]
async fn a_month_without_a_partition_gets_one_with_the_first_that_comes() {
    let world = World::new().await;
    let partition = "SELECT count(*) FROM pg_class WHERE relname = 'report_arrivals_2031_07'";
    assert_eq!(world.sql(partition).await, "0");
    world.fixture.clock.set(DateTime::parse_from_rfc3339("2031-07-15T12:00:00Z").unwrap().to_utc());
    assert_eq!(world.accept(&[world.arrival(&world.domain, "a")]).await, [Acceptance::Accepted]);
    assert_eq!(world.sql(partition).await, "1");
    assert_eq!(world.sql("SELECT count(*) FROM report_arrivals").await, "1");
    let made = world.intake.ensure_report_partitions(world.fixture.now()).await.unwrap();
    assert_eq!(
        (made > 0, world.sql("SELECT count(*) FROM pg_class WHERE relname = 'report_arrivals_2031_08'").await),
        (true, "1".to_owned())
    );
    assert_eq!(world.intake.ensure_report_partitions(world.fixture.now()).await.unwrap(), 0);
}

#[tokio::test]
async fn batches_of_any_size_are_stored_whole() {
    let world = World::new().await;
    let large = "x".repeat(3 << 20);
    let mut batch: Vec<_> = (0..50).map(|number| world.arrival(&world.domain, &format!("{number}"))).collect();
    batch.insert(25, world.arrival(&world.domain, &large));
    batch.push(world.arrival(&world.domain, &format!("{large}y")));
    assert_eq!(world.accept(&batch).await, [Acceptance::Accepted; 52]);
    let whole = "SELECT count(*) FROM report_arrivals WHERE digest = sha256(raw) AND octets = length(raw)";
    assert_eq!(world.sql(whole).await, "52");
}

#[tokio::test]
async fn workers_are_nudged_by_what_is_new() {
    let world = World::new().await;
    let worker = world.fixture.store(Role::Worker).await;
    let mut nudges = worker.nudges(Channel::Reports);
    let patience = std::time::Duration::from_secs(30);
    // The first is that of the connection.
    tokio::time::timeout(patience, nudges.changed()).await.unwrap();
    world.accept(&[world.arrival(&world.domain, "a")]).await;
    tokio::time::timeout(patience, nudges.changed()).await.unwrap();
    assert_eq!(world.sql("SELECT state, due_at = received_at FROM report_arrivals").await, "waiting|t");
}

#[tokio::test]
async fn an_intake_can_read_back_nothing_of_what_it_takes() {
    let world = World::new().await;
    world.accept(&[world.arrival(&world.domain, "a")]).await;
    let mut refused = 0;
    for statement in [
        "SELECT raw FROM report_arrivals",
        "UPDATE report_arrivals SET state = 'read'",
        "DELETE FROM report_digests",
        "SELECT report_uris FROM domains",
        "SELECT hash FROM api_keys",
        "SELECT policy_fetches FROM usage_days",
        "SELECT drop_report_partitions('report_arrivals', now())",
    ] {
        let attempt = format!(
            "DO $$ BEGIN SET ROLE mtasts_intake; EXECUTE $s$ {statement} $s$; RAISE EXCEPTION 'not refused';
             EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
        );
        world.sql(&attempt).await;
        refused += 1;
    }
    assert_eq!(refused, 7);
}
