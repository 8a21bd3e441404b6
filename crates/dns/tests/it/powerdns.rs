//! The PowerDNS provider against a real server, and against servers that answer nonsense.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use mtasts_dns::{
    provider::{BoxError, Known, Mark, Marker, Pace, ProviderError, RecordChange, ZoneProvider},
    providers::powerdns::{PowerDns, PowerDnsConfig},
    sweep::{Desired, DesiredSet, SweepConflict, SweepLimits, SweepReport, sweep},
};
use mtasts_model::feed::{RecordData, RecordType};
use mtasts_testkit::{PowerDns as Server, Signal, free_port};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::contract::{self, Backend, OTHER_OWNER, OWNER};

const ZONE: &str = "sts.test";

struct Zone {
    server: Server,
    provider: PowerDns,
}

fn config(api_url: &str, api_key: &str) -> PowerDnsConfig {
    PowerDnsConfig {
        zone: ZONE.parse().unwrap(),
        api_url: api_url.parse().unwrap(),
        server_id: "localhost".to_owned(),
        api_key: SecretString::from(api_key),
        marker: Marker::new(OWNER).unwrap(),
        authoritative: Vec::new(),
        pace: Arc::new(Pace::new(10_000.0, 10_000)),
        timeout: Duration::from_secs(10),
        batch: 100,
    }
}

impl Zone {
    async fn start() -> Self {
        let server = Server::start(&[ZONE]).await;
        let authoritative = vec![server.address()];
        let config = PowerDnsConfig { authoritative, ..config(&server.api_url(), server.api_key()) };
        Self { provider: PowerDns::new(config).unwrap(), server }
    }

    fn config(&self) -> PowerDnsConfig {
        config(&self.server.api_url(), self.server.api_key())
    }
}

/// As in a zone file.
fn content(record_type: RecordType, value: &str) -> String {
    match record_type {
        RecordType::Txt => format!("\"{value}\""),
        RecordType::Cname => format!("{value}."),
        _ => value.to_owned(),
    }
}

#[async_trait]
impl Backend for Zone {
    fn provider(&self) -> &dyn ZoneProvider {
        &self.provider
    }

    fn of_another_owner(&self) -> Option<Box<dyn ZoneProvider>> {
        let config = PowerDnsConfig { marker: Marker::new(OTHER_OWNER).unwrap(), ..self.config() };
        Some(Box::new(PowerDns::new(config).unwrap()))
    }

    fn with_wrong_credential(&self) -> Option<Box<dyn ZoneProvider>> {
        let config = PowerDnsConfig { api_key: SecretString::from("wrong"), ..self.config() };
        Some(Box::new(PowerDns::new(config).unwrap()))
    }

    fn of_missing_zone(&self) -> Option<Box<dyn ZoneProvider>> {
        let config = PowerDnsConfig { zone: "missing.test".parse().unwrap(), ..self.config() };
        Some(Box::new(PowerDns::new(config).unwrap()))
    }

