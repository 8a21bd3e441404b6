//! How many calls a caller may make, in this process and by way of Redis.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use mtasts_api::{Api, ApiConfig, LimitSettings};
use mtasts_model::SystemEntropy;
use mtasts_store::{Quota, Role, SharedLimits, Store, StoreConfig};
use mtasts_testkit::{Redis, Signal, wait_for, wait_until};
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::service::{Answer, OPERATOR_TOKEN, Service};

const DEADLINE: Duration = Duration::from_secs(20);

/// So slow that within a test nothing comes back.
fn slow(burst: u32) -> Quota {
    Quota::per_minute(1, burst).unwrap()
}

/// `key` calls with a key, `tenant` with all of a tenant's, `failures` from an address; the operator is hardly limited.
fn settings(key: u32, tenant: u32, failures: u32) -> LimitSettings {
    LimitSettings { key: slow(key), tenant: slow(tenant), failures: slow(failures), ..LimitSettings::default() }
}

async fn limited(settings: LimitSettings) -> Service {
    Service::start_with(|config| config.limits = Some(settings), |url| url).await
}

/// `r` of a policy.
fn left(answer: &Answer, policy: &str) -> u32 {
    parameter(answer, policy, "r").try_into().unwrap()
}

/// A parameter of a policy in `RateLimit`.
fn parameter(answer: &Answer, policy: &str, name: &str) -> u64 {
    let header = answer.header("ratelimit").unwrap_or_else(|| panic!("no RateLimit: {answer:?}"));
    let item = header.split(", ").find_map(|item| item.strip_prefix(&format!("\"{policy}\";"))).expect("the policy");
    let value = item.split(';').find_map(|parameter| parameter.strip_prefix(&format!("{name}=")));
    value.expect("the parameter").parse().unwrap()
}

#[tokio::test]
async fn every_answer_to_a_key_tells_what_is_left_and_the_next_one_too_many_is_429() {
    let service = limited(settings(3, 100, 10)).await;
    let (tenant, other) = (service.tenant("one").await, service.tenant("other").await);
    let paths = ["/v1/domains", "/v1/domains/dom_00000000000070008000000000000000", "/v1/nothing"];
    for (used, (path, status)) in (1..).zip(paths.into_iter().zip([200, 404, 404])) {
        let answer = tenant.get(path).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"key\";q=3;w=180, \"tenant\";q=100;w=6000"));
        assert_eq!((left(&answer, "key"), left(&answer, "tenant")), (3 - used, 100 - used));
        // Of the last one the next call counts, else when all are back; a started second counts as a whole one.
        let (whole, so_far) = (60 * u64::from(if used == 3 { 1 } else { used }), parameter(&answer, "key", "t"));
        assert!((whole - 15..=whole).contains(&so_far), "{so_far} of {whole}");
    }
    for _ in 0..3 {
        let refused = tenant.send("POST", "/v1/domains", json!({"name": "a.test"})).await;
        refused.is_problem(429, "rate-limited");
        assert_eq!((left(&refused, "key"), left(&refused, "tenant")), (0, 97));
        let retry_after = refused.header("retry-after").unwrap().parse::<u64>().unwrap();
        assert_eq!(retry_after, parameter(&refused, "key", "t"));
        assert!((45..=60).contains(&retry_after), "{retry_after}");
    }
    assert_eq!(left(&other.get("/v1/domains").await, "key"), 2, "another tenant's buckets are its own");
    assert_eq!(other.get("/v1/domains").await.body["data"], json!([]), "nothing was made");
}

#[tokio::test]
async fn a_token_comes_back_after_retry_after() {
    let key = Quota::per_minute(60, 1).unwrap();
    let service = limited(LimitSettings { key, ..settings(1, 100, 10) }).await;
    let tenant = service.tenant("one").await;
    assert_eq!(tenant.get("/v1/domains").await.status, 200);
    let refused = tenant.get("/v1/domains").await;
    refused.is_problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    wait_until(DEADLINE, "the next call is taken", async || tenant.get("/v1/domains").await.status == 200).await;
}

