//! Listings.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt;
use hickory_proto::{
    op::{Message, OpCode},
    rr::{
        Name, RData, Record,
        rdata::{SOA, TXT},
    },
};
use mtasts_dns::{Known, Mark, Marker, Pace, ProviderError, ZoneProvider};
use mtasts_model::{
    clock::SystemClock,
    feed::RecordType::{A, Txt},
};
use tokio::net::TcpListener;

use super::{
    TIMEOUT, ZONE, apply_one, bind, knot, put,
    relays::{proxy, receive, send},
};
use crate::{
    contract::OWNER,
    providers::rfc2136::{MOST_CHANGES, Rfc2136, Rfc2136Config},
};

#[tokio::test]
async fn ten_thousand_sets_are_written_in_batches_and_listed_as_a_stream() {
    for served in [bind().await, knot().await] {
        let names: Vec<_> = (0..10_000).map(|number| format!("n{number:05}._mta-sts.{ZONE}")).collect();
        for batch in names.chunks(MOST_CHANGES) {
            let changes: Vec<_> = batch.iter().map(|name| put(name, "v=STSv1; id=1;", Known::Never)).collect();
            for outcome in served.provider.apply(&changes).await.unwrap() {
                outcome.unwrap();
            }
        }
        // With SOA, NS and the markers more than 20,000 records.
        let mut listed = served.provider.list();
        let mut ours = 0;
        while let Some(found) = listed.try_next().await.unwrap() {
            if found.record_type == Txt {
                assert_eq!(found.data.values, ["v=STSv1; id=1;"]);
                assert_eq!(found.mark, Mark::Ours, "the marker is sent right after its set: {found:?}");
                ours += 1;
            }
        }
        assert_eq!(ours, names.len());
    }
}

#[tokio::test]
async fn a_listing_is_not_held_in_memory_before_somebody_takes_it() {
    let served = bind().await;
    let messages = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&messages);
    let long = "x".repeat(2_000);
    let names: Vec<_> = (0..4_000).map(|number| format!("n{number:05}._mta-sts.{ZONE}")).collect();
    for batch in names.chunks(MOST_CHANGES) {
        let changes: Vec<_> = batch.iter().map(|name| put(name, &long, Known::Never)).collect();
        for outcome in served.provider.apply(&changes).await.unwrap() {
            outcome.unwrap();
        }
    }
    let through = proxy(served.address(), move |message| {
        seen.fetch_add(u64::try_from(message.len()).unwrap(), Ordering::SeqCst);
        Some(message)
    })
    .await;
    let provider = served.with(|config| config.server = through);
    let mut listed = provider.list();
    listed.try_next().await.unwrap().unwrap();
    // Once the sockets' buffers are full, nothing more is sent.
    let mut before = 0;
    while before < messages.load(Ordering::SeqCst) {
        before = messages.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut ours = 1;
    while listed.try_next().await.unwrap().is_some() {
        ours += 1;
    }
    assert!(ours >= names.len());
    let after = messages.load(Ordering::SeqCst);
    assert!(after > 8_000_000 && before < after, "{before} of {after} octets were sent ahead");
}

/// A server that answers any question with these messages, and then closes the connection.
async fn scripted(messages: Vec<Vec<Record>>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut asks, mut hears) = client.into_split();
            let Some(question) = receive(&mut asks).await else { continue };
            for records in &messages {
                let id = u16::from_be_bytes([question[0], question[1]]);
                let mut answer = Message::response(id, OpCode::Query);
                answer.metadata.authoritative = true;
                answer.add_answers(records.iter().cloned());
                send(&mut hears, &answer.to_vec().unwrap()).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_transfer_that_is_not_whole_is_an_error_and_never_a_small_zone() {
    let name = |text| Name::from_ascii(text).unwrap();
    let soa = |owner| {
        let data = SOA::new(name("ns.sts.test."), name("hostmaster.sts.test."), 1, 60, 60, 600, 1);
        Record::from_rdata(name(owner), 1, RData::SOA(data))
    };
    let text = |owner, text: &str| Record::from_rdata(name(owner), 1, RData::TXT(TXT::new(vec![text.to_owned()])));
    let (bound, a, b) = (|| soa("sts.test."), || text("a.sts.test.", "1"), || text("b.sts.test.", "2"));
    let whole = [
        vec![vec![bound(), a(), b(), bound()]],
        vec![vec![bound()], vec![a()], vec![b()], vec![bound()]],
        vec![vec![bound(), a()], vec![text("elsewhere.test.", "3"), b(), bound()]],
    ];
    let broken = [
        vec![vec![bound(), a(), b()]],
        vec![vec![a(), b(), bound()]],
        vec![vec![soa("other.test."), a(), b(), soa("other.test.")]],
        vec![vec![bound(), a(), bound(), b()]],
        vec![vec![]],
        vec![],
    ];
    for (messages, is_whole) in
        whole.into_iter().map(|messages| (messages, true)).chain(broken.into_iter().map(|messages| (messages, false)))
    {
        let config = Rfc2136Config {
            zone: ZONE.parse().unwrap(),
            server: scripted(messages.clone()).await,
            key: None,
            marker: Marker::new(OWNER).unwrap(),
            authoritative: Vec::new(),
            pace: Arc::new(Pace::new(1000.0, 1000)),
            timeout: TIMEOUT,
            batch: 1,
        };
        let provider = Rfc2136::new(config, Arc::new(SystemClock)).unwrap();
        let listed: Result<Vec<_>, _> = provider.list().try_collect().await;
        match listed {
            Ok(listed) if is_whole => {
                assert_eq!(
                    listed.iter().map(|set| set.name.as_str()).collect::<Vec<_>>(),
                    ["a.sts.test", "b.sts.test"]
                );
            }
            Err(ProviderError::Unavailable { .. }) if !is_whole => {}
            other => panic!("{messages:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn one_odd_record_of_a_stranger_does_not_hide_the_others() {
    for served in [bind().await, knot().await] {
        served
            .update(&[
                &format!("add odd.{ZONE} 1 TYPE65280 \\# 3 010203"),
                &format!("add odd.{ZONE} 1 NAPTR 1 1 \"!\" \"\" \"\" ."),
                &format!("add odd.{ZONE} 1 CAA 7 odd \"x\""),
                &format!("add odd.{ZONE} 1 TXT \"\\255\" \"b\""),
            ])
            .await;
        apply_one(&served.provider, put(&format!("x._mta-sts.{ZONE}"), "mine", Known::Never)).await.unwrap();
        let listed: Vec<_> = served.provider.list().try_collect().await.unwrap();
        let shown: Vec<_> = listed.iter().map(|found| (found.name.as_str(), found.record_type)).collect();
        for expected in [("x._mta-sts.sts.test", Txt), ("odd.sts.test", Txt), ("ns.sts.test", A)] {
            assert!(shown.contains(&expected), "{shown:?}");
        }
    }
}
