//! What the log and the metrics say of requests, and what they never say (invariant 10).

use std::{
    io,
    sync::{Arc, Mutex},
};

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    dns_credentials::{unauthorized, unavailable},
    scripted::Reply,
    service::{OPERATOR_TOKEN, Service},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn log_and_metrics_name_the_request_and_never_a_secret() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(tracing::Level::DEBUG).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only test that sets one");
    let metrics = PrometheusBuilder::new().install_recorder().expect("the only test that installs one");
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test"})).await;
    let wrong = format!("{}x", tenant.key);
    service.call("GET", &path).token(&wrong).send().await.is_problem(401, "unauthenticated");
    tenant.call("GET", &path).header("X-Request-Id", "find-me").send().await;
    let token = "canary-of-a-dns-token";
    let body = json!({"name": "ours", "provider": {"type": "cloudflare", "token": token}});
    let check = format!("check cloudflare - {token}");
    for error in [unavailable(), unauthorized()] {
        service.dns.expect(check.clone(), Reply::Fail(error));
        tenant.send("POST", "/v1/dns-credentials", body.clone()).await;
    }
    service.dns.expect(check, Reply::Done);
    let made = tenant.send("POST", "/v1/dns-credentials", body).await;
    service.dns.expect(format!("open a.test cloudflare - {token}"), Reply::Fail(unavailable()));
    let plan = json!({"dns_credential_id": made.body["id"]});
    tenant.send("POST", &format!("{path}/delegation:plan"), plan).await.is_problem(503, "dns-provider-unavailable");
    service.call("BREW", "/v1/nothing").send().await.is_problem(404, "no-such-route");

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines
        .iter()
        .find(|line| line["target"] == "mtasts_api::access" && line["span"]["request_id"] == "find-me")
        .expect("the access log has the request");
    assert_eq!((&line["fields"]["tenant_id"], &line["fields"]["domain_id"]), (&json!(tenant.id), &json!(id)));
    assert_eq!((&line["fields"]["status"], &line["span"]["route"]), (&json!(200), &json!("/v1/domains/{domain_id}")));
    assert!(text.contains("connection refused"), "the log tells what the caller is not told");
    for secret in [OPERATOR_TOKEN, &tenant.key, tenant.key.split('_').nth(2).unwrap(), token] {
        assert!(!text.contains(secret), "a credential is in the log");
    }

    let rendered = metrics.render();
    for sample in [
        r#"mtasts_api_requests_total{route="/v1/domains/{domain_id}",method="GET",status="200"} 1"#,
        r#"mtasts_api_requests_total{route="unmatched",method="other",status="404"} 1"#,
        r#"mtasts_api_request_duration_seconds_count{route="/v1/domains",method="POST"} 1"#,
    ] {
        assert!(rendered.contains(sample), "{sample} is not in\n{rendered}");
    }
}
