//! Many changes in one request: each line has one effect, and says what the single call would have said.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use mtasts_api::{Api, ApiConfig};
use mtasts_model::{NameRules, SystemEntropy};
use mtasts_store::{Role, Store, StoreConfig};
use mtasts_testkit::wait_for;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::service::{Answer, OPERATOR_TOKEN, Service, Tenant};

const NDJSON: &str = "application/x-ndjson";

async fn batch(tenant: &Tenant<'_>, lines: Value) -> String {
    accepted(&tenant.send("POST", "/v1/domains:batch", json!({ "operations": lines })).await)
}

async fn import(tenant: &Tenant<'_>, lines: impl Into<Vec<u8>>) -> Answer {
    tenant.call("POST", "/v1/domains:import").raw(NDJSON, lines).send().await
}

#[track_caller]
fn accepted(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let path = answer.header("location").expect("says where it is").to_owned();
    assert_eq!(path, format!("/v1/operations/{}", answer.body["id"].as_str().unwrap()));
    path
}

/// Waits until it is done; gives it as it is then.
async fn ended(tenant: &Tenant<'_>, path: &str) -> Value {
    wait_for(Duration::from_mins(4), "the operation is done", async || {
        let operation = tenant.get(path).await.body;
        let has_ended = ["done", "cancelled"].contains(&operation["state"].as_str().unwrap());
        if !has_ended {
            // What is waited for needs the machine more than the waiting.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        has_ended.then_some(operation)
    })
    .await
}

/// All results by their lines.
async fn results(tenant: &Tenant<'_>, path: &str, filter: &str) -> BTreeMap<u64, Value> {
    let mut found = BTreeMap::new();
    let mut next = format!("{path}/results?limit=100{filter}");
    loop {
        let page = tenant.get(&next).await;
        assert_eq!(page.status, 200, "{}", page.text);
        for result in page.body["data"].as_array().unwrap() {
            assert!(found.insert(result["line"].as_u64().unwrap(), result.clone()).is_none(), "{result} comes twice");
        }
        let Some(cursor) = page.body["next_cursor"].as_str() else { return found };
        next = format!("{path}/results?limit=100{filter}&cursor={cursor}");
    }
}

async fn done(tenant: &Tenant<'_>, path: &str) -> BTreeMap<u64, Value> {
    ended(tenant, path).await;
    results(tenant, path, "").await
}

fn code(result: &Value) -> Option<&str> {
    result["problem"]["code"].as_str()
}

#[tokio::test]
async fn each_line_has_the_effect_of_its_single_call_and_one_that_is_refused_stops_no_other() {
    let service = Service::start().await;
    let (tenant, stranger) = (service.tenant("one").await, service.tenant("two").await);
    let (kept, id) = tenant.domain(json!({"name": "kept.test", "mx": ["mx.kept.test"]})).await;
    let (gone, gone_id) = tenant.domain(json!({"name": "gone.test", "mx": ["mx.gone.test"]})).await;
    let (_, foreign) = stranger.domain(json!({"name": "foreign.test", "mx": ["mx.foreign.test"]})).await;
    let path = batch(
        &tenant,
        json!([
            {"op": "create", "name": "a.test", "mode": "testing", "mx": ["mx.a.test"], "max_age": 86400},
            {"name": "a.test", "op": "create"},
            {"op": "create", "name": "b..test", "mx": ["*"], "max_age": 99_999_999},
            {"op": "create", "name": "c.test", "mode": "enforce"},
            {"op": "set_mode", "name": "a.test", "mode": "none"},
            {"op": "set_mode", "domain_id": id, "mode": "enforce"},
            {"op": "set_mode", "domain_id": id, "mode": "enforce", "force": true, "reason": "we know"},
            {"op": "set_mode", "domain_id": foreign, "mode": "none"},
            {"op": "delete", "domain_id": foreign},
            {"op": "delete", "domain_id": gone_id},
            {"op": "delete", "name": "never.test"},
            {"op": "rename", "name": "a.test"},
            {"name": "no-op.test"},
            {"op": "create", "op": "create", "name": "twice.test"},
            {"op": "create", "name": "x.test", "colour": 1},
            {"op": "set_mode", "mode": "none"},
            {"op": "set_mode", "domain_id": id, "name": "kept.test", "mode": "none"},
            "create",
            null,
            {"op": "create", "name": "a\u{0}.test", "nul\u{0}": 1},
        ]),
    )
    .await;
    let operation = ended(&tenant, &path).await;
    assert_eq!((operation["total"].as_u64(), operation["progress"].as_u64()), (Some(20), Some(100)), "{operation}");
    // Of one line json! keeps the last `op` alone, so that it is well-formed.
    let results = results(&tenant, &path, "").await;
    let codes: Vec<_> = results.values().map(code).collect();
    let fields = Some("invalid-fields");
    let expected = [
        None,
        Some("domain-exists"),
        fields,
        Some("enforce-not-proven"),
        None,
        Some("enforce-not-proven"),
        None,
        Some("not-found"),
        Some("not-found"),
        None,
        Some("not-found"),
        fields,
        fields,
        None,
        fields,
        fields,
        fields,
        fields,
        fields,
        fields,
    ];
    assert_eq!(codes, expected);
    assert_eq!((operation["succeeded"].as_u64(), operation["failed"].as_u64()), (Some(5), Some(15)));
    assert_eq!(results[&2]["problem"]["domain_id"], results[&1]["domain_id"], "a duplicate is told which one it is of");
    let pointers = |line: u64| {
        let errors = results[&line]["problem"]["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(pointers(3), ["/name", "/max_age", "/mx/0"]);
    assert_eq!(
        (pointers(12), pointers(13), pointers(15)),
        (vec!["/op".into()], vec!["/op".into()], vec!["/colour".into()])
    );
    assert_eq!((pointers(16), pointers(17)), (vec!["/domain_id".into()], vec!["/name".into()]));
    // The same as the single calls say, but for the request's id.
    let single = tenant.send("POST", "/v1/domains", json!({"name": "b..test", "mx": ["*"], "max_age": 99_999_999}));
    assert_eq!(without_id(single.await.body), without_id(results[&3]["problem"].clone()));
    let single = tenant.send("PUT", &format!("/v1/domains/{foreign}/mode"), json!({"mode": "none"})).await;
    assert_eq!(without_id(single.body), without_id(results[&8]["problem"].clone()));

    let a = tenant.get(&format!("/v1/domains/{}", results[&1]["domain_id"].as_str().unwrap())).await.body;
    assert_eq!((a["mode"].as_str(), a["policy"]["max_age"].as_u64()), (Some("none"), Some(86_400)));
    assert_eq!(results[&5]["mode"], "none");
    let kept = tenant.get(&kept).await.body;
    assert_eq!((kept["mode"].as_str(), kept["policy"]["forced"].as_str()), (Some("enforce"), Some("we know")));
    assert_eq!(tenant.get(&gone).await.body["state"], "gone");
    assert_eq!(stranger.get(&format!("/v1/domains/{foreign}")).await.body["mode"], "testing");
    assert_eq!(self::results(&tenant, &path, "&failed=true").await.len(), 15);
    let listed = tenant.get("/v1/operations").await.body;
    assert_eq!(listed["data"], json!([operation]));
    assert_eq!(stranger.get("/v1/operations").await.body["data"], json!([]));
}

fn without_id(mut problem: Value) -> Value {
    problem.as_object_mut().unwrap().remove("request_id");
    problem
}

#[tokio::test]
async fn every_effect_is_in_the_audit_log_with_the_key_and_the_request_that_asked_for_it() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let body = json!({"operations": [{"op": "create", "name": "a.test"}, {"op": "create", "name": "a.test"}]});
    let call = || {
        let call = tenant.call("POST", "/v1/domains:batch").header("Idempotency-Key", "once");
        call.header("X-Request-Id", "the-batch").json(&body).send()
    };
    let path = accepted(&call().await);
    let results = done(&tenant, &path).await;
    assert_eq!(results[&2]["problem"]["request_id"], "the-batch");
    let again = call().await;
    assert_eq!((accepted(&again), again.header("idempotent-replayed")), (path, Some("true")));
    assert_eq!(tenant.get("/v1/operations").await.body["data"].as_array().unwrap().len(), 1);
    let log = tenant.get("/v1/audit-events").await.body;
    let by_batch: Vec<_> =
        log["data"].as_array().unwrap().iter().filter(|event| event["request_id"] == "the-batch").collect();
    let actions: Vec<_> = by_batch.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["domain.create", "operation.create"]);
    assert!(by_batch.iter().all(|event| event["actor"]["id"] == tenant.key_id.as_str()), "{log}");
    assert!(by_batch.iter().all(|event| event["source"] == "127.0.0.1"), "{log}");
}

#[tokio::test]
async fn a_batch_needs_the_scope_of_each_kind_of_line_before_anything_is_done() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let mut keys = BTreeMap::new();
    for scope in ["domains:write", "policy:write", "domains:read"] {
        let made = tenant.send("POST", "/v1/api-keys", json!({"name": scope, "scopes": [scope]})).await;
        keys.insert(scope, made.body["key"].as_str().unwrap().to_owned());
    }
    let send = async |scope: &str, lines: Value| {
        let call = service.call("POST", "/v1/domains:batch").token(&keys[scope]);
        call.json(&json!({ "operations": lines })).send().await
    };
    let (create, mode) =
        (json!({"op": "create", "name": "b.test"}), json!({"op": "set_mode", "name": "a.test", "mode": "none"}));
    let refused = send("domains:write", json!([create, mode])).await;
    assert_eq!(refused.is_problem(403, "scope-missing")["missing_scopes"], json!(["policy:write"]));
    send("policy:write", json!([mode, {"op": "delete", "name": "a.test"}])).await.is_problem(403, "scope-missing");
    let refused = send("domains:read", json!([create, mode])).await;
    let missing = &refused.is_problem(403, "scope-missing")["missing_scopes"];
    assert_eq!(missing, &json!(["domains:write", "policy:write"]));
    let import = service.call("POST", "/v1/domains:import").token(&keys["policy:write"]).raw(NDJSON, "{}");
    import.send().await.is_problem(403, "scope-missing");
    assert_eq!(tenant.get("/v1/operations").await.body["data"], json!([]));
    accepted(&send("policy:write", json!([mode])).await);
    accepted(&send("domains:write", json!([create])).await);
}

