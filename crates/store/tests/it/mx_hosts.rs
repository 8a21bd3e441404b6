//! Looks at MX hosts that all domains share: whose turn it is, what is remembered, and for how long.

use std::{
    net::IpAddr,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::TimeDelta;
use mtasts_model::{
    HostName, Timestamp,
    lifecycle::{MxFailure, MxPutOff},
};
use mtasts_store::{MX_HOST_LOOKS_KEPT, MxHostClaim, MxHostLook, MxHostTurn, Role, Store, StoreError};

use crate::fixture::Fixture;

const CLAIM: TimeDelta = TimeDelta::minutes(1);

fn mx() -> HostName {
    HostName::parse("mx.provider.example").unwrap()
}

/// Goes by looks that are younger than an hour.
async fn turn(store: &Store, now: Timestamp) -> MxHostTurn {
    let serves = move |look: &MxHostLook| now - look.looked_at < TimeDelta::hours(1);
    store.mx_host_turn(&mx(), serves, now + CLAIM, now).await.unwrap()
}

async fn ours(store: &Store, now: Timestamp) -> MxHostClaim {
    match turn(store, now).await {
        MxHostTurn::Ours(claim) => claim,
        other => panic!("{other:?}"),
    }
}

fn expired() -> MxFailure {
    MxFailure { code: "certificate-expired".to_owned(), message: "192.0.2.1:25: expired".to_owned() }
}

#[tokio::test]
async fn one_of_many_workers_looks_and_the_others_go_by_it() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.store(Role::Worker).await, fixture.store(Role::Worker).await);
    let begun = fixture.now();
    let turns = (0..16).map(|number| turn(if number % 2 == 0 { &one } else { &other }, begun));
    let turns = futures_util::future::join_all(turns).await;
    let (ours, busy): (Vec<_>, Vec<_>) = turns.into_iter().partition(|turn| matches!(turn, MxHostTurn::Ours(_)));
    assert_eq!((ours.len(), busy.len()), (1, 15));
    assert!(busy.iter().all(|turn| *turn == MxHostTurn::Busy { since: begun }), "{busy:?}");
    let Some(MxHostTurn::Ours(claim)) = ours.into_iter().next() else { panic!() };
    fixture.clock.advance(TimeDelta::seconds(3));
    one.finish_mx_host_look(&claim, Some(&expired()), &["192.0.2.1".parse().unwrap()]).await.unwrap();
    let look = MxHostLook { looked_at: begun, failure: Some(expired()) };
    assert_eq!(turn(&other, fixture.now()).await, MxHostTurn::Known(look), "as of when it began");
    assert!(matches!(one.finish_mx_host_look(&claim, None, &[]).await, Err(StoreError::Fenced)), "it is over");
}

#[tokio::test]
async fn a_look_that_is_too_old_is_made_again_by_one_and_what_it_finds_replaces_it() {
    let fixture = Fixture::new().await;
    let worker = fixture.store(Role::Worker).await;
    let claim = ours(&worker, fixture.now()).await;
    worker.finish_mx_host_look(&claim, Some(&expired()), &[]).await.unwrap();
    fixture.clock.advance(TimeDelta::hours(1));
    let now = fixture.now();
    let claim = ours(&worker, now).await;
    assert_eq!(turn(&worker, now).await, MxHostTurn::Busy { since: now }, "the old look does for nobody");
    worker.finish_mx_host_look(&claim, None, &[]).await.unwrap();
    assert_eq!(turn(&worker, now).await, MxHostTurn::Known(MxHostLook { looked_at: now, failure: None }));
}

#[tokio::test]
async fn a_worker_that_dies_holds_the_others_up_for_no_longer_than_its_claim_and_can_tell_nothing_later() {
    let fixture = Fixture::new().await;
    let worker = fixture.store(Role::Worker).await;
    let lost = ours(&worker, fixture.now()).await;
    fixture.clock.advance(CLAIM - TimeDelta::seconds(1));
    assert!(matches!(turn(&worker, fixture.now()).await, MxHostTurn::Busy { .. }));
    fixture.clock.advance(TimeDelta::seconds(1));
    let claim = ours(&worker, fixture.now()).await;
    assert!(matches!(worker.finish_mx_host_look(&lost, None, &[]).await, Err(StoreError::Fenced)));
    worker.release_mx_host(&lost).await.unwrap();
    assert!(matches!(turn(&worker, fixture.now()).await, MxHostTurn::Busy { .. }), "it is not his to give back");
    worker.release_mx_host(&claim).await.unwrap();
    ours(&worker, fixture.now()).await;
}

#[tokio::test]
async fn a_claim_from_the_future_of_a_stepped_clock_holds_nobody_up() {
    let fixture = Fixture::new().await;
    let worker = fixture.store(Role::Worker).await;
    let now = fixture.now();
    ours(&worker, now + TimeDelta::days(1)).await;
    ours(&worker, now).await;
    assert!(matches!(turn(&worker, now).await, MxHostTurn::Busy { .. }));
}