    fn of_nobody(&self) -> Option<Box<dyn ZoneProvider>> {
        let api_url = format!("http://127.0.0.1:{}/api/v1/", free_port()).parse().unwrap();
        Some(Box::new(PowerDns::new(PowerDnsConfig { api_url, ..self.config() }).unwrap()))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn answers_dns(&self) -> bool {
        true
    }

    async fn put_strangers_record(&self, name: &str, record_type: RecordType, values: &[&str]) {
        self.edit_record(name, record_type, values).await;
    }

    async fn edit_record(&self, name: &str, record_type: RecordType, values: &[&str]) {
        let contents: Vec<_> = values.iter().map(|value| content(record_type, value)).collect();
        let contents: Vec<_> = contents.iter().map(String::as_str).collect();
        self.server.replace(ZONE, name, record_type.as_str(), 60, &contents).await;
    }

    async fn delete_record(&self, name: &str, record_type: RecordType) {
        self.server.delete(ZONE, name, record_type.as_str()).await;
    }

    async fn read_raw(&self, name: &str, record_type: RecordType) -> Vec<String> {
        contract::answered(self.server.address(), name, record_type).await
    }

    async fn writes(&self) -> u64 {
        let soa = self.server.dig(ZONE, "SOA").await;
        soa[0].split(' ').nth(2).unwrap().parse().unwrap()
    }
}

contract::contract_tests!(Zone::start);

fn put(name: &str, record_type: RecordType, value: &str) -> RecordChange {
    let set = Some(RecordData { ttl: 60, values: vec![value.to_owned()] });
    RecordChange { name: name.to_owned(), record_type, set, known: Known::Perhaps }
}

fn txt(label: &str) -> RecordChange {
    put(&format!("{label}._mta-sts.{ZONE}"), RecordType::Txt, "v=STSv1; id=1;")
}

#[tokio::test]
async fn a_listing_of_20_000_sets_tells_ours_from_others() {
    let zone = Zone::start().await;
    let lines = (0..20_000).map(|number| {
        let owner = if number % 10 == 0 { OTHER_OWNER } else { OWNER };
        format!(
            "n{number}._mta-sts 60 IN TXT \"v=STSv1; id={number};\"\n\
             _mtasts-txt.n{number}._mta-sts 60 IN TXT \"heritage=mtasts,owner={owner}\"\n"
        )
    });
    let head = format!("@ 60 IN SOA ns1.{ZONE}. h.{ZONE}. 1 60 60 600 1\n@ 60 IN NS ns1.{ZONE}.\n");
    let file: String = std::iter::once(head).chain(lines).collect();
    zone.server.load(ZONE, &file).await;
    let mut listing = zone.provider.list();
    let (mut ours, mut unread) = (0, 0);
    while let Some(set) = listing.try_next().await.unwrap() {
        let number: usize = set.name[1..].split('.').next().unwrap().parse().unwrap();
        assert_eq!(set.data.values, [format!("v=STSv1; id={number};")]);
        assert_eq!(set.data.ttl, 60);
        match set.mark {
            Mark::Ours => ours += 1,
            Mark::Unread => unread += 1,
            Mark::NotOurs => panic!("{set:?}"),
        }
    }
    assert_eq!((ours, unread), (18_000, 2_000));

    // Whoever leaves early leaves nothing hanging.
    let first: Vec<_> = zone.provider.list().take(3).try_collect().await.unwrap();
    assert_eq!(first.len(), 3);
    zone.provider.check().await.unwrap();
}

/// What is wanted in the zone, all of it settled.
struct Plan(Vec<DesiredSet>);

#[async_trait]
impl Desired for Plan {
    async fn at(&self, names: &[String]) -> Result<Vec<DesiredSet>, BoxError> {
        Ok(self.0.iter().filter(|set| names.contains(&set.name)).cloned().collect())
    }

