//! Removals that the operator forces.

use serde_json::{Value, json};

use crate::service::{OPERATOR_TOKEN, Service};

#[tokio::test]
async fn the_operator_removes_a_domain_at_once_and_the_tenant_sees_why() {
    let service = Service::start().await;
    let (tenant, other) = (service.tenant("one").await, service.tenant("other").await);
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx1.a.test"]})).await;
    service.reached(&id).await;
    let force = async |tenant: &str, body: Value| {
        let path = format!("/v1/tenants/{tenant}/domains/{id}/force-removal");
        service.call("POST", &path).token(OPERATOR_TOKEN).json(&body).send().await
    };
    let law = json!({"ground": "law", "reason": "Order 4711 of the district court"});
    force(&other.id, law.clone()).await.is_problem(404, "not-found");
    let refused = force(&tenant.id, json!({"ground": "mood", "reason": ""})).await;
    assert_eq!(refused.is_problem(422, "invalid-fields")["errors"].as_array().unwrap().len(), 2);
    assert_eq!(tenant.get(&path).await.body["withdrawal"], Value::Null);

    let forced = force(&tenant.id, law.clone()).await;
    assert_eq!((forced.status, &forced.body["state"]), (202, &json!("withdrawing")), "{}", forced.text);
    let withdrawal = &tenant.get(&path).await.body["withdrawal"];
    assert_eq!((&withdrawal["forced_ground"], &withdrawal["still_delegated"]), (&json!("law"), &json!([])));
    assert!(withdrawal["forced_at"].is_string());
    let again = force(&tenant.id, json!({"ground": "abuse", "reason": "as well"})).await;
    assert_eq!(again.body["withdrawal"]["forced_ground"], "law", "forced again it stays as it is");
    let log = tenant.get("/v1/audit-events?action=domain.force").await.body;
    assert_eq!(log["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&log["data"][0]["after"]["reason"], &log["data"][0]["actor"]["kind"]),
        (&law["reason"], &json!("operator"))
    );
    // A tenant has no such way.
    let path = format!("/v1/tenants/{}/domains/{id}/force-removal", tenant.id);
    tenant.send("POST", &path, law).await.is_problem(403, "wrong-credential");
}
