use std::collections::BTreeSet;

use mtasts_model::{Condition, ConditionKind, Mode, Status, Tag};
use mtasts_store::{Actor, DomainFilter, DomainQuery, DomainSort, DomainState, Role, StoreError};
use serde_json::json;

use crate::fixture::{Fixture, policy};

#[tokio::test]
async fn a_domain_is_registered_once_per_tenant_and_by_any_number_of_tenants() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let domain = fixture.domain(&api, one, "example.com").await;
    assert_eq!(domain.state, DomainState::Pending);
    assert_eq!(domain.version.as_ref().unwrap().seq, 1);
    fixture.domain(&api, other, "example.com").await;

    let mut tx = api.tenant_tx(one).await.unwrap();
    let again = tx.create_domain(fixture.new_domain("example.com", None), &Actor::operator(), fixture.now()).await;
    assert!(matches!(again, Err(StoreError::DomainExists { id }) if id == domain.id), "{again:?}");
    // The transaction can go on: the API keeps its answer for a repeated request.
    assert_eq!(tx.domain_by_name(&domain.name).await.unwrap(), Some(domain));
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn of_requests_that_register_a_name_at_the_same_time_one_succeeds() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let register = async || {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let made = tx.create_domain(fixture.new_domain("example.com", None), &Actor::operator(), fixture.now()).await;
        tx.commit().await.unwrap();
        made
    };
    let (a, b, c) = tokio::join!(register(), register(), register());
    let made: Vec<_> = [a, b, c].into_iter().filter_map(Result::ok).collect();
    assert_eq!(made.len(), 1);
}

#[tokio::test]
async fn a_label_is_never_used_again_even_after_the_domain_is_gone() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let gone = tx.request_withdrawal(domain.id, fixture.none(), &Actor::operator(), fixture.now()).await.unwrap();
    assert_eq!(gone.state, DomainState::Gone);
    tx.commit().await.unwrap();

    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let mut new = fixture.new_domain("example.com", None);
    new.label = domain.label;
    let reused = tx.create_domain(new, &Actor::operator(), fixture.now()).await;
    assert!(matches!(&reused, Err(StoreError::Taken { constraint }) if constraint == "labels_pkey"), "{reused:?}");
    drop(tx);
    fixture.domain(&api, tenant, "example.com").await;
}

#[tokio::test]
async fn lists_page_by_id_and_by_name_and_keep_to_every_filter() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let mut all = Vec::new();
    for name in ["b.example", "a.example", "ab.example", "c.example", "aa.example"] {
        all.push(fixture.domain(&api, tenant, name).await);
        fixture.domain(&api, other, name).await;
    }
    fixture.set_policy(&api, &all[3], policy(Mode::Enforce, &["mx.example.net"], 86_400)).await;
    let lease = fixture.claim(&worker, all[0].id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    let message = "set the CNAME";
    let condition = Condition::new(ConditionKind::Delegated, Status::False, "CnameMissing", message, fixture.now());
    tx.settle(std::slice::from_ref(&condition), None, true).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.request_withdrawal(all[4].id, fixture.none(), &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();

    let list = async |filter: DomainFilter| {
        let tx = api.tenant_tx(tenant).await.unwrap();
        let sort = if filter.name_prefix.is_some() { DomainSort::Name } else { DomainSort::Created };
        let mut query = DomainQuery { filter, sort, after: None, limit: 1 };
        let mut names: Vec<String> = Vec::new();
        loop {
            let page = tx.domain_page(&query).await.unwrap();
            assert!(page.domains.len() <= 1);
            names.extend(page.domains.iter().map(|domain| domain.name.to_string()));
            let Some(next) = page.next else { return names };
            query.after = Some(next);
        }
    };
    let mut by_id = all[..4].to_vec();
    by_id.sort_by_key(|domain| domain.id);
    let by_id: Vec<String> = by_id.iter().map(|domain| domain.name.to_string()).collect();
    assert_eq!(list(DomainFilter::default()).await, by_id, "without what is gone");
    let filter = |set: fn(&mut DomainFilter)| {
        let mut filter = DomainFilter::default();
        set(&mut filter);
        filter
    };
    assert_eq!(list(filter(|f| f.mode = Some(Mode::Enforce))).await, ["c.example"]);
    assert_eq!(list(filter(|f| f.state = Some(DomainState::Gone))).await, ["aa.example"]);
    assert_eq!(list(filter(|f| f.name_prefix = Some("a".to_owned()))).await, ["a.example", "ab.example"]);
    assert_eq!(list(filter(|f| f.name_prefix = Some("%".to_owned()))).await, [""; 0]);
    let delegated = filter(|f| f.conditions = vec![(ConditionKind::Delegated, Status::False)]);
    assert_eq!(list(delegated).await, ["b.example"]);
    let both = filter(|f| {
        f.conditions = vec![(ConditionKind::Delegated, Status::False)];
        f.mode = Some(Mode::Testing);
        f.name_prefix = Some("b".to_owned());
    });
    assert_eq!(list(both).await, ["b.example"]);
    assert!(list(filter(|f| f.conditions = vec![(ConditionKind::MxReady, Status::False)])).await.is_empty());
    assert_eq!(fixture.view(&api, &all[0]).await.conditions, [condition]);
}

#[tokio::test]
async fn report_addresses_are_changed_once_and_not_while_the_domain_is_withdrawn() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let uris = ["mailto:tls@example.com".parse().unwrap()];
    let actor = Actor::operator();
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    for _ in 0..2 {
        let view = tx.set_report_uris(domain.id, &uris, &actor, fixture.now()).await.unwrap();
        assert_eq!(view.report_uris, uris);
    }
    let events = tx.audit_events(None, 200).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.action == "domain.report-uris").count(), 1);
    tx.request_withdrawal(domain.id, fixture.none(), &actor, fixture.now()).await.unwrap();
    let late = tx.set_report_uris(domain.id, &[], &actor, fixture.now()).await;
    assert!(matches!(late, Err(StoreError::Withdrawing)));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.database.psql("UPDATE policy_versions SET policy_text = 'gibberish'").await;
    let error = api.tenant_tx(tenant).await.unwrap().domain(domain.id).await.unwrap_err();
    let id = domain.version.unwrap().id.as_uuid().to_string();
    assert!(
        matches!(&error, StoreError::UnreadableRow { table: "policy_versions", column: "policy_text", row, .. }
            if *row == id),
        "{error:?}"
    );
}

