//! The delegation in all its formats, planned and applied in a customer's zone.

use std::{io::Write as _, process::Command, sync::Arc};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use data_encoding::BASE64;
use mtasts_api::{CustomerDnsError, DomainConnect, DomainConnectIdentity, DomainConnectSettings};
use serde_json::{Value, json};
use url::Url;

use crate::{
    dns_credentials::{access, credential, unauthorized, unavailable},
    hcl,
    scripted::{Reply, ScriptedWeb},
    service::{Answer, Service, Tenant},
};

/// A domain whose CNAMEs are to be set.
struct Subject<'a> {
    tenant: Tenant<'a>,
    path: String,
    /// Name and target of each CNAME, the required ones first.
    records: Vec<(String, String)>,
    credential: String,
}

impl<'a> Subject<'a> {
    async fn of(service: &'a Service) -> Self {
        let tenant = service.tenant("one").await;
        let (path, _) = tenant.domain(json!({"name": "customer.test", "mx": ["mx.customer.test"]})).await;
        let shown = tenant.get(&format!("{path}/delegation")).await.body;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let records = shown["records"].as_array().unwrap().iter();
        let records = records.map(|record| (text(&record["name"]), text(&record["target"]))).collect();
        let credential = credential(&tenant).await;
        Self { tenant, path, records, credential }
    }

    /// Says what stands at the names, for one look.
    fn stands(&self, names: usize, standing: Vec<(String, &'static str, String)>) {
        let dns = &self.tenant.service.dns;
        dns.expect(format!("open customer.test {}", access()), Reply::Zone("customer.test"));
        let names: Vec<_> = self.records.iter().take(names).map(|(name, _)| name.as_str()).collect();
        dns.expect(format!("standing {}", names.join(" ")), Reply::Standing(standing));
    }

    fn right(&self, index: usize) -> (String, &'static str, String) {
        let (name, target) = &self.records[index];
        (name.clone(), "CNAME", target.clone())
    }

    fn creates(&self, index: usize, reply: Reply) {
        let (name, target) = &self.records[index];
        self.tenant.service.dns.expect(format!("create {name} {target} 3600"), reply);
    }

    async fn plan(&self) -> Answer {
        let body = json!({"dns_credential_id": self.credential});
        self.tenant.send("POST", &format!("{}/delegation:plan", self.path), body).await
    }

    async fn apply(&self, plan: &Value) -> Answer {
        let body = json!({"dns_credential_id": self.credential, "plan": plan});
        self.tenant.send("POST", &format!("{}/delegation:apply", self.path), body).await
    }

    /// A plan of three CNAMEs that are all missing.
    async fn plan_of_all(&self) -> Value {
        self.stands(3, vec![]);
        self.plan().await.body["plan"].clone()
    }
}

fn actions(answer: &Value, member: &str) -> Vec<String> {
    let records = answer["records"].as_array().unwrap_or_else(|| panic!("no records in {answer}"));
    records.iter().map(|record| record[member].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_delegation_is_shown_with_what_was_seen() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "customer.test"})).await;
    let domain = tenant.get(&path).await.body;
    let shown = tenant.get(&format!("{path}/delegation")).await;
    assert_eq!((&shown.body["domain_id"], &shown.body["domain"]), (&json!(id), &json!("customer.test")));
    assert_eq!(shown.body["records"], domain["delegation"]["records"]);
    assert_eq!((&shown.body["checked_at"], &shown.body["domain_connect"]), (&Value::Null, &Value::Null));
    for query in ["format=yaml", "provider=dns", "format=json&provider=dns", "format=terraform&provider=x", "x=1"] {
        tenant.get(&format!("{path}/delegation?{query}")).await.is_problem(400, "invalid-parameters");
    }
}

