//! A tenant that the operator has suspended.

use mtasts_model::Clock;
use mtasts_store::{Actor, Role};
use serde_json::json;

use crate::service::{Service, store};

#[tokio::test]
async fn a_suspended_tenant_is_refused_at_every_door_and_goes_on_where_it_was_afterwards() {
    let service = Service::start().await;
    let operator = store(&service.database.url(), Role::Operator).await;
    let (tenant, other) = (service.tenant("Suspended").await, service.tenant("Other").await);
    let (path, _) = tenant.domain(json!({"name": "suspended.test", "mx": ["mx.a.test"]})).await;
    let id = tenant.id.parse().unwrap();
    operator.suspend_tenant(id, "unpaid", &Actor::operator(), service.clock.now()).await.unwrap();

    for (method, path) in [("GET", "/v1/domains"), ("GET", "/v1/tenant"), ("GET", path.as_str()), ("GET", "/v1/events")]
    {
        let refused = tenant.call(method, path).send().await;
        let problem = refused.is_problem(403, "tenant-suspended");
        assert!(!problem.to_string().contains("unpaid"), "the reason is the operator's: {problem}");
    }
    let body = json!({"name": "another.test", "mx": ["mx.a.test"]});
    tenant.send("POST", "/v1/domains", body.clone()).await.is_problem(403, "tenant-suspended");
    tenant.call("DELETE", &path).send().await.is_problem(403, "tenant-suspended");
    assert_eq!(other.send("POST", "/v1/domains", body.clone()).await.status, 201, "nobody else notices");
    // What it has is served and worked on as before.
    let due = service.database.psql("SELECT count(*) FROM domain_schedule WHERE wake_at IS NOT NULL").await;
    assert_eq!(due.trim(), "2");

    operator.resume_tenant(id, &Actor::operator(), service.clock.now()).await.unwrap();
    assert_eq!(tenant.get(&path).await.status, 200);
    assert_eq!(tenant.send("POST", "/v1/domains", body).await.status, 201);
}

#[tokio::test]
async fn a_provider_does_not_act_within_a_suspended_customer_and_acts_within_the_others() {
    let service = Service::start().await;
    let operator = store(&service.database.url(), Role::Operator).await;
    let provider = service.tenant("Provider").await;
    let mut customers = Vec::new();
    for name in ["one", "two"] {
        let made = provider.send("POST", "/v1/customers", json!({ "name": name })).await;
        customers.push(made.body["id"].as_str().unwrap().to_owned());
    }
    let id = customers[0].parse().unwrap();
    operator.suspend_tenant(id, "abuse", &Actor::operator(), service.clock.now()).await.unwrap();
    let within = async |customer: &str| provider.call("GET", "/v1/domains").header("X-Tenant", customer).send().await;
    within(&customers[0]).await.is_problem(403, "tenant-suspended");
    assert_eq!(within(&customers[1]).await.status, 200);
    assert_eq!(provider.get("/v1/domains").await.status, 200);
}
