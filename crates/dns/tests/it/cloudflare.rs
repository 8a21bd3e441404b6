//! Cloudflare, against the testkit's faithful fake.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mtasts_dns::{
    Applied, CustomerZone, Known, Mark, Marker, Observed, Pace, ProviderError, RecordChange, ZoneProvider,
    providers::cloudflare::{
        Cloudflare, CloudflareConfig, CloudflareConfigError, CloudflareCustomer, CloudflareCustomerConfig,
    },
};
use mtasts_model::feed::{
    RecordData,
    RecordType::{self, A, Txt},
};
use mtasts_testkit::{Calls, CloudflareRecord, FakeCloudflare, Fault, free_port};
use tokio::{io::AsyncReadExt, net::TcpListener, time::Instant};

use crate::contract::{Backend, OTHER_OWNER, OWNER, answered};

const ZONE: &str = "sts.test";
/// Long enough for an answer of the fake on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(5);
/// For requests that are never answered.
const IMPATIENT: Duration = Duration::from_millis(500);

/// A fake with one zone and a provider for it.
struct Place {
    fake: FakeCloudflare,
    token: String,
    provider: Cloudflare,
}

impl Place {
    async fn new() -> Self {
        Self::with_timeout(TIMEOUT).await
    }

    async fn with_timeout(timeout: Duration) -> Self {
        let fake = FakeCloudflare::start().await;
        fake.add_zone(ZONE);
        let token = fake.add_token(&[ZONE]);
        let provider = Cloudflare::new(CloudflareConfig { timeout, ..config(&fake, &token) }).unwrap();
        Self { fake, token, provider }
    }

    fn config(&self) -> CloudflareConfig {
        config(&self.fake, &self.token)
    }

    fn record(&self, name: &str) -> CloudflareRecord {
        let mut records = self.fake.records(ZONE);
        records.retain(|record| record.name == name);
        let [record] = records.as_slice() else { panic!("not one record at {name}: {records:?}") };
        record.clone()
    }

    fn count(&self, method: &str) -> usize {
        self.fake.requests().iter().filter(|request| request.method == method).count()
    }

    async fn apply(&self, changes: &[RecordChange]) -> Vec<Result<Applied, ProviderError>> {
        self.provider.apply(changes).await.unwrap()
    }

    async fn apply_one(&self, change: RecordChange) -> Result<Applied, ProviderError> {
        self.apply(&[change]).await.remove(0)
    }

    async fn listed(&self) -> Vec<Observed> {
        self.provider.list().try_collect().await.unwrap()
    }
}

fn config(fake: &FakeCloudflare, token: &str) -> CloudflareConfig {
    CloudflareConfig {
        zone: ZONE.parse().unwrap(),
        zone_id: None,
        api_url: fake.url().parse().unwrap(),
        token: token.into(),
        marker: Marker::new(OWNER).unwrap(),
        authoritative: vec![fake.dns()],
        pace: fast(),
        batch: CloudflareConfig::BATCH,
        timeout: TIMEOUT,
    }
}

fn fast() -> Arc<Pace> {
    Arc::new(Pace::new(100_000.0, 100_000))
}

fn change(name: &str, record_type: RecordType, values: &[&str], known: Known) -> RecordChange {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    RecordChange { name: name.to_owned(), record_type, set: Some(RecordData { ttl: 60, values }), known }
}

fn name(number: usize) -> String {
    format!("l{number:05}._mta-sts.{ZONE}")
}

/// As many new names, with one value each.
fn new_names(count: usize) -> Vec<RecordChange> {
    (0..count).map(|number| change(&name(number), Txt, &["v=STSv1; id=1;"], Known::Never)).collect()
}

fn again(changes: &[RecordChange]) -> Vec<RecordChange> {
    changes.iter().map(|change| RecordChange { known: Known::Perhaps, ..change.clone() }).collect()
}

