//! `dry_run=true`: the whole truth on what would happen, and no trace of having asked.

use chrono::TimeDelta;
use mtasts_model::Clock;
use serde_json::{Value, json};

use crate::service::{Answer, Service, Tenant};

/// All that is in the database, table by table.
async fn contents(service: &Service) -> String {
    let all = "SELECT string_agg(
            table_name || query_to_xml(format('SELECT t::text FROM %I t ORDER BY 1', table_name), true, true, ''),
            E'\\n' ORDER BY table_name)
        FROM information_schema.tables WHERE table_schema = current_schema()";
    service.database.psql(all).await
}

fn warned(answer: &Answer) -> Vec<&str> {
    answer.body["warnings"].as_array().unwrap().iter().map(|warning| warning["code"].as_str().unwrap()).collect()
}

/// As if the edges served the domain's newest version.
async fn serve(service: &Service, domain: &str) {
    let uuid = domain.trim_start_matches("dom_");
    let sql = format!(
        "INSERT INTO edge_entries (name, kind, revision, changed_at, domain_id, tenant_id, version_id, certificate_id)
            SELECT name, 'host', nextval('edge_revisions'), now(), id, tenant_id, NULL, NULL FROM domains WHERE id = '{uuid}';
        UPDATE policy_versions v SET fed_at = v.created_at FROM domains d WHERE d.version_id = v.id AND d.id = '{uuid}';
        UPDATE domains SET confirmed_version_id = version_id WHERE id = '{uuid}'"
    );
    service.database.psql(&sql).await;
}

async fn send(tenant: &Tenant<'_>, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let call = tenant.call(method, path).header("Idempotency-Key", "dry").header("If-Match", "*");
    match body {
        Some(body) => call.json(body).send().await,
        None => call.send().await,
    }
}

#[tokio::test]
async fn no_operation_leaves_a_trace_of_a_dry_run_and_each_does_the_same_in_earnest() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let policy = format!("{path}/policy");
    let first = tenant.get(&policy).await.body["id"].clone();
    serve(&service, &id).await;
    let operations = [
        ("POST", "/v1/domains".to_owned(), Some(json!({"name": "b.test", "mx": ["mx.b.test"]})), 201),
        ("PUT", policy.clone(), Some(json!({"mode": "testing", "mx": ["mx2.a.test"], "max_age": 100_000})), 200),
        ("PATCH", policy.clone(), Some(json!({"max_age": 200_000})), 200),
        ("PUT", format!("{path}/mode"), Some(json!({"mode": "enforce", "force": true, "reason": "we know"})), 200),
        ("POST", format!("{policy}/rollback"), Some(json!({"version_id": first})), 200),
        ("DELETE", path.clone(), None, 202),
    ];
    for (method, path, body, status) in operations {
        service.clock.advance(TimeDelta::seconds(20));
        // The key's stamp of use is no trace of the change.
        tenant.get("/v1/tenant").await;
        let before = contents(&service).await;
        assert!(before.contains("audit_events") && before.contains("domain_schedule"));
        let dry = send(&tenant, method, &format!("{path}?dry_run=true"), body.as_ref()).await;
        let at = format!("{method} {path}: {}", dry.text);
        assert_eq!((dry.status, &dry.body["dry_run"], &dry.body["changes"]), (200, &json!(true), &json!(true)), "{at}");
        assert_eq!(dry.body["record"]["new_id"], true, "{at}");
        assert_eq!(contents(&service).await, before, "{at}");

        let key = format!("{method} {path}").replace(' ', "-");
        let call = tenant.call(method, &path).header("Idempotency-Key", &key).header("If-Match", "*");
        let real = match &body {
            Some(body) => call.json(body).send().await,
            None => call.send().await,
        };
        assert_eq!(real.status, status, "{at}: {}", real.text);
        let now = if real.body["text"].is_null() { real.body["policy"].clone() } else { real.body };
        assert_eq!(dry.body["policy"]["after"]["text"], now["text"], "{at}");
        assert_ne!(contents(&service).await, before, "{at}: in earnest it does leave one");
    }
}