#[tokio::test]
async fn a_look_that_ended_while_its_turn_was_asked_for_is_not_made_again() {
    let fixture = Fixture::new().await;
    let worker = fixture.store(Role::Worker).await;
    for round in 0..30 {
        // Each an hour after the one before, which is too old by then.
        let now = fixture.now() + TimeDelta::hours(round);
        let claim = ours(&worker, now).await;
        let finish = async { worker.finish_mx_host_look(&claim, None, &[]).await.unwrap() };
        let ask = async {
            loop {
                match turn(&worker, now).await {
                    MxHostTurn::Busy { .. } => {}
                    decided => break decided,
                }
            }
        };
        let ((), decided) = tokio::join!(finish, ask);
        assert!(matches!(decided, MxHostTurn::Known(_)), "round {round}: {decided:?}");
    }
}

/// What others may do between reading and claiming, every time.
async fn with_another_between(another: impl Fn(Timestamp) -> String) -> (MxHostTurn, Timestamp) {
    let fixture = Fixture::new().await;
    let worker = fixture.store(Role::Worker).await;
    let claim = ours(&worker, fixture.now()).await;
    worker.finish_mx_host_look(&claim, None, &[]).await.unwrap();
    let later = fixture.now() + TimeDelta::hours(1);
    let (database, change, over) = (fixture.database.url(), another(later), AtomicBool::new(false));
    // Called on the look that was read.
    let serves = |look: &MxHostLook| {
        if !over.swap(true, Ordering::SeqCst) {
            let sql = format!("UPDATE mx_host_looks SET {change}");
            let status = Command::new("psql").args(["-qX", "-d", &database, "-c", &sql]).status().unwrap();
            assert!(status.success());
        }
        later - look.looked_at < TimeDelta::hours(1)
    };
    let turn = worker.mx_host_turn(&mx(), serves, later + CLAIM, later).await.unwrap();
    (turn, later)
}

#[tokio::test]
async fn whoever_read_before_a_look_ended_cannot_claim_after_it() {
    let (turn, later) = with_another_between(|later| format!("looked_at = '{}'", later.to_rfc3339())).await;
    assert_eq!(turn, MxHostTurn::Known(MxHostLook { looked_at: later, failure: None }));
}

#[tokio::test]
async fn of_two_that_read_the_same_one_has_the_turn() {
    let claim = |later: Timestamp| {
        let (at, until) = (later.to_rfc3339(), (later + CLAIM).to_rfc3339());
        format!("claim_token = 1, claimed_at = '{at}', claimed_until = '{until}'")
    };
    let (turn, later) = with_another_between(claim).await;
    assert_eq!(turn, MxHostTurn::Busy { since: later });
}

#[tokio::test]
async fn what_strangers_say_is_capped_and_old_looks_go_in_batches() {
    let fixture = Fixture::new().await;
    let worker = fixture.store(Role::Worker).await;
    let claim = ours(&worker, fixture.now()).await;
    let long = MxFailure { code: "x".repeat(5_000), message: "ü\0".repeat(5_000) };
    let addresses: Vec<IpAddr> = (0..40).map(|number| [192, 0, 2, number].into()).collect();
    worker.finish_mx_host_look(&claim, Some(&long), &addresses).await.unwrap();
    let MxHostTurn::Known(look) = turn(&worker, fixture.now()).await else { panic!("it is there") };
    let failure = look.failure.unwrap();
    assert_eq!((failure.code.len(), failure.message), (100, "ü".repeat(1_000)));
    assert_eq!(fixture.database.psql("SELECT cardinality(addresses) FROM mx_host_looks").await.trim(), "16");

    let many =
        "INSERT INTO mx_host_looks (host, forget_at) SELECT 'mx' || i, '2020-01-01' FROM generate_series(1, 2500) i";
    fixture.database.psql(many).await;
    let mut forgotten = Vec::new();
    for _ in 0..3 {
        forgotten.push(worker.prune_mx_host_looks(fixture.now()).await.unwrap());
    }
    assert_eq!(forgotten, [2_000, 500, 0], "and the one that is still gone by stays");
    fixture.clock.advance(MX_HOST_LOOKS_KEPT);
    let claim = ours(&worker, fixture.now()).await;
    fixture.clock.advance(TimeDelta::seconds(1));
    assert_eq!(worker.prune_mx_host_looks(fixture.now()).await.unwrap(), 0, "somebody is looking");
    worker.release_mx_host(&claim).await.unwrap();
    fixture.clock.advance(CLAIM);
    assert_eq!(worker.prune_mx_host_looks(fixture.now()).await.unwrap(), 1);
}

#[tokio::test]
async fn nobody_but_workers_reads_or_writes_looks() {
    let fixture = Fixture::new().await;
    for role in [Role::Api, Role::Edge, Role::Intake] {
        let store = fixture.store(role).await;
        let now = fixture.now();
        let refused = store.mx_host_turn(&mx(), |_| true, now + CLAIM, now).await;
        assert!(refused.is_err(), "{role:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_look_that_is_put_off_changes_nothing_but_the_time_of_its_return() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let before = fixture.facts(&worker, &lease).await;
    assert_eq!(before.mx_put_off, None);
    let until = fixture.now() + TimeDelta::minutes(7);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.put_off_mx(until).await.unwrap();
    tx.commit().await.unwrap();
    let after = fixture.facts(&worker, &lease).await;
    assert_eq!(after.mx_put_off, Some(MxPutOff { at: fixture.now(), until }));
    assert_eq!(mtasts_model::lifecycle::DomainFacts { mx_put_off: None, ..after }, before);
}
