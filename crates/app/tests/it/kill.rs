//! SIGKILL of the worker at any moment (THREATS, fault 1).

use std::time::Duration;

use mtasts_testkit::{Signal, free_port};
use serde_json::json;

use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_again_and_again_leaves_one_certificate_and_one_id_for_each_version() {
    let (service, _roles) = Service::with_roles(["edge", "nameserver", "api"]).await;
    let id = service.register().await;
    let admin = free_port();
    let mut worker = service.spawn("worker", admin);
    service.delegate(&id).await;

    // Each life is a little longer than the one before, so that every step is somewhere cut in two.
    let policy = format!("/v1/domains/{id}/policy");
    let mut lives = 0;
    loop {
        lives += 1;
        assert!(lives < 60, "not published after {lives} lives; the last said:\n{}", worker.log());
        tokio::time::sleep(Duration::from_millis(150 + 40 * lives)).await;
        worker.stop(Signal::Kill);
        let (_, version) = service.rest("GET", &policy, None).await;
        let done = !version["published_at"].is_null();
        worker = service.spawn("worker", admin);
        if done {
            break;
        }
    }
    assert!(lives > 1, "it was published before the first kill: nothing was shown");
    let mode = json!({"mode": "none"});
    let (status, answer) = service.rest("PUT", &format!("/v1/domains/{id}/mode"), Some(mode)).await;
    assert!(status < 300, "{answer}");
    for life in 0..4 {
        tokio::time::sleep(Duration::from_millis(60 + 60 * life)).await;
        worker.stop(Signal::Kill);
        worker = service.spawn("worker", admin);
    }
    service.published(&id, "none").await;

    let count = |table: &str| format!("SELECT count(*) FROM {table}");
    assert_eq!(service.database.psql(&count("certificates")).await.trim(), "1");
    assert_eq!(service.database.psql(&count("acme_orders")).await.trim(), "1");
    assert_eq!(service.database.psql(&count("policy_versions")).await.trim(), "2");
    assert!(service.fetch_policy().await.unwrap().contains("mode: none"));
}
