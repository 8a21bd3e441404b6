use std::time::Duration;

use mtasts_model::{
    Mode,
    feed::{RecordData, RecordType},
};
use mtasts_store::{Channel, NudgeReceiver, Role, Store, ZoneWrite};
use mtasts_testkit::{Redis, wait_until};
use secrecy::SecretString;

use crate::fixture::{Fixture, config, policy, zone};

const DEADLINE: Duration = Duration::from_secs(10);

async fn is_nudged(receiver: &mut NudgeReceiver) -> bool {
    tokio::time::timeout(DEADLINE, receiver.changed()).await.is_ok()
}

/// Whether a nudge is there already, or comes within a short while.
async fn is_quiet(receiver: &mut NudgeReceiver) -> bool {
    tokio::time::timeout(Duration::from_millis(300), receiver.changed()).await.is_err()
}

#[tokio::test]
async fn a_commit_nudges_whom_it_concerns() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let tenant = fixture.tenant(&api).await;
    let [mut edges, mut zones, mut workers] = [Channel::Edge, Channel::Zone, Channel::Worker].map(|c| edge.nudges(c));
    // The first says that the connection stands.
    assert!(is_nudged(&mut edges).await && is_nudged(&mut zones).await && is_nudged(&mut workers).await);

    let domain = fixture.domain(&api, tenant, "example.com").await;
    assert!(is_nudged(&mut workers).await);
    assert!(is_quiet(&mut edges).await, "nothing is served yet");
    fixture.serve(&worker, &domain).await;
    assert!(is_nudged(&mut edges).await);
    while !is_quiet(&mut edges).await {}
    fixture.set_policy(&api, &domain, policy(Mode::None, &[], 60)).await;
    assert!(is_nudged(&mut edges).await && is_nudged(&mut workers).await);
    assert!(is_quiet(&mut zones).await);
    let write = ZoneWrite {
        zone: zone(),
        name: "a.sts.example".to_owned(),
        record_type: RecordType::Txt,
        set: Some(RecordData { ttl: 60, values: vec!["x".to_owned()] }),
    };
    worker.zone_apply(&[write], fixture.now()).await.unwrap();
    assert!(is_nudged(&mut zones).await);
}

#[tokio::test]
async fn a_listener_whose_connection_was_cut_comes_back_and_signals() {
    let fixture = Fixture::new().await;
    let edge = fixture.store(Role::Edge).await;
    let mut edges = edge.nudges(Channel::Edge);
    assert!(is_nudged(&mut edges).await);
    fixture
        .database
        .psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
               AND pid <> pg_backend_pid()",
        )
        .await;
    assert!(is_nudged(&mut edges).await);
    fixture.database.psql("NOTIFY mtasts_edge").await;
    assert!(is_nudged(&mut edges).await);
}

#[tokio::test]
async fn nudges_are_published_in_redis_too_and_a_redis_that_is_away_harms_nobody() {
    let fixture = Fixture::new().await;
    let redis = Redis::start().await;
    let with_redis = async |role| {
        let mut config = config(fixture.database.url(), role, 4);
        config.redis_url = Some(SecretString::from(redis.url()));
        Store::connect(config).await.unwrap()
    };
    let api = with_redis(Role::Api).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut pubsub = client.get_async_pubsub().await.unwrap();
    pubsub.subscribe("mtasts_worker").await.unwrap();
    let tenant = fixture.tenant(&api).await;
    fixture.domain(&api, tenant, "example.com").await;
    let message = tokio::time::timeout(DEADLINE, futures_util::StreamExt::next(&mut pubsub.on_message())).await;
    assert!(message.unwrap().is_some());

    let edge = with_redis(Role::Edge).await;
    let mut workers = edge.nudges(Channel::Worker);
    let mut publisher = client.get_multiplexed_async_connection().await.unwrap();
    while !is_quiet(&mut workers).await {}
    wait_until(DEADLINE, "a message in Redis nudges", async || {
        let _: () =
            redis::cmd("PUBLISH").arg("mtasts_worker").arg("").query_async(&mut publisher.clone()).await.unwrap();
        !is_quiet(&mut workers.clone()).await
    })
    .await;
    let _: () = redis::cmd("PING").query_async(&mut publisher).await.unwrap();
    drop(redis);
    fixture.domain(&api, tenant, "example.org").await;
}
