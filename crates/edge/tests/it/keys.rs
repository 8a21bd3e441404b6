use std::sync::Arc;

use mtasts_edge::{Edge, KeyOpenError, KeyOpener};
use mtasts_model::{DomainId, Mode, SystemClock, TenantId};
use zeroize::Zeroizing;

use crate::{
    authority::Authority,
    client::Client,
    feed::TableFeed,
    harness::{Harness, config, until},
};

/// A key ring that sealed nothing here.
struct WrongRing;

impl KeyOpener for WrongRing {
    fn open(&self, _: TenantId, _: DomainId, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyOpenError> {
        Err(KeyOpenError::new("no key of this ring"))
    }
}

#[tokio::test]
async fn an_edge_with_a_wrong_key_ring_says_so() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let (feed, authority) = (Arc::new(TableFeed::default()), Authority::new());
    let domains = ["a.example", "b.example", "c.example"];
    for domain in domains {
        feed.put_host(domain, authority.host(domain, Mode::Testing));
    }
    let folder = tempfile::tempdir().unwrap();
    let edge = metrics::with_local_recorder(&recorder, || {
        Edge::start(config(folder.path()), feed.clone(), Arc::new(WrongRing), Arc::new(SystemClock)).unwrap()
    });
    until("the edge is ready", || edge.readiness().is_ready()).await;
    let client = Client::new(edge.local_https_addrs()[0], &authority);
    for _ in 0..5 {
        assert!(client.policy(domains[0]).await.is_err());
    }
    assert_eq!(edge.readiness().notes, ["hosts whose keys do not open: 1"], "one host may be to blame itself");
    for domain in domains {
        assert!(client.policy(domain).await.is_err());
    }
    let notes = edge.readiness().notes;
    assert!(notes.iter().any(|note| note.contains("key ring")), "{notes:?}");
    assert!(metrics.render().contains("mtasts_edge_key_open_failures_total 8"), "{}", metrics.render());
}

#[tokio::test]
async fn hosts_with_keys_that_do_not_open_are_noted_until_they_have_others() {
    let harness = Harness::serving(&["good.example"]).await;
    assert_eq!(harness.client().policy("good.example").await.unwrap().status, 200);
    let foreign = harness.authority.host("other.example", Mode::Testing).tenant_id;
    let domains = ["a.example", "b.example", "c.example", "d.example"];
    for domain in domains {
        let mut host = harness.authority.host(domain, Mode::Testing);
        host.tenant_id = foreign;
        let revision = harness.feed.put_host(domain, host);
        harness.acknowledged(revision).await;
        assert!(harness.client().connect(domain).await.is_err());
    }
    assert_eq!(harness.edge.readiness().notes, ["hosts whose keys do not open: 4"], "the key ring works");
    for domain in domains {
        let revision = harness.feed.put_host(domain, harness.authority.host(domain, Mode::Testing));
        harness.acknowledged(revision).await;
    }
    assert!(harness.edge.readiness().notes.is_empty());
}
