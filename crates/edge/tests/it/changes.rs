use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::TimeDelta;
use mtasts_edge::{Edge, Inventory, KeyOpenError, KeyOpener};
use mtasts_model::{Clock, DomainId, Mode, SystemClock, TenantId, feed::EdgeEntry};
use zeroize::Zeroizing;

use crate::{
    authority::{Authority, Opener},
    client::Client,
    feed::TableFeed,
    harness::{Harness, PATH, config, until},
    serving::H2,
};

/// Invariant 1, the edge's half: after the acknowledgement no connection, however old, gets the older body.
#[tokio::test]
async fn after_the_acknowledgement_old_connections_are_given_the_new_policy() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut old_h1 = harness.client().connect("example.com").await.unwrap();
    let mut unused_h1 = harness.client().connect("example.com").await.unwrap();
    let mut old_h2 = H2::connect(&harness, "example.com").await;
    let uri = format!("https://mta-sts.example.com{PATH}");
    assert!(old_h1.get("mta-sts.example.com", PATH).await.unwrap().body.contains("mode: testing"));
    assert!(old_h2.ask("GET", &uri, None).await.1.contains("mode: testing"));
    for mode in [Mode::Enforce, Mode::None, Mode::Testing] {
        let revision = harness.feed.put_host("example.com", harness.authority.host("example.com", mode));
        harness.acknowledged(revision).await;
        let expected = format!("mode: {mode}\r\n");
        assert!(old_h1.get("mta-sts.example.com", PATH).await.unwrap().body.contains(&expected));
        assert!(old_h2.ask("GET", &uri, None).await.1.contains(&expected));
        assert!(harness.client().policy("example.com").await.unwrap().body.contains(&expected));
        assert_eq!(harness.edge.position(), revision);
    }
    assert!(unused_h1.get("mta-sts.example.com", PATH).await.unwrap().body.contains("mode: testing"));
}

/// A restored backup may bring back a certificate that has expired since.
#[tokio::test]
async fn a_certificate_that_works_is_not_replaced_by_one_that_has_expired_but_its_policy_is() {
    let harness = Harness::serving(&["example.com"]).await;
    let expired = |mode| {
        let mut host = harness.authority.host("example.com", mode);
        host.not_after = SystemClock.now() - TimeDelta::days(1);
        // Whoever served it could not even open its key.
        host.sealed_key = b"of another time".to_vec();
        host
    };
    let revision = harness.feed.put_host("example.com", expired(Mode::Enforce));
    harness.acknowledged(revision).await;
    assert!(harness.client().policy("example.com").await.unwrap().body.contains("mode: enforce"));
    // The renewed one takes its place.
    let revision = harness.feed.put_host("example.com", harness.authority.host("example.com", Mode::Testing));
    harness.acknowledged(revision).await;
    assert!(harness.client().policy("example.com").await.unwrap().body.contains("mode: testing"));
    // Another registration of the name gets nothing of the former one's.
    let mut others = expired(Mode::None);
    others.domain_id = DomainId::from_uuid(others.version_id.as_uuid());
    let revision = harness.feed.put_host("example.com", others);
    harness.acknowledged(revision).await;
    assert!(harness.client().policy("example.com").await.is_err());
}

/// The same under load: many readers, and never a body older than what was acknowledged before they asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_under_constant_change_never_see_what_is_older_than_the_acknowledgement() {
    let harness = Arc::new(Harness::with(&["example.com"], |config| config.key_cache_entries = 1).await);
    let other = harness.feed.put_host("other.example", harness.authority.host("other.example", Mode::Testing));
    harness.acknowledged(other).await;
    let acknowledged = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..6 {
        let (harness, acknowledged, done) = (harness.clone(), acknowledged.clone(), done.clone());
        readers.spawn(async move {
            let mut connection = harness.client().connect("example.com").await.unwrap();
            let mut asked = 0;
            while !done.load(Ordering::SeqCst) {
                if number % 2 == 0 && asked > 0 {
                    // Fresh connections and another host, so that the one cache entry is always on its way out.
                    assert_eq!(harness.client().policy("other.example").await.unwrap().status, 200);
                }
                if asked == 90 {
                    connection = harness.client().connect("example.com").await.unwrap();
                    asked = 0;
                }
                asked += 1;
                let least = acknowledged.load(Ordering::SeqCst);
                let body = connection.get("mta-sts.example.com", PATH).await.unwrap().body;
                let number: u32 = body.rsplit("max_age: ").next().unwrap().trim().parse().unwrap();
                assert!(number >= least, "{number} after {least} was acknowledged");
            }
        });
    }
    for number in 1..=100 {
        let mut host = harness.authority.host("example.com", Mode::Testing);
        host.policy_text = format!("version: STSv1\r\nmode: testing\r\nmx: mx.example.com\r\nmax_age: {number}\r\n");
        let revision = harness.feed.put_host("example.com", host);
        harness.acknowledged(revision).await;
        acknowledged.store(number, Ordering::SeqCst);
    }
    done.store(true, Ordering::SeqCst);
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
}

