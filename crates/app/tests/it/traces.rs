//! The trace of one change: from the call of the API, by way of the database, to worker and edge.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use mtasts_testkit::{Collector, Process, SeenSpan, Signal, wait_until};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::service::{OPERATOR_TOKEN, PATIENCE, Service, get};

const ROLES: [&str; 4] = ["edge", "nameserver", "worker", "api"];
const CALLERS: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A service whose roles export to a collector, with a domain that is published.
async fn traced(collector: &Collector, more: &str) -> (Service, Vec<Process>, String) {
    let mut service = Service::new().await;
    service.migrate();
    service.configure(&format!("[telemetry]\notlp_endpoint = \"{}\"\n{more}", collector.url()));
    let mut roles = Vec::new();
    for role in ROLES {
        roles.push(service.start(role).await);
    }
    service.sign_up().await;
    let id = service.register().await;
    service.delegate(&id).await;
    service.published(&id, "testing").await;
    (service, roles, id)
}

/// Sets the mode as a caller with a trace of its own.
async fn set_mode(service: &Service, id: &str, mode: &str) {
    let url = format!("http://127.0.0.1:{}/v1/domains/{id}/mode", service.ports.api);
    let authorization = format!("Authorization: Bearer {}", service.key);
    let traceparent = format!("traceparent: 00-{CALLERS}-00f067aa0ba902b7-01");
    let body = json!({ "mode": mode }).to_string();
    let arguments =
        ["-X", "PUT", "-H", &authorization, "-H", "Content-Type: application/json", "-H", &traceparent, "-d", &body];
    let (status, answer) = get(&url, &arguments).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    service.published(id, mode).await;
}

