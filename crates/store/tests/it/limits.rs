//! Shared rate limits against a real Redis.

use std::time::{Duration, Instant};

use mtasts_model::{Entropy, SystemEntropy};
use mtasts_store::{LimitBucket, Quota, SharedLimits, StoreError, Taken};
use mtasts_testkit::{Redis, Signal, wait_for, wait_until};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use secrecy::SecretString;

const DEADLINE: Duration = Duration::from_secs(20);

/// Long enough for a busy machine: what is counted must not depend on it.
const PATIENT: Duration = Duration::from_secs(5);

fn redis_of_the_tests() -> String {
    // Set by `eval "$(scripts/test-env)"`.
    std::env::var("MTASTS_TEST_REDIS").unwrap()
}

/// A bucket that nobody else uses.
fn bucket(per_minute: u32, burst: u32) -> LimitBucket {
    let mut random = [0_u8; 16];
    SystemEntropy.fill(&mut random);
    let name = format!("{{test-{}}}", u128::from_be_bytes(random));
    LimitBucket { name, quota: Quota::per_minute(per_minute, burst).unwrap() }
}

async fn connected(url: &str, deadline: Duration) -> SharedLimits {
    let limits = SharedLimits::connect(&SecretString::from(url.to_owned()), deadline).unwrap();
    answers(&limits).await;
    limits
}

async fn answers(limits: &SharedLimits) {
    wait_until(DEADLINE, "Redis answers", async || limits.take(&[bucket(60, 1)]).await.is_some()).await;
}

async fn client(url: &str) -> MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn take(limits: &SharedLimits, buckets: &[LimitBucket]) -> Taken {
    limits.take(buckets).await.unwrap()
}

#[tokio::test]
async fn two_processes_take_from_one_bucket_and_at_the_same_time_get_no_more_than_it_holds() {
    let url = redis_of_the_tests();
    let (one, other) = (connected(&url, PATIENT).await, connected(&url, PATIENT).await);
    let shared = [bucket(1, 50)];
    let calls = (0..200).map(|number| take(if number % 2 == 0 { &one } else { &other }, &shared));
    let allowed = futures_util::future::join_all(calls).await.into_iter().filter(|taken| taken.allowed).count();
    assert_eq!(allowed, 50);
    let refused = take(&one, &shared).await;
    assert!(!refused.allowed);
    assert_eq!(shared[0].quota.left(refused.until_full[0]), 0);
    let wait = shared[0].quota.wait(refused.until_full[0]);
    assert!((Duration::from_secs(30)..=Duration::from_mins(1)).contains(&wait), "{wait:?}");
}

#[tokio::test]
async fn where_one_bucket_is_empty_nothing_is_taken_from_any() {
    let limits = connected(&redis_of_the_tests(), PATIENT).await;
    let (narrow, wide) = (bucket(1, 2), bucket(1, 10));
    let left = |taken: &Taken| (narrow.quota.left(taken.until_full[0]), wide.quota.left(taken.until_full[1]));
    let both = [narrow.clone(), wide.clone()];
    for expected in [(true, (1, 9)), (true, (0, 8)), (false, (0, 8)), (false, (0, 8))] {
        let taken = take(&limits, &both).await;
        assert_eq!((taken.allowed, left(&taken)), expected);
    }
    let reversed = take(&limits, &[wide.clone(), narrow.clone()]).await;
    assert!(!reversed.allowed);
    assert!(take(&limits, &[wide]).await.allowed);
}

#[tokio::test]
async fn tokens_come_back_with_time_and_a_full_bucket_leaves_no_key() {
    let url = redis_of_the_tests();
    let limits = connected(&url, PATIENT).await;
    let mut redis = client(&url).await;
    // One token in 300 ms.
    let quick = [bucket(200, 1)];
    let key = format!("mtasts:limit:{}", quick[0].name);
    assert!(take(&limits, &quick).await.allowed);
    let expires_in: i64 = redis.pttl(&key).await.unwrap();
    assert!((-2..=300).contains(&expires_in) && expires_in != -1, "{expires_in}");
    wait_until(DEADLINE, "the key expires", async || !redis.clone().exists::<_, bool>(&key).await.unwrap()).await;
    assert!(take(&limits, &quick).await.allowed);
    wait_until(DEADLINE, "the token comes back", async || take(&limits, &quick).await.allowed).await;
}

