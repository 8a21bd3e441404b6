//! ARI (RFC 9773), which not every Pebble has, so the proxy adds it to the directory and answers for it; profiles.

use std::{net::SocketAddr, time::Duration};

use mtasts_certs::{ChallengeKind, IssuedChain, Issuer, Leaf, OrderKey, RenewalKey};
use serde_json::{Value, json};

use crate::{
    acme_proxy::{AcmeProxy, Fault},
    issuance::{finish, host, validated},
    pebble::{Home, Options, Pebble},
};

fn with_ari(directory: &str, proxy: SocketAddr) -> String {
    let mut directory: Value = serde_json::from_str(directory).unwrap();
    directory["renewalInfo"] = json!(format!("https://{proxy}/ari"));
    directory["meta"]["caaIdentities"] = json!(["pebble.example"]);
    directory.to_string()
}

async fn issued() -> (Pebble, AcmeProxy, Home, IssuedChain) {
    let pebble = Pebble::start(Options::default()).await;
    let proxy = AcmeProxy::start(&pebble).await;
    let home = Home::new(pebble.config_at(proxy.address));
    let url = validated(&pebble, &home, ChallengeKind::Http01).await;
    let key = OrderKey::generate().unwrap();
    home.issuer().finalize(&url, &key.csr(&host()).unwrap()).await.unwrap();
    let chain = finish(&home, &url, &key).await;
    (pebble, proxy, home, chain)
}

fn advice(retry_after: Option<&str>) -> Fault {
    let window = json!({"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z"});
    let headers = retry_after.map(|value| ("Retry-After", value.to_owned())).into_iter().collect();
    Fault::Answer(200, headers, json!({"suggestedWindow": window}).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cas_advice_is_read_with_and_without_retry_after() {
    let (_pebble, proxy, home, chain) = issued().await;
    // Debian's Pebble of today gives no advice, newer ones do.
    if let Some(info) = home.issuer().renewal_info(&chain).await.unwrap() {
        let (leaf, (start, end)) = (Leaf::parse(chain.leaf()).unwrap(), info.suggested_window());
        assert!(leaf.not_before < start && end < leaf.not_after, "{info:?}");
    }

    proxy.inject("/dir", usize::MAX, Fault::Rewrite(with_ari));
    let name = RenewalKey::of(chain.leaf()).unwrap().unwrap();
    let path = format!("/ari/{name}");
    for (header, expected) in [(Some("7200"), Duration::from_hours(2)), (None, Duration::from_hours(6))] {
        proxy.inject_get(&path, 1, advice(header));
        let info = home.issuer().renewal_info(&chain).await.unwrap().unwrap();
        let (start, end) = info.suggested_window();
        assert_eq!((start.to_rfc3339(), (end - start).num_days()), ("2026-03-01T00:00:00+00:00".to_owned(), 2));
        assert!(expected.abs_diff(info.retry_after()) < Duration::from_secs(5), "{info:?}");
    }

    // The CA does not know the certificate: no advice. The CA is away: ask again later.
    assert_eq!(home.issuer().renewal_info(&chain).await.unwrap(), None);
    proxy.inject_get(&path, 1, Fault::Answer(503, vec![], String::new()));
    assert!(home.issuer().renewal_info(&chain).await.unwrap_err().is_retryable());
    assert_eq!(home.issuer().caa_identity().await.unwrap().issuer_domains, ["pebble.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_through_where_replaces_is_not_wanted() {
    let (_pebble, proxy, home, chain) = issued().await;
    let replaces = RenewalKey::of(chain.leaf()).unwrap();
    // No ARI at all.
    home.issuer().place(&host(), replaces.as_ref()).await.unwrap();

    proxy.inject("/dir", usize::MAX, Fault::Rewrite(with_ari));
    for (status, kind) in [(409, "alreadyReplaced"), (400, "malformed")] {
        let body = json!({"type": format!("urn:ietf:params:acme:error:{kind}")}).to_string();
        let before = proxy.count("/order-plz");
        proxy.inject("/order-plz", 1, Fault::Answer(status, vec![], body));
        home.issuer().place(&host(), replaces.as_ref()).await.unwrap();
        let orders = proxy.payloads("/order-plz").split_off(before);
        assert_eq!(orders[0]["replaces"], replaces.as_ref().unwrap().to_string());
        assert_eq!(orders.last().unwrap().get("replaces"), None);
    }
    // The CA ignores it, and makes an order that does not reflect it.
    home.issuer().place(&host(), replaces.as_ref()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_asks_for_its_one_name_and_the_configured_profile() {
    let pebble = Pebble::start(Options::default()).await;
    let proxy = AcmeProxy::start(&pebble).await;
    let mut home = Home::new(pebble.config_at(proxy.address));
    home.issuer().place(&host(), None).await.unwrap();
    home.config.profile = Some("default".to_owned());
    home.issuer().place(&host(), None).await.unwrap();
    let orders = proxy.payloads("/order-plz");
    let (first, last) = (&orders[0], &orders[orders.len() - 1]);
    assert_eq!(first["identifiers"], json!([{"type": "dns", "value": "mta-sts.customer.test"}]));
    assert_eq!((first.get("profile"), &last["profile"]), (None, &json!("default")));
}
