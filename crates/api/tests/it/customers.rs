//! Providers and their customers: `/v1/customers`, and acting for one by `X-Tenant`.

use mtasts_api::LimitSettings;
use mtasts_store::Quota;
use serde_json::{Value, json};

use crate::{
    report_rows::{Report, Reports},
    scripted::Reply,
    service::{Answer, Call, OPERATOR_TOKEN, SCOPES, Service, Tenant},
    spec::Operation,
};

const NOBODY: &str = "00000000000070008000000000000000";

/// A tenant beneath `provider`, with a key that has all scopes.
async fn customer<'a>(provider: &Tenant<'a>, name: &str) -> Tenant<'a> {
    let made = provider.send("POST", "/v1/customers", json!({"name": name})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.body["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), Some(format!("/v1/customers/{id}").as_str()));
    let path = format!("/v1/customers/{id}/api-keys");
    let made = provider.send("POST", &path, json!({"name": "first", "scopes": SCOPES})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let key = made.body["key"].as_str().unwrap().to_owned();
    let key_id = made.body["id"].as_str().unwrap().to_owned();
    Tenant { service: provider.service, id, key, key_id }
}

/// A tenant and one of each object that a path can name.
struct Peopled<'a> {
    tenant: Tenant<'a>,
    domain: String,
    version: String,
    credential: String,
    customer: String,
    /// A key beside the one that makes the calls.
    key: String,
    webhook: String,
    recipient: String,
    delivery: String,
    operation: String,
    report: String,
    arrival: String,
    check: String,
}

impl<'a> Peopled<'a> {
    async fn new(tenant: Tenant<'a>) -> Self {
        let name = format!("{}.test", &tenant.id[4..]);
        let (path, domain) = tenant.domain(json!({"name": name, "mx": ["mx.a.test"]})).await;
        let text = |answer: &Answer| answer.body["id"].as_str().unwrap().to_owned();
        let version = text(&tenant.get(&format!("{path}/policy")).await);
        tenant.service.dns.expect("check cloudflare - token-for-a-test", Reply::Done);
        let body = json!({"name": "ours", "provider": {"type": "cloudflare", "token": "token-for-a-test"}});
        let credential = text(&tenant.send("POST", "/v1/dns-credentials", body).await);
        let customer = text(&tenant.send("POST", "/v1/customers", json!({"name": "beneath"})).await);
        let key = text(&tenant.send("POST", "/v1/api-keys", json!({"name": "spare"})).await);
        let body = json!({"url": "https://hooks.owned.test/"});
        let webhook = text(&tenant.send("POST", "/v1/webhooks", body).await);
        let body = json!({"email": "ops@example.com", "frequency": "daily"});
        let recipient = text(&tenant.send("POST", "/v1/digest-recipients", body).await);
        let delivery = text(&tenant.call("POST", &format!("/v1/webhooks/{webhook}/test")).send().await);
        let check = text(&tenant.send("POST", "/v1/checks", json!({"domain": "anybodys.test"})).await);
        // Last: it is carried out at some time.
        let body = json!({"operations": [{"op": "create", "name": format!("batched.{name}")}]});
        let operation = text(&tenant.send("POST", "/v1/domains:batch", body).await);
        let reports = Reports::on(&tenant, &domain).await;
        let arrival = reports.arrival("read", Some(b"raw"), 1).await;
        let report = reports.report_in(&arrival, Report::default()).await;
        Self {
            tenant,
            domain,
            version,
            credential,
            customer,
            key,
            webhook,
            recipient,
            delivery,
            operation,
            report,
            arrival,
            check,
        }
    }

    fn path(&self, operation: &Operation) -> String {
        operation.path_with(|name| match name {
            "domain_id" => self.domain.clone(),
            "version_id" => self.version.clone(),
            "key_id" => self.key.clone(),
            "dns_credential_id" => self.credential.clone(),
            "tenant_id" => self.customer.clone(),
            "webhook_id" => self.webhook.clone(),
            "digest_recipient_id" => self.recipient.clone(),
            "delivery_id" => self.delivery.clone(),
            "operation_id" => self.operation.clone(),
            "report_id" => self.report.clone(),
            "arrival_id" => self.arrival.clone(),
            "check_id" => self.check.clone(),
            other => panic!("a new path parameter: {other}; say here what one of a tenant's own is"),
        })
    }

    /// The operation on what belongs to this tenant.
    fn call(&self, operation: &Operation) -> Call<'a> {
        let call = self.tenant.service.call(&operation.method, &self.path(operation)).header("X-Request-Id", "same");
        match self.tenant.service.spec.example_body(operation) {
            Some(body) => call.json(&body),
            None => call,
        }
    }
}

