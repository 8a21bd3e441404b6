//! What every provider must do, told once. A provider's tests give a [`Backend`] and expand [`contract_tests`], which
//! makes one test of each behaviour, so that none can be forgotten.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mtasts_dns::{
    Applied, Confirmation, Known, Mark, Marker, Observed, ProviderError, RecordChange, Resolver, ResolverConfig,
    ZoneProvider, confirm,
};
use mtasts_model::feed::{
    RecordData,
    RecordType::{self, A, Aaaa, Caa, Cname, Txt},
};
use mtasts_testkit::wait_until;
use tokio::time::Instant;

/// The owner in the markers of [`Backend::provider`].
pub(crate) const OWNER: &str = "contract";
/// The owner in the markers of [`Backend::of_another_owner`].
pub(crate) const OTHER_OWNER: &str = "neighbour";
/// How long a call to a provider that is not there may take; configure time-outs below that.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A zone at a provider, with ways around the provider under test.
///
/// Values are texts as in [`RecordData::values`]; names are absolute, lower-case, without the trailing dot.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// The provider under test, with the marker of [`OWNER`]. Its zone has SOA and NS, and nothing below
    /// `_mta-sts`, `_smtp-tls`, `acme` and `edge`.
    fn provider(&self) -> &dyn ZoneProvider;

    /// The same zone, used by an installation with the marker of [`OTHER_OWNER`]; `None` where only one can be.
    fn of_another_owner(&self) -> Option<Box<dyn ZoneProvider>>;

    /// The same with a credential that does not fit; `None` where there are no credentials.
    fn with_wrong_credential(&self) -> Option<Box<dyn ZoneProvider>>;

    /// The same server and credential for a zone that is not there; `None` where the zone is the server's own.
    fn of_missing_zone(&self) -> Option<Box<dyn ZoneProvider>>;

    /// The same with an address at which nobody listens; `None` where there is no network between.
    fn of_nobody(&self) -> Option<Box<dyn ZoneProvider>>;

    /// Whether somebody else can write into the zone; if not, the behaviours about strangers have nothing to show.
    fn is_shared(&self) -> bool;

    /// Whether nameservers answer for the zone here; if so, [`ZoneProvider::authoritative`] names them.
    fn answers_dns(&self) -> bool;

    /// Creates a record set as a stranger would, without a marker, where none is.
    async fn put_strangers_record(&self, name: &str, record_type: RecordType, values: &[&str]);

    /// Gives a set that exists other values, as a stranger with a zone editor would: what marks it stays.
    async fn edit_record(&self, name: &str, record_type: RecordType, values: &[&str]);

    /// Deletes a set as a stranger would: a comment goes with it, a marker that is a record of its own stays.
    async fn delete_record(&self, name: &str, record_type: RecordType);

    /// The values that the zone really has, each record for itself, not by the provider under test.
    async fn read_raw(&self, name: &str, record_type: RecordType) -> Vec<String>;

    /// A number that grows whenever anything is written to the zone: its SOA serial, or a count of writing requests.
    async fn writes(&self) -> u64;
}

/// One `#[tokio::test]` for each behaviour; the argument is an async function that makes a [`Backend`].
macro_rules! contract_tests {
    ($make:path) => {
        $crate::contract::contract_tests!(@each $make;
            a_new_set_is_read_back_and_answered_by_every_server,
            an_update_replaces_all_values,
            a_repeated_apply_writes_nothing,
            a_removal_takes_set_and_marker_and_can_be_repeated,
            long_texts_addresses_caa_and_wildcards_read_back_as_they_were,
            a_strangers_set_is_left_alone_and_both_values_are_told,
            a_set_of_another_installation_is_a_strangers,
            an_unmarked_set_with_the_wanted_values_is_adopted,
            a_strangers_edit_of_our_set_is_put_right,
            a_set_that_was_deleted_behind_our_back_is_written_again,
            a_cname_in_the_way_is_a_type_clash_and_the_rest_gets_through,
            a_name_outside_of_the_zone_does_not_hold_up_the_rest,
            a_full_batch_goes_through,
            an_empty_batch_is_no_error,
            a_repetition_after_a_lost_answer_makes_no_duplicate,
            names_and_types_that_are_not_given_stay_as_they_are,
            a_listing_has_every_set_once_and_no_markers,
            a_wrong_credential_is_unauthorized_and_writes_nothing,
            a_missing_zone_is_named,
            a_provider_that_is_not_there_is_unavailable_within_the_deadline,
        );
    };
    (@each $make:path; $($behaviour:ident,)*) => {$(
        #[tokio::test]
        async fn $behaviour() {
            $crate::contract::$behaviour(&$make().await).await;
        }
    )*};
}
pub(crate) use contract_tests;