#[tokio::test]
async fn the_zone_file_is_one_that_bind_loads() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "customer.test"})).await;
    let by_query = tenant.get(&format!("{path}/delegation?format=zone-file")).await;
    let by_accept = tenant.call("GET", &format!("{path}/delegation")).header("Accept", "text/dns").send().await;
    assert_eq!(by_query.text, by_accept.text);
    for answer in [&by_query, &by_accept] {
        assert_eq!((answer.header("content-type"), answer.header("vary")), (Some("text/dns"), Some("Accept")));
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let head = "customer.test. 3600 IN SOA ns.customer.test. h.customer.test. 1 3600 600 86400 60\n\
                customer.test. 3600 IN NS ns.customer.test.\nns.customer.test. 3600 IN A 192.0.2.1\n";
    // The optional record too, which is commented out.
    let optional = by_query.text.lines().last().unwrap().strip_prefix("; ").unwrap();
    writeln!(file, "{head}{}{optional}", by_query.text).unwrap();
    let check = Command::new("named-checkzone").args(["-D", "customer.test"]).arg(file.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{printed}{}", String::from_utf8_lossy(&check.stderr));
    let loaded = printed.lines().filter(|line| line.contains(" IN CNAME")).count();
    assert_eq!(loaded, 4, "{printed}");
}

#[tokio::test]
async fn terraform_files_are_sound_and_set_each_cname() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "xn--bcher-kva.customer.test"})).await;
    let shown = tenant.get(&format!("{path}/delegation")).await.body;
    let records: Vec<_> = shown["records"].as_array().unwrap().iter().filter(|one| one["required"] == true).collect();
    let prefix = "mtasts_xn--bcher-kva_customer_test";
    for (provider, resource, zone) in
        [("dns", "dns_cname_record", "zone"), ("cloudflare", "cloudflare_dns_record", "zone_id")]
    {
        let answer = tenant.get(&format!("{path}/delegation?format=terraform&provider={provider}")).await;
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        let blocks = hcl::blocks(&answer.text);
        assert_eq!(blocks[0].labels, ["variable".to_owned(), format!("{prefix}_zone")]);
        assert_eq!(blocks.len(), 4, "the optional record is commented out");
        for (block, record) in blocks[1..].iter().zip(&records) {
            let purpose = record["purpose"].as_str().unwrap().replace('-', "_");
            assert_eq!(block.labels, ["resource".to_owned(), resource.to_owned(), format!("{prefix}_{purpose}")]);
            let (name, target) = (record["name"].as_str().unwrap(), record["target"].as_str().unwrap());
            assert_eq!(block.attributes[zone], format!("var.{prefix}_zone"));
            assert_eq!(block.attributes["ttl"], "3600");
            if provider == "dns" {
                assert_eq!(block.attributes["name"], format!("trimsuffix(\"{name}.\", \".${{var.{prefix}_zone}}\")"));
                assert_eq!(block.attributes["cname"], format!("\"{target}.\""));
            } else {
                assert_eq!(
                    (&block.attributes["name"], &block.attributes["content"]),
                    (&format!("\"{name}\""), &format!("\"{target}\""))
                );
                assert_eq!(
                    (block.attributes["type"].as_str(), block.attributes["proxied"].as_str()),
                    ("\"CNAME\"", "false")
                );
            }
        }
        let commented = answer.text.split("by dns-01:\n").nth(1).unwrap().replace("# ", "");
        assert_eq!(hcl::blocks(&commented).len(), 1, "and is sound once the marks are gone");
    }
}

/// A service that offers Domain Connect.
async fn connected() -> (Service, Arc<ScriptedWeb>) {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(der.as_ref()));
    let identity = DomainConnectIdentity::new(DomainConnectSettings {
        provider_id: "Provider.example".to_owned(),
        provider_name: "A Provider".to_owned(),
        service_id: "MTA-STS".to_owned(),
        service_name: "MTA-STS".to_owned(),
        logo_url: None,
        key_host: "_dck1".to_owned(),
        private_key: pem.into(),
    })
    .unwrap();
    let web = Arc::new(ScriptedWeb::default());
    let domain_connect = DomainConnect { identity: Arc::new(identity), web: Arc::clone(&web) as _ };
    let wire = |server: mtasts_api::ApiServer| server.with_domain_connect(domain_connect);
    (Service::start_wired(|_| {}, |url| url, wire).await, web)
}

const SETTINGS: &str = "get https://dc.dns.example/prefix/v2/customer.test/settings";
const TEMPLATE: &str = "get https://api.dns.example/v2/domainTemplates/providers/provider.example/services/MTA-STS";

fn settings() -> Reply {
    let settings = json!({
        "providerId": "dns.example", "providerName": "DNS Example", "providerDisplayName": "DNS of Example\u{7}",
        "urlSyncUX": "https://connect.dns.example/dc", "urlAPI": "https://api.dns.example/", "width": 750,
    });
    Reply::Web(200, settings.to_string())
}

