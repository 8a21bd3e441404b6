//! Zones at DNS providers: who writes, what is due, what is known of it, and what domains learn of that.

use chrono::TimeDelta;
use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
    lifecycle::{DomainFacts, DomainZones},
};
use mtasts_store::{
    DomainView, HostingLease, Lease, Role, Store, StoreError, WriteKey, WriteOutcome, WriteResult, ZoneWrite,
};

use crate::fixture::{Fixture, GRACE, LEASE, zone};

struct Scene {
    fixture: Fixture,
    worker: Store,
    domain: DomainView,
    lease: Lease,
    hosting: HostingLease,
}

impl Scene {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
        let tenant = fixture.tenant(&api).await;
        let domain = fixture.domain(&api, tenant, "customer.example").await;
        let lease = fixture.claim(&worker, domain.id).await;
        let hosting = worker.claim_hosting("main", &zone(), "w", LEASE, fixture.now()).await.unwrap().unwrap();
        Self { fixture, worker, domain, lease, hosting }
    }

    async fn want(&self, name: &str, value: Option<&str>) {
        let set = value.map(|value| RecordData { ttl: 60, values: vec![value.to_owned()] });
        let write = ZoneWrite { zone: zone(), name: name.to_owned(), record_type: RecordType::Txt, set };
        let mut tx = self.worker.lease_tx(&self.lease, self.fixture.now()).await.unwrap();
        tx.want_records(&[write]).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn facts(&self) -> DomainFacts {
        self.worker.facts(&self.lease, self.fixture.now(), GRACE, &["main".to_owned()]).await.unwrap()
    }

    /// The names that are due, with what is known of them.
    async fn due(&self) -> Vec<(String, bool, Option<String>)> {
        let work = self.worker.hosting_due(&self.hosting, 10, self.fixture.now()).await.unwrap();
        work.writes.into_iter().map(|write| (write.name, write.attempted, write.reference)).collect()
    }

    /// Hands everything that is due over.
    async fn hand_over(&self, result: &WriteResult) {
        let work = self.worker.hosting_due(&self.hosting, 10, self.fixture.now()).await.unwrap();
        let keys: Vec<_> = work.writes.iter().map(|write| key(&write.name)).collect();
        self.worker.hosting_begins(&self.hosting, &keys).await.unwrap();
        let outcomes: Vec<_> = keys.into_iter().map(|key| WriteOutcome { key, result: result.clone() }).collect();
        let now = self.fixture.now();
        self.worker.hosting_outcomes(&self.hosting, &outcomes, work.position, now).await.unwrap();
    }
}

fn key(name: &str) -> WriteKey {
    WriteKey { name: name.to_owned(), record_type: RecordType::Txt }
}

fn arrived(reference: &str) -> WriteResult {
    WriteResult::Arrived { reference: Some(reference.to_owned()) }
}

#[tokio::test]
async fn what_is_wanted_is_due_until_it_has_arrived_and_the_domain_knows() {
    let scene = Scene::new().await;
    assert!(!scene.facts().await.record.pending);
    scene.want("a.sts.example", Some("one")).await;
    scene.want("b.sts.example", Some("two")).await;
    assert!(scene.facts().await.record.pending);
    let due = scene.due().await;
    assert_eq!(due, [("a.sts.example".to_owned(), false, None), ("b.sts.example".to_owned(), false, None)]);

    // Killed after it was handed over: nobody knows whether it arrived.
    scene.worker.hosting_begins(&scene.hosting, &[key("a.sts.example")]).await.unwrap();
    assert_eq!(scene.due().await[0], ("a.sts.example".to_owned(), true, None));

    scene.hand_over(&arrived("r1")).await;
    assert!(scene.due().await.is_empty());
    let facts = scene.facts().await;
    assert!(!facts.record.pending && facts.record.problem.is_none());
    let woken = "SELECT woken FROM domain_schedule";
    assert_eq!(scene.fixture.database.psql(woken).await.trim(), "t", "the domain need not poll");

    scene.want("a.sts.example", Some("three")).await;
    assert_eq!(scene.due().await, [("a.sts.example".to_owned(), true, Some("r1".to_owned()))]);
    scene.want("a.sts.example", None).await;
    let work = scene.worker.hosting_due(&scene.hosting, 10, scene.fixture.now()).await.unwrap();
    assert_eq!((work.writes.len(), &work.writes[0].set), (1, &None), "one row for each set: the latest state");
}