#[tokio::test]
async fn who_asks_to_look_again_in_a_loop_is_heard_every_15_seconds() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let ask = async || {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let view = tx.request_verify(domain.id, &Actor::operator(), fixture.now()).await.unwrap();
        tx.commit().await.unwrap();
        view.nudged_at
    };
    fixture.clock.advance(chrono::TimeDelta::seconds(1));
    let first = fixture.now();
    assert_eq!(ask().await, first, "registration was no request");
    let lease = fixture.claim(&worker, domain.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.settle(&[], None, true).await.unwrap();
    tx.commit().await.unwrap();
    fixture.clock.advance(chrono::TimeDelta::seconds(14));
    assert_eq!(ask().await, first);
    assert_eq!(worker.next_due_at().await.unwrap(), None, "nobody was woken");
    fixture.clock.advance(chrono::TimeDelta::seconds(1));
    assert_eq!(ask().await, fixture.now());
    assert_eq!(worker.next_due_at().await.unwrap(), Some(fixture.now()));
}

#[tokio::test]
async fn tags_are_replaced_audited_once_and_found() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let (one, other) =
        (fixture.domain(&api, tenant, "a.example").await, fixture.domain(&api, tenant, "b.example").await);
    let tags = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect::<BTreeSet<Tag>>();
    let actor = Actor::operator();
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    for words in [&["b", "a"][..], &["a", "b"], &["b", "c"]] {
        let view = tx.set_tags(one.id, &tags(words), &actor, fixture.now()).await.unwrap();
        assert_eq!(view.tags, tags(words).into_iter().collect::<Vec<_>>());
    }
    tx.set_tags(other.id, &tags(&["b"]), &actor, fixture.now()).await.unwrap();
    let events = tx.audit_events(None, 200).await.unwrap();
    let told: Vec<_> = events.into_iter().filter(|event| event.action == "domain.tags").collect();
    assert_eq!(told.len(), 3, "what changes nothing is not told");
    assert_eq!((&told[1].before, &told[1].after), (&Some(json!(["a", "b"])), &Some(json!(["b", "c"]))));
    for (words, expected) in [(&["b"][..], 2), (&["b", "c"], 1), (&["a"], 0)] {
        let filter = DomainFilter { tags: tags(words).into_iter().collect(), ..DomainFilter::default() };
        assert_eq!(tx.list_domains(&filter, None, 200).await.unwrap().len(), expected, "{words:?}");
    }
    tx.request_withdrawal(one.id, fixture.none(), &actor, fixture.now()).await.unwrap();
    let late = tx.set_tags(one.id, &tags(&[]), &actor, fixture.now()).await;
    assert!(matches!(late, Err(StoreError::Withdrawing)));
}