#[tokio::test]
async fn a_domain_connect_link_is_signed_by_the_published_key() {
    let (service, web) = connected().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "shop.customer.test"})).await;
    web.expect("txt _domainconnect.shop.customer.test", Reply::Txt(&[]));
    web.expect("txt _domainconnect.customer.test", Reply::Txt(&["127.0.0.1", "dc.dns.example/prefix"]));
    web.expect(SETTINGS, settings());
    web.expect(TEMPLATE, Reply::Web(200, String::new()));
    let answer = tenant.get(&format!("{path}/delegation?format=domain-connect")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let shown = &answer.body["domain_connect"];
    assert_eq!((&shown["supported"], &shown["reason"]), (&json!(true), &Value::Null));
    assert_eq!((&shown["dns_provider"], &shown["zone"]), (&json!("DNS of Example"), &json!("customer.test")));

    let url = Url::parse(shown["apply_url"].as_str().unwrap()).unwrap();
    assert_eq!(
        url.as_str().split('?').next().unwrap(),
        "https://connect.dns.example/dc/v2/domainTemplates/providers/provider.example/services/MTA-STS/apply"
    );
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let target = answer.body["records"][0]["target"].as_str().unwrap();
    let label = target.split('.').next().unwrap();
    let expected = [("domain", "customer.test"), ("host", "shop"), ("label", label), ("groupId", "mta-sts")];
    for (pair, (name, value)) in pairs.iter().zip(expected) {
        assert_eq!((pair.0.as_str(), pair.1.as_str()), (name, value));
    }
    assert_eq!((pairs.len(), pairs[4].0.as_str(), pairs[5].clone()), (6, "sig", ("key".into(), "_dck1".into())));

    // As a DNS provider verifies it: the key from the TXT records, the query as it stands before `&sig=`.
    let records = service.call("GET", "/domain-connect/key.txt").send().await;
    let mut key = String::new();
    for (index, line) in records.text.lines().enumerate() {
        let value = line.strip_prefix("_dck1.provider.example. 3600 IN TXT \"").unwrap().strip_suffix('"').unwrap();
        assert!(value.len() <= 255);
        key.push_str(value.strip_prefix(&format!("p={},a=RS256,d=", index + 1)).unwrap());
    }
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, BASE64.decode(key.as_bytes()).unwrap());
    let (signed, _) = url.query().unwrap().split_once("&sig=").unwrap();
    let signature = BASE64.decode(pairs[4].1.as_bytes()).unwrap();
    key.verify(signed.as_bytes(), &signature).expect("the signature is that of the query");
    assert!(key.verify(signed.replace("shop", "shoq").as_bytes(), &signature).is_err());

    let template = service.call("GET", "/domain-connect/template.json").send().await;
    assert_eq!(template.body, shown["template"], "it is public");
    assert_eq!(shown["template_url"], "https://api.example.net/domain-connect/template.json");
    assert!(template.header("content-disposition").unwrap().contains("provider.example.mta-sts.json"));
    assert_eq!(
        (&template.body["providerId"], &template.body["syncPubKeyDomain"], &template.body["syncBlock"]),
        (&json!("provider.example"), &json!("provider.example"), &json!(false))
    );
    assert_eq!(
        template.body["records"][2],
        json!({"type": "CNAME", "groupId": "mta-sts", "host": "_smtp._tls",
            "pointsTo": "%label%._smtp-tls.sts.example.net", "ttl": 3600})
    );
}

