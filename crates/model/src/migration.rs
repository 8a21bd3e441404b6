//! Moving mail from old MX hosts to new ones without losing any on the way.
//!
//! The policy names both from the beginning. Senders that hold an older policy in `enforce` refuse the new hosts until their
//! copy has expired, so MX records may name those only then. Old hosts leave the policy, and may be switched off, once no MX
//! record leads to them, not even one that a resolver has kept.

use chrono::TimeDelta;

use crate::{
    clock::Timestamp,
    lifecycle::MxSeen,
    mx_pattern::MxPattern,
    policy::{Mode, Policy},
    readiness,
};

/// How long resolvers may keep an MX record after it was changed: two days are the longest TTL that is common.
pub const MX_SETTLES: TimeDelta = TimeDelta::hours(48);

/// How long after the new id was published a sender may still see the older TXT record, or have a fetch under way.
pub const TXT_SETTLES: TimeDelta = TimeDelta::minutes(10);

/// How often it is looked whether the edges' ledgers are complete.
const LEDGER_WAIT: TimeDelta = TimeDelta::minutes(1);

/// A migration under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// What leaves the policy in the end.
    pub from: Vec<MxPattern>,
    /// What stays.
    pub to: Vec<MxPattern>,
    /// Since when the policy has both.
    pub created_at: Timestamp,
    /// From when on MX records may name the new hosts alone; None while that is not known.
    pub safe_to_point_mx_at: Option<Timestamp>,
    /// Since when looks have found none of the old hosts among the MX hosts; None while there is one.
    pub absent_since: Option<Timestamp>,
    /// When the tenant said that no MX record leads to an old host any more.
    pub confirmed_at: Option<Timestamp>,
}

impl Migration {
    /// When the old hosts may be switched off; None while it is not known, or DNS names one of them.
    pub fn safe_to_switch_off_at(&self) -> Option<Timestamp> {
        let (pointed, absent) = (self.safe_to_point_mx_at?, self.absent_since?);
        Some(pointed.max(self.confirmed_at.unwrap_or(absent + MX_SETTLES)))
    }

    /// The policy with both.
    pub fn widened(&self, policy: &Policy) -> Option<Policy> {
        let patterns = policy.mx().iter().chain(&self.from).chain(&self.to).cloned().collect();
        Policy::new(policy.mode(), patterns, policy.max_age()).ok()
    }

    /// The policy without the old hosts.
    pub fn narrowed(&self, policy: &Policy) -> Option<Policy> {
        let stays = |pattern: &&MxPattern| !self.from.contains(pattern) || self.to.contains(pattern);
        let patterns = policy.mx().iter().filter(stays).cloned().collect();
        Policy::new(policy.mode(), patterns, policy.max_age()).ok()
    }

    /// Whether a policy has what the migration needs.
    pub fn is_held_by(&self, policy: &Policy) -> bool {
        self.from.iter().chain(&self.to).all(|pattern| policy.mx().contains(pattern))
    }

    /// Whether one of the old hosts is among the MX hosts. A host that a new pattern covers too is none.
    pub fn is_pointed_at(&self, seen: &MxSeen) -> bool {
        seen.hosts.iter().any(|mx| {
            let matches = |patterns: &[MxPattern]| patterns.iter().any(|pattern| pattern.matches(&mx.host));
            matches(&self.from) && !matches(&self.to)
        })
    }
}

/// What a migration is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationFacts {
    /// The migration.
    pub migration: Migration,
    /// Which state of it this is: drawn anew with each change.
    pub revision: i64,
    /// When every edge was first seen to serve a policy with both.
    pub served_at: Option<Timestamp>,
    /// When the id of such a policy was first read back from DNS.
    pub published_at: Option<Timestamp>,
    /// The largest (last served + `max_age`) over the older versions in `enforce`; None when none was ever served.
    pub needed_until: Option<Timestamp>,
    /// The newest moment that every edge's reports on what it served cover.
    pub complete_until: Option<Timestamp>,
}

/// What to do about a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is known when MX records may name the new hosts alone.
    Schedule {
        /// When.
        safe_to_point_mx_at: Timestamp,
    },
    /// Take the old hosts out of the policy: the migration is done.
    Narrow {
        /// The policy without them.
        policy: Policy,
    },
    /// Somebody has set a policy without some of the hosts: the migration is over.
    Overrule,
}

/// The one next thing to do about a migration, and when to look again.
pub fn next(
    policy: &Policy,
    mx: Option<&MxSeen>,
    facts: &MigrationFacts,
    now: Timestamp,
) -> (Option<Action>, Option<Timestamp>) {
    let migration = &facts.migration;
    if policy.mode() == Mode::None || !migration.is_held_by(policy) {
        return (Some(Action::Overrule), None);
    }
    match (safe_to_point(facts), migration.safe_to_point_mx_at) {
        (None, _) => return (None, Some(now + LEDGER_WAIT)),
        // Later reports of edges can move it.
        (Some(safe_at), noted) if noted != Some(safe_at) => {
            return (Some(Action::Schedule { safe_to_point_mx_at: safe_at }), None);
        }
        _ => {}
    }
    match migration.safe_to_switch_off_at() {
        Some(at) if at > now => (None, Some(at)),
        // Looks at the MX hosts bring the domain up; so does the tenant.
        None => (None, None),
        Some(_) => match migration.narrowed(policy) {
            Some(narrow) if may_narrow(&narrow, migration, mx, now) => (Some(Action::Narrow { policy: narrow }), None),
            _ => (None, None),
        },
    }
}