#[tokio::test]
async fn what_a_provider_refuses_is_tried_again_and_shown_to_its_domain() {
    let scene = Scene::new().await;
    scene.want("a.sts.example", Some("one")).await;
    let retry_at = scene.fixture.now() + TimeDelta::minutes(1);
    let failed = WriteResult::Failed { reason: "DnsRecordConflict".to_owned(), message: "theirs".to_owned(), retry_at };
    scene.hand_over(&failed).await;
    let record = scene.facts().await.record;
    let problem = record.problem.unwrap();
    assert_eq!(
        (record.pending, problem.reason.as_str(), problem.message.as_str()),
        (true, "DnsRecordConflict", "theirs")
    );
    assert!(scene.due().await.is_empty(), "not before its time");
    assert_eq!(scene.worker.hosting_retry_at(&scene.hosting).await.unwrap(), Some(retry_at));
    scene.fixture.clock.advance(TimeDelta::minutes(2));
    assert_eq!(scene.due().await, [("a.sts.example".to_owned(), true, None)]);
    scene.hand_over(&arrived("r1")).await;
    assert!(scene.facts().await.record.problem.is_none());

    // A provider that takes nothing at all is the problem of those who wait for it.
    let (worker, now) = (&scene.worker, scene.fixture.now());
    worker.hosting_problem(&scene.hosting, Some(("DnsProviderUnavailable", "away")), now).await.unwrap();
    assert!(scene.facts().await.record.problem.is_none(), "nothing waits");
    scene.want("a.sts.example", Some("two")).await;
    assert_eq!(scene.facts().await.record.problem.unwrap().reason, "DnsProviderUnavailable");
    worker.hosting_problem(&scene.hosting, None, now).await.unwrap();
    assert!(scene.facts().await.record.problem.is_none());
}

#[tokio::test]
async fn one_worker_writes_to_a_hosting_and_whoever_lost_it_can_note_nothing() {
    let scene = Scene::new().await;
    let (worker, fixture) = (&scene.worker, &scene.fixture);
    let claim = async |name: &str| worker.claim_hosting("main", &zone(), name, LEASE, fixture.now()).await.unwrap();
    assert_eq!(claim("other").await, None);
    assert_eq!(claim("w").await.unwrap().token, scene.hosting.token, "to lengthen it keeps the token");
    scene.want("a.sts.example", Some("one")).await;
    fixture.clock.advance(LEASE + TimeDelta::seconds(1));
    let taken = claim("other").await.unwrap();
    assert!(taken.token > scene.hosting.token);
    let fenced = worker.hosting_due(&scene.hosting, 10, fixture.now()).await;
    assert!(matches!(fenced, Err(StoreError::Fenced)));
    let fenced = worker.hosting_begins(&scene.hosting, &[key("a.sts.example")]).await;
    assert!(matches!(fenced, Err(StoreError::Fenced)));
    let outcome = WriteOutcome { key: key("a.sts.example"), result: arrived("r") };
    let position = mtasts_model::Revision::new(99);
    let fenced = worker.hosting_outcomes(&scene.hosting, &[outcome], position, fixture.now()).await;
    assert!(matches!(fenced, Err(StoreError::Fenced)));
    assert_eq!(worker.hosting_due(&taken, 10, fixture.now()).await.unwrap().writes.len(), 1);
    worker.release_hosting(&taken, fixture.now()).await.unwrap();
    assert!(claim("third").await.is_some(), "what is given back is free at once");
}

#[tokio::test]
async fn a_second_hosting_of_a_zone_begins_with_everything_and_keeps_what_it_knows_to_itself() {
    let scene = Scene::new().await;
    scene.want("a.sts.example", Some("one")).await;
    scene.hand_over(&arrived("r1")).await;
    let now = scene.fixture.now();
    let second = scene.worker.claim_hosting("second", &zone(), "w", LEASE, now).await.unwrap().unwrap();
    let work = scene.worker.hosting_due(&second, 10, now).await.unwrap();
    assert_eq!((work.writes.len(), work.writes[0].attempted), (1, false));
    assert!(!scene.facts().await.record.pending, "nobody waits for a hosting that does not gate");
    let other: ZoneName = "other.example".parse().unwrap();
    let other = scene.worker.claim_hosting("third", &other, "w", LEASE, now).await.unwrap().unwrap();
    assert!(scene.worker.hosting_due(&other, 10, now).await.unwrap().writes.is_empty(), "another zone's");
}

