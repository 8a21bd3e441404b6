//! One failing domain, or a database that is away, never stops the others.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mtasts_model::{ConditionKind, Status};
use mtasts_probe::{MxProber, ProbeConfig, Timeouts};
use mtasts_worker::{Worker, WorkerConfig, Zones};
use tokio::{
    net::TcpListener,
    time::{Duration, sleep, timeout},
};

use crate::world::{Call, Running, ScriptedCa, World, ZONE, config, status};

#[tokio::test]
async fn a_panic_in_one_domains_step_fails_that_domain_alone() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone()).cursed("mta-sts.cursed.test");
    let mut config = config("one");
    config.concurrency = 1;
    let _worker = world.start_with(config, Arc::new(ca.clone()));
    let tenant = world.tenant().await;
    let cursed = world.register(tenant, "cursed.test").await;
    world.delegate(&cursed);
    world.publish(tenant, "customer.test").await;
    world
        .view_when(&cursed, "the cursed domain has failed", |view| {
            status(view, ConditionKind::CertificateReady) == (Status::False, "InternalError")
        })
        .await;
    assert!(ca.calls(Call::Place) >= 2);
    world.publish(tenant, "another.test").await;
}

#[tokio::test]
async fn a_worker_waits_for_a_database_that_is_away_and_goes_on_when_it_is_back() {
    let world = World::new().await;
    let worker = world.start();
    let tenant = world.tenant().await;
    world.publish(tenant, "customer.test").await;
    let domain = world.register(tenant, "another.test").await;
    world.delegate(&domain);
    // Every connection is cut, again and again, in the middle of whatever is under way.
    for _ in 0..10 {
        let others = "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        world.database.psql(&format!("SELECT pg_terminate_backend(pid) FROM {others}")).await;
        sleep(Duration::from_millis(50)).await;
    }
    world.published(&domain).await;
    timeout(Duration::from_secs(5), worker.stop()).await.unwrap();
}

#[tokio::test]
async fn hosts_that_never_answer_take_no_tenant_but_their_own_a_place() {
    let world = World::new().await;
    let tarpit = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, caught) = (tarpit.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&caught);
    let tarpit = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = tarpit.accept().await {
            held.push(stream);
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut deps = world.deps(Arc::new(world.ca.clone()), Zones::one(Arc::new(world.zone.provider())));
    let long = Duration::from_mins(2);
    let timeouts = Timeouts { connect: long, handshake: long, reply: long, fetch: long, mx_host: long };
    let probe = ProbeConfig { smtp_port: port, timeouts, ..world.probe_config() };
    deps.mx_prober = MxProber::new(probe, world.resolver(), Arc::default()).unwrap();
    let config = WorkerConfig { concurrency: 2, probe_concurrency: 2, ..config("one") };
    let _worker = Running::new(Worker::new(config, deps));
    let flooding = world.tenant().await;
    for number in 0..4 {
        let name = format!("tarpit{number}.test");
        let domain = world.register(flooding, &name).await;
        // A host that has an address.
        world.customers.mx(&name, &format!("mx.edge.{ZONE}"));
        world.delegate(&domain);
        world.verify(&domain).await;
    }
    world.wait_until("a look is held", async || caught.load(Ordering::SeqCst) > 0).await;
    world.publish(world.tenant().await, "customer.test").await;
    assert_eq!(caught.load(Ordering::SeqCst), 1, "the tenant's other domains wait for their look");
    tarpit.abort();
}