#[tokio::test]
async fn a_body_that_is_no_batch_is_refused_as_a_whole() {
    let service = Service::start_with(|config| config.bulk_body_limit = 200_000, |url| url).await;
    let tenant = service.tenant("one").await;
    let send =
        async |body: Vec<u8>| tenant.call("POST", "/v1/domains:batch").raw("application/json", body).send().await;
    let deep = format!("{{\"operations\": {}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    for (body, code) in [
        (Vec::new(), "malformed-json"),
        (b"{\"operations\": [".to_vec(), "malformed-json"),
        (b"{\"operations\": [{\"op\": \"create\", \"name\": \"\xff\xfe\"}]}".to_vec(), "malformed-json"),
        (b"{\"operations\": [{\"op\": \"create\", \"name\": \"a\0b\"}]}".to_vec(), "malformed-json"),
    ] {
        send(body).await.is_problem(400, code);
    }
    for (body, pointer, code) in [
        ("[]".to_owned(), "", "wrong-type"),
        ("{}".to_owned(), "/operations", "missing-field"),
        (r#"{"operations": []}"#.to_owned(), "/operations", "too-few"),
        (r#"{"operations": [{}], "more": 1}"#.to_owned(), "/more", "unknown-field"),
        (r#"{"operations": [{}], "operations": [{}]}"#.to_owned(), "/operations", "duplicate-field"),
        (format!("{{\"operations\": [{}0]}}", "0,".repeat(10_000)), "/operations", "too-many"),
    ] {
        let refused = send(body.into_bytes()).await;
        refused.is_problem(422, "invalid-fields");
        assert_eq!(refused.faults(), [(pointer.to_owned(), code.to_owned())]);
    }
    send(vec![b' '; 200_001]).await.is_problem(413, "body-too-large");
    let other = tenant.call("POST", "/v1/domains:batch").raw("text/plain", "{}").send().await;
    other.is_problem(415, "unsupported-media-type");
    let json = tenant.call("POST", "/v1/domains:import").raw("application/json", "{}").send().await;
    json.is_problem(415, "unsupported-media-type");
    for (lines, code) in
        [(String::new(), "too-few"), (" \r\n\n".to_owned(), "too-few"), ("{}\n".repeat(10_001), "too-many")]
    {
        let refused = import(&tenant, lines).await;
        refused.is_problem(422, "invalid-fields");
        assert_eq!(refused.faults(), [(String::new(), code.to_owned())]);
    }
    assert_eq!(tenant.get("/v1/operations").await.body["data"], json!([]));
    let twice = br#"{"operations": [{"op": "create", "name": "t.test", "op": "create"}]}"#;
    let path = accepted(&send(twice.to_vec()).await);
    let results = done(&tenant, &path).await;
    assert_eq!(results[&1]["problem"]["errors"][0]["code"], "duplicate-field");
    // Deep within a line it is that line's fault; the body is sound.
    let path = accepted(&send(deep.into_bytes()).await);
    assert_eq!(done(&tenant, &path).await.values().map(code).collect::<Vec<_>>(), [Some("invalid-fields")]);
}

#[tokio::test]
async fn a_line_that_is_wrong_in_itself_is_a_result_of_its_own() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let mut body = b"{\"name\": \"a.test\"}\r\n\n{\"name\": \"\xff.test\"}\n{\"name\": \"b\0.test\"}\n{oops\n".to_vec();
    body.extend(format!("{{\"name\": \"{}\"}}\n", "x".repeat(70_000)).bytes());
    body.extend(format!("{{\"name\": {}{}}}\n", "[".repeat(20_000), "]".repeat(20_000)).bytes());
    body.extend(b"{\"name\": \"e.test\", \"mode\": \"enforce\"}\n[\"a\"]\n{\"name\": \"last.test\"}");
    let path = accepted(&import(&tenant, body).await);
    let results = done(&tenant, &path).await;
    let codes: Vec<_> = results.iter().map(|(line, result)| (*line, code(result))).collect();
    let malformed = Some("malformed-json");
    let expected = [
        (1, None),
        (3, malformed),
        (4, malformed),
        (5, malformed),
        (6, Some("body-too-large")),
        (7, Some("invalid-fields")),
        (8, None),
        (9, Some("invalid-fields")),
        (10, None),
    ];
    assert_eq!(codes, expected, "blank lines count, and have no result");
    assert_eq!((results[&8]["mode"].as_str(), results[&8]["name"].as_str()), (Some("testing"), Some("e.test")));
}

#[tokio::test]
async fn an_export_is_an_import_and_tells_that_it_is_complete() {
    let service = Service::start().await;
    let (from, to) = (service.tenant("from").await, service.tenant("to").await);
    let later = || service.clock.advance(TimeDelta::milliseconds(1));
    from.domain(json!({"name": "auto.test"})).await;
    later();
    let rua = json!({"rua": ["mailto:reports@listed.test"]});
    let body = json!({"name": "listed.test", "mx": ["mx.listed.test", "*.m.test"], "max_age": 1234, "tls_rpt": rua, "tags": ["a:b"]});
    from.domain(body).await;
    later();
    let (none, _) = from.domain(json!({"name": "none.test", "mx": ["mx.none.test"]})).await;
    from.send("PUT", &format!("{none}/mode"), json!({"mode": "none"})).await;
    later();
    let (enforced, _) = from.domain(json!({"name": "enforced.test", "mx": ["mx.enforced.test"]})).await;
    let forced = json!({"mode": "enforce", "force": true, "reason": "a test"});
    assert_eq!(from.send("PUT", &format!("{enforced}/mode"), forced).await.status, 200);
    let (gone, _) = from.domain(json!({"name": "gone.test"})).await;
    from.call("DELETE", &gone).send().await;
    let export = async |tenant: &Tenant<'_>| {
        let answer = tenant.get("/v1/domains:export").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(NDJSON)));
        answer.text
    };
    let lines = export(&from).await;
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.last(), Some(&json!({"end": true, "count": 4})));
    assert_eq!(
        objects[1],
        json!({"name": "listed.test", "mode": "testing", "mx": ["mx.listed.test", "*.m.test"], "max_age": 1234, "tls_rpt": rua, "tags": ["a:b"]})
    );
    assert_eq!(
        (objects[0]["mx"].as_str(), objects[2]["mode"].as_str(), objects[3]["mode"].as_str()),
        (Some("auto"), Some("none"), Some("enforce"))
    );
    let path = accepted(&import(&to, lines.clone()).await);
    let results = done(&to, &path).await;
    assert_eq!(results.values().filter(|result| code(result).is_some()).count(), 0, "{results:?}");
    // Nothing is enforced before it is proven.
    let expected = lines.replace("\"enforce\"", "\"testing\"");
    assert_eq!(sorted(&export(&to).await), sorted(&expected));
    let empty = service.tenant("empty").await;
    assert_eq!(export(&empty).await, "{\"end\":true,\"count\":0}\n");
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn an_operation_is_cancelled_and_what_is_done_stays_done() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let lines: Vec<_> = (0..3_000).map(|i| json!({"op": "create", "name": format!("d{i}.test")})).collect();
    let path = batch(&tenant, json!(lines)).await;
    wait_for(Duration::from_secs(30), "it is running", async || {
        (tenant.get(&path).await.body["succeeded"].as_u64() > Some(0)).then_some(())
    })
    .await;
    let cancelled = tenant.call("POST", &format!("{path}/cancel")).send().await;
    assert_eq!((cancelled.status, cancelled.body["state"].as_str()), (200, Some("cancelled")), "{}", cancelled.text);
    let done = cancelled.body["succeeded"].as_u64().unwrap();
    assert!((1..3_000).contains(&done), "{done}");
    // What came after it in time is carried out, so nothing of it can come any more.
    let next = batch(&tenant, json!([{"op": "create", "name": "next.test"}])).await;
    ended(&tenant, &next).await;
    assert_eq!(tenant.get(&path).await.body, cancelled.body);
    assert_eq!(results(&tenant, &path, "").await.len() as u64, done);
    let count = "SELECT count(*) FROM domains";
    assert_eq!(service.database.psql(count).await.trim(), (done + 1).to_string());
}