fn content(record_type: RecordType, value: &str) -> String {
    if record_type != Txt {
        return value.to_owned();
    }
    let quoted =
        |string: &[u8]| format!("\"{}\"", String::from_utf8_lossy(string).replace('\\', "\\\\").replace('"', "\\\""));
    value.as_bytes().chunks(255).map(quoted).collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Backend for Place {
    fn provider(&self) -> &dyn ZoneProvider {
        &self.provider
    }

    fn of_another_owner(&self) -> Option<Box<dyn ZoneProvider>> {
        let config = CloudflareConfig { marker: Marker::new(OTHER_OWNER).unwrap(), ..self.config() };
        Some(Box::new(Cloudflare::new(config).unwrap()))
    }

    fn with_wrong_credential(&self) -> Option<Box<dyn ZoneProvider>> {
        Some(Box::new(Cloudflare::new(CloudflareConfig { token: "wrong".into(), ..self.config() }).unwrap()))
    }

    fn of_missing_zone(&self) -> Option<Box<dyn ZoneProvider>> {
        let config = CloudflareConfig { zone: "missing.test".parse().unwrap(), ..self.config() };
        Some(Box::new(Cloudflare::new(config).unwrap()))
    }

    fn of_nobody(&self) -> Option<Box<dyn ZoneProvider>> {
        let api_url = format!("http://127.0.0.1:{}/", free_port()).parse().unwrap();
        Some(Box::new(Cloudflare::new(CloudflareConfig { api_url, ..self.config() }).unwrap()))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn answers_dns(&self) -> bool {
        true
    }

    async fn put_strangers_record(&self, name: &str, record_type: RecordType, values: &[&str]) {
        for value in values {
            self.fake.put_record(ZONE, record_type.as_str(), name, &content(record_type, value), None);
        }
    }

    async fn edit_record(&self, name: &str, record_type: RecordType, values: &[&str]) {
        let mut values = values.iter();
        self.fake.edit_records(ZONE, |record| {
            if record.name == name && record.kind == record_type.as_str() {
                record.content = content(record_type, values.next().unwrap());
            }
        });
        assert_eq!(values.len(), 0, "an edit does not create records here");
    }

    async fn delete_record(&self, name: &str, record_type: RecordType) {
        self.fake.keep_records(ZONE, |record| record.name != name || record.kind != record_type.as_str());
    }

    async fn read_raw(&self, name: &str, record_type: RecordType) -> Vec<String> {
        answered(self.fake.dns(), name, record_type).await
    }

    async fn writes(&self) -> u64 {
        self.fake.revision()
    }
}

mod contract {
    use super::Place;

    crate::contract::contract_tests!(Place::new);
}

#[tokio::test]
async fn ten_thousand_new_names_go_out_in_a_hundred_requests() {
    let place = Place::new().await;
    let changes = new_names(10_000);
    let mut references = Vec::new();
    for batch in changes.chunks(place.provider.batch_size()) {
        for outcome in place.apply(batch).await {
            references.push(outcome.unwrap().reference.unwrap());
        }
    }
    assert_eq!(place.count("POST"), 100);
    assert!(place.fake.requests().len() <= 103, "{}", place.fake.requests().len());
    // Their next change, by reference, needs no look either.
    let changes: Vec<_> = references
        .into_iter()
        .enumerate()
        .map(|(number, reference)| change(&name(number), Txt, &["v=STSv1; id=2;"], Known::At(reference)))
        .collect();
    for batch in changes.chunks(place.provider.batch_size()) {
        for outcome in place.apply(batch).await {
            outcome.unwrap();
        }
    }
    assert_eq!(place.count("POST"), 200);
    assert!(place.fake.requests().len() <= 203, "{}", place.fake.requests().len());
    let records = place.fake.records(ZONE);
    assert_eq!(records.len(), 10_000);
    assert!(records.iter().all(|record| record.content == "\"v=STSv1; id=2;\""));
}

#[tokio::test]
async fn a_zone_of_twelve_thousand_records_is_listed_page_by_page_with_every_set_whole() {
    let place = Place::new().await;
    let marker = Marker::new(OWNER).unwrap().to_string();
    // Three to a set, so that sets lie across the ends of pages.
    for number in 0..4000 {
        for value in 0..3 {
            let (name, content) = (name(number), format!("\"{value}\""));
            place.fake.put_record(ZONE, "TXT", &name, &content, (number % 2 == 0).then_some(&marker));
        }
    }
    place.fake.put_record(ZONE, "MX", ZONE, "mail.test", None);
    let mut listed = place.listed().await;
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(listed.len(), 4000);
    for (number, set) in listed.iter().enumerate() {
        assert_eq!((set.name.as_str(), set.data.values.len()), (name(number).as_str(), 3));
        assert_eq!(set.mark, if number % 2 == 0 { Mark::Ours } else { Mark::NotOurs });
        assert_eq!(set.reference.as_ref().unwrap().split(',').count(), 3);
    }
    let pages = place.fake.requests().iter().filter(|request| request.path.ends_with("dns_records")).count();
    assert_eq!(pages, 7, "2000 records a page");
}

#[tokio::test]
async fn a_refused_batch_is_taken_apart_so_that_only_the_culprits_fail() {
    let place = Place::new().await;
    let mut changes = new_names(100);
    // What these want stands there already: once as nobody's, and once as somebody's.
    place.fake.put_record(ZONE, "TXT", &name(17), "\"v=STSv1; id=1;\"", None);
    place.fake.put_record(ZONE, "TXT", &name(70), "\"v=STSv1; id=1;\"", Some("by hand, ask Ada"));
    let long = "x".repeat(5000);
    changes[40] = change(&name(40), Txt, &[&long], Known::Never);
    let outcomes = place.apply(&changes).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match number {
            40 => assert!(matches!(&outcome, Err(ProviderError::Refused { reason }) if reason.contains("9008"))),
            70 => assert!(
                matches!(&outcome, Err(ProviderError::Conflict { found, .. }) if found.contains("ask Ada")),
                "{outcome:?}"
            ),
            _ => assert!(outcome.is_ok(), "{number}: {outcome:?}"),
        }
    }
    assert!(place.fake.requests().len() < 50, "{}", place.fake.requests().len());
    assert_eq!(place.fake.records(ZONE).len(), 99);
    assert_eq!(place.record(&name(17)).comment, Some(Marker::new(OWNER).unwrap().to_string()));
    assert_eq!(place.record(&name(70)).comment.as_deref(), Some("by hand, ask Ada"));
}

#[tokio::test]
async fn a_batch_of_culprits_ends_after_a_few_requests_and_the_rest_may_come_again() {
    let place = Place::new().await;
    let long = "x".repeat(5000);
    let mut changes: Vec<_> = (0..100).map(|number| change(&name(number), Txt, &[&long], Known::Never)).collect();
    changes[99] = change(&name(99), Txt, &["good"], Known::Never);
    let outcomes = place.apply(&changes).await;
    assert!(place.fake.requests().len() < 60, "{}", place.fake.requests().len());
    assert!(outcomes[0].as_ref().is_err_and(|error| !error.is_passing()));
    assert!(outcomes[99].as_ref().is_err_and(ProviderError::is_passing));
}

#[tokio::test]
async fn a_full_zone_takes_what_fits_and_refuses_the_rest_without_asking_for_each() {
    let place = Place::new().await;
    place.fake.set_quota(ZONE, 30);
    let outcomes = place.apply(&new_names(100)).await;
    let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (30, 70));
    for outcome in refused {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, ProviderError::Refused { reason } if reason.contains("quota")), "{error:?}");
    }
    assert!(place.fake.requests().len() < 20, "{}", place.fake.requests().len());
    // What does not grow the zone still goes.
    let changes = [
        change(&name(200), Txt, &["new"], Known::Never),
        RecordChange { set: None, ..change(&name(0), Txt, &[], Known::Perhaps) },
        change(&name(1), Txt, &["v=STSv1; id=2;"], Known::Perhaps),
    ];
    place.fake.set_quota(ZONE, 20);
    let outcomes = place.apply(&changes).await;
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, true]);
}

