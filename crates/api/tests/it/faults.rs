//! Postgres away, slow callers, and what is never shown.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mtasts_api::ProblemKind;
use mtasts_testkit::wait_until;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::service::{OPERATOR_TOKEN, Service};

/// A way to Postgres that can be cut.
struct Cable {
    listener: std::net::TcpListener,
    plugged: Arc<AtomicBool>,
}

impl Cable {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener, plugged: Arc::new(AtomicBool::new(true)) }
    }

    /// The URL by way of the cable.
    fn lay(self, url: &str) -> String {
        let server = url.split_once('@').expect("a login").1.split(['/', '?']).next().unwrap().to_owned();
        let address = self.listener.local_addr().unwrap().to_string();
        self.listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(self.listener).unwrap();
        let target = server.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, plugged) = (target.clone(), Arc::clone(&self.plugged));
                tokio::spawn(async move {
                    let cut = async {
                        while plugged.load(Ordering::SeqCst) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    };
                    let carry = async {
                        if let Ok(mut far) = TcpStream::connect(&target).await {
                            let _ = copy_bidirectional(&mut near, &mut far).await;
                        }
                    };
                    tokio::select! { () = cut => {}, () = carry => {} }
                });
            }
        });
        url.replacen(&server, &address, 1)
    }
}

#[tokio::test]
async fn while_postgres_is_away_every_operation_answers_503_and_then_works_again() {
    let cable = Cable::new();
    let plugged = Arc::clone(&cable.plugged);
    let service = Service::start_with(|_| {}, |url| cable.lay(&url)).await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    plugged.store(false, Ordering::SeqCst);
    wait_until(Duration::from_secs(20), "the API notices", async || tenant.get(&path).await.status == 503).await;
    for operation in service.spec.operations() {
        let path = operation.path_with(|name| match name {
            "tenant_id" => tenant.id.clone(),
            "domain_id" => "dom_00000000000070008000000000000000".to_owned(),
            "version_id" => "pol_00000000000070008000000000000000".to_owned(),
            "dns_credential_id" => "dns_00000000000070008000000000000000".to_owned(),
            _ => "key_00000000000070008000000000000000".to_owned(),
        });
        let token = if operation.scheme() == "operator_token" { OPERATOR_TOKEN } else { &tenant.key };
        let mut call = service.call(&operation.method, &path).token(token);
        if let Some(body) = service.spec.example_body(&operation) {
            call = call.json(&body);
        }
        let answer = call.send().await;
        answer.is_problem(503, "store-unavailable");
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }
    // What needs no store goes on.
    assert_eq!(service.call("GET", "/problems/").send().await.status, 200);
    service.call("GET", "/v1/domains").token("mts_live_nonsense").send().await.is_problem(401, "unauthenticated");
    plugged.store(true, Ordering::SeqCst);
    wait_until(Duration::from_secs(20), "the API works again", async || tenant.get(&path).await.status == 200).await;
}

#[tokio::test]
async fn a_malformed_key_never_reaches_the_database() {
    // Nothing listens there: any query would be a 503.
    let service = Service::start_with(|_| {}, |_| "postgres://nobody@127.0.0.1:1/none".to_owned()).await;
    for token in ["mts_live_", "mts_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaa", "x", "mts_test_a_b"] {
        service.call("GET", "/v1/tenant").token(token).send().await.is_problem(401, "unauthenticated");
    }
    service.call("GET", "/v1/tenants").token(OPERATOR_TOKEN).send().await.is_problem(503, "store-unavailable");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let service = Service::start_with(|config| config.body_deadline = Duration::from_millis(200), |url| url).await;
    let mut stream = TcpStream::connect(&service.address).await.unwrap();
    let head = format!(
        "POST /v1/tenants HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OPERATOR_TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{{"
    );
    let start = Instant::now();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"code\":\"body-too-slow\""), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_header_that_does_not_come_is_given_up() {
    let service = Service::start_with(|config| config.header_deadline = Duration::from_millis(300), |url| url).await;
    let mut stream = TcpStream::connect(&service.address).await.unwrap();
    stream.write_all(b"GET /v1/domains HTTP/1.1\r\nHost: a\r\nX-").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection is closed");
}