/// The trace of the change, once it has come to the end of its way.
async fn trace_of_change(collector: &Collector) -> Vec<SeenSpan> {
    let begun = Instant::now();
    loop {
        let spans = collector.spans();
        let change = spans.iter().find(|span| span.service == "mtasts-api" && span.attribute("method") == Some("PUT"));
        let trace: Vec<_> = spans
            .iter()
            .filter(|span| change.is_some_and(|change| span.trace_id == change.trace_id))
            .cloned()
            .collect();
        let is_there = |service: &str, step: &str| {
            trace
                .iter()
                .any(|span| span.service == service && (step.is_empty() || span.attribute("step") == Some(step)))
        };
        if is_there("mtasts-worker", "confirm-records") && is_there("mtasts-edge", "") {
            return trace;
        }
        let seen: Vec<_> = spans.iter().map(|span| (&span.service, &span.name, span.attribute("step"))).collect();
        assert!(
            begun.elapsed() < PATIENCE,
            "the trace is not whole: {trace:#?}\nof {} spans in {} requests: {seen:?}",
            spans.len(),
            collector.requests()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_policy_is_one_trace_across_api_worker_and_edge() {
    let collector = Collector::start();
    let (service, roles, id) = traced(&collector, "").await;
    set_mode(&service, &id, "none").await;
    let trace = trace_of_change(&collector).await;
    let services: BTreeSet<_> = trace.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(services, BTreeSet::from(["mtasts-api", "mtasts-edge", "mtasts-worker"]));
    let request = trace.iter().find(|span| span.service == "mtasts-api").unwrap();
    assert_eq!((request.name.as_str(), request.parent_id.as_str()), ("request", ""), "it begins here");
    assert_eq!(request.attribute("route"), Some("/v1/domains/{domain_id}/mode"));
    assert_eq!(request.attribute("http.response.status_code"), Some("200"));
    assert_ne!(request.trace_id, CALLERS, "a stranger's word decides on nothing");
    let taken = trace.iter().find(|span| span.service == "mtasts-edge").unwrap();
    assert_eq!((taken.name.as_str(), taken.parent_id.as_str()), ("take_over", request.span_id.as_str()));
    assert_eq!(taken.attribute("domain"), Some("customer.test"));
    for step in ["mark-served", "verify-served", "write-records", "confirm-records"] {
        let span = trace.iter().find(|span| span.attribute("step") == Some(step));
        let span = span.unwrap_or_else(|| panic!("no span of {step}: {trace:?}"));
        assert_eq!((span.name.as_str(), span.parent_id.as_str()), ("step", request.span_id.as_str()));
        assert_eq!(span.attribute("domain_id"), Some(id.as_str()));
    }
    logs_are_objects_that_name_the_trace(&service, &roles, &id, &request.trace_id);
    let told: Vec<String> =
        collector.spans().into_iter().flat_map(|span| span.attributes).map(|(_, value)| value).collect();
    assert_secretless(&service, &told.join("\n"));

    // An edge that reads everything anew takes nobody's change over.
    let at_edges = || collector.spans().iter().filter(|span| span.service == "mtasts-edge").count();
    let before = at_edges();
    drop(roles);
    std::fs::remove_dir_all(service.path("edge")).unwrap();
    let mut edge = service.start("edge").await;
    wait_until(PATIENCE, "the edge serves", || async { service.fetch_policy().await.is_some() }).await;
    // What it would tell it tells at its end.
    assert!(edge.stop(Signal::Terminate).success());
    assert_eq!(at_edges(), before);
}

/// Every line is an object that says who wrote it; the worker's lines on the change name the trace that the API's do.
fn logs_are_objects_that_name_the_trace(service: &Service, roles: &[Process], id: &str, trace_id: &str) {
    for (role, process) in ROLES.iter().zip(roles) {
        let log = process.log();
        assert_secretless(service, &log);
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{role} wrote {line:?}: {error}")))
            .collect();
        assert!(!lines.is_empty());
        for line in &lines {
            assert_eq!(line["role"], **role, "{line}");
            assert!(line["instance"].as_str().is_some_and(|name| !name.is_empty()), "{line}");
            assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        }
        let on_change: Vec<_> = lines.iter().filter(|line| line["span"]["trace_id"] == trace_id).collect();
        match *role {
            "api" => {
                let line = on_change.iter().find(|line| line["target"] == "mtasts_api::access").unwrap();
                assert_eq!(line["domain_id"], id);
                assert!(line["tenant_id"].is_string(), "{line}");
            }
            "worker" => {
                let line = on_change.iter().find(|line| line["message"] == "step done").unwrap();
                assert_eq!(line["span"]["domain_id"], id);
                assert!(line["span"]["tenant_id"].is_string(), "{line}");
            }
            _ => {}
        }
    }
}

/// Invariant 10.
fn assert_secretless(service: &Service, text: &str) {
    let key_ring = service.key_ring.split_once(':').unwrap().1;
    let url = service.database.url();
    let password = url.split_once("://").unwrap().1.split_once('@').unwrap().0.rsplit(':').next().unwrap();
    for secret in [OPERATOR_TOKEN, &service.key, key_ring, password] {
        assert!(!text.contains(secret), "a secret is told: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_trusted_takes_the_change_into_a_trace_of_its_own() {
    let collector = Collector::start();
    let (service, _roles, id) = traced(&collector, "callers = \"parent\"").await;
    set_mode(&service, &id, "none").await;
    let trace = trace_of_change(&collector).await;
    assert_eq!(trace[0].trace_id, CALLERS);
    let request = trace.iter().find(|span| span.service == "mtasts-api").unwrap();
    assert_eq!(request.parent_id, "00f067aa0ba902b7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_trace_is_linked_decides_on_nothing_and_is_found() {
    let collector = Collector::start();
    let (service, _roles, id) = traced(&collector, "callers = \"link\"").await;
    set_mode(&service, &id, "none").await;
    let trace = trace_of_change(&collector).await;
    assert_ne!(trace[0].trace_id, CALLERS);
    let request = trace.iter().find(|span| span.service == "mtasts-api").unwrap();
    assert_eq!((request.parent_id.as_str(), request.links.as_slice()), ("", &[CALLERS.to_owned()][..]));
}