/// None while the policy with both is on its way, or an edge has not told what it served before.
fn safe_to_point(facts: &MigrationFacts) -> Option<Timestamp> {
    let (served_at, published_at) = (facts.served_at?, facts.published_at?);
    if facts.complete_until? < served_at {
        return None;
    }
    let settled = published_at + TXT_SETTLES;
    Some(facts.needed_until.map_or(settled, |until| until.max(settled)))
}

/// In any mode the latest look must find none of the old hosts; in `enforce` it must prove the policy as well (invariant 6).
fn may_narrow(narrow: &Policy, migration: &Migration, mx: Option<&MxSeen>, now: Timestamp) -> bool {
    mx.is_some_and(|seen| !migration.is_pointed_at(seen))
        && (narrow.mode() != Mode::Enforce || readiness::blocking(narrow, mx, now).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, ManualClock},
        lifecycle::MxHostSeen,
        name::HostName,
        policy::MaxAge,
    };

    fn patterns(texts: &[&str]) -> Vec<MxPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn policy(mode: Mode, mx: &[&str]) -> Policy {
        Policy::new(mode, patterns(mx), MaxAge::WEEK).unwrap()
    }

    fn seen(hosts: &[&str], at: Timestamp) -> MxSeen {
        let hosts = hosts.iter().map(|name| MxHostSeen {
            host: HostName::parse(name).unwrap(),
            preference: 10,
            failure: None,
            looked_at: None,
        });
        MxSeen { hosts: hosts.collect(), at }
    }

    fn facts(now: Timestamp) -> MigrationFacts {
        let migration = Migration {
            from: patterns(&["old.test"]),
            to: patterns(&["new.test"]),
            created_at: now,
            safe_to_point_mx_at: None,
            absent_since: None,
            confirmed_at: None,
        };
        MigrationFacts {
            migration,
            revision: 1,
            served_at: Some(now),
            published_at: Some(now),
            needed_until: Some(now + TimeDelta::days(7)),
            complete_until: Some(now),
        }
    }

    #[test]
    fn mx_records_wait_for_the_longest_policy_that_a_sender_may_hold() {
        let now = ManualClock::default().now();
        let both = policy(Mode::Enforce, &["old.test", "new.test"]);
        let schedule = |facts: &MigrationFacts| match next(&both, None, facts, now).0 {
            Some(Action::Schedule { safe_to_point_mx_at }) => Some(safe_to_point_mx_at - now),
            _ => None,
        };
        let mut facts = facts(now);
        assert_eq!(schedule(&facts), Some(TimeDelta::days(7)));
        facts.needed_until = None;
        assert_eq!(schedule(&facts), Some(TXT_SETTLES));
        facts.complete_until = Some(now - TimeDelta::seconds(1));
        assert_eq!(schedule(&facts), None, "an edge may have served the older policy since it last told");
        facts.complete_until = Some(now);
        facts.published_at = None;
        assert_eq!(schedule(&facts), None);
    }

    #[test]
    fn the_old_hosts_leave_once_nobody_is_led_to_them_and_not_before() {
        let begun = ManualClock::default().now();
        let both = policy(Mode::Enforce, &["old.test", "new.test"]);
        let mut facts = facts(begun);
        let safe = begun + TimeDelta::days(7);
        facts.migration.safe_to_point_mx_at = Some(safe);
        let now = begun + TimeDelta::days(20);
        let act = |facts: &MigrationFacts, hosts: &[&str], at| next(&both, Some(&seen(hosts, at)), facts, at).0;
        assert_eq!(act(&facts, &["old.test", "new.test"], now), None, "DNS still names it");
        facts.migration.absent_since = Some(now - TimeDelta::hours(47));
        assert_eq!(act(&facts, &["new.test"], now), None, "resolvers may keep the older MX record");
        let narrow = Action::Narrow { policy: policy(Mode::Enforce, &["new.test"]) };
        assert_eq!(act(&facts, &["new.test"], now + TimeDelta::hours(1)), Some(narrow.clone()));
        facts.migration.confirmed_at = Some(now);
        assert_eq!(act(&facts, &["new.test"], now), Some(narrow));
        assert_eq!(act(&facts, &["new.test", "third.test"], now), None, "invariant 6: not covered");
        assert_eq!(act(&facts, &["old.test", "new.test"], now), None, "it is back");
        let testing = policy(Mode::Testing, &["old.test", "new.test"]);
        let in_testing = |hosts: &[&str]| next(&testing, Some(&seen(hosts, now)), &facts, now).0;
        assert_eq!(in_testing(&["old.test", "new.test"]), None, "also where no proof is asked for");
        assert!(matches!(in_testing(&["new.test"]), Some(Action::Narrow { .. })));
        facts.migration.safe_to_point_mx_at = Some(now + TimeDelta::days(1));
        facts.needed_until = facts.migration.safe_to_point_mx_at;
        assert_eq!(act(&facts, &["new.test"], now), None, "a sender may still know the old hosts alone");
    }

    #[test]
    fn a_policy_that_lacks_a_host_ends_the_migration() {
        let now = ManualClock::default().now();
        let facts = facts(now);
        for policy in [policy(Mode::Testing, &["old.test"]), policy(Mode::Testing, &["new.test"])] {
            assert_eq!(next(&policy, None, &facts, now).0, Some(Action::Overrule));
        }
    }
}
