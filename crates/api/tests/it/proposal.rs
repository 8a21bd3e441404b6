//! Proposals from MX hosts that have drifted from the policy.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::service::{Service, Tenant};

async fn proposal(tenant: &Tenant<'_>, path: &str) -> Value {
    tenant.get(&format!("{path}/proposal")).await.body["proposal"].clone()
}

#[tokio::test]
async fn drift_makes_a_proposal_that_is_applied_by_one_call_and_only_while_it_stands() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["old.a.test", "mx.a.test"]})).await;
    service.see_mx(&id, &[("old.a.test", None), ("mx.a.test", None)]).await;
    assert_eq!(proposal(&tenant, &path).await, Value::Null);

    service.see_mx(&id, &[("mx.a.test", None), ("new.b.test", Some("starttls-not-supported"))]).await;
    let first = proposal(&tenant, &path).await;
    assert_eq!((&first["mx"], &first["gone"]), (&json!(["mx.a.test", "new.b.test"]), &json!(["old.a.test"])));
    assert_eq!((&first["new"][0]["host"], &first["new"][0]["passes"]), (&json!("new.b.test"), &json!(false)));
    assert_eq!(tenant.get(&format!("{path}/policy")).await.body["mx"], json!(["old.a.test", "mx.a.test"]));

    // Seen again, it is the same one, and nobody is told twice.
    service.clock.advance(TimeDelta::hours(1));
    service.see_mx(&id, &[("mx.a.test", None), ("new.b.test", None)]).await;
    let again = proposal(&tenant, &path).await;
    assert_eq!((&again["id"], &again["new"][0]["passes"]), (&first["id"], &json!(true)));
    let events = tenant.get("/v1/events?type=proposal.made").await.body;
    assert_eq!(events["data"].as_array().unwrap().len(), 1);

    let apply = format!("{path}/proposal:apply");
    let wrong = json!({"proposal_id": "prp_00000000000070008000000000000000"});
    tenant.send("POST", &apply, wrong).await.is_problem(409, "proposal-outdated");
    // The policy changes: what was proposed would take the change back.
    tenant.send("PATCH", &format!("{path}/policy"), json!({"max_age": 86_400})).await;
    let body = json!({"proposal_id": first["id"]});
    tenant.send("POST", &apply, body).await.is_problem(409, "proposal-outdated");
    service.see_mx(&id, &[("mx.a.test", None), ("new.b.test", None)]).await;
    let body = json!({"proposal_id": proposal(&tenant, &path).await["id"]});
    let stale = tenant.call("POST", &apply).header("If-Match", "\"pol_00000000000070008000000000000000\"");
    stale.json(&body).send().await.is_problem(412, "precondition-failed");
    let applied = tenant.send("POST", &apply, body.clone()).await;
    assert_eq!((applied.status, &applied.body["reason"]), (200, &json!("proposed")), "{}", applied.text);
    assert_eq!((&applied.body["mx"], &applied.body["max_age"]), (&json!(["mx.a.test", "new.b.test"]), &json!(86_400)));
    assert_eq!(proposal(&tenant, &path).await, Value::Null);
    tenant.send("POST", &apply, body).await.is_problem(409, "proposal-outdated");
}

#[tokio::test]
async fn a_proposal_in_enforce_needs_proof_and_a_dismissed_one_is_not_made_again() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    service.see_mx(&id, &[("mx.a.test", None)]).await;
    assert_eq!(tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "enforce"})).await.status, 200);
    service.see_mx(&id, &[("mx.a.test", None), ("new.b.test", Some("starttls-not-supported"))]).await;
    let body = json!({"proposal_id": proposal(&tenant, &path).await["id"]});
    let refused = tenant.send("POST", &format!("{path}/proposal:apply"), body.clone()).await;
    refused.is_problem(409, "enforce-not-proven");
    let dismissed = tenant.send("POST", &format!("{path}/proposal:dismiss"), body.clone()).await;
    assert!(dismissed.body["proposal"]["dismissed_at"].is_string(), "{}", dismissed.text);
    service.see_mx(&id, &[("mx.a.test", None), ("new.b.test", Some("starttls-not-supported"))]).await;
    let same = proposal(&tenant, &path).await;
    assert!(same["dismissed_at"].is_string() && same["id"] == body["proposal_id"]);
    service.see_mx(&id, &[("mx.a.test", None), ("other.b.test", None)]).await;
    let another = proposal(&tenant, &path).await;
    assert!(another["dismissed_at"].is_null() && another["id"] != body["proposal_id"]);
}

#[tokio::test]
async fn who_chooses_the_hosts_can_be_changed() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    for source in ["follow", "listed"] {
        let changed = tenant.send("PATCH", &path, json!({"mx_source": source})).await;
        assert_eq!((changed.status, &changed.body["mx"]["source"]), (200, &json!(source)), "{}", changed.text);
    }
    let wrong = tenant.send("PATCH", &path, json!({"mx_source": "auto"})).await;
    assert_eq!(wrong.is_problem(422, "invalid-fields")["errors"][0]["pointer"], "/mx_source");
}