/// Whether a tenant's key may call it.
fn is_of_tenants(operation: &Operation) -> bool {
    operation.scheme() != "operator_token"
}

/// All that the database holds.
async fn dump(service: &Service) -> String {
    let all = "SELECT string_agg(query_to_xml(format('SELECT * FROM %I.%I t ORDER BY t::text', schemaname, tablename),
            true, false, '')::text, '' ORDER BY tablename)
        FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    service.database.psql(all).await
}

#[tokio::test]
async fn no_operation_reaches_beyond_the_subtree_of_the_key() {
    let service = Service::start().await;
    let root = service.tenant("root").await;
    let provider = customer(&root, "provider").await;
    let parent = Peopled::new(root).await;
    let sibling = Peopled::new(customer(&parent.tenant, "sibling").await).await;
    let stranger = Peopled::new(service.tenant("stranger").await).await;
    let within = Peopled::new(customer(&provider, "within").await).await;
    // A key that lacks the scope reaches nobody but its own tenant.
    let narrow = provider.send("POST", "/v1/api-keys", json!({"name": "narrow"})).await;
    let narrow = narrow.body["key"].as_str().unwrap();
    let own = service.call("GET", "/v1/tenant").token(narrow).header("X-Tenant", &provider.id).send().await;
    assert_eq!(own.body["id"], provider.id.as_str());
    let before = dump(&service).await;
    let mut covered = 0;
    for operation in service.spec.operations().into_iter().filter(is_of_tenants) {
        let at = format!("{} {}", operation.method, operation.path);
        let mut texts = Vec::new();
        for target in [&parent, &sibling, &stranger] {
            let call = target.call(&operation).token(&provider.key).header("X-Tenant", &target.tenant.id);
            texts.push(call.send().await);
        }
        let unknown = format!("ten_{NOBODY}");
        texts.push(parent.call(&operation).token(&provider.key).header("X-Tenant", &unknown).send().await);
        texts.push(within.call(&operation).token(narrow).header("X-Tenant", &within.tenant.id).send().await);
        for answer in &texts {
            answer.is_problem(404, "not-found");
            assert_eq!(answer.text, texts[0].text, "{at}: the answers differ");
        }
        covered += 1;
    }
    assert!(covered >= 31, "only {covered} operations were covered");
    assert!(dump(&service).await == before, "something was changed");
}

#[tokio::test]
async fn for_a_tenant_beneath_every_operation_works_as_with_its_own_key() {
    let service = Service::start().await;
    let root = service.tenant("root").await;
    let middle = customer(&root, "middle").await;
    let (by_itself, by_provider) =
        (Peopled::new(customer(&middle, "one").await).await, Peopled::new(customer(&middle, "two").await).await);
    let mut covered = 0;
    for operation in service.spec.operations().into_iter().filter(is_of_tenants) {
        let at = format!("{} {}", operation.method, operation.path);
        // What a DNS provider is asked by this operation is scripted in tests of its own.
        if operation.path == "/v1/dns-credentials" && operation.method == "POST" {
            continue;
        }
        let own = by_itself.call(&operation).token(&by_itself.tenant.key).send().await;
        let call = by_provider.call(&operation).token(&root.key).header("X-Tenant", &by_provider.tenant.id);
        let acting = call.send().await;
        assert_eq!((own.status, &own.body["code"]), (acting.status, &acting.body["code"]), "{at}: {}", acting.text);
        let members = |answer: &Answer| answer.body.as_object().map(|body| body.keys().cloned().collect::<Vec<_>>());
        assert_eq!(members(&own), members(&acting), "{at}");
        assert!(!matches!(acting.status, 401 | 403 | 500), "{at}: {}", acting.text);
        covered += 1;
    }
    assert!(covered >= 30, "only {covered} operations were covered");
    // The same happened to both: as many lines in both logs, and by whom is told.
    let log = async |tenant: &Tenant<'_>| {
        let call = service.call("GET", "/v1/audit-events?limit=100").token(&root.key).header("X-Tenant", &tenant.id);
        call.send().await.body["data"].as_array().unwrap().clone()
    };
    let (own, acting) = (log(&by_itself.tenant).await, log(&by_provider.tenant).await);
    let actions = |lines: &[Value]| lines.iter().map(|line| line["action"].clone()).collect::<Vec<_>>();
    assert_eq!(actions(&own), actions(&acting));
    let removed =
        |lines: &[Value]| lines.iter().find(|line| line["action"] == "domain.withdraw").unwrap()["actor"].clone();
    assert_eq!(
        removed(&own),
        json!({"kind": "api-key", "id": by_itself.tenant.key_id, "issuer": null, "tenant_id": null})
    );
    assert_eq!(removed(&acting), json!({"kind": "api-key", "id": root.key_id, "issuer": null, "tenant_id": root.id}));
    let of_root = root.get("/v1/audit-events?limit=100").await.body["data"].as_array().unwrap().clone();
    assert!(of_root.iter().all(|line| line["action"] != "domain.withdraw"), "the line lies where it happened");
}

