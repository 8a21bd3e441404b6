//! Figures of the whole installation.

use chrono::TimeDelta;
use mtasts_model::{Mode, Timestamp};
use mtasts_store::{EXPIRY_DAYS, FleetFigures, Role, Store};

use crate::{
    fixture::{Fixture, policy},
    plans::{LOAD, scans},
};

const EVERY: TimeDelta = TimeDelta::seconds(30);

async fn figures(worker: &Store, now: Timestamp) -> FleetFigures {
    assert!(worker.take_figures(EVERY, now).await.unwrap());
    let (taken_at, figures) = worker.figures().await.unwrap().unwrap();
    assert_eq!(taken_at, now);
    figures
}

fn queue(figures: &FleetFigures, name: &str) -> (u64, u64) {
    let queue = figures.queues.iter().find(|queue| queue.queue == name).unwrap();
    (queue.depth, queue.age_ms)
}

#[tokio::test]
async fn one_worker_takes_the_figures_and_every_worker_sees_them_until_they_are_due_again() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.store(Role::Worker).await, fixture.store(Role::Worker).await);
    assert_eq!(other.figures().await.unwrap(), None, "none were taken yet");
    let now = fixture.now();
    let (first, second) = tokio::join!(one.take_figures(EVERY, now), other.take_figures(EVERY, now));
    assert!(first.unwrap() ^ second.unwrap(), "both or neither took them");
    assert_eq!(one.figures().await.unwrap(), other.figures().await.unwrap());
    assert!(!one.take_figures(EVERY, now + EVERY - TimeDelta::seconds(1)).await.unwrap());
    assert!(one.take_figures(EVERY, now + EVERY).await.unwrap());
}

#[tokio::test]
async fn served_certificates_count_by_days_left_once_their_renewal_is_due() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    for name in ["a.example", "b.example"] {
        let domain = fixture.domain(&api, tenant, name).await;
        fixture.serve(&worker, &domain).await;
    }
    // Of the one that has a certificate which nobody serves, nothing is counted.
    let unserved = fixture.domain(&api, tenant, "c.example").await;
    let lease = fixture.claim(&worker, unserved.id).await;
    fixture.issue(&worker, &lease).await;
    let begin = fixture.now();
    let expected = [
        (59, 0, [0, 0, 0, 0, 0]),
        (60, 2, [0, 0, 0, 0, 2]),
        (75, 2, [0, 0, 0, 0, 2]),
        (76, 2, [0, 0, 0, 2, 2]),
        (83, 2, [0, 0, 2, 2, 2]),
        (89, 2, [0, 2, 2, 2, 2]),
        (90, 2, [2, 2, 2, 2, 2]),
    ];
    assert_eq!(EXPIRY_DAYS, [0, 1, 7, 14, 30]);
    for (day, due, expiring) in expected {
        let figures = figures(&worker, begin + TimeDelta::days(day)).await;
        assert_eq!((figures.renewals_due, figures.expiring), (due, expiring.to_vec()), "on day {day}");
    }
}

#[tokio::test]
async fn queues_and_feeds_say_how_much_waits_and_for_how_long() {
    let fixture = Fixture::new().await;
    let (api, edge) = (fixture.store(Role::Api).await, fixture.store(Role::Edge).await);
    let worker = fixture.store(Role::Worker).await;
    let tenant = fixture.tenant(&api).await;
    let served = fixture.domain(&api, tenant, "a.example").await;
    let revision = fixture.serve(&worker, &served).await;
    let (node, begin) = (fixture.edge_node(&edge).await, fixture.now());
    edge.acknowledge(node, revision, begin, TimeDelta::minutes(5)).await.unwrap();
    let quiet = figures(&worker, begin).await;
    let feed = |figures: &FleetFigures| {
        let feed = figures.feeds.iter().find(|feed| feed.kind == "edge").unwrap();
        (feed.alive, feed.silent, feed.head - feed.lowest)
    };
    assert_eq!(feed(&quiet), (1, 0, 0));
    assert_eq!(queue(&quiet, "domains"), (0, 0));
    fixture.set_policy(&api, &served, policy(Mode::Testing, &["mx2.example.net"], 86_400)).await;
    let late = figures(&worker, begin + TimeDelta::minutes(1)).await;
    assert_eq!(feed(&late), (1, 0, 1), "the edge is one revision behind");
    assert_eq!(queue(&late, "domains"), (1, 60_000));
    let silent = figures(&worker, begin + TimeDelta::minutes(6)).await;
    assert_eq!(feed(&silent), (0, 1, 0), "an edge that may be gone is no lag, and is waited for");
    for name in ["reports", "alerts", "digests", "webhooks", "operations"] {
        assert_eq!(queue(&silent, name), (0, 0), "{name}");
    }
}

/// Often enough for Postgres to try the generic plan of a prepared statement.
#[tokio::test]
async fn no_figure_is_counted_by_reading_a_table_from_end_to_end() {
    let fixture = Fixture::new().await;
    fixture.database.psql(LOAD).await;
    fixture
        .database
        .psql("INSERT INTO report_alert_queue SELECT uid('dom', i), ten(i), '2027-01-01' FROM n; ANALYZE report_alert_queue")
        .await;
    let before = scans(&fixture).await;
    let worker = fixture.store_of(Role::Worker, 1).await;
    for _ in 0..8 {
        assert!(worker.take_figures(TimeDelta::zero(), fixture.now()).await.unwrap());
    }
    let (_, figures) = worker.figures().await.unwrap().unwrap();
    assert_eq!(queue(&figures, "domains").0, 3_000);
    assert!(queue(&figures, "webhooks").0 > 9_000);
    drop(worker);
    let after = scans(&fixture).await;
    for (table, _) in after.iter().filter(|(table, scans)| before.get(*table) != Some(scans)) {
        let rows = fixture.database.psql(&format!("SELECT count(*) FROM (SELECT FROM {table} LIMIT 2) rows")).await;
        assert_eq!(rows.trim(), "0", "{table} was read from end to end, and only what is empty may be");
    }
}
