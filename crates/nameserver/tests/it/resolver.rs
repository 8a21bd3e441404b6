//! Seen by our own resolver.

use std::{net::SocketAddr, time::Duration};

use mtasts_dns::{Lookup, ResolveError, Resolver, ResolverConfig};
use mtasts_model::feed::{RecordData, RecordType as OurType};

use crate::support::Running;

fn asking(upstreams: &[SocketAddr]) -> Resolver {
    let config = ResolverConfig { upstreams: upstreams.to_vec(), timeout: Duration::from_secs(5), attempts: 2 };
    Resolver::new(config).unwrap()
}

#[tokio::test]
async fn our_nameserver_is_understood() {
    let long = "x".repeat(3000);
    let (server, _feed) =
        Running::serving(&[("a._mta-sts.sts.example", "v=STSv1; id=1;"), ("long._mta-sts.sts.example", &long)]).await;
    let resolver = asking(&[server.address()]);
    let found = resolver.txt("a._mta-sts.sts.example").await.unwrap();
    assert_eq!(found, Lookup::Found(vec!["v=STSv1; id=1;".into()]));
    assert_eq!(resolver.txt("b._mta-sts.sts.example").await.unwrap(), Lookup::NxDomain);
    assert_eq!(resolver.txt("_mta-sts.sts.example").await.unwrap(), Lookup::NoData);
    let addresses = resolver.addresses("abc.edge.sts.example").await.unwrap().found().unwrap();
    assert_eq!(addresses.len(), 2);
    // Truncated over UDP, whole over TCP.
    assert_eq!(resolver.txt("long._mta-sts.sts.example").await.unwrap(), Lookup::Found(vec![long.clone()]));
    assert!(matches!(resolver.txt("elsewhere.example").await, Err(ResolveError::Failed { .. })));
}

#[tokio::test]
async fn an_authoritative_server_can_be_asked_directly() {
    let long = "x".repeat(3000);
    let (server, _feed) = Running::serving(&[("a._mta-sts.sts.example", &long)]).await;
    let resolver = asking(&["127.0.0.1:9".parse().unwrap()]);
    let at = async |name| resolver.query_at(server.address(), name, OurType::Txt).await;
    let expected = RecordData { ttl: 60, values: vec![long.clone()] };
    assert_eq!(at("a._mta-sts.sts.example").await.unwrap(), Lookup::Found(expected));
    assert_eq!(at("b._mta-sts.sts.example").await.unwrap(), Lookup::NxDomain);
    assert_eq!(at("_mta-sts.sts.example").await.unwrap(), Lookup::NoData);
    assert!(matches!(at("elsewhere.example").await, Err(ResolveError::Failed { .. })));
}