#[tokio::test]
async fn a_limit_is_told_with_its_wait_and_kept_by_all_that_follow() {
    let place = Place::new().await;
    place.provider.check().await.unwrap();
    place.fake.fail(Calls::Writes, 0, Fault::RateLimited(Some("1".to_owned())));
    let start = Instant::now();
    let error = place.provider.apply(&new_names(2)).await.unwrap_err();
    assert!(matches!(error, ProviderError::RateLimited { retry_after: Some(wait) } if wait == Duration::from_secs(1)));
    assert!(error.is_passing());
    assert_eq!(place.fake.records(ZONE).len(), 0);
    for outcome in place.apply(&again(&new_names(2))).await {
        outcome.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(place.fake.records(ZONE).len(), 2);
}

#[tokio::test]
async fn faults_of_the_api_and_of_what_stands_before_it_are_passing() {
    let place = Place::new().await;
    for fault in [Fault::Status(500), Fault::Status(503), Fault::Html(502), Fault::Html(403), Fault::Html(200)] {
        place.fake.fail(Calls::Any, 0, fault.clone());
        let error = place.provider.check().await.unwrap_err();
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{fault:?}: {error:?}");
        place.fake.fail(Calls::Writes, 0, fault.clone());
        let error = place.provider.apply(&new_names(2)).await.unwrap_err();
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{fault:?}: {error:?}");
        assert_eq!(place.fake.records(ZONE).len(), 0);
    }
    place.fake.fail(Calls::Any, 0, Fault::RateLimited(None));
    let error = place.provider.check().await.unwrap_err();
    assert!(matches!(error, ProviderError::RateLimited { retry_after: None }), "{error:?}");
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_it() {
    let place = Place::new().await;
    place.provider.check().await.unwrap();
    place.fake.fail(Calls::Any, 0, Fault::Endless);
    let error = place.provider.check().await.unwrap_err();
    assert!(matches!(error, ProviderError::Other(_)), "{error:?}");
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let place = Place::new().await;
    place.fake.fail(Calls::Writes, 0, Fault::Slow(Duration::from_millis(300)));
    place.apply_one(new_names(1).remove(0)).await.unwrap();
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_settled_by_reading_back() {
    let place = Place::with_timeout(IMPATIENT).await;
    place.provider.check().await.unwrap();
    let changes = new_names(5);
    for (fault, arrived) in
        [(Fault::SilentBefore, 0), (Fault::SilentAfter, 5), (Fault::CutAfter, 5), (Fault::HalfDone, 2)]
    {
        place.fake.keep_records(ZONE, |_| false);
        place.fake.fail(Calls::Writes, 0, fault.clone());
        let error = place.provider.apply(&changes).await.unwrap_err();
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{fault:?}: {error:?}");
        assert_eq!(place.fake.records(ZONE).len(), arrived, "{fault:?}");
        let before = place.count("POST");
        for outcome in place.apply(&again(&changes)).await {
            assert!(outcome.unwrap().reference.is_some());
        }
        assert_eq!(place.fake.records(ZONE).len(), 5, "{fault:?}");
        let needed = usize::from(arrived < 5);
        assert_eq!(place.count("POST") - before, needed, "{fault:?}: what had arrived is not written again");
    }
}

#[tokio::test]
async fn when_the_second_of_two_batches_is_lost_the_first_is_still_known() {
    let place = Place::with_timeout(IMPATIENT).await;
    let changes: Vec<_> = (0..100).map(|number| change(&name(number), Txt, &["a", "b", "c"], Known::Never)).collect();
    place.fake.fail(Calls::Writes, 1, Fault::SilentAfter);
    let outcomes = place.apply(&changes).await;
    let done = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    assert_eq!(done, 66, "200 records to a batch");
    for outcome in &outcomes[done..] {
        assert!(matches!(outcome, Err(ProviderError::Unavailable { .. })), "{outcome:?}");
    }
    assert_eq!(place.fake.records(ZONE).len(), 300);
    let before = place.fake.revision();
    for outcome in place.apply(&again(&changes[done..])).await {
        outcome.unwrap();
    }
    assert_eq!(place.fake.revision(), before);
}

#[tokio::test]
async fn a_revoked_token_is_told_with_what_to_do() {
    let place = Place::new().await;
    place.apply_one(new_names(1).remove(0)).await.unwrap();
    place.fake.revoke_token(&place.token);
    let error = place.provider.apply(&again(&new_names(1))).await.unwrap_err();
    let ProviderError::Unauthorized { reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("9109") && reason.contains("DNS:Edit") && reason.contains(ZONE), "{reason}");
    assert!(!error.is_passing());
}

#[tokio::test]
async fn a_strangers_value_beside_ours_makes_the_set_not_ours() {
    let place = Place::new().await;
    let name = name(0);
    place.apply_one(change(&name, Txt, &["mine"], Known::Never)).await.unwrap();
    place.fake.put_record(ZONE, "TXT", &name, "\"theirs\"", None);
    let before = place.fake.revision();
    for set in [Some(&["other"][..]), Some(&["mine"]), None] {
        let wanted = change(&name, Txt, set.unwrap_or_default(), Known::Perhaps);
        let wanted = RecordChange { set: wanted.set.filter(|_| set.is_some()), ..wanted };
        let error = place.apply_one(wanted).await.unwrap_err();
        assert!(matches!(error, ProviderError::Conflict { .. }), "{error:?}");
    }
    assert_eq!(place.fake.revision(), before);
    assert_eq!(place.provider.read(&name, Txt).await.unwrap().unwrap().mark, Mark::NotOurs);
}

#[tokio::test]
async fn a_comment_of_somebody_else_is_never_overwritten() {
    let place = Place::new().await;
    place.fake.put_record(ZONE, "TXT", &name(0), "\"same\"", Some("mine, not yours"));
    let before = place.fake.revision();
    let error = place.apply_one(change(&name(0), Txt, &["same"], Known::Perhaps)).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Conflict { found, .. } if found.contains("mine, not yours")), "{error:?}");
    assert_eq!(place.fake.revision(), before);
}

#[tokio::test]
async fn a_record_that_was_put_behind_the_proxy_is_drift() {
    let place = Place::new().await;
    let edge = format!("*.edge.{ZONE}");
    let applied = place.apply_one(change(&edge, A, &["192.0.2.1"], Known::Never)).await.unwrap();
    place.fake.edit_records(ZONE, |record| record.proxied = true);
    let wanted = change(&edge, A, &["192.0.2.1"], Known::Perhaps);
    let observed = place.provider.read(&edge, A).await.unwrap().unwrap();
    assert!(!observed.data.same_values(wanted.set.as_ref().unwrap()), "{observed:?}");
    assert_eq!(observed.mark, Mark::Ours);
    place.apply_one(wanted).await.unwrap();
    let record = place.record(&edge);
    assert!(!record.proxied);
    assert_eq!(Some(record.id), applied.reference);
}

#[tokio::test]
async fn a_set_changes_in_place_so_that_its_name_is_never_empty() {
    let place = Place::new().await;
    let edge = format!("*.edge.{ZONE}");
    place.apply_one(change(&edge, A, &["192.0.2.1", "192.0.2.2"], Known::Never)).await.unwrap();
    let before: Vec<_> = place.fake.records(ZONE).into_iter().map(|record| (record.content, record.id)).collect();
    place.apply_one(change(&edge, A, &["192.0.2.3", "192.0.2.2"], Known::Perhaps)).await.unwrap();
    let after: Vec<_> = place.fake.records(ZONE).into_iter().map(|record| (record.content, record.id)).collect();
    let id = |records: &[(String, String)], content: &str| {
        records.iter().find(|(other, _)| other == content).map(|(_, id)| id.clone()).unwrap()
    };
    assert_eq!(id(&after, "192.0.2.2"), id(&before, "192.0.2.2"));
    assert_eq!(id(&after, "192.0.2.3"), id(&before, "192.0.2.1"));
    assert_eq!(after.len(), 2);
}

#[tokio::test]
async fn a_time_to_live_that_the_api_refuses_is_brought_into_its_range() {
    let place = Place::new().await;
    for (number, ttl, expected) in [(0, 5, 60), (1, 1_000_000, 86_400)] {
        let set = Some(RecordData { ttl, values: vec!["a".to_owned()] });
        let wanted = RecordChange { set, ..change(&name(number), Txt, &[], Known::Never) };
        place.apply_one(wanted.clone()).await.unwrap();
        assert_eq!(place.record(&name(number)).ttl, expected);
        let before = place.fake.revision();
        place.apply_one(RecordChange { known: Known::Perhaps, ..wanted }).await.unwrap();
        assert_eq!(place.fake.revision(), before);
    }
}

#[tokio::test]
async fn a_reference_that_is_none_of_ours_is_looked_up() {
    let place = Place::new().await;
    place.apply_one(change(&name(0), Txt, &["a"], Known::Never)).await.unwrap();
    for (round, reference) in ["../../user", "", "nonsense,", &"f".repeat(32)].into_iter().enumerate() {
        let value = format!("round {round}");
        place.apply_one(change(&name(0), Txt, &[&value], Known::At(reference.to_owned()))).await.unwrap();
        assert_eq!(place.record(&name(0)).content, format!("\"{value}\""));
    }
}

#[tokio::test]
async fn the_service_may_live_beneath_a_zone_that_is_given_by_its_id() {
    let place = Place::new().await;
    let parent = place.fake.add_zone("test");
    let token = place.fake.add_token(&["test"]);
    place.fake.put_record("test", "TXT", "other.test", "\"not beneath\"", None);
    place.fake.put_record("test", "TXT", "xsts.test", "\"not beneath\"", None);
    let config = CloudflareConfig { zone_id: Some(parent), token: token.into(), ..place.config() };
    let provider = Cloudflare::new(config).unwrap();
    provider.check().await.unwrap();
    provider.apply(&new_names(1)).await.unwrap().remove(0).unwrap();
    let listed: Vec<_> = provider.list().try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|set| set.name.clone()).collect::<Vec<_>>(), [name(0)]);
    assert_eq!(place.fake.records("test").len(), 3);
}

