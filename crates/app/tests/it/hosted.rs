//! The service's zone at somebody else's nameserver, and our own nameserver signing it.

use std::{fs, time::Duration};

use mtasts_testkit::{Bind, Process, Signal, wait_until};
use serde_json::{Value, json};

use crate::service::{PATIENCE, Service, mtasts};

const ZONE: &str = "sts.test";

fn out(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// With `[zones.main]` at this BIND.
async fn service_at(zone: &Bind) -> Service {
    let service = Service::with_zone_at(zone.address().port()).await;
    let (name, secret) = zone.key();
    let address = zone.address();
    service.configure(&format!(
        "[zones.main]\nprovider = \"rfc2136\"\nauthoritative = [\"{address}\"]\nkey_name = \"{name}\"\n\
         secret = \"{secret}\"\nrequests_per_second = 1000.0"
    ));
    service
}

async fn record_of(service: &Service, id: &str) -> String {
    let (_, domain) = service.rest("GET", &format!("/v1/domains/{id}"), None).await;
    let records = domain["delegation"]["records"].as_array().unwrap().clone();
    let record = records.iter().find(|record| record["purpose"] == json!("sts-record")).unwrap();
    record["target"].as_str().unwrap().to_owned()
}

fn id_of(policy: &Value) -> Vec<String> {
    vec![format!("\"v=STSv1; id={};\"", policy["policy_id"].as_str().unwrap())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_on_bind_is_written_swept_and_survives_workers_that_are_killed() {
    let zone = Bind::start(&[ZONE], &[]).await;
    let mut service = service_at(&zone).await;
    let config = fs::read_to_string(service.config()).unwrap();
    fs::write(service.config(), config.replace("lease_seconds = 2", "lease_seconds = 2\nsweep_seconds = 2")).unwrap();
    service.migrate();
    let _others = [service.start("api").await, service.start("edge").await];
    let mut worker: Process = service.start("worker").await;
    service.sign_up().await;

    let id = service.register().await;
    service.delegate(&id).await;
    let policy = service.published(&id, "testing").await;
    let record = record_of(&service, &id).await;
    assert_eq!(zone.dig(&record, "TXT").await, id_of(&policy));
    assert_eq!(zone.dig(&format!("x.edge.{ZONE}"), "A").await, ["127.0.0.1"], "the wildcard is there");

    // A stranger with the zone's key.
    zone.update(ZONE, &[&format!("delete {record} TXT"), &format!("add {record} 60 TXT \"v=STSv1; id=stranger;\"")])
        .await;
    wait_until(PATIENCE, "the sweep has put it right", || async { zone.dig(&record, "TXT").await == id_of(&policy) })
        .await;

    // Killed again and again while ids change: one version, one id, and the zone has the newest in the end.
    let mut newest = policy;
    for (round, mode) in ["none", "testing", "none", "testing"].into_iter().enumerate() {
        let (status, _) = service.rest("PUT", &format!("/v1/domains/{id}/mode"), Some(json!({ "mode": mode }))).await;
        assert_eq!(status, 200);
        tokio::time::sleep(Duration::from_millis(20 + 60 * round as u64)).await;
        worker.stop(Signal::Kill);
        worker = service.start("worker").await;
        newest = service.published(&id, mode).await;
        assert_eq!(zone.dig(&record, "TXT").await, id_of(&newest));
    }
    assert_eq!(newest["mode"], json!("testing"));

    let config = service.config();
    let config = config.to_str().unwrap();
    let checked = mtasts(&["admin", "zones", "check", "--config", config]);
    assert!(checked.status.success(), "{}{}", out(&checked.stdout), out(&checked.stderr));
    let listed = out(&mtasts(&["admin", "zones", "--config", config]).stdout);
    let line: Vec<_> = listed.lines().nth(1).unwrap().split_whitespace().map(str::to_owned).collect();
    assert_eq!(line[..6], ["main", ZONE, "1", "0", "0", "0"], "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_named_to_the_operator_and_at_the_domain() {
    let zone = Bind::start(&[ZONE], &[]).await;
    let mut service = service_at(&zone).await;
    service.migrate();
    let _others = [service.start("api").await, service.start("edge").await];
    let mut worker = service.start("worker").await;
    service.sign_up().await;
    let id = service.register().await;
    service.delegate(&id).await;
    let policy = service.published(&id, "testing").await;
    let record = record_of(&service, &id).await;
    worker.stop(Signal::Terminate);

    // The key was replaced at the server, and nobody told us.
    let (_, secret) = zone.key();
    let wrong = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let config = fs::read_to_string(service.config()).unwrap();
    fs::write(service.config(), config.replace(&secret, wrong)).unwrap();
    let path = service.config();
    let path = path.to_str().unwrap();
    let checked = mtasts(&["admin", "zones", "check", "--config", path]);
    assert!(!checked.status.success());
    assert!(out(&checked.stdout).contains("DnsProviderUnauthorized"), "{}", out(&checked.stdout));
    let _worker = service.start("worker").await;
    let (status, _) = service.rest("PUT", &format!("/v1/domains/{id}/mode"), Some(json!({ "mode": "none" }))).await;
    assert_eq!(status, 200);
    wait_until(PATIENCE, "the condition names the credential", || async {
        let (_, domain) = service.rest("GET", &format!("/v1/domains/{id}"), None).await;
        let conditions = domain["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| {
            condition["kind"] == json!("RecordPublished") && condition["reason"] == json!("DnsProviderUnauthorized")
        })
    })
    .await;
    assert_eq!(zone.dig(&record, "TXT").await, id_of(&policy), "the id has not moved");
    let listed = out(&mtasts(&["admin", "zones", "--config", path]).stdout);
    assert!(listed.contains("DnsProviderUnauthorized"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_is_drawn_sealed_and_signs_what_the_nameserver_answers() {
    let service = Service::new().await;
    service.migrate();
    let (config, key) = (service.config(), service.path("zone.key"));
    let (config, key) = (config.to_str().unwrap(), key.to_str().unwrap());
    let drawn = mtasts(&["admin", "dnssec", "draw-key", "--output", key, "--config", config]);
    assert!(drawn.status.success(), "{}", out(&drawn.stderr));
    let ds = out(&drawn.stdout).lines().nth(1).unwrap().to_owned();
    assert!(ds.starts_with("sts.test.") && ds.contains(" DS ") && ds.contains(" 13 2 "), "{ds}");
    let again = mtasts(&["admin", "dnssec", "draw-key", "--output", key, "--config", config]);
    assert!(!again.status.success(), "a key that is there is left alone");

    service.configure(&format!("[[nameserver.dnssec_keys]]\nfile = \"{key}\"\nkind = \"csk\""));
    assert_eq!(out(&mtasts(&["admin", "dnssec", "ds", "--config", config]).stdout).trim(), ds);
    let _nameserver = service.start("nameserver").await;
    let port = service.ports.nameserver.to_string();
    let dig = std::process::Command::new("dig")
        .args(["@127.0.0.1", "-p", &port, "+dnssec", "+norecurse", ZONE, "SOA"])
        .output()
        .unwrap();
    let text = out(&dig.stdout);
    assert!(text.contains("RRSIG") && text.contains("SOA 13"), "{text}");

    // Sealed: with another ring it is nothing.
    let other = out(&mtasts(&["admin", "generate-key"]).stdout).trim().to_owned();
    let text = fs::read_to_string(config).unwrap().replace(&service.key_ring, &other);
    fs::write(config, text).unwrap();
    let opened = mtasts(&["admin", "dnssec", "ds", "--config", config]);
    assert!(
        !opened.status.success() && out(&opened.stderr).contains("nameserver.dnssec_keys"),
        "{}",
        out(&opened.stderr)
    );
}
