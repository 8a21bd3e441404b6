//! Answers that the service gives on bad days, or that come from somebody else.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{Desk, Said};

const KEY: &str = "mts_live_canary0123456789";
const RULE: &str = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nConnection: close\r\n";

/// Gives these answers, one to each connection, and then gives back what was asked.
pub(super) fn scripted(answers: Vec<String>, talk: impl FnOnce(&Desk)) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::new(format!("http://{}/base/", listener.local_addr().unwrap()), KEY);
    let server = thread::spawn(move || {
        let answer = |text: String| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // The body, where there is one, comes with the head or right after it.
            while !is_whole(&request) {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the client went away");
                request.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(text.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        };
        answers.into_iter().map(answer).collect()
    });
    talk(&desk);
    server.join().unwrap()
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

pub(super) fn run(desk: &Desk, arguments: &[&str]) -> Said {
    let api = ["--api", &desk.api];
    desk.finish(desk.command(&[arguments, &api].concat()).env("MTASTS_API_KEY", KEY), "")
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn problem(status: &str, code: &str, retry_after: &str) -> String {
    let body = format!(
        r#"{{"title": "T", "detail": "D\u001b[2J", "code": "{code}", "request_id": "r-1", "type": "x", "status": 1}}"#
    );
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nRetry-After: {retry_after}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn ok(body: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn readiness_tells_every_reason_with_what_to_do_and_its_exit_code_the_verdict() {
    let body = |ready: bool| {
        format!(
            r#"{{"ready": {ready}, "proven": false, "reasons": [{{"host": "mx.test", "code": "mx-not-covered",
                "weight": "blocking", "message": "not covered", "what_to_do": "add it"}}]}}"#
        )
    };
    let arguments = ["domains", "readiness", "dom_1"];
    let requests = scripted(vec![ok(&body(false)), ok(&body(true))], |desk| {
        let unsafe_ = run(desk, &arguments);
        assert_eq!(unsafe_.code, 1, "{}", unsafe_.err);
        assert!(unsafe_.out.contains("mx.test: not covered (mx-not-covered)") && unsafe_.out.contains("add it"));
        assert_eq!(run(desk, &arguments).code, 0);
    });
    assert!(requests[0].starts_with("GET /base/v1/domains/dom_1/readiness "), "{}", requests[0]);
}

#[test]
fn what_senders_find_and_would_do_is_told_and_the_exit_code_is_the_verdict() {
    let found = r#"{"latest": {"looked_at": "2026-01-01T00:00:00Z", "good": false, "problem": {"code": "policy-status",
        "message": "the status is 404"}}, "data": [{"day": "2026-01-01", "looks": 2, "failed": 1, "problem": null}]}"#;
    let simulated = r#"{"loses_mail": true, "senders": [{"sender": "strict", "holds": null, "acts_by": "draft",
        "draft_from": null, "mail": "waits", "hosts": [{"host": "mx.test", "fate": "refuses", "reason": "mx-not-covered"}]}]}"#;
    let requests = scripted(vec![ok(found), ok(simulated)], |desk| {
        let checks = run(desk, &["domains", "checks", "dom_1"]);
        assert_eq!(checks.code, 1, "{}", checks.err);
        assert!(checks.out.contains("the status is 404 (policy-status)"), "{}", checks.out);
        let senders = run(desk, &["domains", "simulate", "dom_1", "--mode", "enforce", "--mx", "mx1.test"]);
        assert_eq!(senders.code, 1, "{}", senders.err);
        assert!(senders.out.contains("strict that holds nothing: mail waits"), "{}", senders.out);
        assert!(senders.out.contains("mx.test: refuses (mx-not-covered)"), "{}", senders.out);
    });
    assert!(requests[0].starts_with("GET /base/v1/domains/dom_1/checks "), "{}", requests[0]);
    assert!(requests[1].starts_with("POST /base/v1/domains/dom_1/policy:simulate "), "{}", requests[1]);
    assert!(requests[1].contains(r#""mode":"enforce","mx":["mx1.test"]"#), "{}", requests[1]);
}

#[test]
fn a_plan_is_started_shown_and_paused() {
    let body = r#"{"state": "running", "step": 1, "next_step_at": null, "finding": null, "waits_for": "12 of 100",
        "steps": [{"mode": "testing", "max_age": 86400, "days": 14}, {"mode": "enforce", "max_age": 86400, "days": 7}]}"#;
    let requests = scripted(vec![ok(body), ok(body), ok(body)], |desk| {
        let started = run(desk, &["rollout", "start", "dom_1", "--fall-back"]);
        assert_eq!(started.code, 0, "{}", started.err);
        assert!(started.out.contains("Step 1 of 2: running") && started.out.contains("12 of 100"), "{}", started.out);
        assert_eq!(run(desk, &["rollout", "pause", "dom_1"]).code, 0);
        assert_eq!(run(desk, &["rollout", "end", "dom_1"]).code, 0);
    });
    assert!(requests[0].starts_with("PUT /base/v1/domains/dom_1/rollout ") && requests[0].contains("\"testing\""));
    assert!(requests[1].starts_with("POST /base/v1/domains/dom_1/rollout:pause "), "{}", requests[1]);
    assert!(header(&requests[1], "idempotency-key").is_some());
    assert!(requests[2].starts_with("DELETE /base/v1/domains/dom_1/rollout "), "{}", requests[2]);
}