#[tokio::test]
async fn an_id_of_another_zone_is_noticed_before_anything_is_written() {
    let place = Place::new().await;
    let elsewhere = place.fake.add_zone("elsewhere.test");
    let token = place.fake.add_token(&[ZONE, "elsewhere.test"]);
    for zone_id in [elsewhere, "0".repeat(32)] {
        let config = CloudflareConfig { zone_id: Some(zone_id), token: token.as_str().into(), ..place.config() };
        let error = Cloudflare::new(config).unwrap().apply(&new_names(1)).await.unwrap_err();
        assert!(matches!(error, ProviderError::ZoneNotFound { zone } if zone == ZONE));
    }
    assert_eq!(place.fake.records("elsewhere.test").len(), 0);
    let config = CloudflareConfig { zone_id: Some("../accounts".to_owned()), ..place.config() };
    assert!(matches!(Cloudflare::new(config), Err(CloudflareConfigError::ZoneId)));
}

#[tokio::test]
async fn a_token_that_does_not_show_the_zone_itself_is_enough_with_the_zones_id() {
    let place = Place::new().await;
    let zone_id = Some(place.fake.add_zone("other.test"));
    let token = place.fake.add_token(&["other.test"]);
    let (zone, token) = ("other.test".parse().unwrap(), token.into());
    let provider = Cloudflare::new(CloudflareConfig { zone, zone_id, token, ..place.config() }).unwrap();
    // The first request reads the zone, which needs Zone:Read.
    place.fake.fail(Calls::Reads, 0, Fault::Status(403));
    provider.check().await.unwrap();
}