#[tokio::test]
async fn every_problem_type_leads_to_a_page() {
    let service = Service::start().await;
    let index = service.call("GET", "/problems/").send().await;
    assert_eq!((index.status, index.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for kind in ProblemKind::ALL {
        assert!(index.text.contains(&format!("href=\"{}\"", kind.slug())), "{} is not listed", kind.slug());
        let page = service.call("GET", &format!("/problems/{}", kind.slug())).send().await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains(kind.title()), "{}", kind.slug());
    }
    service.call("GET", "/problems/unheard-of").send().await.is_problem(404, "no-such-route");
}

#[tokio::test]
async fn the_documentation_is_served_without_the_outside_world() {
    let service = Service::start().await;
    for path in ["/", "/docs"] {
        let redirect = service.call("GET", path).send().await;
        assert_eq!((redirect.status, redirect.header("location")), (303, Some("docs/")));
    }
    let page = service.call("GET", "/docs/").send().await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("swagger-ui") && !page.text.contains("<script>"), "no script that the policy forbids");
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "no address outside: {}", page.text);
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
    let script = service.call("GET", "/docs/swagger-initializer.js").send().await;
    assert!(
        script.text.contains("\"validatorUrl\": \"none\"") && script.text.contains("/openapi.json"),
        "{}",
        script.text
    );
    let document = service.call("GET", "/openapi.json").send().await;
    assert_eq!(document.body, service.spec.0);
}

#[tokio::test]
async fn a_sane_request_id_comes_back_and_every_answer_has_one() {
    let service = Service::start().await;
    let echoed = service.call("GET", "/v1/domains").header("X-Request-Id", "my-id.1").send().await;
    assert_eq!((echoed.header("x-request-id"), echoed.body["request_id"].as_str()), (Some("my-id.1"), Some("my-id.1")));
    let replaced = service.call("GET", "/v1/domains").header("X-Request-Id", "<script>").send().await;
    assert!(replaced.header("x-request-id").unwrap().starts_with("req_"));
    assert_eq!(replaced.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(replaced.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_stop_lets_running_requests_end() {
    let mut service = Service::start().await;
    let tenant = service.tenant("one").await;
    let key = tenant.key.clone();
    let mut stream = TcpStream::connect(&service.address).await.unwrap();
    let body = "{\"name\": \"a.test\"}";
    let head = format!(
        "POST /v1/domains HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // An answer on another connection: by then the single worker has read the header above.
    assert_eq!(tenant.get("/v1/tenant").await.status, 200);
    let address = service.address.clone();
    let stopping = async {
        service.stop().await;
        assert!(TcpStream::connect(&address).await.is_err(), "nobody listens any more");
    };
    let finishing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = vec![0; 65_536];
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer[..length]));
    };
    tokio::time::timeout(Duration::from_secs(15), async { tokio::join!(stopping, finishing) }).await.expect("drains");
}

/// The answer to one request on a connection that is kept: its head, and an empty one at the end of the connection.
async fn head_of_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let mut octets = [0; 4096];
        let length = stream.read(&mut octets).await.unwrap_or_default();
        answer.extend(&octets[..length]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if length == 0 {
                return text;
            }
            continue;
        };
        let head = head.to_ascii_lowercase();
        let wanted =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
        if body.len() >= wanted {
            return head;
        }
        assert!(length > 0, "cut within its body: {text}");
    }
}

#[tokio::test]
async fn a_stop_tells_connections_in_use_to_end_and_loses_no_request_that_has_begun() {
    let mut service = Service::start().await;
    let tenant = service.tenant("one").await;
    let request = format!("GET /v1/tenant HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", tenant.key.clone());
    let mut kept = TcpStream::connect(&service.address).await.unwrap();
    kept.write_all(request.as_bytes()).await.unwrap();
    assert!(!head_of_answer(&mut kept).await.contains("connection: close"));
    // The next request is under way on one, and another has sent half of its first.
    let (begin, end) = request.as_bytes().split_at(40);
    kept.write_all(begin).await.unwrap();
    let mut fresh = TcpStream::connect(&service.address).await.unwrap();
    fresh.write_all(begin).await.unwrap();
    assert_eq!(tenant.get("/v1/tenant").await.status, 200);

    let finishing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for stream in [&mut kept, &mut fresh] {
            stream.write_all(end).await.unwrap();
            let head = head_of_answer(stream).await;
            assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head:?}");
            assert_eq!(head_of_answer(stream).await, "", "and it ends");
        }
    };
    let both = async { tokio::join!(service.stop(), finishing) };
    tokio::time::timeout(Duration::from_secs(15), both).await.expect("drains");
}