#[test]
fn a_post_that_is_limited_is_repeated_with_the_same_key_when_the_service_says() {
    let body = r#"{"id": "dns_1", "name": "ours", "zone": null, "provider": {"type": "cloudflare"}}"#;
    let created = format!("{RULE}Content-Length: {}\r\n\r\n{body}", body.len());
    let answers = vec![
        problem("429 Too Many Requests", "too-many", "1"),
        problem("409 Conflict", "idempotency-in-flight", "1"),
        created,
    ];
    let start = Instant::now();
    let requests = scripted(answers, |desk| {
        let mut command =
            desk.command(&["dns", "credentials", "add", "ours", "--provider", "cloudflare", "--api", &desk.api]);
        let said = desk.finish(command.env("MTASTS_API_KEY", KEY), "secret-token");
        assert_eq!(said.code, 0, "{}", said.err);
    });
    assert!(start.elapsed() >= Duration::from_secs(2), "Retry-After is honoured");
    let keys: Vec<_> = requests.iter().map(|request| header(request, "idempotency-key").unwrap()).collect();
    assert!(keys[0].len() == 32 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(requests.iter().all(|request| request.starts_with("POST /base/v1/dns-credentials HTTP/1.1")));
    assert!(requests.iter().all(|request| header(request, "authorization") == Some(&format!("Bearer {KEY}"))));
}

#[test]
fn a_provider_names_the_tenant_within_which_it_acts() {
    let page = r#"{"data": [], "next_cursor": null}"#;
    let listed = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}", page.len());
    let (one, other) = ("ten_0190c3a0b1c27d3e8f4051627384950a", "ten_0190c3a0b1c27d3e8f4051627384950b");
    let requests = scripted(vec![listed; 4], |desk| {
        let with = |tenant: &str, arguments: &[&str]| {
            let mut command = desk.command(&[&["domains", "list", "--api", &desk.api], arguments].concat());
            if !tenant.is_empty() {
                command.env("MTASTS_TENANT", tenant);
            }
            desk.finish(command.env("MTASTS_API_KEY", KEY), "").code
        };
        assert_eq!((with("", &[]), with("", &["--tenant", one])), (0, 0));
        assert_eq!((with(other, &[]), with(other, &["--tenant", one])), (0, 0));
        assert_eq!(with("", &["--tenant", "Acme"]), 2, "no request is made");
    });
    let named: Vec<_> = requests.iter().map(|request| header(request, "x-tenant")).collect();
    assert_eq!(named, [None, Some(one), Some(other), Some(one)]);
}

