//! What is written, and what is not, whatever stands there.

use mtasts_dns::{Known, Marker, ProviderError, ZoneProvider};
use mtasts_model::feed::RecordType::{A, Caa, Cname, Txt};

use super::{ZONE, apply_one, bind, change, knot, put};
use crate::contract::{Backend, OTHER_OWNER, OWNER};

#[tokio::test]
async fn two_clients_of_one_installation_race_and_one_whole_set_remains() {
    for served in [bind().await, knot().await] {
        let other = served.with(|_| ());
        for round in 0..10 {
            let name = format!("race{}._mta-sts.{ZONE}", round % 3);
            let (first, second) = (format!("first {round}"), format!("second {round}"));
            let (one, two) = tokio::join!(
                apply_one(&served.provider, change(&name, Txt, Some(&[&first, "1"]), Known::Perhaps)),
                apply_one(&other, change(&name, Txt, Some(&[&second, "2"]), Known::Perhaps)),
            );
            one.unwrap();
            two.unwrap();
            let mut values = served.read_raw(&name, Txt).await;
            values.sort_unstable();
            assert!(values == ["1", first.as_str()] || values == ["2", second.as_str()], "{values:?}");
        }
    }
}

#[tokio::test]
async fn two_installations_race_for_a_name_and_one_gets_it() {
    for served in [bind().await, knot().await] {
        let other = served.with(|config| config.marker = Marker::new(OTHER_OWNER).unwrap());
        for round in 0..10 {
            let known = if round % 2 == 0 { Known::Never } else { Known::Perhaps };
            let name = format!("race{round}._mta-sts.{ZONE}");
            let (one, two) = tokio::join!(
                apply_one(&served.provider, put(&name, "mine", known.clone())),
                apply_one(&other, put(&name, "theirs", known)),
            );
            let (winner, loser) = if one.is_ok() { ("mine", two) } else { ("theirs", one) };
            assert!(matches!(loser, Err(ProviderError::Conflict { .. })), "{loser:?}");
            assert_eq!(served.read_raw(&name, Txt).await, [winner]);
            let marker = Marker::new(if winner == "mine" { OWNER } else { OTHER_OWNER }).unwrap();
            assert_eq!(served.read_raw(&marker.name_for(&name, Txt), Txt).await, [marker.to_string()]);
        }
    }
}

#[tokio::test]
async fn a_set_that_was_believed_to_be_new_is_neither_overwritten_nor_holds_up_the_rest() {
    for served in [bind().await, knot().await] {
        let names: Vec<_> = (0..50).map(|number| format!("n{number}._mta-sts.{ZONE}")).collect();
        served.put_strangers_record(&names[17], Txt, &["theirs"]).await;
        served.put_strangers_record(&names[33], Caa, &["0 issue \"ca.test\""]).await;
        apply_one(&served.provider, put(&names[40], "older", Known::Never)).await.unwrap();
        let changes: Vec<_> = names.iter().map(|name| put(name, "mine", Known::Never)).collect();
        let outcomes = served.provider.apply(&changes).await.unwrap();
        for (place, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Err(ProviderError::Conflict { found, .. }) if place == 17 => assert!(found.contains("theirs")),
                Ok(_) if place != 17 => {}
                other => panic!("{place}: {other:?}"),
            }
        }
        assert_eq!(served.read_raw(&names[17], Txt).await, ["theirs"]);
        assert_eq!(served.read_raw(&names[33], Caa).await, ["0 issue \"ca.test\""]);
        for place in [0, 33, 40, 49] {
            assert_eq!(served.read_raw(&names[place], Txt).await, ["mine"], "{place}");
        }
    }
}

#[tokio::test]
async fn several_changes_of_one_set_in_one_batch_take_effect_in_their_order() {
    let served = bind().await;
    let name = format!("order._mta-sts.{ZONE}");
    let changes = [
        put(&name, "first", Known::Never),
        put(&name, "second", Known::Never),
        change(&name, Txt, None, Known::Never),
        change(&name, Cname, Some(&["elsewhere.test"]), Known::Never),
    ];
    for outcome in served.provider.apply(&changes).await.unwrap() {
        outcome.unwrap();
    }
    assert_eq!(served.read_raw(&name, Cname).await, ["elsewhere.test"]);
    // Back again: a CNAME of ours is in the way until it is removed.
    let clash = apply_one(&served.provider, put(&name, "text", Known::Never)).await;
    assert!(matches!(clash, Err(ProviderError::TypeClash { .. })), "{clash:?}");
    let changes = [change(&name, Cname, None, Known::Perhaps), put(&name, "text", Known::Perhaps)];
    for outcome in served.provider.apply(&changes).await.unwrap() {
        outcome.unwrap();
    }
    assert_eq!(served.read_raw(&name, Txt).await, ["text"]);
}

