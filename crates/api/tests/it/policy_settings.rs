//! How much proof for `enforce` a tenant wants.

use serde_json::{Value, json};

use crate::service::Service;

const PATH: &str = "/v1/policy-settings";

#[tokio::test]
async fn a_tenant_chooses_how_much_proof_it_wants_and_the_rest_is_the_services() {
    let service = Service::start_with(|config| config.enforce.sessions = 50, |url| url).await;
    let (tenant, other) = (service.tenant("one").await, service.tenant("other").await);
    let first = tenant.get(PATH).await;
    let (recommended, chosen) = (&first.body["recommended"], &first.body["chosen"]);
    assert_eq!((&recommended["sessions"], &recommended["testing_days"]), (&json!(50), &json!(14)));
    assert_eq!((&chosen["sessions"], &first.body["changed_at"]), (&Value::Null, &Value::Null));
    let wanted = json!({"testing_days": 28, "failures_per_thousand": 100});
    let set = tenant.send("PUT", PATH, wanted.clone()).await;
    assert_eq!((set.status, &set.body["recommended"]["testing_days"]), (200, &json!(28)), "{}", set.text);
    assert_eq!((&set.body["recommended"]["sessions"], &set.body["chosen"]["sessions"]), (&json!(50), &Value::Null));
    tenant.send("PUT", PATH, json!({})).await.is_problem(428, "precondition-required");
    tenant
        .call("PUT", PATH)
        .header("If-Match", "\"0\"")
        .json(&wanted)
        .send()
        .await
        .is_problem(412, "precondition-failed");
    assert_eq!(tenant.get(PATH).await.body, set.body);
    assert_eq!(other.get(PATH).await.body, first.body, "nobody else's are changed");
    let log = tenant.get("/v1/audit-events?action=policy-settings.").await.body;
    assert_eq!(log["data"][0]["after"]["testing_days"], 28);

    // Ten failures of a hundred are too many by the service's figures, and not by the tenant's.
    for (tenant, status) in [(&tenant, 200), (&other, 409)] {
        let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx1.a.test"]})).await;
        service.see_mx(&id, &[("mx1.a.test", None)]).await;
        service.reported(&tenant.id, &id, 90, 10).await;
        let readiness = tenant.get(&format!("{path}/readiness")).await.body;
        assert_eq!(readiness["ready"], json!(status == 200));
        let enforce = tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "enforce"})).await;
        assert_eq!(enforce.status, status, "{}", enforce.text);
    }
    let bad = json!({"mx_days": 61, "testing_days": 366, "reporters": 1_001, "failures_per_thousand": 101});
    let refused = tenant.send("PUT", PATH, bad).await;
    assert_eq!(refused.is_problem(422, "invalid-fields")["errors"].as_array().unwrap().len(), 4);
}