#[test]
fn a_rest_longer_than_our_patience_is_told_at_once() {
    let start = Instant::now();
    scripted(vec![problem("429 Too Many Requests", "too-many", "3600")], |desk| {
        let said = run(desk, &["domains", "list"]);
        assert_eq!(said.code, 5, "{}", said.err);
        assert!(said.err.contains("try again in 3600 s"), "{}", said.err);
        assert!(!said.err.contains('\u{1b}'), "what steers a terminal is taken out: {}", said.err);
    });
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn answers_of_somebody_else_are_named_and_redirects_are_not_followed() {
    let redirect =
        "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let page = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>";
    let requests = scripted(vec![redirect.to_owned(), page.to_owned()], |desk| {
        let said = run(desk, &["domains", "list"]);
        assert!(said.code == 5 && said.err.contains("302"), "{}", said.err);
        let said = run(desk, &["domains", "list"]);
        assert!(said.code == 5 && said.err.contains("cannot read"), "{}", said.err);
    });
    assert_eq!(requests.len(), 2);
}

#[test]
fn a_change_whose_answer_was_lost_is_repeated_unless_it_has_a_condition() {
    let policy = r#"{"id": "pol_2", "policy_id": "p2", "mode": "none", "text": "mode: none\n", "state": "pending",
        "reason": "mode-changed", "created_by": "key_1", "created_at": "now", "warnings": []}"#;
    let changed = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{policy}", policy.len());
    // An empty answer: the connection ends without a word.
    let requests = scripted(vec![String::new(), changed.clone()], |desk| {
        assert_eq!(run(desk, &["policy", "mode", "dom_1", "none"]).code, 0);
    });
    assert!(requests.iter().all(|request| request.starts_with("PUT /base/v1/domains/dom_1/mode ")));
    let domain = r#"{"policy": {}}"#;
    let domain = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{domain}", domain.len());
    let requests = scripted(vec![domain, String::new(), changed], |desk| {
        assert_eq!(run(desk, &["policy", "set", "dom_1", "--replace", "--mode", "none"]).code, 0);
    });
    // A whole policy replaces any, which is no condition that the first try could fail.
    assert!(requests[1..].iter().all(|request| header(request, "if-match") == Some("*")), "{requests:?}");
    let start = Instant::now();
    let requests = scripted(vec![String::new()], |desk| {
        let said = run(desk, &["policy", "mode", "dom_1", "none", "--if-version", "pol_1"]);
        assert!(said.code == 5 && said.err.contains("does not answer"), "{}", said.err);
    });
    assert_eq!(header(&requests[0], "if-match"), Some("\"pol_1\""));
    assert!(start.elapsed() < Duration::from_secs(20), "it was not tried again for the 30 seconds that others are");
}

#[test]
fn an_api_that_takes_calls_and_never_answers_is_away() {
    // The kernel takes the connection, and nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::new(format!("http://{}/", listener.local_addr().unwrap()), KEY);
    let said = run(&desk, &["watch", "dom_1", "--timeout", "1"]);
    assert!(said.code == 5 && said.err.contains("not answered within 1 s"), "{}", said.err);
}

#[test]
fn tls_is_verified_by_the_machines_trust_store() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let server = thread::spawn(move || {
        let asked = |_| {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let mut request = [0; 4096];
            // A client that does not trust the certificate sends an alert in place of a request.
            let Ok(read) = stream.read(&mut request) else { return String::new() };
            let body = r#"{"data": [], "next_cursor": null}"#;
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        };
        [0, 1].map(asked)
    });
    let desk = Desk::new(api, KEY);
    let start = Instant::now();
    let said = run(&desk, &["domains", "list"]);
    assert!(said.code == 5 && said.err.contains("certificate"), "{}", said.err);
    assert!(start.elapsed() < Duration::from_secs(20), "there is nothing to wait for");
    let roots = desk.folder.path().join("roots.pem");
    std::fs::write(&roots, own.cert.pem()).unwrap();
    let mut command = desk.command(&["domains", "list", "--api", &desk.api]);
    let said = desk.finish(command.env("MTASTS_API_KEY", KEY).env("SSL_CERT_FILE", &roots), "");
    assert_eq!(said.code, 0, "{}", said.err);
    let [untrusted, trusted] = server.join().unwrap();
    assert!(!untrusted.contains(KEY) && trusted.contains(KEY));
}
