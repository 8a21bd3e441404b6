//! A database that was restored from a backup (THREATS, fault 5).

use std::{
    collections::BTreeSet,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mtasts_testkit::{Signal, wait_until};
use serde_json::json;

use crate::service::{PATIENCE, Service, fetch_policy, mtasts};

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The id within a TXT record.
fn id_of(record: &str) -> String {
    record.split("id=").nth(1).unwrap().trim_end_matches([';', '"']).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_edges_serve_on_and_converge_under_an_id_that_nobody_has_seen() {
    let (service, roles) = Service::with_roles(["edge", "nameserver", "worker", "api"]).await;
    let [edge, nameserver, mut worker, mut api] = roles;
    let id = service.register().await;
    service.delegate(&id).await;
    service.published(&id, "testing").await;
    let (old_body, old_id) = (service.fetch_policy().await.unwrap(), id_of(&service.dig_record().await));
    let backup = service.path("backup.sql");
    let (url, backup) = (service.database.url(), backup.to_str().unwrap().to_owned());
    run("pg_dump", &["--file", &backup, &url]);

    // What the backup does not know: a policy, a certificate, a domain.
    let (status, answer) = service
        .rest("PUT", &format!("/v1/domains/{id}/mode"), Some(json!({"mode": "enforce", "force": true, "reason": "x"})))
        .await;
    assert!(status < 300, "{answer}");
    service.published(&id, "enforce").await;
    let served = "SELECT certificate_id FROM edge_entries WHERE name = 'customer.test' AND kind = 'host'";
    let first_certificate = service.database.psql(served).await;
    service.database.psql("UPDATE certificates SET renew_at = now() - interval '1 day', advice_due_at = NULL").await;
    service.database.psql("UPDATE domain_schedule SET wake_at = '-infinity', woken = true").await;
    wait_until(PATIENCE, "the renewed certificate is served", || async {
        service.database.psql(served).await != first_certificate
    })
    .await;
    let other = json!({"name": "other.test"});
    let (status, other) = service.rest("POST", "/v1/domains", Some(other)).await;
    assert_eq!(status, 201, "{other}");
    let (new_body, new_id) = (service.fetch_policy().await.unwrap(), id_of(&service.dig_record().await));
    assert!(new_body != old_body && new_id != old_id && new_body.contains("enforce"));

    // As docs/backup.md says it.
    worker.stop(Signal::Terminate);
    api.stop(Signal::Terminate);
    let done = Arc::new(AtomicBool::new(false));
    let (port, root, until) = (service.ports.https, service.path("pebble-root.pem"), Arc::clone(&done));
    let sender = tokio::spawn(async move {
        let (mut seen, mut failures) = (BTreeSet::new(), 0);
        while !until.load(Ordering::Acquire) {
            match fetch_policy(port, &root).await {
                Some(body) => _ = seen.insert(body),
                None => failures += 1,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (seen, failures)
    });
    let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    run("psql", &["-XqAt", "-1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-c", empty, "-f", &backup, &url]);
    wait_until(PATIENCE, "edge and nameserver have noticed", || async {
        [&edge, &nameserver].iter().all(|role| role.log().contains("mtasts admin recover` has yet to be run"))
    })
    .await;
    assert_eq!(service.fetch_policy().await.as_deref(), Some(&*new_body), "what is restored is older");
    assert_eq!(id_of(&service.dig_record().await), new_id);

    let config = service.config();
    let output = mtasts(&["admin", "recover", "--config", config.to_str().unwrap()]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(out.contains("1 domains looked at: 1 have a fresh policy id; 1 had an id in the zone"), "{out}");
    assert!(out.contains("1 of these go on with the policy that was found"), "{out}");
    let roles = [service.start("worker").await, service.start("api").await];

    let policy = service.published(&id, "enforce").await;
    let fresh_id = policy["policy_id"].as_str().unwrap();
    assert_eq!(id_of(&service.dig_record().await), fresh_id);
    assert!(fresh_id > new_id.as_str() && fresh_id != old_id, "{old_id} {new_id} {fresh_id}");
    assert_eq!(service.fetch_policy().await.as_deref(), Some(&*new_body));
    let (status, _) = service.rest("GET", &format!("/v1/domains/{}", other["id"].as_str().unwrap()), None).await;
    assert_eq!(status, 404, "what was registered after the backup is gone");
    let behind = "SELECT count(*) FROM nodes n JOIN feed_floors f
        ON f.feed = CASE n.kind WHEN 'edge' THEN 'edge' ELSE 'zone' END WHERE n.position < f.floor";
    wait_until(PATIENCE, "all followers have read everything anew", || async {
        service.database.psql(behind).await.trim() == "0"
    })
    .await;
    // Senders may hold what the backup does not know for as long as a policy can last.
    let held = service.database.psql("SELECT held_until > now() + interval '364 days' FROM domains").await;
    assert_eq!(held.trim(), "t");
    done.store(true, Ordering::Release);
    let (seen, failures) = sender.await.unwrap();
    assert_eq!((seen, failures), (BTreeSet::from([new_body]), 0), "one body throughout, and no failed fetch");
    let (_, audit) = service.rest("GET", "/v1/audit-events", None).await;
    let lines = audit["data"].as_array().cloned().unwrap_or_default();
    assert!(lines.iter().any(|line| line["action"] == "domain.recover"), "{audit}");
    drop((edge, nameserver, roles));
}
