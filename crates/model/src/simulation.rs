//! What named kinds of sender would do today with mail for each MX host, if a draft became the policy at this moment.
//! Pure: by what senders may hold (the served ledger), what they can find, and what the looks at the MX hosts saw.

use chrono::TimeDelta;

use crate::{
    HostName, Mode, Policy, PolicyVersionId, Timestamp,
    lifecycle::{MxHostSeen, MxSeen},
};

/// How soon a sender that refreshes what it holds (RFC 8461 §10.2) asks the policy host anew.
const REFRESH: TimeDelta = TimeDelta::hours(24);

/// A kind of sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Follows RFC 8461 to the letter: fetches when the record's id is another one, and refreshes what it holds daily.
    Strict,
    /// Fetches only when it sees another id in the record; what it holds it keeps until its end.
    TxtOnly,
    /// Looks at nothing while it holds a policy, until that ends.
    HoldsCache,
    /// Names no host in its TLS handshake (RFC 8461 §3.3 asks for SNI), so that it can fetch no policy here.
    NoSni,
}

impl Sender {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Strict, Self::TxtOnly, Self::HoldsCache, Self::NoSni];

    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::TxtOnly => "txt-only",
            Self::HoldsCache => "holds-cache",
            Self::NoSni => "no-sni",
        }
    }
}

/// A policy that senders may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its version.
    pub version: PolicyVersionId,
    /// What it says.
    pub policy: Policy,
    /// Until when some sender may hold it: when it was last served, and its `max_age`.
    pub until: Timestamp,
}

/// What there is to go by.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The policy that is thought of. It takes the place of the one that is served, and its id that in the record.
    pub draft: &'a Policy,
    /// What senders may hold at this moment.
    pub held: &'a [Held],
    /// Whether senders find the record.
    pub record_found: bool,
    /// Whether senders can fetch from the policy host.
    pub host_answers: bool,
    /// How long resolvers may hold the record.
    pub record_ttl: TimeDelta,
    /// The latest look at the MX hosts.
    pub mx: Option<&'a MxSeen>,
}

/// By which policy a sender acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActsBy {
    /// The draft.
    Draft,
    /// What it holds.
    Held(PolicyVersionId),
    /// None: it delivers as if there were no MTA-STS.
    Nothing,
}

/// What a sender does with one MX host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It delivers.
    Delivers,
    /// It delivers, and reports a failure (mode `testing`).
    DeliversAndReports,
    /// It cannot connect, whatever the policy says.
    Unreachable,
    /// It refuses to, because of the policy (RFC 8461 §5).
    Refuses,
}

impl Fate {
    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivers => "delivers",
            Self::DeliversAndReports => "delivers-and-reports",
            Self::Unreachable => "unreachable",
            Self::Refuses => "refuses",
        }
    }

    fn arrives(self) -> bool {
        matches!(self, Self::Delivers | Self::DeliversAndReports)
    }
}

/// One MX host for one sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFate {
    /// The host.
    pub host: HostName,
    /// What happens.
    pub fate: Fate,
    /// Why, unless it simply delivers: `mx-not-covered`, or the code of the look.
    pub reason: Option<String>,
}

/// What becomes of a mail as a whole: a sender goes on to the next host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mail {
    /// It arrives, by whichever host.
    Arrives,
    /// It arrives by some hosts, and not by others.
    ArrivesBySome,
    /// It does not: it waits at the sender, and comes back in the end.
    Waits,
    /// The MX hosts are not known.
    Unknown,
}

impl Mail {
    /// Whether it arrives by some host.
    pub fn arrives(self) -> bool {
        matches!(self, Self::Arrives | Self::ArrivesBySome)
    }

    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arrives => "arrives",
            Self::ArrivesBySome => "arrives-by-some",
            Self::Waits => "waits",
            Self::Unknown => "unknown",
        }
    }
}

/// One sender in one state of its cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Who.
    pub sender: Sender,
    /// What it holds; None: nothing.
    pub holds: Option<PolicyVersionId>,
    /// By what it acts today.
    pub acts_by: ActsBy,
    /// From when on it acts by the draft; None: never, as things stand.
    pub draft_from: Option<Timestamp>,
    /// In order of preference.
    pub hosts: Vec<HostFate>,
    /// What becomes of a mail.
    pub mail: Mail,
}

