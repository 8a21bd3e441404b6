//! Deliveries, over real HTTPS to a receiver that verifies them with code of its own.

mod receiver;
mod setup;

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use chrono::TimeDelta;
use mtasts_model::{Clock, EventType, MailDomain, MaxAge, Mode, SystemEntropy, lifecycle::MxSource};
use mtasts_store::{Actor, DeliveryState, NewDomain, WebhookChange};
use mtasts_testkit::wait_until;
use mtasts_worker::{WebhookConfig, seal_webhook_secret};
use tokio::time::{Instant, timeout};

use self::{
    receiver::{Receiver, Reply},
    setup::{HOST, SECRET, Setup, config},
};
use crate::world::{PATIENCE, ZONE};

#[tokio::test]
async fn what_happens_to_a_domain_is_posted_signed_and_at_once() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    let _worker = setup.start_with(WebhookConfig { poll: Duration::from_secs(20), ..config() });
    let now = setup.clock.now();
    let new = NewDomain {
        id: mtasts_model::DomainId::draw(now, &SystemEntropy),
        name: MailDomain::from_stored("example.com").unwrap(),
        label: mtasts_model::Label::draw(&SystemEntropy),
        zone: ZONE.parse().unwrap(),
        mx_source: MxSource::Auto,
        first: None,
        preferred_mode: Mode::Testing,
        preferred_max_age: MaxAge::new(86_400).unwrap(),
        report_uris: Vec::new(),
    };
    let begun = Instant::now();
    let mut tx = setup.api.tenant_tx(setup.tenant).await.unwrap();
    let domain = tx.create_domain(new, &Actor::operator(), now).await.unwrap().id;
    tx.commit().await.unwrap();
    let delivery = setup.deliveries(webhook).await.remove(0);
    let delivery = setup.delivered(&delivery).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "the nudge came, not the poll");
    assert_eq!((delivery.attempts, delivery.response_status, delivery.problem), (1, Some(204), None));
    let [request] = &receiver.received()[..] else { panic!("posted once") };
    assert_eq!(request.line, "POST /in?a=b HTTP/1.1");
    assert_eq!(request.header("host"), format!("{HOST}:{}", receiver.port));
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-id"), delivery.event.to_string());
    assert_eq!(request.header("webhook-timestamp"), now.timestamp().to_string());
    assert!(request.is_signed_with(&SECRET) && !request.is_signed_with(&[8; 32]));
    let expected = serde_json::json!({
        "type": "domain.created",
        "schema_version": 1,
        "timestamp": now,
        "data": {"domain_id": domain, "domain": "example.com"},
    });
    assert_eq!(request.json(), expected);
}

#[tokio::test]
async fn what_fails_is_tried_for_three_days_with_the_same_id_and_then_the_webhook_is_switched_off() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    let long = "x\u{0}y\r".repeat(2000);
    receiver.replies(Reply::Full(503, "Retry-After: 1\r\n", long));
    let _worker = setup.start();
    let began = setup.clock.now();
    let delivery = setup.test(webhook).await;
    for attempt in 1..10 {
        let tried = setup.tried(&delivery, attempt).await;
        assert_eq!((tried.state, tried.response_status), (DeliveryState::Pending, Some(503)));
        let next = tried.next_attempt_at.unwrap();
        assert!(next >= setup.clock.now() + TimeDelta::seconds(5));
        setup.clock.set(next);
    }
    let failed = setup.when(&delivery, "it is given up", |delivery| delivery.state == DeliveryState::Failed).await;
    assert_eq!((failed.attempts, failed.next_attempt_at), (10, None));
    let excerpt = failed.response_excerpt.unwrap();
    assert!(excerpt.len() <= 1024 && excerpt.starts_with("x y x"), "{excerpt:?}");
    assert!(setup.clock.now() - began > TimeDelta::days(3));
    let off = setup.read(webhook).await;
    let (reason, at) = off.disabled.unwrap();
    assert!(!off.enabled && reason.contains("three days") && reason.contains("503"), "{reason}");
    assert_eq!(at, setup.clock.now());
    let received = receiver.received();
    let ids: BTreeSet<_> = received.iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!((received.len(), ids), (10, BTreeSet::from([delivery.event.to_string()])));
    assert!(received.iter().all(|request| request.is_signed_with(&SECRET)), "each with a time of its own");

    // What waits for it goes out once it is on again.
    receiver.replies(Reply::Status(200));
    let waiting = setup.test(webhook).await;
    let mut tx = setup.api.tenant_tx(setup.tenant).await.unwrap();
    let on = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
    tx.update_webhook(webhook, on, &Actor::operator(), setup.clock.now()).await.unwrap();
    tx.replay_delivery((webhook, delivery.id), &Actor::operator(), setup.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    setup.delivered(&waiting).await;
    let replayed = setup.delivered(&delivery).await;
    assert_eq!((replayed.attempts, replayed.event), (1, delivery.event));
}