/// What a nameserver answers, for [`Backend::read_raw`] where one answers for the zone.
pub(crate) async fn answered(server: SocketAddr, name: &str, record_type: RecordType) -> Vec<String> {
    let answer = resolver().query_at(server, name, record_type).await.unwrap();
    answer.found().map(|data| data.values).unwrap_or_default()
}

fn resolver() -> Resolver {
    // Authoritative servers are asked directly; the upstream is never used.
    let upstreams = vec![SocketAddr::from(([127, 0, 0, 1], 9))];
    Resolver::new(ResolverConfig { upstreams, ..ResolverConfig::default() }).unwrap()
}

fn set(values: &[&str]) -> RecordData {
    RecordData { ttl: 60, values: values.iter().map(|&value| value.to_owned()).collect() }
}

fn change(name: &str, record_type: RecordType, values: Option<&[&str]>, known: Known) -> RecordChange {
    RecordChange { name: name.to_owned(), record_type, set: values.map(set), known }
}

/// A wanted TXT set.
fn put(name: &str, values: &[&str], known: Known) -> RecordChange {
    change(name, Txt, Some(values), known)
}

fn gone(name: &str) -> RecordChange {
    change(name, Txt, None, Known::Perhaps)
}

/// The name of a tenant's record in the backend's zone.
fn sts(backend: &dyn Backend, label: &str) -> String {
    format!("{label}._mta-sts.{}", backend.provider().zone())
}

async fn apply(backend: &dyn Backend, changes: &[RecordChange]) -> Vec<Result<Applied, ProviderError>> {
    let outcomes = backend.provider().apply(changes).await.unwrap();
    assert_eq!(outcomes.len(), changes.len(), "one outcome for each change");
    outcomes
}

/// Applies one change that must succeed.
async fn apply_one(backend: &dyn Backend, change: RecordChange) -> Applied {
    apply(backend, &[change]).await.remove(0).unwrap()
}

/// Applies one change that must fail.
async fn refused(backend: &dyn Backend, change: RecordChange) -> ProviderError {
    apply(backend, &[change]).await.remove(0).unwrap_err()
}

/// What is known of a set after it was applied.
fn known(applied: Applied) -> Known {
    applied.reference.map_or(Known::Perhaps, Known::At)
}

async fn assert_holds(backend: &dyn Backend, name: &str, record_type: RecordType, values: &[&str]) {
    let mut wanted: Vec<_> = values.iter().map(|&value| value.to_owned()).collect();
    let mut raw = backend.read_raw(name, record_type).await;
    wanted.sort_unstable();
    raw.sort_unstable();
    assert_eq!(raw, wanted, "{name} {record_type}");
}

/// The set is read back by the provider, with these values, as ours.
async fn assert_ours(backend: &dyn Backend, name: &str, record_type: RecordType, values: &[&str]) {
    let observed = backend.provider().read(name, record_type).await.unwrap().unwrap();
    assert_eq!((observed.name.as_str(), observed.record_type), (name, record_type));
    assert!(observed.data.same_values(&set(values)), "{name} {record_type}: {:?}", observed.data);
    assert_eq!(observed.mark, Mark::Ours, "{name} {record_type}");
}

async fn assert_answered(backend: &dyn Backend, name: &str, record_type: RecordType, values: Option<&[&str]>) {
    if !backend.answers_dns() {
        return;
    }
    let (resolver, expected) = (resolver(), values.map(set));
    wait_until(Duration::from_secs(20), "every server answers the same", async || {
        let answer = confirm(&resolver, backend.provider(), name, record_type, expected.as_ref()).await;
        matches!(answer, Ok(Confirmation::Agreed))
    })
    .await;
}