#[tokio::test]
async fn a_name_that_the_api_put_into_another_zone_is_no_success() {
    let place = Place::new().await;
    let zone_id = Some(place.fake.add_zone("elsewhere.test"));
    let token = place.fake.add_token(&["elsewhere.test"]).into();
    let provider = Cloudflare::new(CloudflareConfig { zone_id, token, ..place.config() }).unwrap();
    place.fake.fail(Calls::Reads, 0, Fault::Status(403));
    let error = provider.apply(&new_names(1)).await.unwrap().remove(0).unwrap_err();
    assert!(matches!(&error, ProviderError::Refused { reason } if reason.contains("configured id")), "{error:?}");
}

#[tokio::test]
async fn the_api_is_spoken_to_over_tls() {
    let place = Place::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api_url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let provider = Cloudflare::new(CloudflareConfig { api_url, ..place.config() }).unwrap();
    let listen = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 4096];
        let length = stream.read(&mut hello).await.unwrap();
        hello[..length].to_vec()
    };
    let (error, hello) = tokio::join!(provider.check(), listen);
    assert!(matches!(error, Err(ProviderError::Unavailable { .. })), "{error:?}");
    let offers = |bytes: &[u8]| hello.windows(bytes.len()).any(|window| window == bytes);
    assert!(hello[0] == 22 && offers(b"\x08http/1.1"), "no ClientHello: {hello:?}");
    assert!(!offers(place.token.as_bytes()));
}

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error with all its causes, as shown and as debugged.
fn told(error: &ProviderError) -> String {
    let mut told = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}