    async fn after(&self, after: Option<(&str, RecordType)>, _: u32) -> Result<Vec<DesiredSet>, BoxError> {
        Ok(if after.is_none() { self.0.clone() } else { Vec::new() })
    }
}

#[tokio::test]
async fn a_sweep_puts_right_what_a_stranger_did_and_leaves_what_is_his() {
    let zone = Zone::start().await;

    let names = ["same", "edited", "deleted", "surplus", "taken"].map(|label| format!("{label}._mta-sts.{ZONE}"));
    for outcome in zone.provider.apply(&["same", "edited", "deleted", "surplus"].map(txt)).await.unwrap() {
        outcome.unwrap();
    }
    zone.edit_record(&names[1], RecordType::Txt, &["edited"]).await;
    zone.delete_record(&names[2], RecordType::Txt).await;
    let theirs = [names[4].clone(), format!("theirs.acme.{ZONE}"), format!("www.{ZONE}")];
    for name in &theirs {
        zone.put_strangers_record(name, RecordType::Txt, &["theirs"]).await;
    }
    let wanted = names.iter().filter(|name| **name != names[3]).map(|name| DesiredSet {
        name: name.clone(),
        record_type: RecordType::Txt,
        data: RecordData { ttl: 60, values: vec!["v=STSv1; id=1;".to_owned()] },
        settled: true,
    });
    let plan = Plan(wanted.collect());
    let report = sweep(&zone.provider, &plan, SweepLimits::default()).await.unwrap();
    let conflict = SweepConflict {
        name: names[4].clone(),
        record_type: RecordType::Txt,
        wanted: "\"v=STSv1; id=1;\"".to_owned(),
        found: "\"theirs\"".to_owned(),
    };
    let first = SweepReport {
        observed: 6,
        desired: 4,
        missing: 1,
        different: 1,
        surplus: 1,
        foreign: 2,
        repaired: 3,
        conflicts: vec![conflict],
        ..SweepReport::default()
    };
    assert_eq!(report, first);
    for name in &names[..3] {
        assert_eq!(zone.read_raw(name, RecordType::Txt).await, ["v=STSv1; id=1;"]);
    }
    assert!(zone.read_raw(&names[3], RecordType::Txt).await.is_empty());
    for name in &theirs {
        assert_eq!(zone.read_raw(name, RecordType::Txt).await, ["theirs"]);
    }
    let before = zone.writes().await;
    let again = sweep(&zone.provider, &plan, SweepLimits::default()).await.unwrap();
    assert_eq!(again, SweepReport { missing: 0, different: 0, surplus: 0, repaired: 0, ..first });
    assert_eq!(zone.writes().await, before);
}

#[tokio::test]
async fn what_the_server_refuses_does_not_hold_up_the_rest() {
    let zone = Zone::start().await;
    let alias = format!("alias._mta-sts.{ZONE}");
    let both = [
        txt("a"),
        // Several targets: the server names the set in its refusal.
        RecordChange {
            set: Some(RecordData { ttl: 60, values: vec!["x.test".to_owned(), "y.test".to_owned()] }),
            ..put(&format!("two._mta-sts.{ZONE}"), RecordType::Cname, "x.test")
        },
        // A character that this server does not have, and shows in another form when it refuses it.
        txt("a!b"),
        // Both are new, so only the server sees that they do not go together.
        put(&alias, RecordType::Cname, "x.test"),
        put(&alias, RecordType::Txt, "beside an alias"),
        put(&format!("address._mta-sts.{ZONE}"), RecordType::A, "not an address"),
        txt("z"),
    ];
    let outcomes = zone.provider.apply(&both).await.unwrap();
    let reasons: Vec<_> = outcomes.iter().map(|o| o.as_ref().map_or_else(ProviderError::reason, |_| "")).collect();
    let refused = "DnsChangeRefused";
    assert_eq!(reasons, ["", refused, refused, "", "DnsRecordTypeClash", refused, ""], "{outcomes:?}");
    assert!(outcomes[1].as_ref().unwrap_err().to_string().contains("more than one record"), "{outcomes:?}");
    assert!(outcomes[4].as_ref().unwrap_err().to_string().contains("CNAME x.test"), "{outcomes:?}");
    for label in ["a", "z"] {
        let name = format!("{label}._mta-sts.{ZONE}");
        assert_eq!(zone.read_raw(&name, RecordType::Txt).await, ["v=STSv1; id=1;"]);
        assert_eq!(zone.provider.read(&name, RecordType::Txt).await.unwrap().unwrap().mark, Mark::Ours);
    }
    assert_eq!(zone.read_raw(&alias, RecordType::Cname).await, ["x.test"]);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_taken_in_parts() {
    let zone = Zone::start().await;
    // 100 changes of 30 kB are more than the 2 MB that the server takes at once; it hangs up on whoever sends more.
    let changes: Vec<_> = (0..100)
        .map(|number| put(&format!("n{number}._mta-sts.{ZONE}"), RecordType::Txt, &"x".repeat(30_000)))
        .collect();
    for outcome in zone.provider.apply(&changes).await.unwrap() {
        outcome.unwrap();
    }
    for number in [0, 99] {
        let name = format!("n{number}._mta-sts.{ZONE}");
        assert_eq!(zone.provider.read(&name, RecordType::Txt).await.unwrap().unwrap().data.values[0].len(), 30_000);
    }
}

#[tokio::test]
async fn of_two_changes_of_one_set_the_later_counts() {
    let zone = Zone::start().await;
    let name = format!("a._mta-sts.{ZONE}");
    let changes = [txt("a"), put(&name, RecordType::Txt, "second"), RecordChange { set: None, ..txt("b") }, txt("b")];
    for outcome in zone.provider.apply(&changes).await.unwrap() {
        outcome.unwrap();
    }
    assert_eq!(zone.read_raw(&name, RecordType::Txt).await, ["second"]);
    assert_eq!(zone.read_raw(&format!("b._mta-sts.{ZONE}"), RecordType::Txt).await, ["v=STSv1; id=1;"]);
}

#[tokio::test]
async fn a_set_that_is_there_though_it_was_never_handed_over_is_looked_at() {
    let zone = Zone::start().await;
    let theirs = zone.of_another_owner().unwrap();
    theirs.apply(&[txt("theirs")]).await.unwrap().remove(0).unwrap();
    let never = |change: RecordChange| RecordChange { known: Known::Never, ..change };
    // The values are the wanted ones, and still it is not ours.
    let error = zone.provider.apply(&[never(txt("theirs"))]).await.unwrap().remove(0).unwrap_err();
    assert!(matches!(error, ProviderError::Conflict { .. }), "{error:?}");
    let name = format!("ours._mta-sts.{ZONE}");
    for value in ["first", "second"] {
        let change = never(put(&name, RecordType::Txt, value));
        zone.provider.apply(&[change]).await.unwrap().remove(0).unwrap();
        assert_eq!(zone.read_raw(&name, RecordType::Txt).await, [value]);
    }
}

#[tokio::test]
async fn a_frozen_server_is_unavailable_and_a_repetition_is_right() {
    let mut zone = Zone::start().await;
    let config = PowerDnsConfig { timeout: Duration::from_millis(300), ..zone.config() };
    let hasty = PowerDns::new(config).unwrap();
    zone.server.process.send(Signal::Stop);
    for outcome in [hasty.apply(&[txt("a")]).await.map(drop), hasty.check().await] {
        assert!(matches!(outcome.unwrap_err(), ProviderError::Unavailable { .. }));
    }
    zone.server.process.send(Signal::Continue);
    zone.provider.apply(&[txt("a")]).await.unwrap().remove(0).unwrap();
    assert_eq!(zone.read_raw(&format!("a._mta-sts.{ZONE}"), RecordType::Txt).await, ["v=STSv1; id=1;"]);
}

#[tokio::test]
async fn a_wrong_address_and_a_secondary_zone_are_told_by_the_check() {
    let zone = Zone::start().await;
    let elsewhere = format!("http://{}/wrong/", zone.server.api_address()).parse().unwrap();
    for config in [
        PowerDnsConfig { api_url: elsewhere, ..zone.config() },
        PowerDnsConfig { server_id: "other".to_owned(), ..zone.config() },
    ] {
        let error = PowerDns::new(config).unwrap().check().await.unwrap_err();
        assert!(matches!(&error, ProviderError::Refused { reason } if reason.contains("server id")), "{error:?}");
    }
    let secondary = answering(vec![http("200 OK", "", r#"{"kind":"Slave"}"#)]).await;
    let error = provider_at(secondary).check().await.unwrap_err();
    assert!(matches!(&error, ProviderError::Refused { reason } if reason.contains("secondary")), "{error:?}");
}

#[test]
fn the_key_is_not_shown() {
    let provider = PowerDns::new(config("http://127.0.0.1:1/", "geheim")).unwrap();
    assert!(!format!("{provider:?}").contains("geheim"));
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A server that gives these answers in turn, and the last one for ever.
async fn answering(answers: Vec<String>) -> SocketAddr {
    async fn answer(mut stream: TcpStream, text: &str) -> std::io::Result<()> {
        let (mut request, mut buffer) = (Vec::new(), [0; 8192]);
        // Bodies are read too: closing with something unread resets the connection.
        while !is_whole(&request) {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                read => request.extend_from_slice(&buffer[..read]),
            }
        }
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let next = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = next.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            // A client that goes away is its own affair.
            let _ = answer(stream, &answers[number]).await;
        }
    });
    address
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    body.len() >= length
}

fn provider_at(address: SocketAddr) -> PowerDns {
    let config = PowerDnsConfig { timeout: Duration::from_secs(2), ..config(&format!("http://{address}/"), "key") };
    PowerDns::new(config).unwrap()
}

#[tokio::test]
async fn garbage_half_a_document_and_faults_are_unavailable() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"rrsets\":[{\"name\":\"a.sts.test.\",".to_owned();
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{{\"x\":\"{}", "x".repeat(5_000_000));
    for answer in [
        http("200 OK", "", "<html>Welcome</html>"),
        http("200 OK", "", "{}]"),
        http("500 Internal Server Error", "", "oops"),
        http("503 Service Unavailable", "Retry-After: 7\r\n", ""),
        "garbage\r\n\r\n".to_owned(),
        half,
        endless,
    ] {
        let provider = provider_at(answering(vec![answer.clone()]).await);
        let shown = &answer[..answer.len().min(80)];
        let retry_after = answer.contains("Retry-After").then_some(Duration::from_secs(7));
        let listed: Result<Vec<_>, _> = provider.list().try_collect().await;
        for error in [
            provider.check().await.unwrap_err(),
            provider.read("a.sts.test", RecordType::Txt).await.unwrap_err(),
            provider.apply(&[txt("a")]).await.unwrap_err(),
            listed.unwrap_err(),
        ] {
            assert!(matches!(error, ProviderError::Unavailable { .. }), "{shown}: {error:?}");
            assert_eq!(error.retry_after(), retry_after, "{shown}");
        }
    }
}

#[tokio::test]
async fn an_answer_to_a_write_that_is_not_the_servers_is_no_success() {
    let nothing = http("200 OK", "", r#"{"rrsets":[]}"#);
    let provider = provider_at(answering(vec![nothing.clone(), nothing, http("200 OK", "", "Welcome")]).await);
    assert!(matches!(provider.apply(&[txt("a")]).await, Err(ProviderError::Unavailable { .. })));
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_key() {
    let moved = http("302 Found", "Location: http://127.0.0.1:1/\r\n", "");
    let error = provider_at(answering(vec![moved]).await).check().await.unwrap_err();
    assert!(matches!(error, ProviderError::Other(_)), "{error:?}");
}

#[tokio::test]
async fn when_requests_are_limited_all_wait_as_long_as_asked() {
    let limited = http("429 Too Many Requests", "Retry-After: 1\r\n", "");
    let good = http("200 OK", "", r#"{"kind":"Native"}"#);
    let provider = provider_at(answering(vec![limited, good]).await);
    let start = tokio::time::Instant::now();
    let error = provider.check().await.unwrap_err();
    assert!(matches!(error, ProviderError::RateLimited { retry_after: Some(wait) } if wait == Duration::from_secs(1)));
    provider.check().await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn when_a_later_part_fails_the_earlier_outcomes_are_told() {
    let nothing = http("200 OK", "", r#"{"rrsets":[]}"#);
    let refusal = http("422 Unprocessable Entity", "", r#"{"error":"no reason"}"#);
    let done = http("204 No Content", "", "");
    let broken = http("500 Internal Server Error", "", "");
    // Four looks; then both together are refused, the first alone gets through, the second fails.
    let answers = [vec![nothing; 4], vec![refusal, done, broken]].concat();
    let provider = provider_at(answering(answers).await);
    let outcomes = provider.apply(&[txt("a"), txt("b")]).await.unwrap();
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(ProviderError::Unavailable { .. })), "{outcomes:?}");
}
