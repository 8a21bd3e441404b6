//! A key is replaced while a resolver keeps what it has learnt before.

use hickory_proto::rr::RecordType;
use mtasts_model::SystemClock;
use mtasts_nameserver::{KeyKind, SigningKey};
use mtasts_testkit::free_port;

use super::{Kept, full_feed, signed_config, validators::Unbound};
use crate::support::{Running, until};

/// The nameserver, restarted with other keys at the same place.
async fn serve(port: u16, before: Option<Running>, keys: Vec<SigningKey>) -> Running {
    if let Some(before) = before {
        before.stop().await;
    }
    let mut config = signed_config(keys);
    config.listen = vec![([127, 0, 0, 1], port).into()];
    let server = Running::start_at(config, full_feed(), std::sync::Arc::new(SystemClock)).await.unwrap();
    until("the feed has been read", || server.nameserver.ready()).await;
    server
}

/// Names that this step asks for first, and those that are in the resolver's cache.
async fn all_secure(unbound: &Unbound, step: u32) {
    for step in 0..=step {
        unbound.secure(&format!("s{step}.edge.sts.example"), RecordType::A).await;
        unbound.secure(&format!("s{step}.sts.example"), RecordType::A).await;
    }
    unbound.secure("sts.example", RecordType::DNSKEY).await;
}

#[tokio::test]
async fn a_csk_is_rolled_over_in_three_steps_and_every_answer_stays_secure() {
    let (old, new) = (Kept::draw(KeyKind::Csk), Kept::draw(KeyKind::Csk));
    let port = free_port();
    let server = serve(port, None, vec![old.active()]).await;
    // The parent has both DS records from the time when the new key is published.
    let unbound = Unbound::start(server.address(), &[old.anchor(), new.anchor()]).await;
    let server = serve(port, Some(server), vec![old.active(), new.published()]).await;
    all_secure(&unbound, 0).await;
    let server = serve(port, Some(server), vec![old.published(), new.active()]).await;
    all_secure(&unbound, 1).await;
    let _server = serve(port, Some(server), vec![new.active()]).await;
    all_secure(&unbound, 2).await;
    let late = Unbound::start(([127, 0, 0, 1], port).into(), &[new.anchor()]).await;
    all_secure(&late, 2).await;
}

#[tokio::test]
async fn a_zsk_is_rolled_over_beneath_its_ksk() {
    let (ksk, old, new) = (Kept::draw(KeyKind::Ksk), Kept::draw(KeyKind::Zsk), Kept::draw(KeyKind::Zsk));
    let port = free_port();
    let server = serve(port, None, vec![ksk.active(), old.active(), new.published()]).await;
    let unbound = Unbound::start(server.address(), &[ksk.anchor()]).await;
    all_secure(&unbound, 0).await;
    let server = serve(port, Some(server), vec![ksk.active(), old.published(), new.active()]).await;
    all_secure(&unbound, 1).await;
    let _server = serve(port, Some(server), vec![ksk.active(), new.active()]).await;
    all_secure(&unbound, 2).await;
}

#[tokio::test]
async fn a_key_that_signs_without_having_been_published_is_not_believed() {
    let (old, new) = (Kept::draw(KeyKind::Csk), Kept::draw(KeyKind::Csk));
    let port = free_port();
    let server = serve(port, None, vec![old.active()]).await;
    let unbound = Unbound::start(server.address(), &[old.anchor(), new.anchor()]).await;
    all_secure(&unbound, 0).await;
    let _server = serve(port, Some(server), vec![new.active()]).await;
    assert!(unbound.is_bogus("s1.edge.sts.example", RecordType::A).await, "its key set in the cache is the old one");
}