#[tokio::test]
async fn the_token_is_in_no_log_no_error_and_no_debug_output() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let place = Place::with_timeout(IMPATIENT).await;
    let mut all = format!("{:?}", place.config());
    place.apply_one(new_names(1).remove(0)).await.unwrap();
    for fault in [Fault::Status(500), Fault::Html(502), Fault::SilentBefore, Fault::CutAfter, Fault::Endless] {
        place.fake.fail(Calls::Any, 0, fault);
        all.push_str(&told(&place.provider.check().await.unwrap_err()));
    }
    place.fake.revoke_token(&place.token);
    all.push_str(&told(&place.provider.check().await.unwrap_err()));
    let nobody = CloudflareConfig { api_url: "http://127.0.0.1:1/".parse().unwrap(), ..place.config() };
    all.push_str(&told(&Cloudflare::new(nobody).unwrap().check().await.unwrap_err()));
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("called Cloudflare"), "the log was not caught: {logged}");
    all.push_str(&logged);
    assert!(!all.contains(&place.token));
}

async fn customer(place: &Place, domain: &str, token: &str) -> Result<CloudflareCustomer, ProviderError> {
    let api_url = place.fake.url().parse().unwrap();
    let config = CloudflareCustomerConfig { api_url, token: token.into(), pace: fast(), timeout: TIMEOUT };
    CloudflareCustomer::find(domain, config).await
}