#[tokio::test]
async fn a_dry_run_is_refused_where_the_change_would_be() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let body = json!({"name": "a.test", "mx": ["mx.a.test"]});
    let (path, _) = tenant.domain(body.clone()).await;
    let (policy, mode) = (format!("{path}/policy?dry_run=true"), format!("{path}/mode?dry_run=true"));
    tenant.send("POST", "/v1/domains?dry_run=true", body).await.is_problem(409, "domain-exists");
    tenant.send("PUT", &mode, json!({"mode": "enforce"})).await.is_problem(409, "enforce-not-proven");
    tenant.send("PUT", &policy, json!({"mode": "none"})).await.is_problem(428, "precondition-required");
    let stale = format!("\"pol_{}\"", "0".repeat(32));
    for (method, path, body) in [("PATCH", &policy, json!({"max_age": 1})), ("PUT", &mode, json!({"mode": "none"}))] {
        let answer = tenant.call(method, path).header("If-Match", &stale).json(&body).send().await;
        answer.is_problem(412, "precondition-failed");
    }
    let delete = tenant.call("DELETE", &format!("{path}?dry_run=true")).header("If-Match", &stale).send().await;
    delete.is_problem(412, "precondition-failed");
    let unclear = tenant.send("PUT", &mode.replace("true", "maybe"), json!({"mode": "none"})).await;
    assert_eq!(unclear.status, 400, "{}", unclear.text);
    let misspelt = tenant.send("PUT", &mode.replace("dry_run", "dryrun"), json!({"mode": "none"})).await;
    assert_eq!(misspelt.faults(), [("dryrun".to_owned(), "unknown-parameter".to_owned())]);
    assert_eq!(tenant.get(&path).await.body["mode"], "testing");
}

#[tokio::test]
async fn it_tells_text_record_remarks_and_what_senders_hold() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"], "max_age": 864_000})).await;
    let policy = format!("{path}/policy");
    service.see_mx(&id, &[("mx.a.test", None)]).await;
    let enforced = tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "enforce"})).await;
    assert_eq!(enforced.status, 200, "{}", enforced.text);
    serve(&service, &id).await;
    let same = tenant.send("PATCH", &format!("{policy}?dry_run=true"), json!({"max_age": 864_000})).await.body;
    assert_eq!(
        (&same["changes"], &same["record"]["new_id"], &same["caches"]),
        (&json!(false), &json!(false), &json!([]))
    );
    assert_eq!(same["policy"]["before"], same["policy"]["after"]);

    // Served an hour ago for the last time, and out of the feed since.
    let served_at = service.clock.now();
    service
        .database
        .psql(&format!(
            "UPDATE policy_versions SET unfed_at = '{0}' WHERE fed_at IS NOT NULL;
             INSERT INTO served_ledger SELECT id, domain_id, tenant_id, '{0}', 3 FROM policy_versions WHERE fed_at IS NOT NULL",
            served_at.to_rfc3339()
        ))
        .await;
    service.clock.advance(TimeDelta::hours(1));
    let wanted = json!({"mode": "testing", "mx": ["*.test"], "max_age": 60});
    let call = tenant.call("PUT", &format!("{policy}?dry_run=true")).header("If-Match", "*").json(&wanted);
    let dry = call.send().await;
    assert_eq!(
        warned(&dry),
        ["max-age-below-a-day", "mx-wide-wildcard", "mx-not-covered", "mx-below-wildcard", "mx-unused-pattern"]
    );
    let none = tenant.send("PUT", &format!("{path}/mode?dry_run=true"), json!({"mode": "none"})).await;
    assert_eq!(warned(&none), ["enforce-still-cached"], "{}", none.text);
    assert_eq!(none.body["policy"]["before"]["text"], enforced.body["text"]);
    assert!(none.body["policy"]["after"]["text"].as_str().unwrap().contains("mode: none\r\n"));
    let record = &none.body["record"];
    let value = format!("v=STSv1; id={};", enforced.body["policy_id"].as_str().unwrap());
    assert_eq!((&record["name"], &record["value"]), (&json!("_mta-sts.a.test"), &json!(value)));
    let until = (served_at + TimeDelta::seconds(864_000)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    assert_eq!(
        none.body["caches"],
        json!([{"version_id": enforced.body["id"], "policy_id": enforced.body["policy_id"], "mode": "enforce", "until": until}])
    );
    // What was held once and no longer is no concern of anybody's.
    service.clock.advance(TimeDelta::days(10));
    let none = tenant.send("PUT", &format!("{path}/mode?dry_run=true"), json!({"mode": "none"})).await;
    assert_eq!((&none.body["caches"], warned(&none).len()), (&json!([]), 0), "{}", none.text);
    let delete = tenant.call("DELETE", &format!("{path}?dry_run=true")).send().await.body;
    assert_eq!(delete["state"], json!({"before": "pending", "after": "withdrawing"}));
}