#[tokio::test]
async fn a_clock_that_stepped_back_and_a_damaged_value_block_nobody_for_longer_than_an_empty_bucket() {
    let url = redis_of_the_tests();
    let limits = connected(&url, PATIENT).await;
    let mut redis = client(&url).await;
    let bucket = [bucket(60, 30)];
    let key = format!("mtasts:limit:{}", bucket[0].name);
    // Full again in a year, as a server saw it whose clock was a year ahead.
    let time: (u64, u64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
    let _: () = redis.set(&key, (time.0 + 31_536_000) * 1_000_000).await.unwrap();
    let refused = take(&limits, &bucket).await;
    assert_eq!(refused, Taken { allowed: false, until_full: vec![Duration::from_secs(30)] });
    let _: () = redis.set(&key, "rubbish").await.unwrap();
    let taken = take(&limits, &bucket).await;
    assert_eq!(taken, Taken { allowed: true, until_full: vec![Duration::from_secs(1)] });
}

#[tokio::test]
async fn a_flushed_redis_begins_anew_and_no_call_fails() {
    let server = Redis::start().await;
    let limits = connected(&server.url(), PATIENT).await;
    let bucket = [bucket(1, 1)];
    assert!(take(&limits, &bucket).await.allowed && !take(&limits, &bucket).await.allowed);
    let mut redis = client(&server.url()).await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut redis).await.unwrap();
    let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut redis).await.unwrap();
    assert!(take(&limits, &bucket).await.allowed, "the script is loaded again, the bucket is full");
    assert!(!take(&limits, &bucket).await.allowed, "and bounded as before");
}

#[tokio::test]
async fn a_redis_that_was_stopped_is_told_at_once_and_shared_again_when_it_is_back() {
    let mut server = Redis::start().await;
    let (url, port) = (server.url(), server.port());
    let limits = connected(&url, PATIENT).await;
    server.process.stop(Signal::Kill);
    let start = Instant::now();
    assert_eq!(limits.take(&[bucket(1, 1)]).await, None);
    for _ in 0..100 {
        assert_eq!(limits.take(&[bucket(1, 1)]).await, None);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let _again = Redis::start_on(port).await;
    answers(&limits).await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_costs_one_deadline_and_then_nothing_until_it_does() {
    let mut server = Redis::start().await;
    let limits = connected(&server.url(), Duration::from_millis(200)).await;
    server.process.send(Signal::Stop);
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(limits.take(&[bucket(1, 1)]).await, None);
    }
    let elapsed = start.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&elapsed), "{elapsed:?}");
    server.process.send(Signal::Continue);
    answers(&limits).await;
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_away_until_it_does() {
    let server = Redis::start().await;
    let limits = connected(&server.url(), PATIENT).await;
    let mut redis = client(&server.url()).await;
    let mut set_memory = async |octets: &str| {
        let command = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(octets).to_owned();
        command.query_async::<()>(&mut redis).await.unwrap();
    };
    set_memory("1").await;
    assert_eq!(limits.take(&[bucket(1, 1)]).await, None);
    // Longer than the first pauses: it is not believed to be back.
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        assert_eq!(limits.take(&[bucket(1, 1)]).await, None);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    set_memory("0").await;
    answers(&limits).await;
}

#[tokio::test]
async fn it_starts_without_redis_and_shares_once_there_is_one() {
    let port = mtasts_testkit::free_port();
    let url = SecretString::from(format!("redis://127.0.0.1:{port}"));
    let limits = SharedLimits::connect(&url, PATIENT).unwrap();
    assert_eq!(limits.take(&[bucket(1, 1)]).await, None);
    let _server = Redis::start_on(port).await;
    let bucket = [bucket(1, 1)];
    let first = wait_for(DEADLINE, "Redis is found", async || limits.take(&bucket).await).await;
    assert!(first.allowed && !take(&limits, &bucket).await.allowed);
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_an_error_that_does_not_show_it() {
    let error = SharedLimits::connect(&SecretString::from("hunter2".to_owned()), PATIENT).unwrap_err();
    assert!(matches!(error, StoreError::BadUrl { what: "Redis" }));
    assert!(!format!("{error:?}").contains("hunter2"));
}