async fn listed(provider: &dyn ZoneProvider) -> Result<Vec<Observed>, ProviderError> {
    provider.list().try_collect().await
}

pub(crate) async fn a_new_set_is_read_back_and_answered_by_every_server(backend: &dyn Backend) {
    let (provider, name) = (backend.provider(), sts(backend, "new"));
    provider.check().await.unwrap();
    assert!(provider.batch_size() > 0);
    assert_eq!(provider.read(&name, Txt).await.unwrap(), None);
    assert_answered(backend, &name, Txt, None).await;
    apply_one(backend, put(&name, &["v=STSv1; id=1;"], Known::Never)).await;
    assert_holds(backend, &name, Txt, &["v=STSv1; id=1;"]).await;
    assert_ours(backend, &name, Txt, &["v=STSv1; id=1;"]).await;
    assert_answered(backend, &name, Txt, Some(&["v=STSv1; id=1;"])).await;
}

pub(crate) async fn an_update_replaces_all_values(backend: &dyn Backend) {
    let name = sts(backend, "update");
    let first = apply_one(backend, put(&name, &["a", "b"], Known::Never)).await;
    assert_holds(backend, &name, Txt, &["a", "b"]).await;
    let second = apply_one(backend, put(&name, &["b", "c", "d"], known(first))).await;
    assert_holds(backend, &name, Txt, &["b", "c", "d"]).await;
    apply_one(backend, put(&name, &["e"], known(second))).await;
    assert_holds(backend, &name, Txt, &["e"]).await;
    apply_one(backend, put(&name, &["f"], Known::Perhaps)).await;
    assert_holds(backend, &name, Txt, &["f"]).await;
    assert_ours(backend, &name, Txt, &["f"]).await;
    assert_answered(backend, &name, Txt, Some(&["f"])).await;
}

pub(crate) async fn a_repeated_apply_writes_nothing(backend: &dyn Backend) {
    let (name, removed) = (sts(backend, "repeated"), sts(backend, "removed"));
    let changes = [put(&name, &["a", "b"], Known::Perhaps), gone(&removed)];
    for outcome in apply(backend, &changes).await {
        outcome.unwrap();
    }
    let before = backend.writes().await;
    // In another order: a set has none.
    for changes in [changes, [put(&name, &["b", "a"], Known::Perhaps), gone(&removed)]] {
        for outcome in apply(backend, &changes).await {
            outcome.unwrap();
        }
    }
    assert_eq!(backend.writes().await, before);
    assert_ours(backend, &name, Txt, &["a", "b"]).await;
}

pub(crate) async fn a_removal_takes_set_and_marker_and_can_be_repeated(backend: &dyn Backend) {
    let name = sts(backend, "removal");
    let applied = apply_one(backend, put(&name, &["a"], Known::Never)).await;
    apply_one(backend, change(&name, Txt, None, known(applied.clone()))).await;
    assert_holds(backend, &name, Txt, &[]).await;
    assert_holds(backend, &Marker::new(OWNER).unwrap().name_for(&name, Txt), Txt, &[]).await;
    assert_eq!(backend.provider().read(&name, Txt).await.unwrap(), None);
    assert_answered(backend, &name, Txt, None).await;
    for known in [known(applied), Known::Perhaps, Known::Never] {
        apply_one(backend, change(&name, Txt, None, known)).await;
    }
    if backend.is_shared() {
        // Nothing is left that would make the name ours.
        backend.put_strangers_record(&name, Txt, &["theirs"]).await;
        assert!(matches!(refused(backend, gone(&name)).await, ProviderError::Conflict { .. }));
        assert_holds(backend, &name, Txt, &["theirs"]).await;
    }
}