/// Every kind of sender, in every state of its cache: without any policy first, then with each that it may hold.
pub fn simulate(scene: &Scene<'_>, now: Timestamp) -> Vec<Case> {
    let mut cases = Vec::new();
    for sender in Sender::ALL {
        cases.push(fresh(scene, sender, now));
        if sender != Sender::NoSni {
            // It could never fetch what is served here.
            let held = scene.held.iter().filter(|held| held.until > now);
            cases.extend(held.map(|held| holding(scene, sender, held, now)));
        }
    }
    cases
}

fn fresh(scene: &Scene<'_>, sender: Sender, now: Timestamp) -> Case {
    let finds = scene.record_found && scene.host_answers && sender != Sender::NoSni;
    let (acts_by, draft_from) = if finds { (ActsBy::Draft, Some(now)) } else { (ActsBy::Nothing, None) };
    case(scene, sender, None, (acts_by, draft_from))
}

fn holding(scene: &Scene<'_>, sender: Sender, held: &Held, now: Timestamp) -> Case {
    let sees_the_id = now + scene.record_ttl;
    let learns = match sender {
        Sender::Strict if scene.record_found => Some(sees_the_id.min(now + REFRESH)),
        Sender::Strict => Some(now + REFRESH),
        Sender::TxtOnly if scene.record_found => Some(sees_the_id),
        Sender::TxtOnly | Sender::HoldsCache | Sender::NoSni => None,
    };
    // At its end a policy is looked for as by a sender that never had one.
    let at_its_end = scene.record_found.then_some(held.until);
    let draft_from = match learns {
        Some(at) if at < held.until => Some(at),
        _ => at_its_end,
    };
    let draft_from = draft_from.filter(|_| scene.host_answers);
    case(scene, sender, Some(held), (ActsBy::Held(held.version), draft_from))
}

fn case(
    scene: &Scene<'_>,
    sender: Sender,
    held: Option<&Held>,
    (acts_by, draft_from): (ActsBy, Option<Timestamp>),
) -> Case {
    let policy = match acts_by {
        ActsBy::Draft => Some(scene.draft),
        ActsBy::Held(_) => held.map(|held| &held.policy),
        ActsBy::Nothing => None,
    };
    let hosts: Vec<HostFate> = scene.mx.iter().flat_map(|seen| &seen.hosts).map(|mx| fate(policy, mx)).collect();
    let arriving = hosts.iter().filter(|host| host.fate.arrives()).count();
    let mail = match (hosts.len(), arriving) {
        (0, _) => Mail::Unknown,
        (_, 0) => Mail::Waits,
        (all, some) if some < all => Mail::ArrivesBySome,
        _ => Mail::Arrives,
    };
    Case { sender, holds: held.map(|held| held.version), acts_by, draft_from, hosts, mail }
}

