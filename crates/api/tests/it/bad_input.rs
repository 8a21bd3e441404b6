//! Whatever a stranger sends: a documented 4xx that says what to do.

use serde_json::{Value, json};

use crate::service::{OPERATOR_TOKEN, Service, Tenant};

/// A path of the operation on objects that exist, and the credential that it takes.
pub(crate) fn reach(operation: &crate::spec::Operation, tenant: &Tenant<'_>, domain: &str) -> (String, String) {
    let path = operation.path_with(|name| match name {
        "tenant_id" => tenant.id.clone(),
        "domain_id" => domain.to_owned(),
        "version_id" => "pol_00000000000070008000000000000000".to_owned(),
        "key_id" => "key_00000000000070008000000000000000".to_owned(),
        "dns_credential_id" => "dns_00000000000070008000000000000000".to_owned(),
        "webhook_id" => "whk_00000000000070008000000000000000".to_owned(),
        "digest_recipient_id" => "rcp_00000000000070008000000000000000".to_owned(),
        "delivery_id" => "dlv_00000000000070008000000000000000".to_owned(),
        "operation_id" => "op_00000000000070008000000000000000".to_owned(),
        "report_id" => "rpt_00000000000070008000000000000000".to_owned(),
        "arrival_id" => "arr_00000000000070008000000000000000".to_owned(),
        "check_id" => "chk_00000000000070008000000000000000".to_owned(),
        other => panic!("a new path parameter: {other}"),
    });
    let token = if operation.scheme() == "operator_token" { OPERATOR_TOKEN.to_owned() } else { tenant.key.clone() };
    (path, token)
}

#[tokio::test]
async fn every_operation_with_a_body_refuses_what_is_no_such_body() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (_, domain) = tenant.domain(json!({"name": "example.test", "mx": ["mx.example.test"]})).await;
    let mut covered = 0;
    for operation in service.spec.operations() {
        let Some(example) = service.spec.example_body(&operation) else { continue };
        covered += 1;
        let (path, token) = reach(&operation, &tenant, &domain);
        let call = || service.call(&operation.method, &path).token(&token);
        let send = async |body: String| call().raw("application/json", body).send().await;
        for malformed in ["", "{", "{\"a\":", "nul", "{} {}", "{\"a\" 1}", "{'a': 1}", "\u{feff}{}"] {
            let answer = send(malformed.to_owned()).await;
            answer.is_problem(400, "malformed-json");
            assert!(answer.body["detail"].as_str().unwrap().contains("line 1 column"), "{}", answer.text);
        }
        let invalid_utf8 = call().raw("application/json", b"{\"name\": \"\xff\"}".to_vec()).send().await;
        assert!([400, 422].contains(&invalid_utf8.status), "{}", invalid_utf8.text);
        for wrong in ["[]", "null", "1", "\"text\"", "[[[]]]"] {
            assert_eq!(
                send(wrong.to_owned()).await.is_problem(422, "invalid-fields")["errors"][0]["code"],
                "wrong-type"
            );
        }
        let mut unknown = example.clone();
        unknown["colour~/"] = json!(1);
        assert_eq!(send(unknown.to_string()).await.faults(), [("/colour~0~1".to_owned(), "unknown-field".to_owned())]);
        let (field, value) = example.as_object().unwrap().iter().next().unwrap();
        let twice = format!("{{\"{field}\": {value}, \"{field}\": {value}}}");
        assert_eq!(send(twice).await.faults(), [(format!("/{field}"), "duplicate-field".to_owned())]);
        // What is deep or long within one line of a batch is that line's fault: see `bulk`.
        let is_batch = path.ends_with(":batch");
        let deep = format!("{{\"{field}\": {}{}}}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(is_batch || [400, 422].contains(&send(deep).await.status));
        let huge = send(format!("{{\"{field}\": 1e400}}")).await;
        assert!([400, 422].contains(&huge.status), "{}", huge.text);
        let limit = if is_batch { 8 * 1024 * 1024 } else { 65_536 };
        let long = send(format!("{{\"{field}\": \"{}\"}}", "a".repeat(limit))).await;
        assert_eq!(long.is_problem(413, "body-too-large")["limit"], limit);
        let text = call().raw("text/plain", example.to_string()).send().await;
        text.is_problem(415, "unsupported-media-type");
        let coded = call().header("Content-Encoding", "gzip").json(&example).send().await;
        coded.is_problem(415, "unsupported-media-type");
    }
    assert!(covered >= 21, "only {covered} operations with a body were tried");
}

