//! What followers of the feeds can rely on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::TimeDelta;
use mtasts_model::{
    Mode, Revision,
    feed::{EdgeEntry, RecordData, RecordType},
};
use mtasts_store::{Role, StoreError, ZoneWrite};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::{Fixture, changes, policy, zone};

const WRITERS: usize = 6;
const WRITES: usize = 25;

/// Writers that dawdle between drawing a revision and committing it, and a reader that pages all the while. Gives what
/// the reader ended up with, and what there is.
async fn race(fixture: &Fixture) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let edge = fixture.store(Role::Edge).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (edge, done) = (edge.clone(), Arc::clone(&done));
        async move {
            let mut seen = BTreeMap::new();
            let mut position = Revision::ZERO;
            loop {
                let last = done.load(Ordering::SeqCst);
                let page = edge.edge_changes(position, 500).await.unwrap();
                assert!(page.changes.is_sorted_by(|a, b| a.revision < b.revision));
                position = page.position;
                seen.extend(page.changes.iter().map(|c| (c.domain.to_string(), c.revision.number())));
                if last && !page.more {
                    return seen;
                }
            }
        }
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let url = fixture.database.url_as("mtasts_worker");
            tokio::spawn(async move {
                let mut session = PgConnection::connect(&url).await.unwrap();
                for write in 0..WRITES {
                    let name = format!("w{writer}-{write}.example");
                    let sql = format!(
                        "DO $$ DECLARE drawn bigint := next_edge_revision(); BEGIN
                            PERFORM pg_sleep(random() * 0.02);
                            INSERT INTO edge_entries (name, kind, revision, changed_at)
                            VALUES ('{name}', 'host', drawn, now());
                        END $$"
                    );
                    session.execute(AssertSqlSafe(sql)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let there = fixture.database.psql("SELECT name, revision FROM edge_entries").await;
    let there = there.lines().map(|line| {
        let (name, revision) = line.split_once('|').unwrap();
        (name.to_owned(), revision.parse().unwrap())
    });
    (reader.await.unwrap(), there.collect())
}

#[tokio::test]
async fn a_reader_that_pages_while_others_write_never_skips_a_revision() {
    let fixture = Fixture::new().await;
    let (seen, there) = race(&fixture).await;
    assert_eq!(there.len(), WRITERS * WRITES);
    assert!(seen == there, "the reader missed {} of {}", there.len() - seen.len(), there.len());
}

#[tokio::test]
async fn without_the_lock_the_same_reader_does_skip_revisions() {
    let fixture = Fixture::new().await;
    fixture
        .database
        .psql(
            "CREATE OR REPLACE FUNCTION next_edge_revision() RETURNS bigint LANGUAGE sql
             AS $$ SELECT nextval('edge_revisions') $$",
        )
        .await;
    let (seen, there) = race(&fixture).await;
    assert!(seen != there, "or else the test above proves nothing");
}

#[tokio::test]
async fn a_page_says_where_the_reader_stands_and_whether_more_is_waiting() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let tenant = fixture.tenant(&api).await;
    let empty = edge.edge_changes(Revision::ZERO, 10).await.unwrap();
    assert_eq!((empty.changes.len(), empty.position, empty.more), (0, Revision::ZERO, false));
    let mut revisions = Vec::new();
    for name in ["a.example", "b.example", "c.example"] {
        let domain = fixture.domain(&api, tenant, name).await;
        revisions.push(fixture.serve(&worker, &domain).await);
    }
    let page = edge.edge_changes(Revision::ZERO, 2).await.unwrap();
    assert_eq!((page.position, page.more, page.floor), (revisions[1], true, Revision::ZERO));
    let page = edge.edge_changes(page.position, 2).await.unwrap();
    assert_eq!((page.changes.len(), page.position, page.more), (1, revisions[2], false));
    let page = edge.edge_changes(page.position, 2).await.unwrap();
    assert_eq!((page.changes.len(), page.position, page.more), (0, revisions[2], false));
}

#[tokio::test]
async fn tombstones_are_forgotten_under_a_floor_and_held_places_are_not() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let tenant = fixture.tenant(&api).await;
    let released = fixture.domain(&api, tenant, "released.example").await;
    fixture.serve(&worker, &released).await;
    let lease = fixture.claim(&worker, released.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.release_host().await.unwrap();
    tx.commit().await.unwrap();
    let gone_at = changes(&edge, Revision::ZERO).await[0].revision;
    let held = fixture.domain(&api, tenant, "held.example").await;
    let lease = fixture.claim(&worker, held.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.take_host().await.unwrap();
    tx.commit().await.unwrap();
    let served = fixture.domain(&api, tenant, "served.example").await;
    fixture.serve(&worker, &served).await;

    let prune = || worker.prune_tombstones(TimeDelta::days(7), fixture.now());
    assert_eq!(prune().await.unwrap(), 0, "too young");
    fixture.clock.advance(TimeDelta::days(8));
    assert_eq!(prune().await.unwrap(), 1);
    assert_eq!(prune().await.unwrap(), 0);
    let page = edge.edge_changes(Revision::ZERO, 10).await.unwrap();
    assert_eq!(page.floor, gone_at);
    let names: Vec<_> = page.changes.iter().map(|change| change.domain.as_str()).collect();
    assert_eq!(names, ["held.example", "served.example"]);
}

#[tokio::test]
async fn a_reader_ahead_of_a_restored_database_is_given_nothing_of_the_past() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    let head = fixture.serve(&worker, &domain).await;
    let ahead = Revision::new(head.number() + 1_000);
    let refused = |error: StoreError| matches!(error, StoreError::FeedWentBack { read, .. } if read == ahead);
    assert!(refused(edge.edge_changes(ahead, 10).await.unwrap_err()));
    assert!(refused(edge.zone_changes(ahead, 10).await.unwrap_err()));
    assert!(edge.edge_changes(head, 10).await.unwrap().floor <= head);
}

#[tokio::test]
async fn changes_of_policy_and_takeovers_that_run_at_the_same_time_all_get_through() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let mine = fixture.domain(&api, one, "example.com").await;
    let theirs = fixture.domain(&api, other, "example.com").await;
    fixture.serve(&worker, &mine).await;
    let tenant = async || {
        for max_age in 1..30 {
            fixture.set_policy(&api, &mine, policy(Mode::Enforce, &["mx.example.net"], max_age)).await;
        }
    };
    let takeover = async || {
        for domain in [&theirs, &mine, &theirs, &mine, &theirs] {
            fixture.serve(&worker, domain).await;
        }
    };
    tokio::join!(tenant(), takeover());
    let news = changes(&edge, Revision::ZERO).await;
    assert_eq!(news.len(), 1);
    // What the feed names and what edges may read are the same, whoever won.
    let fed = "SELECT count(*) FROM policy_versions WHERE fed_at IS NOT NULL AND unfed_at IS NULL";
    assert_eq!(fixture.database.psql(fed).await.trim(), "1");
    assert_eq!(fixture.database.psql("SELECT count(*) FROM certificates WHERE in_feed").await.trim(), "1");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_takes_its_own_host_out_of_the_feed_and_nobody_elses() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let tenant = fixture.tenant(&api).await;
    for name in ["broken.example", "sound.example"] {
        let domain = fixture.domain(&api, tenant, name).await;
        fixture.serve(&worker, &domain).await;
        let set = RecordData { ttl: 60, values: vec!["x".to_owned()] };
        let write =
            ZoneWrite { zone: zone(), name: format!("{name}.sts.test"), record_type: RecordType::Txt, set: Some(set) };
        worker.zone_apply(&[write], fixture.now()).await.unwrap();
    }
    let spoil = "UPDATE certificates c SET chain = '\\x3082' FROM domains d
        WHERE d.id = c.domain_id AND d.name = 'broken.example';
        UPDATE zone_records SET record_values = '7' WHERE name LIKE 'broken%'";
    fixture.database.psql(spoil).await;
    let seen: Vec<_> = changes(&edge, Revision::ZERO)
        .await
        .into_iter()
        .map(|change| (change.domain.to_string(), matches!(change.entry, EdgeEntry::Host(_))))
        .collect();
    assert_eq!(seen, [("broken.example".to_owned(), false), ("sound.example".to_owned(), true)]);

    // A page of nothing but such rows leads on.
    let first = edge.zone_changes(Revision::ZERO, 1).await.unwrap();
    assert!(first.changes.is_empty() && first.more);
    let second = edge.zone_changes(first.position, 1).await.unwrap();
    assert_eq!(second.changes[0].name, "sound.example.sts.test");
}
