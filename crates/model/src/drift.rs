//! The MX hosts in DNS against the hosts that a policy names.
//!
//! DNS is the one thing that MTA-STS does not trust (RFC 8461 §2): whoever can forge an answer could otherwise have their own
//! host put into the policy. So a difference makes a proposal, and what is done without a person is little.

use crate::{
    lifecycle::{MxHostSeen, MxSeen},
    mx_pattern::MxPattern,
    name::{HostName, MailDomain},
    policy::{Mode, Policy},
};

/// A difference, and the policy that would follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// MX hosts in DNS that the policy does not cover, in order of preference.
    pub new: Vec<HostName>,
    /// Patterns of the policy that no MX host in DNS matches.
    pub gone: Vec<MxPattern>,
    /// The policy with the new hosts and without the patterns that are gone.
    pub policy: Policy,
}

/// How a look differs from a policy. None: it does not, or there is nothing to propose, as for mode `none` and for a domain
/// without MX hosts.
pub fn drift(policy: &Policy, seen: &MxSeen) -> Option<Drift> {
    if policy.mode() == Mode::None || seen.hosts.is_empty() {
        return None;
    }
    let new: Vec<HostName> = uncovered(policy, seen).map(|mx| mx.host.clone()).collect();
    let matched = |pattern: &MxPattern| seen.hosts.iter().any(|mx| pattern.matches(&mx.host));
    let (kept, gone): (Vec<MxPattern>, Vec<MxPattern>) = policy.mx().iter().cloned().partition(matched);
    if new.is_empty() && gone.is_empty() {
        return None;
    }
    let patterns = kept.into_iter().chain(new.iter().map(MxPattern::from)).collect();
    let policy = Policy::new(policy.mode(), patterns, policy.max_age()).ok()?;
    Some(Drift { new, gone, policy })
}

/// What may be done about a difference without a person, for a tenant who chose to have MX hosts followed. None: nothing.
///
/// Only additions: a host that is missing in DNS may be missing because somebody forged the answer, and a pattern too many
/// costs nothing. Only hosts that pass every check. In `enforce` only hosts beneath the mail domain itself: verified TLS
/// proves who a host is, not that it may take this domain's mail, and anybody has a certificate for a host of their own.
pub fn followed(policy: &Policy, seen: &MxSeen, domain: &MailDomain) -> Option<Policy> {
    if policy.mode() == Mode::None {
        return None;
    }
    let trusted =
        |mx: &&MxHostSeen| mx.failure.is_none() && (policy.mode() == Mode::Testing || is_beneath(&mx.host, domain));
    let added: Vec<MxPattern> = uncovered(policy, seen).filter(trusted).map(|mx| MxPattern::from(&mx.host)).collect();
    if added.is_empty() {
        return None;
    }
    let patterns = policy.mx().iter().cloned().chain(added).collect();
    Policy::new(policy.mode(), patterns, policy.max_age()).ok()
}

fn uncovered<'a>(policy: &'a Policy, seen: &'a MxSeen) -> impl Iterator<Item = &'a MxHostSeen> {
    seen.hosts.iter().filter(|mx| !policy.covers(&mx.host))
}

fn is_beneath(host: &HostName, domain: &MailDomain) -> bool {
    host.as_str().strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, ManualClock},
        lifecycle::MxFailure,
        policy::MaxAge,
    };

    fn policy(mode: Mode, mx: &[&str]) -> Policy {
        Policy::new(mode, mx.iter().map(|text| text.parse().unwrap()).collect(), MaxAge::DAY).unwrap()
    }

    fn seen(hosts: &[(&str, bool)]) -> MxSeen {
        let hosts = hosts.iter().map(|(name, passes)| {
            let failure = MxFailure { code: "starttls-not-supported".to_owned(), message: "no".to_owned() };
            MxHostSeen {
                host: HostName::parse(name).unwrap(),
                preference: 10,
                failure: (!passes).then_some(failure),
                looked_at: None,
            }
        });
        MxSeen { hosts: hosts.collect(), at: ManualClock::default().now() }
    }

    fn texts(policy: &Policy) -> Vec<&str> {
        policy.mx().iter().map(MxPattern::as_str).collect()
    }

    #[test]
    fn a_proposal_names_what_is_new_and_what_is_gone_and_keeps_the_rest() {
        let policy = policy(Mode::Enforce, &["*.a.test", "old.b.test"]);
        let drift = drift(&policy, &seen(&[("mx1.a.test", true), ("new.c.test", false)])).unwrap();
        assert_eq!(drift.new.iter().map(HostName::as_str).collect::<Vec<_>>(), ["new.c.test"]);
        assert_eq!(drift.gone.iter().map(MxPattern::as_str).collect::<Vec<_>>(), ["old.b.test"]);
        assert_eq!(texts(&drift.policy), ["*.a.test", "new.c.test"]);
        assert_eq!((drift.policy.mode(), drift.policy.max_age()), (Mode::Enforce, MaxAge::DAY));
    }

    #[test]
    fn nothing_is_proposed_without_a_difference_or_without_hosts() {
        let policy_of_a = policy(Mode::Testing, &["*.a.test"]);
        assert_eq!(drift(&policy_of_a, &seen(&[("mx1.a.test", false)])), None);
        assert_eq!(drift(&policy_of_a, &seen(&[])), None);
        assert_eq!(drift(&policy(Mode::None, &["x.a.test"]), &seen(&[("mx1.a.test", true)])), None);
    }

    #[test]
    fn nothing_leaves_a_policy_by_itself_and_in_enforce_nothing_of_strangers_enters() {
        let domain = MailDomain::from_stored("a.test").unwrap();
        let hosts =
            seen(&[("mx2.a.test", true), ("mx.evil.test", true), ("mx.nota.test", true), ("bad.a.test", false)]);
        let enforce = followed(&policy(Mode::Enforce, &["mx1.a.test"]), &hosts, &domain).unwrap();
        assert_eq!(texts(&enforce), ["mx1.a.test", "mx2.a.test"]);
        let testing = followed(&policy(Mode::Testing, &["mx1.a.test"]), &hosts, &domain).unwrap();
        assert_eq!(texts(&testing), ["mx1.a.test", "mx2.a.test", "mx.evil.test", "mx.nota.test"]);
        assert_eq!(followed(&policy(Mode::Enforce, &["mx1.a.test"]), &seen(&[("mx.evil.test", true)]), &domain), None);
        assert_eq!(followed(&policy(Mode::Enforce, &["mx1.a.test"]), &seen(&[("mxa.test", true)]), &domain), None);
        assert_eq!(followed(&policy(Mode::Enforce, &["mx1.a.test"]), &seen(&[("a.test", true)]), &domain), None);
    }
}