#[tokio::test]
async fn a_customers_zone_is_found_above_the_domain_and_gets_its_cnames() {
    let place = Place::new().await;
    place.fake.add_zone("customer.test");
    let token = place.fake.add_token(&["customer.test"]);
    let customer = customer(&place, "mail.EU.customer.test.", &token).await.unwrap();
    assert_eq!(customer.zone(), "customer.test");
    let name = "_mta-sts.mail.eu.customer.test";
    let target = format!("label._mta-sts.{ZONE}");
    customer.create_cname(name, &target, 3600).await.unwrap();
    // A repetition finds it done.
    customer.create_cname(name, &target, 3600).await.unwrap();
    let records = place.fake.records("customer.test");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.kind.as_str(), record.content.as_str(), record.ttl), ("CNAME", target.as_str(), 3600));
    assert_eq!((record.comment.as_deref(), record.proxied), (Some("mtasts delegation"), false));
    let standing = customer.standing(&[name.to_owned()]).await.unwrap();
    assert_eq!((standing[0].record_type.as_str(), standing[0].value.as_str()), ("CNAME", target.as_str()));
    assert_eq!((standing[0].name.as_str(), standing[0].ttl, standing.len()), (name, 3600, 1));
}

#[tokio::test]
async fn what_stands_in_a_customers_zone_is_told_and_never_overwritten() {
    let place = Place::new().await;
    place.fake.add_zone("customer.test");
    let token = place.fake.add_token(&["customer.test"]);
    let customer = customer(&place, "customer.test", &token).await.unwrap();
    let (host, text, alias) = ("mta-sts.customer.test", "_mta-sts.customer.test", "_smtp._tls.customer.test");
    place.fake.put_record("customer.test", "A", host, "192.0.2.1", None);
    place.fake.put_record("customer.test", "MX", host, "Mail.customer.test", Some("a comment"));
    // Cloudflare would take a CNAME beside a TXT, and an address; we do not.
    place.fake.put_record("customer.test", "TXT", text, "v=STSv1; id=1", None);
    place.fake.put_record("customer.test", "CNAME", alias, "Elsewhere.test.", None);
    let names = [host, text, alias, "absent.customer.test"].map(str::to_owned);
    let standing = customer.standing(&names).await.unwrap();
    let standing: Vec<_> = standing.iter().map(|record| (record.record_type.as_str(), record.value.as_str())).collect();
    let expected =
        [("A", "192.0.2.1"), ("MX", "Mail.customer.test"), ("TXT", "v=STSv1; id=1"), ("CNAME", "elsewhere.test")];
    assert_eq!(standing, expected);
    let before = place.fake.revision();
    for (name, found) in [(host, "A 192.0.2.1"), (text, "TXT v=STSv1"), (alias, "CNAME elsewhere.test")] {
        let error = customer.create_cname(name, "label.edge.sts.test", 3600).await.unwrap_err();
        assert!(
            matches!(&error, ProviderError::Conflict { found: told, wanted, .. }
                if told.contains(found) && wanted.contains("label.edge.sts.test")),
            "{error:?}"
        );
    }
    assert_eq!(place.fake.revision(), before);
    let outside = customer.create_cname("mta-sts.other.test", "label.edge.sts.test", 3600).await.unwrap_err();
    assert!(matches!(outside, ProviderError::NameOutsideZone { .. }), "{outside:?}");
}

#[tokio::test]
async fn a_customers_token_that_opens_nothing_is_told_apart_from_one_that_is_wrong() {
    let place = Place::new().await;
    let token = place.fake.add_token(&[ZONE]);
    let error = customer(&place, "mail.customer.test", &token).await.err().unwrap();
    assert!(matches!(&error, ProviderError::ZoneNotFound { zone } if zone == "mail.customer.test"), "{error:?}");
    for token in ["wrong", "not a token", ""] {
        let error = customer(&place, "mail.customer.test", token).await.err().unwrap();
        assert!(matches!(error, ProviderError::Unauthorized { .. }), "{error:?}");
        assert!(token.is_empty() || !told(&error).contains(&format!("\"{token}\"")));
    }
}
