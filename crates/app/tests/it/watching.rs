//! What a running installation shows of itself.

use std::{collections::BTreeSet, fs, path::Path};

use mtasts_testkit::{Process, free_port, wait_for, wait_until};

use crate::service::{PATIENCE, Service, get};

/// A role and its admin port.
pub(crate) async fn start(service: &Service, role: &str) -> (Process, u16) {
    let admin = free_port();
    let mut process = service.spawn(role, admin);
    let ready = format!("http://127.0.0.1:{admin}/readyz");
    process.wait_until_ready(PATIENCE, async || get(&ready, &[]).await.is_some_and(|(status, _)| status == 200)).await;
    (process, admin)
}

async fn metrics(admin: u16) -> String {
    let (status, text) = get(&format!("http://127.0.0.1:{admin}/metrics"), &[]).await.unwrap();
    assert_eq!(status, 200);
    text
}

/// The names in `docs/metrics.md`.
fn listed() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_shows_its_metrics_and_each_is_described_and_listed() {
    let mut service = Service::new().await;
    service.migrate();
    service.configure("[reports]\nhost = \"reports.sts.test\"\naddresses = [\"127.0.0.1\"]");
    let (smtp, http) = (free_port(), free_port());
    service.configure(&format!(
        "[intake]\nsmtp_listen = [\"127.0.0.1:{smtp}\"]\nhttps_listen = []\nhttp_listen = [\"127.0.0.1:{http}\"]"
    ));
    let mut roles = Vec::new();
    for role in ["edge", "nameserver", "worker", "api", "intake"] {
        roles.push((role, start(&service, role).await));
    }
    service.sign_up().await;
    let id = service.register().await;
    service.delegate(&id).await;
    service.published(&id, "testing").await;
    let (status, _) =
        service.rest("PUT", &format!("/v1/domains/{id}/mode"), Some(serde_json::json!({"mode": "none"}))).await;
    assert_eq!(status, 200);
    service.published(&id, "none").await;
    assert!(service.fetch_policy().await.is_some());
    let listed = listed();
    for (role, (_, admin)) in &roles {
        let text = metrics(*admin).await;
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap();
            assert!(listed.contains(name), "{role} shows {name}, which nobody has listed");
            assert!(text.contains(&format!("# HELP {name} ")), "{role} does not say what {name} is");
        }
        let lines = [
            format!("mtasts_role_ready{{role=\"{role}\"}} 1"),
            format!("mtasts_database_up{{role=\"{role}\"}} 1"),
            "mtasts_build_info{".to_owned(),
            format!("mtasts_database_connections_max{{role=\"{role}\"}} 16"),
        ];
        // Asked every ten seconds, and a busy machine may answer late once.
        wait_until(PATIENCE, &format!("{role} shows how it is"), || async {
            let text = metrics(*admin).await;
            lines.iter().all(|line| text.contains(line))
        })
        .await;
        // A stranger's words, or a tenant's, would make series without end.
        assert!(!text.contains("customer.test"), "{role} tells of a domain: {text}");
    }
    let shown = async |role: &str| metrics(roles.iter().find(|(name, _)| *name == role).unwrap().1.1).await;
    let edge = shown("edge").await;
    assert!(edge.contains("mtasts_edge_handshakes_total{outcome=\"full\"}"), "{edge}");
    assert!(edge.contains("mtasts_edge_handshake_seconds_count"), "{edge}");
    let api = shown("api").await;
    assert!(
        api.contains(
            "mtasts_api_requests_total{route=\"/v1/domains/{domain_id}/mode\",method=\"PUT\",status=\"200\"} 1"
        ),
        "{api}"
    );
    assert!(api.contains("mtasts_api_requests_in_flight 0"), "{api}");
    let worker = shown("worker").await;
    for series in [
        "mtasts_worker_policy_published_seconds_bucket{change=\"first\",le=\"5\"}",
        "mtasts_worker_policy_served_seconds_count{change=\"later\"} 1",
        "mtasts_acme_request_seconds_count",
    ] {
        assert!(worker.contains(series), "no {series}: {worker}");
    }
    wait_until(PATIENCE, "the worker shows figures of the installation", || async {
        let worker = shown("worker").await;
        worker.contains("mtasts_nodes{kind=\"edge\",state=\"alive\"} 1")
            && worker.contains("mtasts_queue_depth{queue=\"domains\"}")
    })
    .await;
    // What nobody answers for is told as well.
    service.gate.shut();
    let lost = wait_for(PATIENCE, "the API says that its database is away", || async {
        let api = shown("api").await;
        api.contains("mtasts_database_up{role=\"api\"} 0").then_some(api)
    })
    .await;
    assert!(lost.contains("mtasts_role_ready{role=\"api\"} 1"), "{lost}");
}