pub(crate) async fn long_texts_addresses_caa_and_wildcards_read_back_as_they_were(backend: &dyn Backend) {
    let zone = backend.provider().zone();
    let long = format!("v=TLSRPTv1; rua=https://{}.test", "x".repeat(700));
    let exact = "y".repeat(255);
    let edge = format!("*.edge.{zone}");
    let report = format!("long._smtp-tls.{zone}");
    let challenge = format!("label.acme.{zone}");
    let caa = [
        "0 issue \"ca.test; accounturi=https://ca.test/acct/1; validationmethods=http-01\"",
        "128 iodef \"mailto:ca@sts.test\"",
    ];
    let sets: [(&str, RecordType, &[&str]); 6] = [
        (&report, Txt, &[&long]),
        (&challenge, Txt, &[&exact, "a\"quoted\" and \\escaped; text"]),
        (&edge, A, &["192.0.2.1", "192.0.2.2"]),
        (&edge, Aaaa, &["2001:db8::1", "2001:db8::2"]),
        (&edge, Caa, &caa),
        (&sts(backend, "case"), Txt, &["V=STSv1; id=AbC;"]),
    ];
    let changes: Vec<_> =
        sets.iter().map(|&(name, kind, values)| change(name, kind, Some(values), Known::Never)).collect();
    for outcome in apply(backend, &changes).await {
        outcome.unwrap();
    }
    let before = backend.writes().await;
    for (name, kind, values) in sets {
        assert_holds(backend, name, kind, values).await;
        assert_ours(backend, name, kind, values).await;
        assert_answered(backend, name, kind, Some(values)).await;
        apply_one(backend, change(name, kind, Some(values), Known::Perhaps)).await;
    }
    assert_eq!(backend.writes().await, before, "what reads back the same is not written again");
    // The types at one name are sets of their own.
    apply_one(backend, change(&edge, Aaaa, None, Known::Perhaps)).await;
    assert_holds(backend, &edge, Aaaa, &[]).await;
    assert_ours(backend, &edge, A, &["192.0.2.1", "192.0.2.2"]).await;
    assert_ours(backend, &edge, Caa, &caa).await;
}

fn assert_conflict(error: &ProviderError, wanted_value: &str, found_value: &str) {
    let ProviderError::Conflict { wanted, found, .. } = error else { panic!("no conflict: {error:?}") };
    assert!(wanted.contains(wanted_value), "{wanted:?} lacks {wanted_value}");
    assert!(found.contains(found_value), "{found:?} lacks {found_value}");
}

pub(crate) async fn a_strangers_set_is_left_alone_and_both_values_are_told(backend: &dyn Backend) {
    if !backend.is_shared() {
        return;
    }
    let (name, ours) = (sts(backend, "stranger"), sts(backend, "ours"));
    backend.put_strangers_record(&name, Txt, &["theirs", "theirs too"]).await;
    let changes = [put(&name, &["mine"], Known::Perhaps), put(&ours, &["mine"], Known::Never)];
    let mut outcomes = apply(backend, &changes).await;
    outcomes.remove(1).unwrap();
    assert_conflict(&outcomes.remove(0).unwrap_err(), "mine", "theirs too");
    let gone = refused(backend, gone(&name)).await;
    assert_conflict(&gone, "nothing", "theirs too");
    assert_eq!(gone.reason(), "DnsRecordConflict");
    assert_holds(backend, &name, Txt, &["theirs", "theirs too"]).await;
    assert_holds(backend, &ours, Txt, &["mine"]).await;
    let observed = backend.provider().read(&name, Txt).await.unwrap().unwrap();
    assert_eq!(observed.mark, Mark::NotOurs);
    assert!(observed.data.same_values(&set(&["theirs", "theirs too"])), "{observed:?}");
}

pub(crate) async fn a_set_of_another_installation_is_a_strangers(backend: &dyn Backend) {
    let Some(other) = backend.of_another_owner() else { return };
    let name = sts(backend, "neighbour");
    for outcome in other.apply(&[put(&name, &["theirs"], Known::Never)]).await.unwrap() {
        outcome.unwrap();
    }
    assert_conflict(&refused(backend, put(&name, &["mine"], Known::Perhaps)).await, "mine", "theirs");
    assert_conflict(&refused(backend, gone(&name)).await, "nothing", "theirs");
    let observed = backend.provider().read(&name, Txt).await.unwrap().unwrap();
    assert_eq!(observed.mark, Mark::NotOurs);
    assert_eq!(other.read(&name, Txt).await.unwrap().unwrap().mark, Mark::Ours);
    assert_holds(backend, &name, Txt, &["theirs"]).await;
}

