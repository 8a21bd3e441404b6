//! Postgres away (THREATS, faults 3 and 8).

use mtasts_testkit::{Signal, wait_until};
use serde_json::json;

use crate::service::{PATIENCE, Service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_edge_and_nameserver_serve_on_also_after_a_restart_and_the_api_answers_503() {
    let (service, roles) = Service::with_roles(["edge", "nameserver", "worker", "api"]).await;
    let [mut edge, mut nameserver, worker, api] = roles;
    let id = service.register().await;
    service.delegate(&id).await;
    service.published(&id, "testing").await;
    let (policy, record) = (service.fetch_policy().await.unwrap(), service.dig_record().await);

    service.gate.shut();
    wait_until(PATIENCE, "the API answers 503", || async {
        let (status, problem) = service.rest("GET", &format!("/v1/domains/{id}"), None).await;
        status == 503 && problem["type"].as_str().is_some_and(|kind| kind.contains("/problems/"))
    })
    .await;
    assert_eq!(service.fetch_policy().await.as_deref(), Some(&*policy));
    assert_eq!(service.dig_record().await, record);

    // A cold start with everything else away; SIGKILL, so that nothing was put in order before.
    edge.stop(Signal::Kill);
    nameserver.stop(Signal::Kill);
    let edge = service.start("edge").await;
    let nameserver = service.start("nameserver").await;
    assert_eq!(service.fetch_policy().await.as_deref(), Some(&*policy));
    assert_eq!(service.dig_record().await, record);

    service.gate.open();
    let mode = json!({"mode": "none"});
    wait_until(PATIENCE, "the API takes a change again", || async {
        let (status, _) = service.rest("PUT", &format!("/v1/domains/{id}/mode"), Some(mode.clone())).await;
        status < 300
    })
    .await;
    service.published(&id, "none").await;
    assert!(service.fetch_policy().await.unwrap().contains("mode: none"));
    drop((edge, nameserver, worker, api));
}
