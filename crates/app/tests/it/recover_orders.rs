//! A backup that was taken while an order was under way (THREATS, fault 5).

use std::fs;

use mtasts_testkit::{Process, Signal, wait_until};
use serde_json::json;

use crate::{
    recover::{Sender, admin, back_up, restore},
    service::{PATIENCE, Service},
};

const ORDERS: &str =
    "SELECT count(*), count(*) FILTER (WHERE closed_at IS NULL), count(*) FILTER (WHERE problem IS NOT NULL),
    (SELECT count(*) FROM failed_validations) FROM acme_orders";

/// A service whose order waits for its edge, which is frozen, so that a backup can be taken.
async fn with_an_order_under_way() -> (Service, [Process; 4], String) {
    let (service, mut roles) = Service::with_roles(["edge", "nameserver", "worker", "api"]).await;
    let id = service.register().await;
    roles[0].send(Signal::Stop);
    service.delegate(&id).await;
    let waits = "SELECT count(*) FROM acme_orders WHERE state = 'challenge-published'";
    wait_until(PATIENCE, "an order is under way", async || service.database.psql(waits).await.trim() == "1").await;
    (service, roles, id)
}

/// Total, live, closed without a certificate; failed validations.
async fn orders(service: &Service) -> String {
    service.database.psql(ORDERS).await.trim().to_owned()
}

async fn serial(service: &Service) -> String {
    let newest = "SELECT c.serial FROM certificates c JOIN domains d ON d.certificate_id = c.id";
    service.database.psql(newest).await.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_still_pending_at_the_ca_goes_on_and_its_answer_is_at_the_edges_first() {
    let (service, roles, id) = with_an_order_under_way().await;
    let backup = back_up(&service);
    let [mut edge, nameserver, mut worker, mut api] = roles;
    worker.stop(Signal::Terminate);
    api.stop(Signal::Terminate);
    // What edges have of it is gone: after the backup the order was given up, and the edge was told so.
    edge.send(Signal::Continue);
    service
        .database
        .psql(
            "UPDATE edge_entries SET challenge = NULL, order_id = NULL, revision = next_edge_revision()
                WHERE kind = 'challenge';
            NOTIFY mtasts_edge",
        )
        .await;
    let told = "SELECT count(*) FROM nodes WHERE kind = 'edge' AND position >= (SELECT last_value FROM edge_revisions)";
    wait_until(PATIENCE, "the edge has no answer any more", async || service.database.psql(told).await.trim() == "1")
        .await;
    restore(&service, &backup);
    admin(&service, &["recover"]);
    let roles = [service.start("worker").await, service.start("api").await];
    service.published(&id, "testing").await;
    assert_eq!(orders(&service).await, "1|0|0|0", "the same order, and no validation that failed");
    assert!(service.fetch_policy().await.is_some());
    drop((edge, nameserver, roles));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_finished_meanwhile_gives_its_certificate_again_and_the_edge_never_stops_serving() {
    let (service, roles, id) = with_an_order_under_way().await;
    let backup = back_up(&service);
    let [mut edge, nameserver, mut worker, mut api] = roles;
    edge.send(Signal::Continue);
    service.published(&id, "testing").await;
    let (body, issued) = (service.fetch_policy().await.unwrap(), serial(&service).await);
    worker.stop(Signal::Terminate);
    api.stop(Signal::Terminate);

    let sender = Sender::start(&service);
    restore(&service, &backup);
    assert_eq!(serial(&service).await, "", "the backup has no certificate");
    admin(&service, &["recover"]);
    // Also an edge that reads everything anew keeps what the database knows to be of this registration.
    admin(&service, &["recover", "--release"]);
    let behind = "SELECT count(*) FROM nodes WHERE kind = 'edge'
        AND position >= (SELECT floor FROM feed_floors WHERE feed = 'edge')";
    wait_until(PATIENCE, "the edge has read everything anew", async || {
        service.database.psql(behind).await.trim() == "1"
    })
    .await;
    let roles = [service.start("worker").await, service.start("api").await];
    service.published(&id, "testing").await;
    assert_eq!(orders(&service).await, "1|0|0|0");
    assert_eq!(serial(&service).await, issued, "what the CA had issued for that order");
    assert_eq!(sender.stop().await, ([body].into(), 0), "one body throughout, and no failed fetch");
    drop((edge, nameserver, roles));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_the_ca_has_forgotten_with_the_account_is_replaced_once() {
    let (mut service, roles, id) = with_an_order_under_way().await;
    let backup = back_up(&service);
    let [mut edge, nameserver, mut worker, mut api] = roles;
    edge.send(Signal::Continue);
    service.published(&id, "testing").await;
    let body = service.fetch_policy().await.unwrap();
    worker.stop(Signal::Terminate);
    api.stop(Signal::Terminate);

    let former = service.pebble.root().await;
    service.pebble.restart().await;
    // Beside it first: senders read the file all the time.
    fs::write(service.path("roots.pem"), former + &service.pebble.root().await).unwrap();
    fs::rename(service.path("roots.pem"), service.path("pebble-root.pem")).unwrap();
    let sender = Sender::start(&service);
    restore(&service, &backup);
    admin(&service, &["recover"]);
    let roles = [service.start("worker").await, service.start("api").await];
    wait_until(PATIENCE, "the order is closed", async || orders(&service).await == "1|0|1|0").await;
    // The next one is placed after a minute, or when the tenant asks, which counts every few seconds.
    let verify = format!("/v1/domains/{id}/verify");
    wait_until(PATIENCE, "another one is placed", async || {
        let (status, _) = service.rest("POST", &verify, Some(json!({}))).await;
        status == 202 && orders(&service).await.starts_with("2|")
    })
    .await;
    service.published(&id, "testing").await;
    assert_eq!(orders(&service).await, "2|0|1|0", "one that was forgotten, one that was finished");
    assert_eq!(sender.stop().await, ([body].into(), 0), "one body throughout, and no failed fetch");
    drop((edge, nameserver, roles));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_that_was_delegated_after_the_backup_is_served_until_it_has_a_certificate_again() {
    let (service, roles) = Service::with_roles(["edge", "nameserver", "worker", "api"]).await;
    let [edge, nameserver, mut worker, mut api] = roles;
    let id = service.register().await;
    let backup = back_up(&service);
    service.delegate(&id).await;
    service.published(&id, "testing").await;
    let (body, issued) = (service.fetch_policy().await.unwrap(), serial(&service).await);
    worker.stop(Signal::Terminate);
    api.stop(Signal::Terminate);

    let sender = Sender::start(&service);
    restore(&service, &backup);
    admin(&service, &["recover"]);
    let roles = [service.start("worker").await, service.start("api").await];
    service.published(&id, "testing").await;
    assert_eq!(orders(&service).await, "1|0|0|0");
    assert_ne!(serial(&service).await, issued, "another one, which the database knows");
    assert_eq!(sender.stop().await, ([body].into(), 0), "one body throughout, and no failed fetch");
    drop((edge, nameserver, roles));
}
