//! A customer's zone.

use std::sync::Arc;

use mtasts_dns::{
    CustomerZone, Pace, ProviderError,
    tsig::{TsigAlgorithm, TsigKey},
};
use mtasts_model::{clock::SystemClock, feed::RecordType::Cname};

use super::{Server, TIMEOUT, ZONE, bind, key, knot};
use crate::{
    contract::Backend,
    providers::rfc2136::{CustomerConfig, Rfc2136Customer},
};

fn customer(server: &Server, key: Option<TsigKey>) -> Rfc2136Customer {
    let config = CustomerConfig { zone: "Sts.Test.".to_owned(), server: server.address(), key, timeout: TIMEOUT };
    Rfc2136Customer::new(config, Arc::new(Pace::new(1000.0, 1000)), Arc::new(SystemClock)).unwrap()
}

#[tokio::test]
async fn a_customers_delegation_is_created_and_nothing_is_overwritten() {
    for served in [bind().await, knot().await] {
        let zone = customer(&served.server, served.config().key);
        assert_eq!(zone.zone(), ZONE);
        let [free, taken, alias] = ["free", "taken", "alias"].map(|label| format!("{label}.{ZONE}"));
        served
            .update(&[
                &format!("add {taken} 1 A 192.0.2.1"),
                &format!("add {taken} 1 MX 10 mail.customer.test."),
                &format!("add {taken} 1 TXT \"a \\\"b\\\"\""),
                &format!("add {alias} 7 CNAME Elsewhere.test."),
                &format!("add *.{ZONE} 1 TXT wildcard"),
            ])
            .await;
        let names = [free.clone(), taken.clone(), alias.clone(), "alias.STS.test.".to_owned()];
        let standing = zone.standing(&names).await.unwrap();
        let shown = standing.iter().map(|found| format!("{} {} {}", found.name, found.record_type, found.value));
        let expected = [
            "taken.sts.test A 192.0.2.1",
            "taken.sts.test TXT \"a \\\"b\\\"\"",
            "taken.sts.test MX 10 mail.customer.test",
            "alias.sts.test CNAME elsewhere.test",
            "alias.sts.test CNAME elsewhere.test",
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(standing[3].ttl, 7);
        let target = "label.edge.service.test";
        for _ in 0..2 {
            // The second time as after a lost answer.
            zone.create_cname(&free, target, 300).await.unwrap();
        }
        assert_eq!(served.read_raw(&free, Cname).await, [target]);
        for (name, found_value) in [(&taken, "A 192.0.2.1"), (&alias, "CNAME elsewhere.test")] {
            let error = zone.create_cname(name, target, 300).await.unwrap_err();
            let ProviderError::Conflict { wanted, found, .. } = &error else { panic!("{error:?}") };
            assert!(wanted == target && found.contains(found_value), "{error}");
        }
        assert_eq!(served.read_raw(&alias, Cname).await, ["elsewhere.test"]);
        let outside = zone.create_cname("free.elsewhere.test", target, 300).await;
        assert!(matches!(outside, Err(ProviderError::NameOutsideZone { .. })), "{outside:?}");
        assert!(matches!(zone.create_cname("a b.sts.test", target, 1).await, Err(ProviderError::InvalidName(_))));
        let stranger = customer(&served.server, Some(key("nobody", TsigAlgorithm::HmacSha512)));
        let refused = stranger.create_cname(&free, target, 300).await;
        assert!(matches!(refused, Err(ProviderError::Unauthorized { .. })), "{refused:?}");
    }
}