pub(crate) async fn an_unmarked_set_with_the_wanted_values_is_adopted(backend: &dyn Backend) {
    if !backend.is_shared() {
        return;
    }
    let name = sts(backend, "adopted");
    backend.put_strangers_record(&name, Txt, &["a", "b"]).await;
    apply_one(backend, put(&name, &["b", "a"], Known::Perhaps)).await;
    assert_ours(backend, &name, Txt, &["a", "b"]).await;
    assert_holds(backend, &name, Txt, &["a", "b"]).await;
    apply_one(backend, put(&name, &["c"], Known::Perhaps)).await;
    assert_holds(backend, &name, Txt, &["c"]).await;
}

pub(crate) async fn a_strangers_edit_of_our_set_is_put_right(backend: &dyn Backend) {
    if !backend.is_shared() {
        return;
    }
    let name = sts(backend, "edited");
    let applied = apply_one(backend, put(&name, &["mine"], Known::Never)).await;
    backend.edit_record(&name, Txt, &["edited"]).await;
    assert_ours(backend, &name, Txt, &["edited"]).await;
    apply_one(backend, put(&name, &["mine"], known(applied))).await;
    assert_holds(backend, &name, Txt, &["mine"]).await;
    backend.edit_record(&name, Txt, &["edited again"]).await;
    apply_one(backend, gone(&name)).await;
    assert_holds(backend, &name, Txt, &[]).await;
}

pub(crate) async fn a_set_that_was_deleted_behind_our_back_is_written_again(backend: &dyn Backend) {
    if !backend.is_shared() {
        return;
    }
    let name = sts(backend, "deleted");
    let first = apply_one(backend, put(&name, &["mine"], Known::Never)).await;
    backend.delete_record(&name, Txt).await;
    let second = apply_one(backend, put(&name, &["mine"], known(first))).await;
    assert_ours(backend, &name, Txt, &["mine"]).await;
    assert_holds(backend, &name, Txt, &["mine"]).await;
    backend.delete_record(&name, Txt).await;
    apply_one(backend, change(&name, Txt, None, known(second))).await;
    assert_eq!(backend.provider().read(&name, Txt).await.unwrap(), None);
}

pub(crate) async fn a_cname_in_the_way_is_a_type_clash_and_the_rest_gets_through(backend: &dyn Backend) {
    if !backend.is_shared() {
        return;
    }
    let (clash, before, after) = (sts(backend, "clash"), sts(backend, "before"), sts(backend, "after"));
    backend.put_strangers_record(&clash, Cname, &["elsewhere.test"]).await;
    for (round, known) in [Known::Never, Known::Perhaps].into_iter().enumerate() {
        let value = format!("round {round}");
        let changes = [&before, &clash, &after]
            .map(|name| put(name, &[&value], if *name == clash { known.clone() } else { Known::Perhaps }));
        let mut outcomes = apply(backend, &changes).await;
        let error = outcomes.remove(1).unwrap_err();
        assert!(
            matches!(&error, ProviderError::TypeClash { name, record_type: Txt, found }
                if *name == clash && found.contains("CNAME") && found.contains("elsewhere.test")),
            "{error:?}"
        );
        for outcome in outcomes {
            outcome.unwrap();
        }
        assert_holds(backend, &before, Txt, &[&value]).await;
        assert_holds(backend, &after, Txt, &[&value]).await;
    }
    assert_holds(backend, &clash, Cname, &["elsewhere.test"]).await;
    // A removal has nothing to remove there.
    apply_one(backend, gone(&clash)).await;
    assert_holds(backend, &clash, Cname, &["elsewhere.test"]).await;
}