#[tokio::test]
async fn a_sweep_is_told_what_is_wanted_and_what_is_still_under_way() {
    let scene = Scene::new().await;
    scene.want("a.sts.example", Some("one")).await;
    scene.hand_over(&arrived("r1")).await;
    scene.want("b.sts.example", Some("two")).await;
    let found = scene.worker.wanted_after(&scene.hosting, None, 10).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|wanted| (wanted.name, wanted.settled)).collect();
    assert_eq!(found, [("a.sts.example".to_owned(), true), ("b.sts.example".to_owned(), false)]);
    let after = scene.worker.wanted_after(&scene.hosting, Some(("a.sts.example", RecordType::Txt)), 10).await.unwrap();
    assert_eq!(after.len(), 1);
    scene.want("a.sts.example", None).await;
    let at = scene.worker.wanted_at(&scene.hosting, &["a.sts.example".to_owned()]).await.unwrap();
    assert_eq!((&at[0].set, at[0].settled), (&None, false));
}

#[tokio::test]
async fn a_domain_moves_by_the_word_of_the_operator_and_enters_and_leaves_by_its_steps() {
    let scene = Scene::new().await;
    let (worker, fixture) = (&scene.worker, &scene.fixture);
    let next: ZoneName = "next.example".parse().unwrap();
    let moves = async || worker.begin_moves(&zone(), |_| Some(next.clone()), 10, fixture.now()).await.unwrap();
    assert_eq!(worker.begin_moves(&zone(), |_| Some(zone()), 10, fixture.now()).await.unwrap(), 0);
    assert_eq!((moves().await, moves().await), (1, 0), "a move begins once");
    let facts = scene.facts().await;
    let expected = DomainZones { home: zone(), next: Some(next.clone()), former: None };
    assert_eq!(facts.zones, expected);

    let version = scene.domain.version.as_ref().unwrap().id;
    let mut tx = worker.lease_tx(&scene.lease, fixture.now()).await.unwrap();
    tx.records_written(version, &DomainZones::at(zone())).await.unwrap();
    tx.commit().await.unwrap();
    assert!(scene.facts().await.record.zones_stale, "the new zone was not written to");
    let mut tx = worker.lease_tx(&scene.lease, fixture.now()).await.unwrap();
    tx.records_written(version, &expected).await.unwrap();
    assert!(matches!(tx.zone_entered(&zone()).await, Err(StoreError::NotFound)), "it does not move there");
    tx.zone_entered(&next).await.unwrap();
    tx.commit().await.unwrap();
    let facts = scene.facts().await;
    assert_eq!(facts.zones, DomainZones { home: next.clone(), next: None, former: Some(zone()) });
    assert!(!facts.record.zones_stale);
    let mut tx = worker.lease_tx(&scene.lease, fixture.now()).await.unwrap();
    tx.zone_left(&zone()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(scene.facts().await.zones, DomainZones::at(next.clone()));
    // What was taken out of the zone is not taken as standing there when the domain moves back.
    assert_eq!(worker.begin_moves(&next, |_| Some(zone()), 10, fixture.now()).await.unwrap(), 1);
    assert!(scene.facts().await.record.zones_stale, "the old zone holds nothing any more");
}

#[tokio::test]
async fn operators_see_what_waits_and_can_forget_a_hosting() {
    let scene = Scene::new().await;
    scene.want("a.sts.example", Some("one")).await;
    let hostings = scene.worker.hostings().await.unwrap();
    assert_eq!((hostings[0].id.as_str(), hostings[0].waiting, hostings[0].domains), ("main", 1, 1));
    scene.hand_over(&arrived("r1")).await;
    scene.worker.forget_hosting("main").await.unwrap();
    assert!(scene.worker.hostings().await.unwrap().is_empty());
    assert!(matches!(scene.worker.forget_hosting("main").await, Err(StoreError::NotFound)));
}