#[tokio::test]
async fn a_receiver_that_answers_410_is_left_alone_at_once() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    receiver.replies(Reply::Status(410));
    let _worker = setup.start();
    let delivery = setup.test(webhook).await;
    let failed = setup.when(&delivery, "it is given up", |delivery| delivery.state == DeliveryState::Failed).await;
    assert_eq!(failed.attempts, 1);
    assert_eq!(setup.read(webhook).await.disabled.unwrap().0, "It answered 410 (Gone)");
}

#[tokio::test]
async fn a_receiver_that_says_nothing_holds_up_nobody_else() {
    let setup = Setup::new().await;
    let (slow, slow_webhook) = setup.receiver().await;
    slow.replies(Reply::Silence);
    let (_fast, fast_webhook) = setup.receiver().await;
    for _ in 0..20 {
        setup.test(slow_webhook).await;
    }
    // Its deadline is longer than this test is patient.
    let _worker = setup.start_with(WebhookConfig { concurrency: 5, deadline: Duration::from_mins(10), ..config() });
    wait_until(PATIENCE, "the slow one has all of its places", async || slow.received().len() == 4).await;
    for _ in 0..10 {
        let delivery = setup.test(fast_webhook).await;
        setup.delivered(&delivery).await;
    }
    assert_eq!(slow.received().len(), 4);
}

#[tokio::test]
async fn a_worker_that_dies_after_it_has_sent_is_followed_by_another_attempt_with_the_same_id() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    receiver.replies(Reply::Silence);
    let first = setup.start();
    let delivery = setup.test(webhook).await;
    wait_until(PATIENCE, "it was sent", async || receiver.received().len() == 1).await;
    first.kill().await;
    receiver.replies(Reply::Status(200));
    let second = setup.start();
    // The lease of the dead keeps it from others, and no longer.
    let other = setup.test(webhook).await;
    setup.delivered(&other).await;
    assert_eq!(receiver.received().len(), 2);
    setup.clock.advance(config().lease);
    let delivered = setup.delivered(&delivery).await;
    assert_eq!(delivered.attempts, 1, "of the first nothing was recorded");
    let ids: Vec<_> = receiver.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!((&ids[0], &ids[2]), (&delivery.event.to_string(), &delivery.event.to_string()));
    second.stop().await;
}

#[tokio::test]
async fn two_workers_deliver_each_event_once() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    let workers = [setup.start(), setup.start()];
    for _ in 0..40 {
        setup.test(webhook).await;
    }
    wait_until(PATIENCE, "all are delivered", async || {
        setup.deliveries(webhook).await.iter().all(|delivery| delivery.state == DeliveryState::Delivered)
    })
    .await;
    let received = receiver.received();
    let ids: BTreeSet<_> = received.iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!((received.len(), ids.len()), (40, 40));
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn during_the_overlap_of_a_rotation_both_secrets_sign() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    let _worker = setup.start();
    let mut tx = setup.api.tenant_tx(setup.tenant).await.unwrap();
    let sealed = seal_webhook_secret(&setup.key_ring, setup.tenant, webhook, &[8; 32]);
    let until = setup.clock.now() + TimeDelta::hours(1);
    tx.rotate_webhook_secret(webhook, (sealed, until), &Actor::operator(), setup.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    let signed = async || {
        let delivery = setup.test(webhook).await;
        setup.delivered(&delivery).await;
        let request = receiver.received().pop().unwrap();
        (request.is_signed_with(&[8; 32]), request.is_signed_with(&SECRET))
    };
    assert_eq!(signed().await, (true, true));
    setup.clock.set(until);
    assert_eq!(signed().await, (true, false));
}

#[tokio::test]
async fn a_secret_that_was_moved_from_another_webhook_signs_nothing() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    let (_, other) = setup.receiver().await;
    let swap = format!(
        "UPDATE webhooks SET sealed = (SELECT sealed FROM webhooks WHERE id = '{}') WHERE id = '{}'",
        other.as_uuid(),
        webhook.as_uuid()
    );
    setup.database.psql(&swap).await;
    let _worker = setup.start();
    let delivery = setup.test(webhook).await;
    let tried = setup.tried(&delivery, 1).await;
    assert!(tried.problem.unwrap().contains("secret") && receiver.received().is_empty());
}

