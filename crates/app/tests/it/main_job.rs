//! From registration to publication, with each role in a process of its own.

use mtasts_testkit::{Signal, wait_until};
use serde_json::json;

use crate::service::{OPERATOR_TOKEN, PATIENCE, Service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_goes_from_registration_to_enforce_and_into_withdrawal_and_no_secret_is_seen() {
    let (service, mut roles) = Service::with_roles(["edge", "nameserver", "worker", "api"]).await;
    let id = service.register().await;
    service.condition(&id, "Delegated", "False").await;
    assert!(service.fetch_policy().await.is_none(), "nothing is served before the delegation");

    service.delegate(&id).await;
    let first = service.published(&id, "testing").await;
    let text = service.fetch_policy().await.expect("the policy over verified TLS");
    assert_eq!(text, "version: STSv1\r\nmode: testing\r\nmx: mail.customer.test\r\nmax_age: 604800\r\n");
    let record = |id: &serde_json::Value| format!("\"v=STSv1; id={};\"", id.as_str().unwrap());
    assert_eq!(service.dig_record().await, record(&first["policy_id"]));

    // No MX listens here, so there is no proof; with a reason it can be forced.
    let path = format!("/v1/domains/{id}/mode");
    let (status, problem) = service.rest("PUT", &path, Some(json!({"mode": "enforce"}))).await;
    assert_eq!(status, 409, "{problem}");
    let forced = json!({"mode": "enforce", "force": true, "reason": "a test"});
    let (status, answer) = service.rest("PUT", &path, Some(forced)).await;
    assert!(status < 300, "{answer}");
    let second = service.published(&id, "enforce").await;
    assert_ne!(second["policy_id"], first["policy_id"]);
    assert!(service.fetch_policy().await.unwrap().contains("mode: enforce\r\n"));
    assert_eq!(service.dig_record().await, record(&second["policy_id"]));
    let (served, published) = (second["served_at"].as_str().unwrap(), second["published_at"].as_str().unwrap());
    assert!(served < published, "body first ({served}), id second ({published})");

    let (status, _) = service.rest("DELETE", &format!("/v1/domains/{id}"), None).await;
    assert_eq!(status, 202);
    let third = service.published(&id, "none").await;
    assert!(service.fetch_policy().await.unwrap().contains("mode: none\r\n"), "the host goes on answering");
    assert_eq!(service.dig_record().await, record(&third["policy_id"]));

    // Invariant 10: canaries in logs and columns.
    let mut seen: String = roles.iter().map(mtasts_testkit::Process::log).collect();
    for role in &mut roles {
        assert!(role.stop(Signal::Terminate).success(), "{}", role.log());
    }
    let dump = tokio::process::Command::new("pg_dump").arg(service.database.url()).output().await.unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    seen.push_str(&String::from_utf8_lossy(&dump.stdout));
    let ring_secret = service.key_ring.split_once(':').unwrap().1;
    for secret in [OPERATOR_TOKEN, &service.key, ring_secret, "PRIVATE KEY"] {
        assert!(!seen.contains(secret), "a secret was written down: {secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_edge_holds_the_id_back_until_it_has_the_policy() {
    let (service, mut roles) = Service::with_roles(["edge", "nameserver", "worker", "api"]).await;
    let id = service.register().await;
    service.delegate(&id).await;
    let first = service.published(&id, "testing").await;

    // Frozen, not dead: its lease and then its grace go on.
    roles[0].send(Signal::Stop);
    let body = json!({"mode": "none"});
    let (status, answer) = service.rest("PUT", &format!("/v1/domains/{id}/mode"), Some(body)).await;
    assert!(status < 300, "{answer}");
    let still = format!("\"v=STSv1; id={};\"", first["policy_id"].as_str().unwrap());
    for _ in 0..20 {
        assert_eq!(service.dig_record().await, still, "invariant 1: an edge lacks the version");
        let (_, policy) = service.rest("GET", &format!("/v1/domains/{id}/policy"), None).await;
        assert!(policy["served_at"].is_null() && policy["published_at"].is_null(), "{policy}");
    }
    roles[0].send(Signal::Continue);
    service.published(&id, "none").await;
    wait_until(PATIENCE, "the edge serves the new policy", || async {
        service.fetch_policy().await.is_some_and(|text| text.contains("mode: none"))
    })
    .await;
}