pub(crate) async fn a_name_outside_of_the_zone_does_not_hold_up_the_rest(backend: &dyn Backend) {
    let zone = backend.provider().zone().clone();
    let (first, last) = (sts(backend, "first"), sts(backend, "last"));
    let impossible = ["x.elsewhere.test", &format!("not{zone}"), &format!("a b.{zone}"), &format!("{zone}.")];
    let mut changes = vec![put(&first, &["mine"], Known::Never)];
    changes.extend(impossible.iter().map(|name| put(name, &["mine"], Known::Never)));
    changes.push(put(&last, &["mine"], Known::Never));
    let mut outcomes = apply(backend, &changes).await;
    outcomes.pop().unwrap().unwrap();
    outcomes.remove(0).unwrap();
    for (outcome, name) in outcomes.into_iter().zip(impossible) {
        assert_eq!(outcome.unwrap_err().reason(), "RecordNameUnusable", "{name}");
        let error = backend.provider().read(name, Txt).await.unwrap_err();
        assert_eq!(error.reason(), "RecordNameUnusable", "{name}");
    }
    assert_holds(backend, &first, Txt, &["mine"]).await;
    assert_holds(backend, &last, Txt, &["mine"]).await;
}

pub(crate) async fn a_full_batch_goes_through(backend: &dyn Backend) {
    let count = backend.provider().batch_size();
    let names: Vec<_> = (0..count).map(|number| sts(backend, &format!("n{number}"))).collect();
    for (value, known) in [("first", Known::Never), ("second", Known::Perhaps)] {
        let changes: Vec<_> = names.iter().map(|name| put(name, &[value], known.clone())).collect();
        for outcome in apply(backend, &changes).await {
            outcome.unwrap();
        }
        for name in [&names[0], &names[count / 2], &names[count - 1]] {
            assert_holds(backend, name, Txt, &[value]).await;
        }
    }
    for outcome in apply(backend, &names.iter().map(|name| gone(name)).collect::<Vec<_>>()).await {
        outcome.unwrap();
    }
    assert_holds(backend, &names[count - 1], Txt, &[]).await;
}

pub(crate) async fn an_empty_batch_is_no_error(backend: &dyn Backend) {
    assert_eq!(apply(backend, &[]).await.len(), 0);
}

pub(crate) async fn a_repetition_after_a_lost_answer_makes_no_duplicate(backend: &dyn Backend) {
    let name = sts(backend, "again");
    apply_one(backend, put(&name, &["mine"], Known::Never)).await;
    // The first answer was lost, so this is all that the caller knows.
    let before = backend.writes().await;
    let applied = apply_one(backend, put(&name, &["mine"], Known::Perhaps)).await;
    assert_holds(backend, &name, Txt, &["mine"]).await;
    assert_eq!(backend.writes().await, before);
    apply_one(backend, put(&name, &["newer"], known(applied))).await;
    apply_one(backend, put(&name, &["newest"], Known::Perhaps)).await;
    assert_holds(backend, &name, Txt, &["newest"]).await;
}

pub(crate) async fn names_and_types_that_are_not_given_stay_as_they_are(backend: &dyn Backend) {
    let (kept, changed) = (sts(backend, "kept"), sts(backend, "changed"));
    let below = format!("below.{changed}");
    for name in [&kept, &changed, &below] {
        apply_one(backend, put(name, &["first"], Known::Never)).await;
    }
    if backend.is_shared() {
        backend.put_strangers_record(&changed, Caa, &["0 issue \"ca.test\""]).await;
    }
    apply_one(backend, put(&changed, &["second"], Known::Perhaps)).await;
    apply_one(backend, gone(&changed)).await;
    assert_holds(backend, &changed, Txt, &[]).await;
    for name in [&kept, &below] {
        assert_holds(backend, name, Txt, &["first"]).await;
        assert_ours(backend, name, Txt, &["first"]).await;
    }
    if backend.is_shared() {
        assert_holds(backend, &changed, Caa, &["0 issue \"ca.test\""]).await;
    }
}