#[tokio::test]
async fn the_header_is_one_readable_id_and_is_told_to_nobody_without_a_valid_key() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let malformed = [String::new(), "ten_1".to_owned(), format!("{}, {0}", tenant.id), format!("dom_{NOBODY}")];
    for text in &malformed {
        let answer = tenant.call("GET", "/v1/domains").header("X-Tenant", text).send().await;
        answer.is_problem(400, "invalid-parameters");
        assert_eq!(answer.faults(), [("X-Tenant".to_owned(), "invalid-id".to_owned())]);
    }
    let twice = tenant.call("GET", "/v1/domains").header("X-Tenant", &tenant.id).header("X-Tenant", &tenant.id);
    let twice = twice.send().await;
    twice.is_problem(400, "invalid-parameters");
    assert_eq!(twice.faults(), [("X-Tenant".to_owned(), "duplicate-parameter".to_owned())]);
    for value in [tenant.id.as_str(), "nonsense"] {
        let nobody = service.call("GET", "/v1/domains").token("mts_live_nothing").header("X-Tenant", value);
        nobody.send().await.is_problem(401, "unauthenticated");
    }
    // The operator acts for tenants by its own operations alone.
    let operator = service.call("GET", "/v1/domains").token(OPERATOR_TOKEN).header("X-Tenant", &tenant.id);
    operator.send().await.is_problem(403, "wrong-credential");
}