/// A second process on the same database.
async fn beside(service: &Service) -> JoinHandle<()> {
    let (zone, public_url) = ("sts.example.net".parse().unwrap(), "https://api.example.net".parse().unwrap());
    let mut config = ApiConfig::new(vec!["127.0.0.1:0".parse().unwrap()], zone, OPERATOR_TOKEN.into(), public_url);
    config.name_rules = NameRules::allowing(["test"]);
    let store = Store::connect(StoreConfig {
        url: service.database.url().into(),
        role: Role::Api,
        max_connections: 4,
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(5),
        redis_url: None,
    });
    let clock = Arc::new(service.clock.clone());
    let server = Api::bind(config, store.await.unwrap(), clock, Arc::new(SystemEntropy)).expect("binds");
    tokio::spawn(async move { server.run(std::future::pending()).await.expect("runs") })
}

/// Cuts all connections of the API again and again, in the middle of chunks and between them, and lets two processes work
/// on the same operations: no line is done twice, and none is lost.
#[tokio::test]
async fn no_line_is_lost_or_done_twice_when_processes_lose_their_database_again_and_again() {
    let service = Service::start().await;
    let second = beside(&service).await;
    let tenant = service.tenant("one").await;
    let lines: Vec<_> =
        (0..400).map(|i| json!({"op": "create", "name": format!("d{i}.test"), "mx": ["mx.test"]})).collect();
    let path = batch(&tenant, json!(lines)).await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'mtasts' AND query <> 'LISTEN'";
    let (mut cuts, mut looks) = (0, 0);
    while service.database.psql("SELECT count(*) FROM operations WHERE state = 'done'").await.trim() == "0" {
        // In the end it is left alone: a line that fails again and again is given up, as it should.
        if cuts < 12 && looks % 2 == 0 {
            service.database.psql(cut).await;
            cuts += 1;
        }
        // Failed chunks are tried again after a while, which this clock must be told.
        service.clock.advance(TimeDelta::seconds(40));
        tokio::time::sleep(Duration::from_millis(100)).await;
        looks += 1;
        assert!(looks < 1_000, "it never ends");
    }
    assert!(cuts > 3, "only {cuts} cuts: too fast to tell anything");
    let operation = wait_for(Duration::from_secs(10), "the API has a connection again", async || {
        let answer = tenant.get(&path).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    assert_eq!((operation["succeeded"].as_u64(), operation["failed"].as_u64()), (Some(400), Some(0)));
    assert_eq!(service.database.psql("SELECT count(*) FROM domains").await.trim(), "400");
    let created = "SELECT count(*), count(DISTINCT object) FROM audit_events WHERE action = 'domain.create'";
    assert_eq!(service.database.psql(created).await.trim(), "400|400");
    second.abort();
}

#[tokio::test]
async fn as_many_operations_as_may_wait_are_taken_and_no_more() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    // Nobody can carry anything out.
    service.database.psql("REVOKE UPDATE (body, failed, result) ON operation_lines FROM mtasts_api").await;
    for i in 0..20 {
        batch(&tenant, json!([{"op": "create", "name": format!("d{i}.test")}])).await;
    }
    let refused =
        tenant.send("POST", "/v1/domains:batch", json!({"operations": [{"op": "delete", "name": "d1.test"}]}));
    let refused = refused.await;
    let problem = refused.is_problem(409, "quota-exceeded");
    assert_eq!(
        (&problem["quota"], &problem["limit"], &problem["used"]),
        (&json!("operations"), &json!(20), &json!(20))
    );
    let other = service.tenant("two").await;
    batch(&other, json!([{"op": "create", "name": "other.test"}])).await;
}

#[tokio::test]
async fn ten_thousand_lines_are_carried_out_and_told_of() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let lines: Vec<_> = (0..10_000)
        .map(|i| match i % 10 {
            0..4 => json!({"op": "create", "name": format!("d{i}.test"), "mx": ["mx.test"]}),
            4 => json!({"op": "set_mode", "name": format!("d{}.test", i - 1), "mode": "none"}),
            _ => json!({"op": "create", "name": format!("d{}.test", i - 5)}),
        })
        .collect();
    let began = std::time::Instant::now();
    let path = batch(&tenant, json!(lines)).await;
    let stored = began.elapsed();
    let operation = ended(&tenant, &path).await;
    println!("10,000 lines: stored in {stored:?}, done in {:?}", began.elapsed());
    // Of five names the last is new, as a line to set a mode stands in its place.
    assert_eq!((operation["succeeded"].as_u64(), operation["failed"].as_u64()), (Some(6_000), Some(4_000)));
    let results = results(&tenant, &path, "").await;
    assert_eq!(results.len(), 10_000);
    assert_eq!(results[&5]["domain_id"], results[&4]["domain_id"], "by name, a line finds what one before it made");
    assert!(results.values().all(|result| code(result).is_none_or(|code| code == "domain-exists")));
    let count = "SELECT count(*), count(*) FILTER (WHERE mode = 'none') FROM domains";
    assert_eq!(service.database.psql(count).await.trim(), "5000|1000");
}