#[tokio::test]
async fn an_alias_is_not_written_beside_other_records() {
    for served in [bind().await, knot().await] {
        let name = format!("alias.{ZONE}");
        served.put_strangers_record(&name, A, &["192.0.2.1"]).await;
        for known in [Known::Never, Known::Perhaps] {
            let outcome = apply_one(&served.provider, change(&name, Cname, Some(&["elsewhere.test"]), known)).await;
            assert!(
                matches!(&outcome, Err(ProviderError::TypeClash { found, .. }) if found == "A 192.0.2.1"),
                "{outcome:?}"
            );
        }
        let bad = change(&name, Cname, Some(&["a.test", "b.test"]), Known::Never);
        assert!(matches!(apply_one(&served.provider, bad).await, Err(ProviderError::Refused { .. })));
        assert_eq!(served.dig(&name, "CNAME").await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_wildcard_is_nobodys_record_at_a_name_of_ours() {
    for served in [bind().await, knot().await] {
        let name = format!("under._mta-sts.{ZONE}");
        served.update(&[&format!("add *.{ZONE} 1 TXT wildcard")]).await;
        assert_eq!(served.provider.read(&name, Txt).await.unwrap(), None);
        apply_one(&served.provider, change(&name, Txt, None, Known::Perhaps)).await.unwrap();
        // Even with the very values that are wanted: an answer made from a wildcard cannot be adopted.
        apply_one(&served.provider, put(&name, "wildcard", Known::Perhaps)).await.unwrap();
        let other = format!("other._smtp-tls.{ZONE}");
        apply_one(&served.provider, put(&other, "mine", Known::Perhaps)).await.unwrap();
        assert_eq!(served.read_raw(&other, Txt).await, ["mine"]);
        served.update(&[&format!("delete *.{ZONE}"), &format!("add *.{ZONE} 1 A 192.0.2.1")]).await;
        let host = format!("host.{ZONE}");
        apply_one(&served.provider, change(&host, A, Some(&["192.0.2.1"]), Known::Perhaps)).await.unwrap();
        served.update(&[&format!("delete *.{ZONE}"), &format!("add *.{ZONE} 1 CNAME elsewhere.test.")]).await;
        assert_eq!(served.read_raw(&name, Txt).await, ["wildcard"], "it stands there itself");
        assert_eq!(served.read_raw(&host, A).await, ["192.0.2.1"], "it stands there itself");
        let third = format!("third.acme.{ZONE}");
        apply_one(&served.provider, put(&third, "mine", Known::Perhaps)).await.unwrap();
        assert_eq!(served.read_raw(&third, Txt).await, ["mine"]);
    }
}

#[tokio::test]
async fn a_name_that_was_delegated_away_is_refused_and_the_rest_gets_through() {
    for served in [bind().await, knot().await] {
        served.update(&[&format!("add away.{ZONE} 1 NS ns.elsewhere.test.")]).await;
        let (away, here) = (format!("x.away.{ZONE}"), format!("here._mta-sts.{ZONE}"));
        let changes = [put(&away, "mine", Known::Perhaps), put(&here, "mine", Known::Perhaps)];
        let outcomes = served.provider.apply(&changes).await.unwrap();
        assert!(
            matches!(&outcomes[0], Err(ProviderError::Refused { reason }) if reason.contains("away.sts.test")),
            "{outcomes:?}"
        );
        assert!(outcomes[1].is_ok(), "{outcomes:?}");
        let caa = change(&here, Caa, Some(&["no caa"]), Known::Never);
        assert!(matches!(apply_one(&served.provider, caa).await, Err(ProviderError::Refused { .. })));
    }
}

#[tokio::test]
async fn a_change_that_only_a_rule_of_the_server_forbids_does_not_hold_up_the_rest() {
    let served = bind().await;
    // BIND's check-names: no address at a name that is no host's.
    let bad = change(&format!("address._mta-sts.{ZONE}"), A, Some(&["192.0.2.1"]), Known::Never);
    let names: Vec<_> = (0..20).map(|number| format!("n{number}._mta-sts.{ZONE}")).collect();
    let mut changes: Vec<_> = names.iter().map(|name| put(name, "mine", Known::Never)).collect();
    changes.insert(7, bad.clone());
    let outcomes = served.provider.apply(&changes).await.unwrap();
    for (place, outcome) in outcomes.iter().enumerate() {
        let is_refused = matches!(outcome, Err(ProviderError::Refused { reason }) if reason.contains("check-names"));
        assert_eq!(is_refused, place == 7, "{place}: {outcome:?}");
        assert_eq!(outcome.is_err(), place == 7, "{place}: {outcome:?}");
    }
    assert_eq!(served.read_raw(&names[19], Txt).await, ["mine"]);
    assert!(matches!(apply_one(&served.provider, bad).await, Err(ProviderError::Refused { .. })));
}
