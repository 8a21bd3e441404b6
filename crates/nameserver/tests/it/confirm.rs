//! The embedded provider, and reading back from all servers.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use mtasts_dns::{
    ConfirmError, Confirmation, Known, ProviderError, RecordChange, Resolver, ResolverConfig, ZoneProvider, confirm,
    providers::{Embedded, ZoneStore},
};
use mtasts_model::feed::{RecordData, RecordType};

use crate::support::{Running, TestFeed, until};

const NAME: &str = "a._mta-sts.sts.example";

/// A store that offers its changes to one nameserver's feed.
struct Store {
    rows: Mutex<BTreeMap<String, RecordData>>,
    feed: Arc<TestFeed>,
}

#[async_trait]
impl ZoneStore for Store {
    async fn read(&self, name: &str, _: RecordType) -> Result<Option<RecordData>, ProviderError> {
        Ok(self.rows.lock().unwrap().get(name).cloned())
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<(), ProviderError> {
        for change in changes {
            let mut rows = self.rows.lock().unwrap();
            match change.set.clone() {
                Some(set) => rows.insert(change.name.clone(), set),
                None => rows.remove(&change.name),
            };
            self.feed.offer_set(&change.name, change.set.clone());
        }
        Ok(())
    }
}

fn provider(feed: &Arc<TestFeed>, servers: Vec<SocketAddr>) -> Embedded {
    let store = Store { rows: Mutex::default(), feed: feed.clone() };
    Embedded::new("sts.example".parse().unwrap(), Arc::new(store), servers)
}

fn put(name: &str, values: &[&str]) -> RecordChange {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    let set = Some(RecordData { ttl: 60, values });
    RecordChange { name: name.to_owned(), record_type: RecordType::Txt, set, known: Known::Never }
}

fn resolver() -> Resolver {
    let upstreams = vec!["127.0.0.1:9".parse().unwrap()];
    Resolver::new(ResolverConfig { upstreams, timeout: Duration::from_millis(500), attempts: 1 }).unwrap()
}

#[tokio::test]
async fn a_change_is_confirmed_when_every_server_has_it_and_not_before() {
    let (first, feed) = Running::serving(&[]).await;
    let (second, other_feed) = Running::serving(&[]).await;
    let provider = provider(&feed, vec![first.address(), second.address()]);
    let change = put(NAME, &["one", "two"]);
    provider.apply(std::slice::from_ref(&change)).await.unwrap();
    let read = provider.read(NAME, RecordType::Txt).await.unwrap();
    assert_eq!(read.map(|observed| observed.data), change.set);
    until("the first server has it", || first.nameserver.position().number() == 1).await;

    let resolver = resolver();
    let confirmed = async |expected| confirm(&resolver, &provider, NAME, RecordType::Txt, expected).await.unwrap();
    assert_eq!(confirmed(change.set.as_ref()).await, Confirmation::Lagging { server: second.address() });
    other_feed.offer(NAME, Some(&["two", "one"]));
    until("the second server has it", || second.nameserver.position().number() == 1).await;
    assert_eq!(confirmed(change.set.as_ref()).await, Confirmation::Agreed);
    assert!(matches!(confirmed(None).await, Confirmation::Lagging { .. }));
    let other = put(NAME, &["one", "three"]);
    assert!(matches!(confirmed(other.set.as_ref()).await, Confirmation::Lagging { .. }));
}

#[tokio::test]
async fn absence_is_confirmed_and_a_silent_server_is_an_error() {
    let (server, feed) = Running::serving(&[]).await;
    let all_there = provider(&feed, vec![server.address()]);
    let agreed = confirm(&resolver(), &all_there, NAME, RecordType::Txt, None).await.unwrap();
    assert_eq!(agreed, Confirmation::Agreed);
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let one_silent = provider(&feed, vec![server.address(), silent.local_addr().unwrap()]);
    let error = confirm(&resolver(), &one_silent, NAME, RecordType::Txt, None).await;
    assert!(matches!(error, Err(ConfirmError::Resolve(_))), "{error:?}");
    let none = confirm(&resolver(), &provider(&feed, vec![]), NAME, RecordType::Txt, None).await;
    assert!(matches!(none, Err(ConfirmError::NoServers)), "{none:?}");
}

#[tokio::test]
async fn a_name_outside_of_the_zone_is_refused_and_the_rest_of_the_batch_is_written() {
    let feed = TestFeed::with(&[]);
    let provider = provider(&feed, vec![]);
    let names = ["a.example", "axsts.example", "A.sts.example", "a.sts.example.", "a b.sts.example", "", NAME];
    let changes: Vec<_> = names.iter().map(|name| put(name, &["x"])).collect();
    let outcomes = provider.apply(&changes).await.unwrap();
    for (name, outcome) in names.iter().zip(&outcomes) {
        match *name {
            "a.example" | "axsts.example" => {
                assert!(matches!(outcome, Err(ProviderError::NameOutsideZone { .. })), "{name:?} {outcome:?}");
            }
            NAME => assert!(outcome.is_ok(), "{outcome:?}"),
            _ => assert!(matches!(outcome, Err(ProviderError::InvalidName(_))), "{name:?} {outcome:?}"),
        }
    }
    assert!(provider.read(NAME, RecordType::Txt).await.unwrap().is_some());
    assert!(feed.head() == 1, "nothing but the one good change was written");
}
