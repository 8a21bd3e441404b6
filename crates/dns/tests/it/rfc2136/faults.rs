//! Lost, late and changed answers, and strangers who are quicker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt;
use mtasts_dns::{Known, Marker, ProviderError, ZoneProvider};
use mtasts_model::{
    clock::{Entropy, SeededEntropy},
    feed::RecordType::Txt,
};

use super::{
    Served, ZONE, apply_one, bind, change, knot, put,
    relays::{Ahead, impatient, is_update, proxy, proxy_with},
};
use crate::{
    contract::{Backend, OWNER},
    providers::rfc2136::Rfc2136,
};

#[tokio::test]
async fn a_lost_answer_is_answered_by_reading_back() {
    for served in [bind().await, knot().await] {
        let updates = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&updates);
        // The first answer to an update is lost.
        let through = proxy(served.address(), move |message| {
            (!is_update(&message) || seen.fetch_add(1, Ordering::SeqCst) > 0).then_some(message)
        })
        .await;
        let provider = served.with(|config| {
            (config.server, config.timeout) = (through, Duration::from_millis(1500));
        });
        let name = format!("lost._mta-sts.{ZONE}");
        let lost = provider.apply(&[put(&name, "mine", Known::Never)]).await;
        assert!(matches!(lost, Err(ProviderError::Unavailable { .. })), "{lost:?}");
        assert_eq!(served.read_raw(&name, Txt).await, ["mine"], "it did arrive");
        let before = served.writes().await;
        apply_one(&provider, put(&name, "mine", Known::Perhaps)).await.unwrap();
        assert_eq!(updates.load(Ordering::SeqCst), 1, "nothing was sent but questions");
        apply_one(&provider, put(&name, "mine", Known::Never)).await.unwrap();
        assert_eq!(served.writes().await, before, "a blind repetition meets its own prerequisite");
    }
}