/// Opens keys only while its gate is open, to hold up a load between reading the row and caching the entry.
#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    waiting: AtomicBool,
}

impl KeyOpener for Gate {
    fn open(&self, tenant: TenantId, domain: DomainId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyOpenError> {
        while self.closed.load(Ordering::SeqCst) {
            self.waiting.store(true, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Opener.open(tenant, domain, sealed)
    }
}

/// Nor does a change wait for a handshake.
#[tokio::test]
async fn a_load_that_a_change_overtakes_never_brings_the_old_policy_back() {
    let (feed, authority) = (Arc::new(TableFeed::default()), Authority::new());
    feed.put_host("example.com", authority.host("example.com", Mode::Testing));
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let edge = Edge::start(config(folder.path()), feed.clone(), gate.clone(), Arc::new(SystemClock)).unwrap();
    until("the edge is ready", || edge.readiness().is_ready()).await;
    let client = Client::new(edge.local_https_addrs()[0], &authority);
    gate.closed.store(true, Ordering::SeqCst);
    let early = tokio::spawn({
        let client = client.clone();
        async move { client.policy("example.com").await }
    });
    until("the load is under way", || gate.waiting.load(Ordering::SeqCst)).await;
    let revision = feed.put_host("example.com", authority.host("example.com", Mode::Enforce));
    until("the change is acknowledged meanwhile", || feed.acknowledged() >= Some(revision)).await;
    gate.closed.store(false, Ordering::SeqCst);
    assert!(early.await.unwrap().unwrap().body.contains("mode: enforce"));
    for _ in 0..3 {
        assert!(client.policy("example.com").await.unwrap().body.contains("mode: enforce"));
    }
    let _ = edge.shutdown(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_new_certificate_is_used_from_the_next_handshake_on() {
    let harness = Harness::serving(&["example.com"]).await;
    let leaf = async || {
        let connection = harness.client().connect("example.com").await.unwrap();
        connection.stream.get_ref().1.peer_certificates().unwrap().to_vec()
    };
    let before = leaf().await;
    let host = harness.authority.host("example.com", Mode::Testing);
    let expected = host.chain.clone();
    let revision = harness.feed.put_host("example.com", host);
    harness.acknowledged(revision).await;
    let after = leaf().await;
    assert_ne!(before[0], after[0]);
    assert_eq!(after.iter().map(|der| der.to_vec()).collect::<Vec<_>>(), expected, "with its intermediate");
}

#[tokio::test]
async fn a_host_that_is_gone_is_unknown_from_then_on() {
    let harness = Harness::serving(&["example.com", "example.org"]).await;
    let mut old = harness.client().connect("example.com").await.unwrap();
    let revision = harness.feed.put("example.com", EdgeEntry::HostGone);
    harness.acknowledged(revision).await;
    assert!(harness.client().connect("example.com").await.is_err());
    assert_eq!(old.get("mta-sts.example.com", PATH).await.unwrap().status, 404);
    assert_eq!(harness.client().policy("example.org").await.unwrap().status, 200);
    let revision = harness.feed.put_host("example.com", harness.authority.host("example.com", Mode::Enforce));
    harness.acknowledged(revision).await;
    assert!(harness.client().policy("example.com").await.unwrap().body.contains("enforce"));
}

/// After a restore the database may have forgotten what the edge serves of the very same registration.
#[tokio::test]
async fn what_is_served_of_a_registration_stays_while_the_feed_has_nothing_newer_of_it_and_goes_for_another_one() {
    let harness = Harness::serving(&["example.com"]).await;
    let host = harness.authority.host("example.com", Mode::Testing);
    let (own, other) = (host.domain_id, DomainId::from_uuid(uuid::Uuid::from_u128(7)));
    harness.feed.put_host("example.com", host);
    let revision = harness.feed.put("example.com", EdgeEntry::HostHeld { domain_id: own });
    harness.acknowledged(revision).await;
    assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);

    // Nor does it go where the edge reads everything anew.
    harness.feed.down.store(true, Ordering::SeqCst);
    let last = harness.feed.put("gone.example", EdgeEntry::HostGone);
    harness.feed.purge();
    harness.feed.down.store(false, Ordering::SeqCst);
    harness.acknowledged(last).await;
    assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);

    let revision = harness.feed.put("example.com", EdgeEntry::HostHeld { domain_id: other });
    harness.acknowledged(revision).await;
    assert!(harness.client().connect("example.com").await.is_err(), "invariant 3");
}

#[tokio::test]
async fn an_edge_says_what_it_serves_page_for_page() {
    let harness = Harness::serving(&["a.example", "b.example"]).await;
    let inventory = harness.edge.inventory();
    let template = harness.authority.host("c.example", Mode::Enforce);
    let mut last = None;
    for number in 0..Inventory::PAGE {
        last = Some(harness.feed.put_host(&format!("c{number}.example"), template.clone()));
    }
    harness.acknowledged(last.unwrap()).await;
    let first = inventory.after("").unwrap();
    assert_eq!(first.hosts.len(), Inventory::PAGE);
    assert_eq!((&*first.hosts[0].domain, first.hosts[2].mode), ("a.example", Mode::Enforce));
    assert_eq!(first.hosts[2].domain_id, template.domain_id);
    let rest = inventory.after(&first.next.unwrap()).unwrap();
    assert_eq!((rest.hosts.len(), rest.next), (2, None));
}

#[tokio::test]
async fn an_edge_below_the_floor_reads_all_again_and_forgets_what_is_gone_without_a_gap() {
    let harness = Harness::serving(&["a.example", "b.example"]).await;
    until("all is acknowledged", || harness.feed.acknowledged().is_some()).await;
    harness.feed.down.store(true, Ordering::SeqCst);
    harness.feed.put("a.example", EdgeEntry::HostGone);
    let last = harness.feed.put_host("c.example", harness.authority.host("c.example", Mode::Testing));
    harness.feed.purge();
    harness.feed.down.store(false, Ordering::SeqCst);
    while harness.feed.acknowledged() < Some(last) {
        assert_eq!(harness.client().policy("b.example").await.unwrap().status, 200, "no gap");
    }
    assert!(harness.client().connect("a.example").await.is_err(), "its tombstone was purged");
    assert_eq!(harness.client().policy("b.example").await.unwrap().status, 200);
    assert_eq!(harness.client().policy("c.example").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_feed_of_many_pages_is_read_to_its_end_before_the_edge_is_ready() {
    let harness = Harness::serving(&[]).await;
    let template = harness.authority.host("d0.example", Mode::Testing);
    let mut last = None;
    for number in 0..2_500 {
        last = Some(harness.feed.put_host(&format!("d{number}.example"), template.clone()));
    }
    harness.acknowledged(last.unwrap()).await;
    // One certificate for all: verification is for others to test.
    assert!(harness.client().policy("d0.example").await.is_ok());
    let Harness { edge, feed, authority, folder } = harness;
    let _ = edge.shutdown(std::time::Duration::from_secs(5)).await;
    let fresh = Arc::new(tempfile::tempdir().unwrap());
    let again = Harness::restarted(&feed, &authority, &fresh);
    assert!(!again.edge.readiness().is_ready() || again.edge.position() == last.unwrap());
    again.caught_up().await;
    until("all is served", || again.edge.position() == last.unwrap()).await;
    drop(folder);
}