#[tokio::test]
async fn all_keys_of_a_tenant_share_its_bucket_and_the_operator_has_another() {
    let service = limited(settings(10, 4, 10)).await;
    let tenant = service.tenant("one").await;
    let path = format!("/v1/tenants/{}/api-keys", tenant.id);
    let made = service.call("POST", &path).token(OPERATOR_TOKEN).json(&json!({"name": "second"})).send().await;
    assert_eq!(made.header("ratelimit-policy"), Some("\"operator\";q=2000;w=20"));
    // This call, and the two that made tenant and key as far as those have not come back.
    assert!((1997..=1999).contains(&left(&made, "operator")));
    let second = made.body["key"].as_str().unwrap();
    for _ in 0..2 {
        assert_eq!(tenant.get("/v1/domains").await.status, 200);
        assert_eq!(service.call("GET", "/v1/domains").token(second).send().await.status, 200);
    }
    for key in [second, &tenant.key] {
        let refused = service.call("GET", "/v1/domains").token(key).send().await;
        let detail = &refused.is_problem(429, "rate-limited")["detail"];
        assert!(detail.as_str().unwrap().contains("this tenant"), "{detail}");
        assert_eq!((left(&refused, "key"), left(&refused, "tenant")), (8, 0), "what is refused takes nothing");
    }
    let path = format!("/v1/tenants/{}", tenant.id);
    assert_eq!(service.call("GET", &path).token(OPERATOR_TOKEN).send().await.status, 200);
}

#[tokio::test]
async fn every_operation_documents_429_and_gives_it() {
    let service = limited(settings(1, 100, 10)).await;
    let operator = LimitSettings { operator: slow(1), ..settings(1, 100, 10) };
    let tenant = service.tenant("one").await;
    assert_eq!(tenant.get("/v1/domains").await.status, 200);
    let for_operator = limited(operator).await;
    assert_eq!(for_operator.call("GET", "/v1/tenants").token(OPERATOR_TOKEN).send().await.status, 200);
    for operation in service.spec.operations() {
        let path = operation.path_with(|_| "x".to_owned());
        let (service, token) = match operation.scheme() {
            "operator_token" => (&for_operator, OPERATOR_TOKEN),
            _ => (&service, tenant.key.as_str()),
        };
        service.call(&operation.method, &path).token(token).send().await.is_problem(429, "rate-limited");
    }
}

#[tokio::test]
async fn guesses_from_one_network_are_few_however_many_come_at_once() {
    let service = limited(settings(100, 100, 5)).await;
    // Well-formed and of another service: only a look into the database tells.
    let elsewhere = Service::start().await;
    let owner = elsewhere.tenant("elsewhere").await;
    let path = format!("/v1/tenants/{}/api-keys", owner.id);
    let mut keys = Vec::new();
    for number in 0..20 {
        let body = json!({"name": number.to_string()});
        let made = elsewhere.call("POST", &path).token(OPERATOR_TOKEN).json(&body).send().await;
        keys.push(made.body["key"].as_str().unwrap().to_owned());
    }
    let guesses = (1..).zip(&keys).map(|(number, guess)| {
        let from = format!("2001:db8:0:1::{number:x}");
        service.call("GET", "/v1/domains").token(guess).header("X-Forwarded-For", &from).send()
    });
    let answers = join_all(guesses).await;
    let (looked_up, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
    assert_eq!((looked_up.len(), refused.len()), (5, 15));
    for answer in &looked_up {
        answer.is_problem(401, "unauthenticated");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"client\";q=5;w=300"));
    }
    for answer in &refused {
        answer.is_problem(429, "rate-limited");
        assert_eq!(left(answer, "client"), 0);
        assert!(answer.header("retry-after").is_some());
    }
    // Neither the operator token nor a key that was not seen lately is looked at any more from there.
    let tenant = service.tenant("one").await;
    let from = async |token: &str, address: &str| {
        service.call("GET", "/v1/domains").token(token).header("X-Forwarded-For", address).send().await
    };
    from("a guess at the operator token", "2001:db8:0:1::1").await.is_problem(429, "rate-limited");
    from(&tenant.key, "2001:db8:0:1::1").await.is_problem(429, "rate-limited");
    // Another network is another client, and a key that was valid lately is not locked out by its neighbour.
    assert_eq!(from(&tenant.key, "2001:db8:0:2::1").await.status, 200);
    assert_eq!(from(&tenant.key, "2001:db8:0:1::1").await.status, 200);
    assert_eq!(from(&keys[0], "2001:db8:0:2::1").await.status, 401);
}