#[tokio::test]
async fn where_domain_connect_is_not_possible_the_answer_says_why() {
    let (service, web) = connected().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "customer.test"})).await;
    let txt = || Reply::Txt(&["dc.dns.example/prefix"]);
    let answer_with = |sync: Value, api: &str| {
        Reply::Web(200, json!({"providerName": "DNS", "urlSyncUX": sync, "urlAPI": api}).to_string())
    };
    let (sync, api) = (json!("https://connect.dns.example"), "https://api.dns.example");
    let cases: Vec<(&str, Vec<(&str, Reply)>)> = vec![
        ("not-offered", vec![("", Reply::Txt(&[]))]),
        ("not-offered", vec![("", Reply::Txt(&["169.254.169.254/latest", "user@dc.example", "dc.example:22"]))]),
        ("unreachable", vec![("", Reply::Broken)]),
        ("unreachable", vec![("", txt()), (SETTINGS, Reply::Broken)]),
        ("unreachable", vec![("", txt()), (SETTINGS, Reply::Web(503, String::new()))]),
        ("zone-elsewhere", vec![("", txt()), (SETTINGS, Reply::Web(404, String::new()))]),
        ("malformed-answer", vec![("", txt()), (SETTINGS, Reply::Web(302, String::new()))]),
        ("malformed-answer", vec![("", txt()), (SETTINGS, Reply::Web(200, "<html>".to_owned()))]),
        ("malformed-answer", vec![("", txt()), (SETTINGS, answer_with(sync.clone(), "https://10.0.0.1"))]),
        ("malformed-answer", vec![("", txt()), (SETTINGS, answer_with(json!("javascript:alert(1)"), api))]),
        ("no-synchronous-flow", vec![("", txt()), (SETTINGS, answer_with(Value::Null, api))]),
        (
            "template-unknown",
            vec![("", txt()), (SETTINGS, answer_with(sync, api)), (TEMPLATE, Reply::Web(404, String::new()))],
        ),
    ];
    for (reason, calls) in cases {
        for (call, reply) in calls {
            web.expect(if call.is_empty() { "txt _domainconnect.customer.test" } else { call }, reply);
        }
        let answer = tenant.get(&format!("{path}/delegation?format=domain-connect")).await;
        let shown = &answer.body["domain_connect"];
        assert_eq!((answer.status, &shown["supported"], &shown["reason"]), (200, &json!(false), &json!(reason)));
        assert!(shown["message"].as_str().unwrap().contains("Terraform"), "the other formats are offered");
        assert!(shown.get("apply_url").is_none() && shown["template"].is_object());
    }
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "customer.test"})).await;
    let answer = tenant.get(&format!("{path}/delegation?format=domain-connect")).await;
    assert_eq!(answer.body["domain_connect"]["reason"], "not-configured");
    service.call("GET", "/domain-connect/template.json").send().await.is_problem(404, "no-such-route");
    service.call("GET", "/domain-connect/key.txt").send().await.is_problem(404, "no-such-route");
}

#[tokio::test]
async fn a_plan_shows_what_would_be_done_and_its_application_does_that_and_wakes_the_domain() {
    let service = Service::start().await;
    let subject = Subject::of(&service).await;
    subject.stands(3, vec![subject.right(1)]);
    let plan = subject.plan().await;
    assert_eq!(plan.status, 200, "{}", plan.text);
    assert_eq!(actions(&plan.body, "action"), ["create", "keep", "create"]);
    assert_eq!(
        (&plan.body["applicable"], &plan.body["to_create"], &plan.body["zone"]),
        (&json!(true), &json!(2), &json!("customer.test"))
    );
    let before = subject.tenant.get(&subject.path).await.body["nudged_at"].clone();
    service.clock.advance(chrono::TimeDelta::seconds(1));
    subject.stands(3, vec![subject.right(1)]);
    subject.creates(0, Reply::Done);
    subject.creates(2, Reply::Done);
    let applied = subject.apply(&plan.body["plan"]).await;
    assert_eq!(applied.status, 200, "{}", applied.text);
    assert_eq!(actions(&applied.body, "outcome"), ["created", "kept", "created"]);
    assert_eq!(applied.body["complete"], true);
    assert_ne!(applied.body["domain"]["nudged_at"], before, "the domain is looked at again at once");
    let audit =
        service.database.psql("SELECT action || ' ' || coalesce(after::text, '') FROM audit_events ORDER BY id").await;
    for entry in [
        "dns-credential.use {\"domain\"",
        "\"purpose\": \"apply\"",
        "domain.delegation-apply",
        "\"outcome\": \"created\"",
    ] {
        assert!(audit.contains(entry), "{entry} is not in {audit}");
    }
    let used = subject.tenant.get(&format!("/v1/dns-credentials/{}", subject.credential)).await;
    assert!(used.body["last_used_at"].is_string());
    // Nothing is left to do, and that is a plan too.
    for answer in [subject.path.as_str(), ""] {
        subject.stands(3, (0..3).map(|index| subject.right(index)).collect());
        if answer.is_empty() {
            let applied = subject.apply(&plan.body["plan"]).await;
            applied.is_problem(409, "delegation-changed");
        } else {
            let again = subject.plan().await;
            assert_eq!(
                (actions(&again.body, "action"), &again.body["to_create"]),
                (vec!["keep".to_owned(); 3], &json!(0))
            );
        }
    }
}