#[tokio::test]
async fn no_address_that_is_not_public_is_posted_to() {
    let mut setup = Setup::new().await;
    setup.allow_private = false;
    let receiver = Receiver::start(&setup.pki, "*.customer.test").await;
    let _worker = setup.start();
    for (name, addresses) in [
        ("loopback", &["127.0.0.1", "::1"][..]),
        ("mapped", &["::ffff:127.0.0.1"]),
        ("nat64", &["64:ff9b::7f00:1"]),
        ("metadata", &["169.254.169.254"]),
        ("private", &["10.0.0.1", "192.168.0.1", "172.16.0.1", "fd00::1"]),
        ("cgnat", &["100.64.0.1"]),
        ("multicast", &["224.0.0.1"]),
        ("unspecified", &["0.0.0.0"]),
    ] {
        let host = format!("{name}.customer.test");
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        setup.dns.addresses(&host, &addresses);
        let url = format!("https://{host}:{}/", receiver.port);
        let webhook = setup.webhook(&url, Some(vec![EventType::WebhookTest])).await;
        let delivery = setup.test(webhook).await;
        let tried = setup.tried(&delivery, 1).await;
        let problem = tried.problem.unwrap();
        assert!(problem.contains("events are not sent there"), "{name}: {problem}");
    }
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn what_was_filtered_is_what_is_connected_to() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    // Even where private addresses are allowed, link-local ones are not.
    let (good, bad) = ([127, 0, 0, 1].into(), [169, 254, 169, 254].into());
    setup.dns.rebinds(HOST, &[good, bad]);
    let _worker = setup.start();
    let delivery = setup.test(webhook).await;
    setup.delivered(&delivery).await;
    setup.dns.rebinds(HOST, &[bad, good]);
    let delivery = setup.test(webhook).await;
    let tried = setup.tried(&delivery, 1).await;
    assert!(tried.problem.unwrap().contains("link-local"));
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_other_name_is_trusted() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    receiver.replies(Reply::Full(302, "Location: https://127.0.0.1/\r\n", String::new()));
    let _worker = setup.start();
    let redirected = setup.tried(&setup.test(webhook).await, 1).await;
    assert_eq!((redirected.response_status, redirected.problem.as_deref()), (Some(302), Some("It answered 302")));
    assert_eq!(receiver.received().len(), 1);

    setup.dns.addresses("other.customer.test", &[IpAddr::from([127, 0, 0, 1])]);
    let url = format!("https://other.customer.test:{}/", receiver.port);
    let other = setup.webhook(&url, None).await;
    let tried = setup.tried(&setup.test(other).await, 1).await;
    assert_eq!(tried.response_status, None);
    assert!(tried.problem.unwrap().contains("not for this host"));
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn the_status_decides_even_if_the_body_never_ends_and_no_status_in_time_is_a_failure() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    receiver.replies(Reply::Endless(200));
    let _worker = setup.start_with(WebhookConfig { deadline: Duration::from_secs(3), ..config() });
    let delivered = setup.delivered(&setup.test(webhook).await).await;
    assert_eq!(delivered.response_excerpt.as_deref(), Some("beginning"));
    receiver.replies(Reply::Silence);
    let tried = setup.tried(&setup.test(webhook).await, 1).await;
    assert_eq!((tried.response_status, tried.problem.as_deref()), (None, Some("There was no answer within 3 s")));
}

#[tokio::test]
async fn without_tls_nothing_is_posted_unless_the_operator_says_so() {
    let setup = Setup::new().await;
    let receiver = Receiver::start_plain().await;
    let webhook = setup.webhook(&format!("http://{HOST}:{}/", receiver.port), None).await;
    let worker = setup.start();
    let delivery = setup.test(webhook).await;
    let tried = setup.tried(&delivery, 1).await;
    assert_eq!(tried.problem.as_deref(), Some("The URL must begin with `https://`"));
    assert!(receiver.received().is_empty());
    worker.stop().await;
    let _worker = setup.start_with(WebhookConfig { allow_http: true, ..config() });
    setup.clock.set(tried.next_attempt_at.unwrap());
    setup.delivered(&delivery).await;
    assert!(receiver.received()[0].is_signed_with(&SECRET));
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_ends_what_is_under_way_and_no_more() {
    let setup = Setup::new().await;
    let (receiver, webhook) = setup.receiver().await;
    receiver.replies(Reply::Silence);
    let worker = setup.start_with(WebhookConfig { deadline: Duration::from_mins(10), ..config() });
    setup.test(webhook).await;
    wait_until(PATIENCE, "it was sent", async || receiver.received().len() == 1).await;
    timeout(Duration::from_secs(10), worker.stop()).await.expect("an attempt that hangs is abandoned");
}