#[tokio::test]
async fn one_wrong_credential_sent_again_and_again_is_refused_too() {
    let service = limited(settings(100, 100, 3)).await;
    let wrong = || service.call("GET", "/v1/domains").token("nonsense").send();
    for left_of_them in [2, 1, 0] {
        let answer = wrong().await;
        assert_eq!((answer.status, left(&answer, "client")), (401, left_of_them));
    }
    wrong().await.is_problem(429, "rate-limited");
    let answers = join_all((0..20).map(|_| wrong())).await;
    assert!(answers.iter().all(|answer| answer.status == 429));
}

#[tokio::test]
async fn who_has_no_credential_or_a_valid_one_uses_up_no_failures() {
    let service = limited(settings(100, 100, 2)).await;
    let tenant = service.tenant("one").await;
    for _ in 0..10 {
        let answer = service.call("GET", "/v1/domains").send().await;
        answer.is_problem(401, "unauthenticated");
        assert_eq!(answer.header("ratelimit"), None);
        assert_eq!(tenant.get("/v1/domains").await.status, 200);
    }
    // Not seen before, and at once more often than failures are possible.
    let new = service.tenant("new").await;
    let answers = join_all((0..10).map(|_| new.get("/v1/domains"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let failed = service.call("GET", "/v1/domains").token("nonsense").send().await;
    assert_eq!((failed.status, left(&failed, "client")), (401, 1));
}

#[tokio::test]
async fn while_the_database_is_away_nobody_uses_up_failures() {
    let nowhere = |_| "postgres://nobody@127.0.0.1:1/none".to_owned();
    let service = Service::start_with(|config| config.limits = Some(settings(9, 9, 1)), nowhere).await;
    let elsewhere = Service::start().await;
    let key = elsewhere.tenant("elsewhere").await.key;
    for _ in 0..2 {
        service.call("GET", "/v1/domains").token(&key).send().await.is_problem(503, "store-unavailable");
    }
    assert_eq!(service.call("GET", "/v1/domains").token("nonsense").send().await.status, 401);
}

#[tokio::test]
async fn pages_are_not_limited_and_neither_is_anything_where_limits_are_off() {
    let service = limited(settings(1, 1, 1)).await;
    let tenant = service.tenant("one").await;
    for _ in 0..3 {
        tenant.get("/v1/domains").await;
        for path in ["/docs/", "/openapi.json", "/problems/rate-limited"] {
            let page = tenant.get(path).await;
            assert_eq!((page.status, page.header("ratelimit")), (200, None), "{path}");
        }
    }
    let unlimited = Service::start().await;
    let tenant = unlimited.tenant("one").await;
    let answer = tenant.get("/v1/domains").await;
    assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), (None, None));
}

#[tokio::test]
async fn a_flood_of_one_tenant_leaves_anothers_calls_alone() {
    let service = limited(settings(20, 100, 10)).await;
    let (greedy, modest) = (service.tenant("greedy").await, service.tenant("modest").await);
    let flood = join_all((0..400).map(|_| greedy.get("/v1/domains")));
    let calls = async {
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(modest.get("/v1/domains").await);
        }
        answers
    };
    let (flood, calls) = tokio::join!(flood, calls);
    assert_eq!(flood.iter().filter(|answer| answer.status == 200).count(), 20);
    assert_eq!(flood.iter().filter(|answer| answer.status == 429).count(), 380);
    for (used, answer) in (1..).zip(calls) {
        assert_eq!((answer.status, left(&answer, "key")), (200, 20 - used));
    }
}

/// A second server on the database of the first. Ends when it is dropped.
struct Replica {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Replica {
    async fn of(service: &Service, settings: LimitSettings, shared: SharedLimits) -> Self {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let public_url = "https://api.example.net".parse().unwrap();
        let zone = "sts.example.net".parse().unwrap();
        let mut config = ApiConfig::new(listen, zone, OPERATOR_TOKEN.into(), public_url);
        config.workers = 1;
        config.limits = Some(settings);
        let store = Store::connect(StoreConfig {
            url: service.database.url().into(),
            role: Role::Api,
            max_connections: 4,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            redis_url: None,
        });
        let clock = Arc::new(service.clock.clone());
        let server = Api::bind(config, store.await.unwrap(), clock, Arc::new(SystemEntropy)).expect("binds");
        let server = server.with_shared_limits(shared);
        let address = server.local_addrs()[0].to_string();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move { server.run(async { drop(stopped.await) }).await.expect("runs") });
        Self { address, stop: Some(stop), running }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.running.abort();
    }
}

/// Two replicas of the API that share limits in a Redis.
struct Pair {
    service: Service,
    addresses: [String; 2],
    key: String,
    _second: Replica,
}

