//! Lists of domains: tags, text, several conditions, orders, cursors and members.

use std::collections::BTreeSet;

use mtasts_model::{Clock, Condition, ConditionKind, Status};
use serde_json::{Value, json};

use crate::service::{Service, Tenant};

/// The names on all pages of two, and whether each came once.
async fn walked(tenant: &Tenant<'_>, query: &str) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = tenant.get(&format!("/v1/domains?limit=2&{query}{cursor}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.text);
        names.extend(
            page.body["data"].as_array().unwrap().iter().map(|domain| domain["name"].as_str().unwrap().to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{query}");
    names
}

#[tokio::test]
async fn every_filter_and_every_order_go_together() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let domains = [
        ("c.test", &["shop", "customer:1"][..]),
        ("shop-a.test", &["shop"]),
        ("b.shop.test", &["shop", "customer:2"]),
        ("a.test", &[]),
        ("d.test", &["customer:2"]),
    ];
    let mut ids = Vec::new();
    for (name, tags) in domains {
        service.clock.advance(chrono::TimeDelta::milliseconds(2));
        ids.push(tenant.domain(json!({"name": name, "mx": ["mx.x.test"], "tags": tags})).await.1);
    }
    let now = service.clock.now();
    let condition = |kind, status| Condition::new(kind, status, "Reason", "message", now);
    service.settle(&ids[0], &[condition(ConditionKind::MxReady, Status::False)]).await;
    let both = [condition(ConditionKind::MxReady, Status::False), condition(ConditionKind::Delegated, Status::True)];
    service.settle(&ids[2], &both).await;

    let registered = domains.map(|(name, _)| name);
    assert_eq!(walked(&tenant, "").await, registered);
    assert_eq!(walked(&tenant, "sort=created_at").await, registered);
    let expect = async |query: &str, expected: &[&str]| {
        let wanted: Vec<_> = registered.into_iter().filter(|name| expected.contains(name)).collect();
        assert_eq!(wanted.len(), expected.len());
        for (sort, by_name, backwards) in
            [("created_at", false, false), ("-created_at", false, true), ("name", true, false), ("-name", true, true)]
        {
            let mut wanted = wanted.clone();
            if by_name {
                wanted.sort_unstable();
            }
            if backwards {
                wanted.reverse();
            }
            assert_eq!(walked(&tenant, &format!("{query}&sort={sort}")).await, wanted, "{query} {sort}");
        }
    };
    expect("", &registered).await;
    expect("tag=shop", &["c.test", "shop-a.test", "b.shop.test"]).await;
    expect("tag=customer:2&tag=shop", &["b.shop.test"]).await;
    expect("tag=customer:1&tag=customer:2", &[]).await;
    expect("q=SHOP", &["shop-a.test", "b.shop.test"]).await;
    expect("q=p.t", &["b.shop.test"]).await;
    expect("q=shop&tag=shop&condition=MxReady:False", &["b.shop.test"]).await;
    expect("condition=MxReady:False", &["c.test", "b.shop.test"]).await;
    expect("condition=MxReady:False&condition=Delegated:True&mode=testing&state=pending", &["b.shop.test"]).await;
    expect("name_prefix=shop", &["shop-a.test"]).await;
    expect("mode=enforce", &[]).await;
}

#[tokio::test]
async fn what_no_list_has_is_refused_by_name() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for name in ["a.test", "b.test", "c.test"] {
        tenant.domain(json!({"name": name})).await;
    }
    let by_name = tenant.get("/v1/domains?limit=1&sort=name").await.body["next_cursor"].as_str().unwrap().to_owned();
    let refused = async |query: &str, parameter: &str, code: &str| {
        let answer = tenant.get(&format!("/v1/domains?{query}")).await;
        answer.is_problem(400, "invalid-parameters");
        assert_eq!(answer.faults(), [(parameter.to_owned(), code.to_owned())], "{query}");
    };
    refused(&format!("cursor={by_name}"), "cursor", "cursor-of-another-sort").await;
    refused(&format!("sort=-name&cursor={by_name}"), "cursor", "cursor-of-another-sort").await;
    refused("cursor=AAAA", "cursor", "invalid-cursor").await;
    refused("sort=mode", "sort", "sort-unknown").await;
    refused("sort=name&sort=name", "sort", "duplicate-parameter").await;
    refused("fields=name,colour", "fields", "field-unknown").await;
    refused("q=ab", "q", "name-character").await;
    refused("q=a%25b", "q", "name-character").await;
    refused("tag=A", "tag", "tag-malformed").await;
    refused("tag=a&tag=b&tag=c&tag=d&tag=e&tag=f", "tag", "too-many").await;
    refused("condition=MxReady:True&condition=MxReady:False", "condition", "condition-repeated").await;
    let shown = tenant.get("/v1/domains?fields=name,policy_id&limit=1").await.body["data"][0].clone();
    let members: Vec<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((members, &shown["policy_id"]), (vec!["id", "name", "policy_id"], &Value::Null));
}

#[tokio::test]
async fn tags_are_set_replaced_and_refused_where_they_are_none() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "tags": ["b", "a", "b"]})).await;
    assert_eq!(tenant.get(&path).await.body["tags"], json!(["a", "b"]), "in order, each once");
    let changed = tenant.send("PATCH", &path, json!({"tags": ["c"]})).await;
    assert_eq!((changed.status, &changed.body["tags"]), (200, &json!(["c"])));
    assert_eq!(tenant.send("PATCH", &path, json!({})).await.body["tags"], json!(["c"]), "what is absent stays");
    let line = tenant.get("/v1/audit-events?action=domain.tags").await.body["data"][0].clone();
    assert_eq!((&line["object"], &line["before"], &line["after"]), (&json!(id), &json!(["a", "b"]), &json!(["c"])));
    let wrong = tenant.send("PATCH", &path, json!({"tags": ["ok", "No"], "tls_rpt": {"rua": ["x"]}})).await;
    let faults: Vec<_> = wrong.faults().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!((wrong.status, faults), (422, vec!["/tls_rpt/rua/0".to_owned(), "/tags/1".to_owned()]));
    let many: Vec<_> = (0..21).map(|number| format!("t{number}")).collect();
    let wrong = tenant.send("POST", "/v1/domains", json!({"name": "b.test", "tags": many})).await;
    assert_eq!(wrong.faults(), [("/tags".to_owned(), "too-many".to_owned())]);
    let most = tenant.send("POST", "/v1/domains", json!({"name": "b.test", "tags": many[..20]})).await;
    assert_eq!((most.status, most.body["tags"].as_array().unwrap().len()), (201, 20));
    assert_eq!(tenant.send("PATCH", &path, json!({"tags": []})).await.body["tags"], json!([]));
}
