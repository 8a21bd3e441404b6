//! Signatures and permissions.

use std::sync::Arc;

use futures_util::TryStreamExt;
use mtasts_dns::{
    Known, Mark, ProviderError, ZoneProvider,
    tsig::{TsigAlgorithm, TsigKey},
};
use mtasts_model::{
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    feed::RecordType::A,
};

use super::{ZONE, apply_one, bind, key, knot, put};
use crate::providers::rfc2136::{Rfc2136, Rfc2136Config};

/// The reason of an error that asks for another credential.
async fn unauthorized(provider: &Rfc2136) -> [String; 3] {
    let list = provider.list().try_collect::<Vec<_>>().await.map(drop);
    let write = apply_one(provider, put(&format!("x._mta-sts.{ZONE}"), "mine", Known::Never)).await;
    [provider.check().await, write, list].map(|outcome| match outcome {
        Err(ProviderError::Unauthorized { reason }) => reason,
        other => panic!("{other:?}"),
    })
}

#[tokio::test]
async fn every_fault_of_a_key_is_told_with_what_to_do() {
    for served in [bind().await, knot().await] {
        let name = |name| key(name, TsigAlgorithm::HmacSha256);
        let wrong_secret = served.with(|config| config.key = Some(name("update")));
        let wrong_name = served.with(|config| config.key = Some(name("nobody")));
        let algorithm = |config: &mut Rfc2136Config| {
            let (name, secret) = served.server.key();
            config.key = Some(TsigKey::new(name, TsigAlgorithm::HmacSha512, &secret.into()).unwrap());
        };
        let wrong_algorithm = served.with(algorithm);
        for (provider, word) in [(wrong_secret, "BADSIG"), (wrong_name, "BADKEY"), (wrong_algorithm, "BADKEY")] {
            for reason in unauthorized(&provider).await {
                // Knot 3.4 has no word for a key that it does not know, nor a signature; what it has is the zone.
                let told = reason.contains(word) || word == "BADKEY" && reason.contains("compare name, algorithm");
                assert!(told, "{word}: {reason}");
                assert!(!reason.contains("bm90"), "{reason}");
            }
        }
        for seconds in [400, -400] {
            let now = Timestamp::from_timestamp(SystemClock.now().timestamp() + seconds, 0).unwrap();
            let skewed = Rfc2136::new(served.config(), Arc::new(ManualClock::new(now))).unwrap();
            for reason in unauthorized(&skewed).await {
                assert!(reason.contains("clocks"), "{reason}");
            }
        }
        // Within the five minutes.
        let now = Timestamp::from_timestamp(SystemClock.now().timestamp() + 200, 0).unwrap();
        Rfc2136::new(served.config(), Arc::new(ManualClock::new(now))).unwrap().check().await.unwrap();
        let unsigned = served.with(|config| config.key = None);
        let [check, write, list] = unauthorized(&unsigned).await;
        for (reason, word) in [(check, "allow-update"), (write, "allow-update"), (list, "allow-transfer")] {
            assert!(reason.contains(word), "{reason}");
        }
        assert_eq!(
            unsigned.read(&format!("ns.{ZONE}"), A).await.map(drop).map_err(|error| error.reason()),
            Err("DnsProviderUnauthorized")
        );
    }
}

#[tokio::test]
async fn the_longer_hash_signs_as_well() {
    for served in [bind().await, knot().await] {
        let (_, secret) = served.server.key();
        let key = TsigKey::new("update-sha512", TsigAlgorithm::HmacSha512, &secret.into()).unwrap();
        let provider = served.with(|config| config.key = Some(key));
        provider.check().await.unwrap();
        let name = format!("x._mta-sts.{ZONE}");
        apply_one(&provider, put(&name, "mine", Known::Never)).await.unwrap();
        let listed: Vec<_> = provider.list().try_collect().await.unwrap();
        assert!(listed.iter().any(|found| found.name == name && found.mark == Mark::Ours), "{listed:?}");
    }
}