pub(crate) async fn a_listing_has_every_set_once_and_no_markers(backend: &dyn Backend) {
    if !backend.is_shared() {
        assert_eq!(listed(backend.provider()).await.unwrap(), [], "nobody but the store could have changed anything");
        return;
    }
    let zone = backend.provider().zone();
    let (text, edge, theirs) = (sts(backend, "text"), format!("*.edge.{zone}"), format!("www.{zone}"));
    let ours: [(&str, RecordType, &[&str]); 3] =
        [(&text, Txt, &["a", "b"]), (&edge, A, &["192.0.2.1", "192.0.2.2"]), (&edge, Caa, &["0 issue \"ca.test\""])];
    for (name, kind, values) in ours {
        apply_one(backend, change(name, kind, Some(values), Known::Never)).await;
    }
    let strangers: [(&str, RecordType, &[&str]); 2] =
        [(&theirs, Txt, &["theirs"]), (&format!("alias.{zone}"), Cname, &["www.elsewhere.test"])];
    for (name, kind, values) in strangers {
        backend.put_strangers_record(name, kind, values).await;
    }
    let listed = listed(backend.provider()).await.unwrap();
    for (sets, never) in [(ours.as_slice(), Mark::NotOurs), (&strangers, Mark::Ours)] {
        for &(name, kind, values) in sets {
            let found: Vec<_> = listed.iter().filter(|found| found.name == name && found.record_type == kind).collect();
            let [found] = found.as_slice() else { panic!("{name} {kind} was listed {} times", found.len()) };
            assert!(found.data.same_values(&set(values)), "{found:?}");
            assert_ne!(found.mark, never, "{found:?}");
        }
    }
    assert!(listed.iter().all(|found| !found.name.contains("_mtasts-")), "{listed:?}");
}

/// Each call fails as a whole or in each outcome, and all errors satisfy the claim.
async fn assert_all_fail(provider: &dyn ZoneProvider, name: &str, claim: impl Fn(&ProviderError) -> bool) {
    let check = provider.check().await.unwrap_err();
    assert!(claim(&check), "check: {check:?}");
    let read = provider.read(name, Txt).await.unwrap_err();
    assert!(claim(&read), "read: {read:?}");
    for known in [Known::Never, Known::Perhaps] {
        match provider.apply(&[put(name, &["mine"], known.clone())]).await {
            Err(error) => assert!(claim(&error), "apply {known:?}: {error:?}"),
            Ok(outcomes) => {
                for outcome in outcomes {
                    let error = outcome.unwrap_err();
                    assert!(claim(&error), "apply {known:?}: {error:?}");
                }
            }
        }
    }
    let listed = listed(provider).await.unwrap_err();
    assert!(claim(&listed), "list: {listed:?}");
}

pub(crate) async fn a_wrong_credential_is_unauthorized_and_writes_nothing(backend: &dyn Backend) {
    let Some(wrong) = backend.with_wrong_credential() else { return };
    let (name, before) = (sts(backend, "unauthorized"), backend.writes().await);
    assert_all_fail(&*wrong, &name, |error| matches!(error, ProviderError::Unauthorized { .. })).await;
    assert_eq!(backend.writes().await, before);
    assert_holds(backend, &name, Txt, &[]).await;
}

pub(crate) async fn a_missing_zone_is_named(backend: &dyn Backend) {
    let Some(missing) = backend.of_missing_zone() else { return };
    let (name, zone) = (format!("x._mta-sts.{}", missing.zone()), missing.zone().to_string());
    let claim = |error: &ProviderError| matches!(error, ProviderError::ZoneNotFound { zone: named } if *named == zone);
    assert_all_fail(&*missing, &name, claim).await;
}

pub(crate) async fn a_provider_that_is_not_there_is_unavailable_within_the_deadline(backend: &dyn Backend) {
    let Some(nobody) = backend.of_nobody() else { return };
    let start = Instant::now();
    let name = sts(backend, "nobody");
    let claim = |error: &ProviderError| matches!(error, ProviderError::Unavailable { .. }) && error.is_passing();
    assert_all_fail(&*nobody, &name, claim).await;
    // Five calls.
    assert!(start.elapsed() < PATIENCE * 5, "{:?}", start.elapsed());
}