#[tokio::test]
async fn every_operation_refuses_ids_that_are_none() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (_, domain) = tenant.domain(json!({"name": "example.test"})).await;
    for operation in service.spec.operations() {
        let (_, token) = reach(&operation, &tenant, &domain);
        for parameter in operation.parameters() {
            for bad in ["1", "dom_", "ten_xyz", "%00", "..%2f..", "dom_0190C3A0B1C27D3E8F4051627384950A", "%ff", "'--"]
            {
                let path = operation.path_with(|name| match name {
                    _ if name == parameter => bad.to_owned(),
                    "domain_id" => domain.clone(),
                    "tenant_id" => "ten_00000000000070008000000000000000".to_owned(),
                    "webhook_id" => "whk_00000000000070008000000000000000".to_owned(),
                    "digest_recipient_id" => "rcp_00000000000070008000000000000000".to_owned(),
                    _ => "pol_00000000000070008000000000000000".to_owned(),
                });
                let mut call = service.call(&operation.method, &path).token(&token);
                if let Some(body) = service.spec.example_body(&operation) {
                    call = call.json(&body);
                }
                let answer = call.send().await;
                answer.is_problem(400, "invalid-parameters");
                assert_eq!(answer.faults(), [(parameter.to_owned(), "invalid-id".to_owned())]);
            }
        }
    }
}

#[tokio::test]
async fn every_list_refuses_bad_queries() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (_, domain) = tenant.domain(json!({"name": "example.test"})).await;
    for operation in service.spec.operations() {
        let is_list = operation.value["parameters"].as_array().into_iter().flatten().any(|p| p["name"] == "cursor");
        if !is_list {
            continue;
        }
        let (path, token) = reach(&operation, &tenant, &domain);
        for query in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=x",
            "limit=1&limit=2",
            "cursor=%00",
            "cursor=AAAA",
            "colour=1",
            "=",
            "limit",
        ] {
            let answer = service.call("GET", &format!("{path}?{query}")).token(&token).send().await;
            answer.is_problem(400, "invalid-parameters");
        }
    }
    for query in [
        "mode=Enforce",
        "state=dead",
        "condition=MxReady",
        "condition=MxReady:Yes",
        "name_prefix=a%00",
        "name_prefix=%25",
    ] {
        tenant.get(&format!("/v1/domains?{query}")).await.is_problem(400, "invalid-parameters");
    }
}

#[tokio::test]
async fn each_wrong_field_of_a_registration_is_named() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for (body, faults) in [
        (json!({"name": ""}), vec![("/name", "name-empty")]),
        (json!({"name": "a\u{0}b.test"}), vec![("/name", "name-character")]),
        (json!({"name": "192.0.2.1"}), vec![("/name", "name-ip-address")]),
        (json!({"name": "com"}), vec![("/name", "name-public-suffix")]),
        (json!({"name": "a.local"}), vec![("/name", "name-reserved")]),
        (json!({"name": "mta-sts.a.test"}), vec![("/name", "name-policy-host")]),
        (json!({"name": "a.test", "mode": "Enforce"}), vec![("/mode", "unknown-value")]),
        (json!({"name": "a.test", "mode": 1}), vec![("/mode", "wrong-type")]),
        (json!({"name": "a.test", "mx": "manual"}), vec![("/mx", "invalid-value")]),
        (json!({"name": "a.test", "mx": []}), vec![("/mx", "mx-missing")]),
        (json!({"name": "a.test", "mx": [["b"]]}), vec![("/mx/0", "wrong-type")]),
        (json!({"name": "a.test", "max_age": -1}), vec![("/max_age", "invalid-value")]),
        (json!({"name": "a.test", "max_age": 1.5}), vec![("/max_age", "wrong-type")]),
        (json!({"name": "a.test", "tls_rpt": {"rua": ["ftp://x"]}}), vec![("/tls_rpt/rua/0", "")]),
        (json!({"name": "a.test", "tls_rpt": [["mailto:a@b.test"]]}), vec![("/tls_rpt", "wrong-type")]),
        (json!({"name": "a.test", "tls_rpt": {"rua": [], "x": 1}}), vec![("/tls_rpt/x", "unknown-field")]),
        // All at once.
        (
            json!({"name": "a..test", "max_age": 31_557_601, "mx": ["ok.test", "*", "a*.test"]}),
            vec![
                ("/name", "label-empty"),
                ("/max_age", "max-age-too-large"),
                ("/mx/1", "mx-wildcard"),
                ("/mx/2", "mx-wildcard"),
            ],
        ),
    ] {
        let answer = tenant.send("POST", "/v1/domains", body.clone()).await;
        answer.is_problem(422, "invalid-fields");
        let given = answer.faults();
        assert_eq!(given.len(), faults.len(), "{body}: {given:?}");
        for ((pointer, code), (wanted_pointer, wanted_code)) in given.iter().zip(faults) {
            assert_eq!(pointer, wanted_pointer, "{body}");
            assert!(wanted_code.is_empty() || code == wanted_code, "{body}: {code}");
        }
    }
    assert_eq!(tenant.get("/v1/domains").await.body["data"], json!([]), "nothing was made");
}