#[tokio::test]
async fn the_optional_cname_is_planned_when_it_is_asked_for() {
    let service = Service::start().await;
    let subject = Subject::of(&service).await;
    subject.stands(4, vec![]);
    let body = json!({"dns_credential_id": subject.credential, "include_optional": true});
    let plan = subject.tenant.send("POST", &format!("{}/delegation:plan", subject.path), body).await;
    assert_eq!(actions(&plan.body, "purpose").last().unwrap(), "acme-challenge");
    subject.stands(4, vec![]);
    (0..4).for_each(|index| subject.creates(index, Reply::Done));
    let applied = subject.apply(&plan.body["plan"]).await;
    assert_eq!(actions(&applied.body, "outcome"), ["created"; 4]);
}

#[tokio::test]
async fn what_stands_there_is_shown_and_never_overwritten() {
    let service = Service::start().await;
    let subject = Subject::of(&service).await;
    let name = subject.records[0].0.clone();
    let strangers = || vec![(name.clone(), "A", "192.0.2.7".to_owned()), (name.clone(), "TXT", "\"x\"".to_owned())];
    subject.stands(3, strangers());
    let plan = subject.plan().await;
    assert_eq!(actions(&plan.body, "action"), ["refuse", "create", "create"]);
    assert_eq!(
        (&plan.body["applicable"], &plan.body["records"][0]["standing"]),
        (&json!(false), &json!([{"type": "A", "value": "192.0.2.7"}, {"type": "TXT", "value": "\"x\""}]))
    );
    // No record is created, not even those whose names are free: the script has none.
    subject.stands(3, strangers());
    let refused = subject.apply(&plan.body["plan"]).await;
    assert_eq!(refused.is_problem(409, "delegation-refused")["records"], plan.body["records"]);
    // A CNAME of somebody else's is as good as any other record.
    subject.stands(3, vec![(subject.records[1].0.clone(), "CNAME", "other.example.net".to_owned())]);
    assert_eq!(actions(&subject.plan().await.body, "action"), ["create", "refuse", "create"]);
}

