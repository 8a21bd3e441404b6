//! A database that was restored from a backup (THREATS, fault 5).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mtasts_testkit::{Signal, free_port, wait_until};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::service::{PATIENCE, Service, fetch_policy, get, mtasts};

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Takes a backup of all that the database has.
pub(crate) fn back_up(service: &Service) -> PathBuf {
    let backup = service.path("backup.sql");
    run("pg_dump", &["--file", backup.to_str().unwrap(), &service.database.url()]);
    backup
}

/// Puts that in the place of all that there is, in one transaction.
pub(crate) fn restore(service: &Service, backup: &Path) {
    let (url, backup) = (service.database.url(), backup.to_str().unwrap());
    let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    run("psql", &["-XqAt", "-1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-c", empty, "-f", backup, &url]);
}

/// Runs `mtasts admin` with these words, and gives what it says.
pub(crate) fn admin(service: &Service, words: &[&str]) -> String {
    let config = service.config();
    let output = mtasts(&[&["admin"], words, &["--config", config.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Fetches the policy again and again, as senders do.
pub(crate) struct Sender {
    done: Arc<AtomicBool>,
    fetches: JoinHandle<(BTreeSet<String>, usize)>,
}

impl Sender {
    pub(crate) fn start(service: &Service) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (port, root, until) = (service.ports.https, service.path("pebble-root.pem"), Arc::clone(&done));
        let fetches = tokio::spawn(async move {
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
        Self { done, fetches }
    }

    /// The bodies that came, and how many fetches failed.
    pub(crate) async fn stop(self) -> (BTreeSet<String>, usize) {
        self.done.store(true, Ordering::Release);
        self.fetches.await.unwrap()
    }
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
    let backup = back_up(&service);

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
    let sender = Sender::start(&service);
    restore(&service, &backup);
    wait_until(PATIENCE, "edge and nameserver have noticed", || async {
        [&edge, &nameserver].iter().all(|role| role.log().contains("mtasts admin recover` has yet to be run"))
    })
    .await;
    assert_eq!(service.fetch_policy().await.as_deref(), Some(&*new_body), "what is restored is older");
    assert_eq!(id_of(&service.dig_record().await), new_id);

    let out = admin(&service, &["recover"]);
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
    assert_eq!(
        sender.stop().await,
        (BTreeSet::from([new_body.clone()]), 0),
        "one body throughout, and no failed fetch"
    );
    let (_, audit) = service.rest("GET", "/v1/audit-events", None).await;
    let lines = audit["data"].as_array().cloned().unwrap_or_default();
    assert!(lines.iter().any(|line| line["action"] == "domain.recover"), "{audit}");
    admin(&service, &["recover", "--release"]);
    let released = "SELECT count(*) FROM nodes WHERE kind = 'edge'
        AND position >= (SELECT floor FROM feed_floors WHERE feed = 'edge')";
    wait_until(PATIENCE, "the edge has read everything anew", async || {
        service.database.psql(released).await.trim() == "1"
    })
    .await;
    assert_eq!(service.fetch_policy().await.as_deref(), Some(&*new_body));
    drop((edge, nameserver, roles));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_that_was_registered_after_the_backup_is_served_and_listed_until_the_edges_are_let_go() {
    let (service, roles) = Service::with_roles(["nameserver", "worker", "api"]).await;
    let [nameserver, mut worker, mut api] = roles;
    let port = free_port();
    let mut edge = service.spawn("edge", port);
    let ready = format!("http://127.0.0.1:{port}/readyz");
    edge.wait_until_ready(PATIENCE, async || get(&ready, &[]).await.is_some_and(|(status, _)| status == 200)).await;
    let backup = back_up(&service);
    let id = service.register().await;
    service.delegate(&id).await;
    service.published(&id, "testing").await;
    let (body, target) = (service.fetch_policy().await, service.bind.dig("mta-sts.customer.test", "CNAME").await);
    let listed = format!("127.0.0.1:{port}");
    assert_eq!(admin(&service, &["orphans", &listed]), "", "all is known");

    worker.stop(Signal::Terminate);
    api.stop(Signal::Terminate);
    restore(&service, &backup);
    let told = admin(&service, &["recover", "--edge", &listed]);
    let roles = [service.start("worker").await, service.start("api").await];
    let list = admin(&service, &["orphans", &listed]);
    assert!(told.contains(&list) && told.contains("1 domains are served that the database does not know"), "{told}");
    let line: serde_json::Value = serde_json::from_str(list.trim()).unwrap();
    assert_eq!((&line["domain"], &line["domain_id"]), (&json!("customer.test"), &json!(id)));
    assert_eq!((&line["tenant"], &line["mode"]), (&json!("Example"), &json!("testing")));
    assert!(target[0].starts_with(line["cname"].as_str().unwrap()), "{line} {target:?}");
    // Whatever else happens at the edge meanwhile.
    edge.stop(Signal::Terminate);
    let mut edge = service.spawn("edge", port);
    edge.wait_until_ready(PATIENCE, async || get(&ready, &[]).await.is_some_and(|(status, _)| status == 200)).await;
    assert_eq!(service.fetch_policy().await, body);

    admin(&service, &["recover", "--release"]);
    wait_until(PATIENCE, "what nobody knows is served no more", async || service.fetch_policy().await.is_none()).await;
    assert_eq!(admin(&service, &["orphans", &listed]), "");
    drop((edge, nameserver, roles));
}