#[tokio::test]
async fn a_repeated_request_counts_once_within_the_tenant_for_which_it_acts() {
    let service = Service::start().await;
    let provider = service.tenant("provider").await;
    let (one, two) = (customer(&provider, "one").await, customer(&provider, "two").await);
    let register = |target: &Tenant<'_>| {
        let call = provider.call("POST", "/v1/domains").header("X-Tenant", &target.id).header("Idempotency-Key", "k");
        call.json(&json!({"name": "shared.test", "mx": ["mx.shared.test"]}))
    };
    let first = register(&one).send().await;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = register(&one).send().await;
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));
    let other = register(&two).send().await;
    assert_eq!((other.status, other.header("idempotent-replayed")), (201, None), "another tenant, another request");
    assert_ne!(other.body["id"], first.body["id"]);
    for (tenant, made) in [(&one, &first), (&two, &other)] {
        let listed = tenant.get("/v1/domains").await.body["data"].clone();
        assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &made.body["id"]));
    }
    assert_eq!(provider.get("/v1/domains").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_provider_makes_pages_through_and_renames_its_customers() {
    let service = Service::start().await;
    let (provider, stranger) = (service.tenant("provider").await, service.tenant("stranger").await);
    let mut made = Vec::new();
    for number in 0..5 {
        service.clock.advance(chrono::TimeDelta::milliseconds(2));
        let body = json!({"name": format!("customer {number}")});
        made.push(provider.send("POST", "/v1/customers", body).await.body["id"].as_str().unwrap().to_owned());
    }
    let beneath = provider.send("POST", "/v1/customers", json!({"name": "beneath", "parent": made[1]})).await;
    assert_eq!((beneath.status, &beneath.body["parent_id"]), (201, &json!(made[1])));
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = provider.get(&format!("/v1/customers?limit=2{cursor}")).await.body;
        seen.extend(page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made, "those directly beneath");
    let page = provider.get(&format!("/v1/customers?parent={}", made[1])).await.body;
    assert_eq!(page["data"], json!([beneath.body]));
    let path = format!("/v1/customers/{}", beneath.body["id"].as_str().unwrap());
    let renamed = provider.send("PATCH", &path, json!({"name": " New name "})).await;
    assert_eq!((renamed.status, &renamed.body["name"]), (200, &json!("New name")));
    assert_eq!(provider.send("PATCH", &path, json!({})).await.body, renamed.body);
    assert_eq!(provider.get(&path).await.body, renamed.body);
    stranger.send("PATCH", &path, json!({})).await.is_problem(404, "not-found");
    stranger.get(&format!("/v1/customers?parent={}", made[1])).await.is_problem(404, "not-found");
    provider.get("/v1/customers?parent=x").await.is_problem(400, "invalid-parameters");
    let own = format!("/v1/customers/{}", provider.id);
    provider.get(&own).await.is_problem(404, "not-found");
    provider.send("PATCH", &own, json!({"name": "me"})).await.is_problem(404, "not-found");
    for (body, fault) in [
        (json!({"name": "x", "parent": stranger.id}), ("/parent", "parent-unknown")),
        (json!({"name": "x", "parent": format!("ten_{NOBODY}")}), ("/parent", "parent-unknown")),
        (json!({"name": "x", "parent": "x"}), ("/parent", "invalid-id")),
        (json!({"name": ""}), ("/name", "length")),
    ] {
        let answer = provider.send("POST", "/v1/customers", body).await;
        answer.is_problem(422, "invalid-fields");
        assert_eq!(answer.faults()[0].0, fault.0);
        assert!(fault.1 == "length" || answer.faults()[0].1 == fault.1, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_repeated_creation_makes_one_customer() {
    let service = Service::start().await;
    let provider = service.tenant("provider").await;
    let create = |name: &str| {
        provider.call("POST", "/v1/customers").header("Idempotency-Key", "c1").json(&json!({"name": name}))
    };
    let (first, again) = (create("one").send().await, create("one").send().await);
    assert_eq!((first.status, &again.text, again.header("location")), (201, &first.text, first.header("location")));
    create("another").send().await.is_problem(422, "idempotency-key-reused");
    assert_eq!(provider.get("/v1/customers").await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn below_the_fifth_level_there_are_no_customers() {
    let service = Service::start().await;
    let root = service.tenant("root").await;
    let mut lowest = root.id.clone();
    for level in 2..=5 {
        let made =
            root.send("POST", "/v1/customers", json!({"name": format!("level {level}"), "parent": lowest})).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.body["id"].as_str().unwrap().clone_into(&mut lowest);
    }
    let refused = root.send("POST", "/v1/customers", json!({"name": "level 6", "parent": lowest})).await;
    refused.is_problem(409, "customer-too-deep");
    let acting = root.call("POST", "/v1/customers").header("X-Tenant", &lowest).json(&json!({"name": "level 6"}));
    acting.send().await.is_problem(409, "customer-too-deep");
}

#[tokio::test]
async fn scopes_that_reach_other_tenants_are_given_by_name_and_never_beyond_those_of_the_giver() {
    let service = Service::start().await;
    let provider = service.tenant("provider").await;
    let usual = json!(SCOPES[..7]);
    let unnamed = provider.send("POST", "/v1/api-keys", json!({"name": "unnamed"})).await;
    assert_eq!(unnamed.body["scopes"], usual);
    let path = format!("/v1/tenants/{}/api-keys", provider.id);
    let unnamed = service.call("POST", &path).token(OPERATOR_TOKEN).json(&json!({"name": "unnamed"})).send().await;
    assert_eq!(unnamed.body["scopes"], usual);

    let customer = customer(&provider, "customer").await;
    let narrow = json!({"name": "narrow", "scopes": ["customers:write", "domains:read"]});
    let narrow = provider.send("POST", "/v1/api-keys", narrow).await.body["key"].as_str().unwrap().to_owned();
    let path = format!("/v1/customers/{}/api-keys", customer.id);
    let make = |body: Value| service.call("POST", &path).token(&narrow).json(&body).send();
    let refused = make(json!({"name": "more", "scopes": ["domains:write", "domains:read"]})).await;
    assert_eq!(refused.is_problem(403, "scope-missing")["missing_scopes"], json!(["domains:write"]));
    assert_eq!(make(json!({"name": "less"})).await.body["scopes"], json!(["domains:read"]));

    let only = provider.send("POST", "/v1/api-keys", json!({"name": "only", "scopes": ["customers:write"]})).await;
    let only = only.body["key"].as_str().unwrap();
    let unnamed = service.call("POST", &path).token(only).json(&json!({"name": "unnamed"})).send().await;
    unnamed.is_problem(422, "invalid-fields");
    assert_eq!(unnamed.faults(), [("/scopes".to_owned(), "missing-field".to_owned())]);
}

#[tokio::test]
async fn a_key_for_a_customer_is_the_customers_and_its_line_names_the_provider() {
    let service = Service::start().await;
    let provider = service.tenant("provider").await;
    let customer = customer(&provider, "customer").await;
    assert_eq!(customer.get("/v1/tenant").await.body["id"], customer.id.as_str());
    let lines = customer.get("/v1/audit-events").await.body["data"].as_array().unwrap().clone();
    let told: Vec<_> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(told, ["api-key.create", "tenant.create"]);
    for line in &lines {
        let by = json!({"kind": "api-key", "id": provider.key_id, "issuer": null, "tenant_id": provider.id});
        assert_eq!(line["actor"], by);
    }
    let of_provider = provider.get("/v1/audit-events?action=customer.").await.body["data"].clone();
    assert_eq!(of_provider[0]["object"], customer.id.as_str());
    assert_eq!(of_provider[0]["actor"]["tenant_id"], Value::Null, "its own key in its own log");
    // Whatever the customer may do, it sees nothing above it.
    customer.get(&format!("/v1/customers/{}", provider.id)).await.is_problem(404, "not-found");
    assert_eq!(customer.get("/v1/customers").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_key_that_is_revoked_acts_for_nobody_any_more() {
    let service = Service::start().await;
    let provider = service.tenant("provider").await;
    let customer = customer(&provider, "customer").await;
    let made = provider.send("POST", "/v1/api-keys", json!({"name": "k", "scopes": SCOPES})).await;
    let (key, id) = (made.body["key"].as_str().unwrap(), made.body["id"].as_str().unwrap());
    let call = || service.call("GET", "/v1/domains").token(key).header("X-Tenant", &customer.id).send();
    assert_eq!(call().await.status, 200);
    provider.call("DELETE", &format!("/v1/api-keys/{id}")).send().await;
    call().await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn calls_for_a_customer_count_for_the_key_and_its_own_tenant() {
    let quota = |burst| Quota::per_minute(1, burst).unwrap();
    let settings = LimitSettings { key: quota(40), tenant: quota(30), ..LimitSettings::default() };
    let service = Service::start_with(|config| config.limits = Some(settings), |url| url).await;
    let provider = service.tenant("provider").await;
    let customer = customer(&provider, "customer").await;
    let left = |answer: &Answer| answer.header("ratelimit").unwrap().to_owned();
    let call = || provider.call("GET", "/v1/domains").header("X-Tenant", &customer.id).send();
    assert!(left(&call().await).starts_with("\"key\";r=37;") && left(&call().await).contains("\"tenant\";r=26;"));
    assert!(
        left(&customer.get("/v1/domains").await).contains("\"tenant\";r=29;"),
        "nothing was taken from the customer"
    );
    let unknown = provider.call("GET", "/v1/domains").header("X-Tenant", &format!("ten_{NOBODY}")).send().await;
    unknown.is_problem(404, "not-found");
    assert!(left(&unknown).contains("\"tenant\";r=25;"), "to ask for tenants that are not there costs as much");
}