#[tokio::test]
async fn names_of_tenants_and_keys_have_limits() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for name in ["", "  ", "a\u{0}b", "a\nb", &"a".repeat(201)] {
        let answer =
            service.call("POST", "/v1/tenants").token(OPERATOR_TOKEN).json(&json!({"name": name})).send().await;
        answer.is_problem(422, "invalid-fields");
        tenant.send("POST", "/v1/api-keys", json!({"name": name})).await.is_problem(422, "invalid-fields");
    }
    for expires_at in [json!("yesterday"), json!("2025-01-01T00:00:00Z"), json!("+262142-12-31T23:59:59Z"), json!(1)] {
        let answer = tenant.send("POST", "/v1/api-keys", json!({"name": "a", "expires_at": expires_at})).await;
        assert_eq!(answer.is_problem(422, "invalid-fields")["errors"][0]["pointer"], "/expires_at");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too() {
    let service = Service::start().await;
    for path in [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v2/domains",
        "/v1/domains/",
        "/v1/domains/a/b/c/d",
        "/etc/passwd",
        "/v1//domains",
    ] {
        service.call("GET", path).send().await.is_problem(404, "no-such-route");
    }
    for (method, path, allow) in [
        ("PUT", "/v1/domains", "GET, HEAD, POST"),
        ("DELETE", "/v1/tenant", "GET, HEAD"),
        ("GET", "/v1/domains/x/mode", "PUT"),
        ("POST", "/problems/", "GET, HEAD"),
        ("POST", "/docs/", "GET, HEAD"),
        ("OPTIONS", "/v1/domains", "GET, HEAD, POST"),
        ("BREW", "/v1/domains", "GET, HEAD, POST"),
    ] {
        let answer = service.call(method, path).send().await;
        answer.is_problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[tokio::test]
async fn headers_that_are_none_are_refused() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "example.test", "mx": ["mx.example.test"]})).await;
    let body = json!({"mode": "none"});
    let answer = tenant.call("PUT", &format!("{path}/mode")).header("If-Match", "pol_1").json(&body).send().await;
    assert_eq!(answer.faults(), [("If-Match".to_owned(), "invalid-entity-tag".to_owned())]);
    for key in ["with space", "", &"a".repeat(256)] {
        let answer = tenant.call("POST", "/v1/domains").header("Idempotency-Key", key).json(&json!({"name": "b.test"}));
        assert_eq!(
            answer.send().await.faults(),
            [("Idempotency-Key".to_owned(), "invalid-idempotency-key".to_owned())]
        );
    }
    let verify = tenant.send("POST", &format!("{path}/verify"), json!({"x": 1})).await;
    assert_eq!(verify.faults(), [("/x".to_owned(), "unknown-field".to_owned())]);
    let value: Value = tenant.get(&path).await.body;
    assert_eq!(value["mode"], "testing", "nothing was changed");
}