/// RFC 8461 §4.1, §5.
fn fate(policy: Option<&Policy>, mx: &MxHostSeen) -> HostFate {
    let mode = policy.map_or(Mode::None, Policy::mode);
    let failure = mx.failure.as_ref().map(|failure| failure.code.as_str());
    // Before any policy comes in.
    let unreachable = failure.filter(|code| matches!(*code, "connection-failed" | "mx-unresolvable"));
    let uncovered = policy.is_some_and(|policy| mode != Mode::None && !policy.covers(&mx.host));
    let wrong = if uncovered { Some("mx-not-covered") } else { failure };
    let (fate, reason) = match (mode, wrong) {
        (Mode::Enforce, Some("mx-not-covered")) => (Fate::Refuses, wrong),
        _ if unreachable.is_some() => (Fate::Unreachable, unreachable),
        (Mode::Enforce, Some(_)) => (Fate::Refuses, wrong),
        (Mode::Testing, Some(_)) => (Fate::DeliversAndReports, wrong),
        (Mode::None, _) | (_, None) => (Fate::Delivers, None),
    };
    HostFate { host: mx.host.clone(), fate, reason: reason.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Clock, MaxAge, MxPattern,
        clock::{ManualClock, SeededEntropy},
        lifecycle::MxFailure,
    };

    const HOSTS: [&str; 3] = ["a.example.com", "b.example.com", "c.example.net"];
    const FAILURES: [&str; 3] = ["certificate-expired", "starttls-not-supported", "connection-failed"];

    fn now() -> Timestamp {
        ManualClock::default().now()
    }

    fn policy(mode: Mode, mx: &[&str]) -> Policy {
        let mx: Vec<MxPattern> = mx.iter().map(|text| text.parse().unwrap()).collect();
        Policy::new(mode, mx, MaxAge::WEEK).unwrap()
    }

    fn held(seed: u64, policy: Policy, hours: i64) -> Held {
        let version = PolicyVersionId::draw(now(), &SeededEntropy::new(seed));
        Held { version, policy, until: now() + TimeDelta::hours(hours) }
    }

    fn seen(hosts: &[(&str, Option<&str>)]) -> MxSeen {
        let host = |(name, failure): &(&str, Option<&str>)| MxHostSeen {
            host: HostName::parse(name).unwrap(),
            preference: 10,
            failure: failure.map(|code| MxFailure { code: code.to_owned(), message: "…".to_owned() }),
            looked_at: None,
        };
        MxSeen { hosts: hosts.iter().map(host).collect(), at: now() }
    }

    fn scene<'a>(draft: &'a Policy, held: &'a [Held], mx: Option<&'a MxSeen>) -> Scene<'a> {
        Scene { draft, held, record_found: true, host_answers: true, record_ttl: TimeDelta::minutes(5), mx }
    }

    fn fates(case: &Case) -> Vec<(Fate, Option<&str>)> {
        case.hosts.iter().map(|host| (host.fate, host.reason.as_deref())).collect()
    }

    fn of(cases: &[Case], sender: Sender, holds: Option<PolicyVersionId>) -> &Case {
        cases.iter().find(|case| case.sender == sender && case.holds == holds).unwrap()
    }

    #[test]
    fn each_mode_makes_of_each_host_what_the_rfc_says() {
        let mx = seen(&[
            ("a.example.com", None),
            ("b.example.com", Some("certificate-expired")),
            ("c.example.com", Some("connection-failed")),
            ("d.example.com", None),
        ]);
        let named = ["a.example.com", "b.example.com", "c.example.com"];
        let unreachable = (Fate::Unreachable, Some("connection-failed"));
        let expired = |fate| (fate, Some("certificate-expired"));
        let uncovered = |fate| (fate, Some("mx-not-covered"));
        for (mode, patterns, expected, mail) in [
            (
                Mode::Enforce,
                &named[..],
                [(Fate::Delivers, None), expired(Fate::Refuses), unreachable, uncovered(Fate::Refuses)],
                Mail::ArrivesBySome,
            ),
            (
                Mode::Testing,
                &named[..],
                [
                    (Fate::Delivers, None),
                    expired(Fate::DeliversAndReports),
                    unreachable,
                    uncovered(Fate::DeliversAndReports),
                ],
                Mail::ArrivesBySome,
            ),
            (
                Mode::None,
                &[],
                [(Fate::Delivers, None), (Fate::Delivers, None), unreachable, (Fate::Delivers, None)],
                Mail::ArrivesBySome,
            ),
        ] {
            let draft = policy(mode, patterns);
            let cases = simulate(&scene(&draft, &[], Some(&mx)), now());
            let case = of(&cases, Sender::Strict, None);
            assert_eq!((fates(case), case.mail), (expected.to_vec(), mail), "{mode}");
        }
    }

    #[test]
    fn what_a_sender_holds_decides_until_it_learns_of_the_draft() {
        let mx = seen(&[("new.example.com", None)]);
        let draft = policy(Mode::Enforce, &["new.example.com"]);
        let old = [held(1, policy(Mode::Enforce, &["old.example.com"]), 48), held(2, draft.clone(), 1)];
        let cases = simulate(&scene(&draft, &old, Some(&mx)), now());
        assert_eq!(cases.len(), 3 * 3 + 1);
        let version = Some(old[0].version);
        for (sender, draft_from) in [
            (Sender::Strict, TimeDelta::minutes(5)),
            (Sender::TxtOnly, TimeDelta::minutes(5)),
            (Sender::HoldsCache, TimeDelta::hours(48)),
        ] {
            assert_eq!(of(&cases, sender, None).acts_by, ActsBy::Draft);
            let case = of(&cases, sender, version);
            assert_eq!(case.acts_by, ActsBy::Held(old[0].version));
            assert_eq!((case.mail, case.draft_from), (Mail::Waits, Some(now() + draft_from)), "{sender:?}");
        }
        let blind = of(&cases, Sender::NoSni, None);
        assert_eq!((blind.acts_by, blind.draft_from, blind.mail), (ActsBy::Nothing, None, Mail::Arrives));
    }

    #[test]
    fn without_the_record_only_whoever_refreshes_by_itself_learns_of_the_draft() {
        let draft = policy(Mode::Testing, &["a.example.com"]);
        let old = [held(1, policy(Mode::Enforce, &["a.example.com"]), 48), held(2, policy(Mode::None, &[]), 2)];
        let without = Scene { record_found: false, ..scene(&draft, &old, None) };
        let cases = simulate(&without, now());
        let from = |sender, held: &Held| of(&cases, sender, Some(held.version)).draft_from;
        assert_eq!(from(Sender::Strict, &old[0]), Some(now() + TimeDelta::hours(24)));
        assert_eq!(from(Sender::Strict, &old[1]), None, "it ends before it is refreshed");
        assert_eq!(from(Sender::TxtOnly, &old[0]), None);
        assert_eq!(of(&cases, Sender::Strict, None).acts_by, ActsBy::Nothing);
        let silent = Scene { host_answers: false, ..scene(&draft, &old, None) };
        let cases = simulate(&silent, now());
        assert!(cases.iter().all(|case| case.draft_from.is_none() && case.acts_by != ActsBy::Draft));
        assert!(cases.iter().all(|case| case.mail == Mail::Unknown), "nothing is known of the MX hosts");
    }

    prop_compose! {
        fn any_mx()(hosts in prop::collection::vec((0..HOSTS.len(), 0..=FAILURES.len()), 0..4)) -> MxSeen {
            let hosts: Vec<_> =
                hosts.into_iter().map(|(host, failure)| (HOSTS[host], FAILURES.get(failure).copied())).collect();
            seen(&hosts)
        }
    }

    prop_compose! {
        fn any_policy()(
            mode in prop::sample::select(vec![Mode::Enforce, Mode::Testing, Mode::None]),
            mx in prop::sample::subsequence(HOSTS.to_vec(), 1..=HOSTS.len()),
        ) -> Policy {
            policy(mode, &mx)
        }
    }

    proptest! {
        #[test]
        fn nobody_refuses_but_by_a_policy_in_enforce(
            draft in any_policy(),
            old in any_policy(),
            mx in any_mx(),
            hours in 0_i64..100,
            record_found: bool,
            host_answers: bool,
        ) {
            let old = [held(1, old, hours)];
            let scene = Scene { record_found, host_answers, ..scene(&draft, &old, Some(&mx)) };
            for case in simulate(&scene, now()) {
                let by = match case.acts_by {
                    ActsBy::Draft => Some(&draft),
                    ActsBy::Held(_) => Some(&old[0].policy),
                    ActsBy::Nothing => None,
                };
                let enforces = by.is_some_and(|policy| policy.mode() == Mode::Enforce);
                for (fate, seen) in case.hosts.iter().zip(&mx.hosts) {
                    prop_assert!(enforces || fate.fate != Fate::Refuses);
                    let safe = seen.failure.is_none() && by.is_none_or(|policy| policy.covers(&seen.host));
                    prop_assert!(!safe || fate.fate == Fate::Delivers);
                    prop_assert_eq!(fate.reason.is_some(), fate.fate != Fate::Delivers);
                }
                prop_assert!(case.draft_from.is_none_or(|from| from >= now()));
                prop_assert!(case.holds.is_none() || hours > 0, "what has ended is held by nobody");
            }
        }

        #[test]
        fn to_name_more_hosts_never_loses_a_mail(draft in any_policy(), mx in any_mx()) {
            let mut wider = draft.mx().to_vec();
            wider.extend(HOSTS.iter().map(|host| host.parse::<MxPattern>().unwrap()));
            wider.dedup();
            let wide = Policy::new(draft.mode(), wider, draft.max_age()).unwrap();
            let (narrow, wide) =
                (simulate(&scene(&draft, &[], Some(&mx)), now()), simulate(&scene(&wide, &[], Some(&mx)), now()));
            for (narrow, wide) in narrow.iter().zip(&wide) {
                for (narrow, wide) in narrow.hosts.iter().zip(&wide.hosts) {
                    prop_assert!(wide.fate != Fate::Refuses || narrow.fate == Fate::Refuses);
                }
            }
        }
    }
}