impl Pair {
    async fn start(url: &str, settings: LimitSettings) -> Self {
        let settings = LimitSettings { operator: Quota::per_minute(5, 7200).unwrap(), ..settings };
        // Patient, as the machine is busy and what is counted must not depend on it.
        let shared = || SharedLimits::connect(&url.to_owned().into(), Duration::from_secs(5)).unwrap();
        let (first, limits) = (shared(), settings.clone());
        let configure = |config: &mut ApiConfig| config.limits = Some(limits);
        let service = Service::start_wired(configure, |url| url, |server| server.with_shared_limits(first)).await;
        let second = Replica::of(&service, settings, shared()).await;
        let key = service.tenant("one").await.key;
        let addresses = [service.address.clone(), second.address.clone()];
        let pair = Self { service, addresses, key, _second: second };
        pair.shares().await;
        pair
    }

    /// One call, at the first or second replica.
    async fn at(&self, replica: usize, token: &str) -> Answer {
        self.service.call("GET", "/v1/domains").token(token).to(&self.addresses[replica]).send().await
    }

    async fn call(&self, replica: usize) -> Answer {
        self.at(replica, &self.key).await
    }

    /// Waits until what one replica takes, the other misses: the operator's bucket tells, which is large here.
    async fn shares(&self) {
        let left_at = async |replica: usize| {
            let call = self.service.call("GET", "/v1/tenants").token(OPERATOR_TOKEN);
            left(&call.to(&self.addresses[replica]).send().await, "operator")
        };
        wait_until(DEADLINE, "the replicas share", async || {
            let before = left_at(0).await;
            (left_at(1).await + 1, left_at(0).await + 2) == (before, before)
        })
        .await;
    }
}

#[tokio::test]
async fn two_replicas_share_the_buckets_of_keys_and_of_failures() {
    let redis = Redis::start().await;
    let pair = Pair::start(&redis.url(), settings(6, 100, 4)).await;
    for (replica, expected) in [(0, 5), (1, 4), (1, 3), (0, 2), (1, 1), (0, 0)] {
        let answer = pair.call(replica).await;
        assert_eq!((answer.status, left(&answer, "key")), (200, expected));
    }
    for replica in [0, 1, 0] {
        pair.call(replica).await.is_problem(429, "rate-limited");
    }
    for (replica, expected) in [(0, 3), (1, 2), (0, 1), (1, 0)] {
        let answer = pair.at(replica, "nonsense").await;
        assert_eq!((answer.status, left(&answer, "client")), (401, expected));
    }
    pair.at(1, "nonsense").await.is_problem(429, "rate-limited");
    pair.at(0, "nonsense").await.is_problem(429, "rate-limited");
}

#[tokio::test]
async fn without_redis_each_replica_limits_by_itself_no_call_fails_and_afterwards_they_share_again() {
    let mut redis = Redis::start().await;
    let (url, port) = (redis.url(), redis.port());
    let pair = Pair::start(&url, settings(6, 100, 4)).await;
    assert_eq!(left(&pair.call(0).await, "key"), 5);
    assert_eq!(left(&pair.call(1).await, "key"), 4);
    redis.process.stop(Signal::Kill);
    for replica in [0, 1] {
        for expected in [5, 4, 3, 2, 1, 0] {
            let answer = pair.call(replica).await;
            assert_eq!((answer.status, left(&answer, "key")), (200, expected), "a share of its own");
        }
        pair.call(replica).await.is_problem(429, "rate-limited");
    }
    let _again = Redis::start_on(port).await;
    pair.shares().await;
    // It remembers nothing, and is bounded as before; each replica repeats its last refusal for a second at most.
    for (replica, expected) in [(0, 5), (1, 4), (0, 3), (1, 2), (0, 1), (1, 0)] {
        let taken = async || Some(pair.call(replica).await).filter(|answer| answer.status == 200);
        let answer = wait_for(DEADLINE, "a call is taken", taken).await;
        assert_eq!(left(&answer, "key"), expected);
    }
    pair.call(0).await.is_problem(429, "rate-limited");
    let mut client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, b"FLUSHALL\r\nSCRIPT FLUSH\r\n").await.unwrap();
    let mut answer = [0_u8; 10];
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut answer).await.unwrap();
    assert_eq!(&answer, b"+OK\r\n+OK\r\n");
    let answer = pair.call(1).await;
    assert_eq!((answer.status, left(&answer, "key")), (200, 5), "flushed, it begins anew");
}