/// A provider whose next update is preceded by these lines of a stranger's, and the count of its updates.
async fn overtaken(served: &Arc<Served>, lines: &[String]) -> (Rfc2136, Arc<AtomicU64>) {
    let updates = Arc::new(AtomicU64::new(0));
    let (seen, stranger, lines) = (Arc::clone(&updates), Arc::clone(served), lines.to_vec());
    let ahead: Ahead = Box::new(move |message| {
        let is_first = is_update(message) && seen.fetch_add(1, Ordering::SeqCst) == 0;
        let (stranger, lines) = (Arc::clone(&stranger), lines.clone());
        Box::pin(async move {
            if is_first {
                stranger.update(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
            }
        })
    });
    let through = proxy_with(served.address(), ahead, Some).await;
    (served.with(|config| config.server = through), updates)
}

#[tokio::test]
async fn what_was_planned_on_an_old_state_changes_nothing() {
    for served in [bind().await, knot().await] {
        let served = Arc::new(served);
        let marker = Marker::new(OWNER).unwrap();
        let at = |label: &str| {
            let name = format!("{label}._mta-sts.{ZONE}");
            let marker_name = marker.name_for(&name, Txt);
            (name, marker_name)
        };
        // Somebody edits our set just before we replace it: it is read again, and replaced.
        let (name, _) = at("edited");
        apply_one(&served.provider, put(&name, "old", Known::Never)).await.unwrap();
        let lines = [format!("delete {name} TXT"), format!("add {name} 1 TXT edited")];
        let (provider, updates) = overtaken(&served, &lines).await;
        apply_one(&provider, put(&name, "new", Known::Perhaps)).await.unwrap();
        assert_eq!(served.read_raw(&name, Txt).await, ["new"]);
        assert_eq!(updates.load(Ordering::SeqCst), 2);
        // Somebody changes a set just before we adopt it, creates one just before we do, or puts their marker there.
        for (label, before, lines) in [
            ("adopted", Some("mine"), ["delete @ TXT", "add @ 1 TXT theirs"]),
            ("created", None, ["delete @ TXT", "add @ 1 TXT theirs"]),
            ("claimed", None, ["delete MARKER TXT", "add MARKER 1 TXT theirs"]),
            ("alias", None, ["delete MARKER TXT", "add MARKER 1 CNAME theirs.test."]),
        ] {
            let (name, marker_name) = at(label);
            if let Some(before) = before {
                served.put_strangers_record(&name, Txt, &[before]).await;
            }
            let lines = lines.map(|line| line.replace('@', &name).replace("MARKER", &marker_name));
            let (provider, _) = overtaken(&served, &lines).await;
            let outcome = apply_one(&provider, put(&name, "mine", Known::Perhaps)).await;
            assert!(
                matches!(&outcome, Err(ProviderError::Conflict { found, .. }) if found.contains("theirs")),
                "{label}: {outcome:?}"
            );
            assert!(!served.read_raw(&name, Txt).await.contains(&"mine".to_owned()), "{label}");
        }
        // Somebody else takes a set over just before we remove it.
        let (name, marker_name) = at("taken");
        apply_one(&served.provider, put(&name, "old", Known::Never)).await.unwrap();
        let lines = [format!("delete {marker_name} TXT"), format!("add {marker_name} 1 TXT theirs")];
        let (provider, _) = overtaken(&served, &lines).await;
        let outcome = apply_one(&provider, change(&name, Txt, None, Known::Perhaps)).await;
        assert!(matches!(outcome, Err(ProviderError::Conflict { .. })), "{outcome:?}");
        assert_eq!(served.read_raw(&name, Txt).await, ["old"]);
        // A set that changes each time: in the end it is said so.
        let (name, _) = at("restless");
        apply_one(&served.provider, put(&name, "old", Known::Never)).await.unwrap();
        let (count, stranger, at) = (Arc::new(AtomicU64::new(0)), Arc::clone(&served), name.clone());
        let ahead: Ahead = Box::new(move |message| {
            let (is_update, stranger) = (is_update(message), Arc::clone(&stranger));
            let line = format!("add {at} 1 TXT {}", count.fetch_add(1, Ordering::SeqCst));
            Box::pin(async move {
                if is_update {
                    stranger.update(&[&line]).await;
                }
            })
        });
        let through = proxy_with(served.address(), ahead, Some).await;
        let provider = served.with(|config| config.server = through);
        let calm = format!("calm._mta-sts.{ZONE}");
        let changes = [put(&name, "new", Known::Perhaps), put(&calm, "new", Known::Perhaps)];
        let outcomes = provider.apply(&changes).await.unwrap();
        assert!(matches!(outcomes[0], Err(ProviderError::Unavailable { .. })), "{outcomes:?}");
        assert!(outcomes[1].is_ok(), "{outcomes:?}");
    }
}

#[tokio::test]
async fn an_answer_that_was_changed_on_its_way_is_not_believed() {
    let served = bind().await;
    apply_one(&served.provider, put(&format!("x._mta-sts.{ZONE}"), "mine", Known::Never)).await.unwrap();
    let through = proxy(served.address(), |mut message| {
        // In the middle of the text of the record.
        let at = message.windows(4).position(|octets| octets == b"mine");
        if let Some(at) = at {
            message[at] = b'M';
        }
        Some(message)
    })
    .await;
    let provider = served.with(|config| config.server = through);
    let read = provider.read(&format!("x._mta-sts.{ZONE}"), Txt).await;
    assert!(matches!(read, Err(ProviderError::Unauthorized { .. })), "{read:?}");
    let listed: Result<Vec<_>, _> = provider.list().try_collect().await;
    assert!(matches!(listed, Err(ProviderError::Unauthorized { .. })), "{listed:?}");
}

#[tokio::test]
async fn no_octets_of_an_answer_make_it_panic() {
    let served = bind().await;
    let name = format!("x._mta-sts.{ZONE}");
    apply_one(&served.provider, put(&name, "mine", Known::Never)).await.unwrap();
    let entropy = SeededEntropy::new(7);
    let through = proxy(served.address(), move |mut message| {
        let mut draw = [0; 16];
        entropy.fill(&mut draw);
        let pairs = draw.chunks(2).take(usize::from(draw[15] % 6));
        for pair in pairs {
            // Most of what matters is at the beginning; the id is kept, so that the rest is looked at.
            let at = 2 + usize::from(pair[0]) % (message.len() - 2);
            message[at] = pair[1];
        }
        if draw[14] < 40 {
            message.truncate(usize::from(draw[13]));
        }
        Some(message)
    })
    .await;
    let provider = served.with(|config| {
        // Without a key, because a signature would not let any of this come near.
        (config.server, config.key, config.timeout) = (through, None, Duration::from_millis(500));
    });
    let mut failures = 0;
    for round in 0..300 {
        let known = if round % 2 == 0 { Known::Never } else { Known::Perhaps };
        let outcomes = [
            provider.check().await.is_err(),
            provider.read(&name, Txt).await.is_err(),
            apply_one(&provider, put(&name, "mine", known)).await.is_err(),
            provider.list().try_collect::<Vec<_>>().await.is_err(),
        ];
        failures += outcomes.into_iter().filter(|&failed| failed).count();
    }
    assert!(failures > 300, "{failures}");
}

#[tokio::test]
async fn a_server_that_closes_after_its_answers_is_served_by_new_connections() {
    let served = bind().await;
    let through = impatient(served.address()).await;
    let provider = served.with(|config| config.server = through);
    provider.check().await.unwrap();
    let name = format!("x._mta-sts.{ZONE}");
    for (value, known) in [("first", Known::Never), ("second", Known::Perhaps), ("third", Known::Never)] {
        apply_one(&provider, put(&name, value, known)).await.unwrap();
        assert_eq!(served.read_raw(&name, Txt).await, [value]);
    }
}