#[tokio::test]
async fn a_zone_that_changed_since_the_plan_is_not_written_to() {
    let service = Service::start().await;
    let subject = Subject::of(&service).await;
    let plan = subject.plan_of_all().await;
    // Somebody set one of them as it is wanted.
    subject.stands(3, vec![subject.right(2)]);
    let changed = subject.apply(&plan).await;
    let problem = changed.is_problem(409, "delegation-changed");
    assert_eq!(actions(problem, "action"), ["create", "create", "keep"], "what stands there now is shown");
    // Or something else.
    subject.stands(3, vec![(subject.records[2].0.clone(), "A", "192.0.2.9".to_owned())]);
    subject.apply(&plan).await.is_problem(409, "delegation-refused");
    // A plan of another credential or domain is no plan of this one.
    let other = credential(&subject.tenant).await;
    subject.stands(3, vec![]);
    let body = json!({"dns_credential_id": other, "plan": plan});
    let path = format!("{}/delegation:apply", subject.path);
    subject.tenant.send("POST", &path, body).await.is_problem(409, "delegation-changed");
    for bad in ["", "required", "required.x", "none.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let body = json!({"dns_credential_id": "dns_1", "plan": bad});
        let answer = subject.tenant.send("POST", &path, body).await;
        let faults = [("/dns_credential_id", "invalid-id"), ("/plan", "invalid-plan")];
        assert_eq!(answer.faults(), faults.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    }
}

#[tokio::test]
async fn each_record_has_an_outcome_of_its_own_and_a_new_plan_goes_on_from_there() {
    let service = Service::start().await;
    let subject = Subject::of(&service).await;
    let plan = subject.plan_of_all().await;
    subject.stands(3, vec![]);
    subject.creates(0, Reply::Fail(CustomerDnsError::Occupied { found: "A 192.0.2.7".to_owned() }));
    subject.creates(1, Reply::Done);
    subject.creates(2, Reply::Fail(CustomerDnsError::Rejected { reason: "the zone is full".to_owned() }));
    let applied = subject.apply(&plan).await;
    assert_eq!((applied.status, &applied.body["complete"]), (200, &json!(false)));
    assert_eq!(actions(&applied.body, "outcome"), ["failed", "created", "failed"]);
    assert!(applied.body["records"][0]["message"].as_str().unwrap().starts_with("A 192.0.2.7 stands there by now"));
    assert_eq!(applied.body["records"][2]["message"], "the zone is full");

    // Away after the first: the others are not tried.
    let plan = subject.plan_of_all().await;
    subject.stands(3, vec![]);
    subject.creates(0, Reply::Done);
    subject.creates(1, Reply::Fail(unavailable()));
    let applied = subject.apply(&plan).await;
    assert_eq!(actions(&applied.body, "outcome"), ["created", "failed", "failed"]);
    assert!(applied.body["records"][1]["message"].as_str().unwrap().contains("may stand there or not"));
    subject.stands(3, vec![subject.right(0)]);
    let plan = subject.plan().await;
    assert_eq!(actions(&plan.body, "action"), ["keep", "create", "create"]);
}

#[tokio::test]
async fn a_repeated_application_writes_once_and_gets_the_same_answer() {
    let service = Service::start().await;
    let subject = Subject::of(&service).await;
    let plan = subject.plan_of_all().await;
    subject.stands(3, vec![]);
    (0..3).for_each(|index| subject.creates(index, Reply::Done));
    let call = || {
        let body = json!({"dns_credential_id": subject.credential, "plan": plan});
        let path = format!("{}/delegation:apply", subject.path);
        subject.tenant.call("POST", &path).header("Idempotency-Key", "apply-1").json(&body).send()
    };
    let (first, second) = (call().await, call().await);
    assert_eq!((first.status, &first.text), (200, &second.text));
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn a_provider_that_refuses_or_is_away_is_a_problem_before_anything_is_written() {
    let service = Service::start().await;
    let subject = Subject::of(&service).await;
    let plan = subject.plan_of_all().await;
    let open = format!("open customer.test {}", access());
    let elsewhere = || CustomerDnsError::ZoneNotCovered { reason: "the token opens other.test".to_owned() };
    for apply in [false, true] {
        for (error, status, code) in [
            (unauthorized(), 422, "dns-credential-refused"),
            (elsewhere(), 422, "dns-zone-not-covered"),
            (unavailable(), 503, "dns-provider-unavailable"),
        ] {
            service.dns.expect(open.clone(), Reply::Fail(error));
            let answer = if apply { subject.apply(&plan).await } else { subject.plan().await };
            answer.is_problem(status, code);
        }
    }
    service.dns.expect(open, Reply::Zone("customer.test"));
    let names: Vec<_> = subject.records.iter().take(3).map(|(name, _)| name.as_str()).collect();
    service.dns.expect(format!("standing {}", names.join(" ")), Reply::Fail(unavailable()));
    subject.plan().await.is_problem(503, "dns-provider-unavailable");
}

#[tokio::test]
async fn neither_a_foreign_credential_nor_a_deleted_domain_is_used() {
    let service = Service::start().await;
    let subject = Subject::of(&service).await;
    let stranger = service.tenant("stranger").await;
    let foreign = credential(&stranger).await;
    for id in [foreign.as_str(), "dns_00000000000070008000000000000000"] {
        let plan = json!({"dns_credential_id": id});
        let path = format!("{}/delegation:plan", subject.path);
        subject.tenant.send("POST", &path, plan).await.is_problem(404, "not-found");
        let apply = json!({"dns_credential_id": id, "plan": "required.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
        let path = format!("{}/delegation:apply", subject.path);
        subject.tenant.send("POST", &path, apply).await.is_problem(404, "not-found");
    }
    let unused = stranger.get(&format!("/v1/dns-credentials/{foreign}")).await;
    assert_eq!(unused.body["last_used_at"], Value::Null);
    subject.tenant.call("DELETE", &subject.path).send().await;
    subject.plan().await.is_problem(409, "domain-withdrawing");
}
