//! Credentials for the customers' own DNS.

use mtasts_model::{DnsCredentialId, HostName, SystemEntropy, TenantId};
use mtasts_store::{Actor, CustomerProvider, DNS_CREDENTIALS_PER_TENANT, NewDnsCredential, Role, Store, TsigAlgorithm};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::Fixture;

const SEALED: &[u8] = b"sealed-canary";

fn new(fixture: &Fixture, provider: CustomerProvider) -> NewDnsCredential {
    NewDnsCredential {
        id: DnsCredentialId::draw(fixture.now(), &SystemEntropy),
        name: "our DNS".to_owned(),
        zone: Some(HostName::parse("customer.test").unwrap()),
        provider,
        sealed: SEALED.to_vec(),
    }
}

async fn create(fixture: &Fixture, api: &Store, tenant: TenantId) -> DnsCredentialId {
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let new = new(fixture, CustomerProvider::Cloudflare);
    let made = tx.create_dns_credential(new, &Actor::operator(), fixture.now()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    made.id
}

#[tokio::test]
async fn a_credential_is_kept_used_and_forgotten_and_each_is_audited_without_the_secret() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "customer.test").await;
    let provider = CustomerProvider::Rfc2136 {
        server: "ns1.customer.test:5353".parse().unwrap(),
        key_name: "mtasts-key".parse().unwrap(),
        algorithm: TsigAlgorithm::HmacSha512,
    };
    let actor = Actor::operator();
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let made = tx.create_dns_credential(new(&fixture, provider.clone()), &actor, fixture.now()).await.unwrap().unwrap();
    assert_eq!((made.provider.clone(), made.last_used_at), (provider, None));
    tx.commit().await.unwrap();

    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let used = tx.use_dns_credential(made.id, (domain.id, "plan"), &actor, fixture.now()).await.unwrap().unwrap();
    assert_eq!((used.sealed.as_slice(), used.credential.last_used_at), (SEALED, Some(fixture.now())));
    assert_eq!(tx.list_dns_credentials(None, 10).await.unwrap(), [used.credential]);
    fixture.clock.advance(chrono::TimeDelta::seconds(1));
    for (any_created, nudged_at) in [(false, domain.nudged_at), (true, fixture.now())] {
        let outcome = (any_created, json!([{"name": "x"}]));
        let noted = tx.note_delegation_applied((domain.id, made.id), outcome, &actor, fixture.now()).await.unwrap();
        assert_eq!(noted.nudged_at, nudged_at, "looked at again if there is something new to see");
    }
    assert!(tx.delete_dns_credential(made.id, &actor, fixture.now()).await.unwrap().is_some());
    assert!(tx.delete_dns_credential(made.id, &actor, fixture.now()).await.unwrap().is_none());
    assert!(tx.dns_credential(made.id).await.unwrap().is_none());
    tx.commit().await.unwrap();

    let events = api.tenant_tx(tenant).await.unwrap().audit_events(None, 20).await.unwrap();
    let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    for action in ["dns-credential.create", "dns-credential.use", "domain.delegation-apply", "dns-credential.delete"] {
        assert!(actions.contains(&action), "{action} is not among {actions:?}");
    }
    assert!(!format!("{events:?}").contains("sealed"), "nothing of the secret is in the log");
}

#[tokio::test]
async fn a_tenants_credentials_are_as_if_they_never_were_for_another() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 1).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let domain = fixture.domain(&api, other, "customer.test").await;
    let id = create(&fixture, &api, one).await;
    let actor = Actor::operator();
    let mut tx = api.tenant_tx(other).await.unwrap();
    assert!(tx.dns_credential(id).await.unwrap().is_none());
    assert!(tx.list_dns_credentials(None, 10).await.unwrap().is_empty());
    assert!(tx.use_dns_credential(id, (domain.id, "plan"), &actor, fixture.now()).await.unwrap().is_none());
    assert!(tx.delete_dns_credential(id, &actor, fixture.now()).await.unwrap().is_none());
    tx.commit().await.unwrap();
    let tx = api.tenant_tx(one).await.unwrap();
    assert_eq!(tx.dns_credential(id).await.unwrap().unwrap().last_used_at, None);
    drop(tx);
    let events = api.tenant_tx(other).await.unwrap().audit_events(None, 20).await.unwrap();
    assert!(events.iter().all(|event| !event.action.starts_with("dns-credential")), "nothing was noted");
}

#[tokio::test]
async fn a_list_has_pages_in_the_order_of_ids() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        fixture.clock.advance(chrono::TimeDelta::milliseconds(2));
        made.push(create(&fixture, &api, tenant).await);
    }
    let tx = api.tenant_tx(tenant).await.unwrap();
    let mut seen = Vec::new();
    while let page = tx.list_dns_credentials(seen.last().copied(), 2).await.unwrap()
        && !page.is_empty()
    {
        seen.extend(page.iter().map(|credential| credential.id));
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn the_quota_holds_for_requests_at_the_same_time() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let fill = format!(
        "SET app.tenant = '{tenant}'; SET ROLE mtasts_api; INSERT INTO dns_credentials
            (id, tenant_id, name, provider, settings, sealed, created_at)
         SELECT gen_random_uuid(), '{tenant}', 'n', 'cloudflare', '{{}}', 'x', now() FROM generate_series(1, {count})",
        tenant = tenant.as_uuid(),
        count = DNS_CREDENTIALS_PER_TENANT - 1
    );
    fixture.database.psql(&fill).await;
    let (actor, now) = (Actor::operator(), fixture.now());
    let (mut first, mut second) = (api.tenant_tx(tenant).await.unwrap(), api.tenant_tx(tenant).await.unwrap());
    let one = || new(&fixture, CustomerProvider::Cloudflare);
    assert!(first.create_dns_credential(one(), &actor, now).await.unwrap().is_some(), "the last place");
    {
        let mut waiting = std::pin::pin!(second.create_dns_credential(one(), &actor, now));
        let early = tokio::time::timeout(std::time::Duration::from_millis(300), &mut waiting).await;
        assert!(early.is_err(), "the second waits until it is known what became of the first");
        first.commit().await.unwrap();
        assert!(waiting.await.unwrap().is_none());
    }
    drop(second);
    let another = fixture.tenant(&api).await;
    create(&fixture, &api, another).await;
}

#[tokio::test]
async fn no_role_but_the_apis_has_any_right_and_nobody_can_exchange_a_secret() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    create(&fixture, &api, tenant).await;
    let refused = async |role: &str, sql: &str| {
        let mut session = PgConnection::connect(&fixture.database.url_as(role)).await.unwrap();
        match session.execute(AssertSqlSafe(sql.to_owned())).await {
            Err(sqlx::Error::Database(error)) => error.code().unwrap() == "42501",
            _ => false,
        }
    };
    for role in ["mtasts_worker", "mtasts_edge", "mtasts_intake"] {
        for sql in ["SELECT name FROM dns_credentials", "DELETE FROM dns_credentials"] {
            assert!(refused(role, sql).await, "{role}: {sql}");
        }
    }
    for column in ["id", "tenant_id", "name", "provider", "zone", "settings", "sealed", "created_at"] {
        let sql = format!("UPDATE dns_credentials SET {column} = DEFAULT");
        assert!(refused("mtasts_api", &sql).await, "{column}");
    }
    let mut session = PgConnection::connect(&fixture.database.url_as("mtasts_api")).await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM dns_credentials").fetch_one(&mut session).await.unwrap();
    assert_eq!(seen, 0, "without a tenant there are no rows");
}
