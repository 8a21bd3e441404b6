//! Where the customer's CNAMEs lead (invariant 3).

use mtasts_dns::{CnameAnswer, ResolveError};
use mtasts_model::{
    Label, ZoneName,
    label::DelegationPurpose,
    lifecycle::{CnameSeen, DelegationSeen},
};

use super::Context;
use crate::outcome::{Failure, Finding, StepError};

/// Longest chain of CNAMEs that is followed.
const MAX_HOPS: usize = 8;

impl Context<'_> {
    pub(super) async fn observe_delegation(&self) -> Result<Finding, StepError> {
        let (policy_host, sts_record, tls_rpt_record, acme_challenge) = tokio::join!(
            self.follow(DelegationPurpose::PolicyHost),
            self.follow(DelegationPurpose::StsRecord),
            self.follow(DelegationPurpose::TlsRptRecord),
            self.follow(DelegationPurpose::AcmeChallenge),
        );
        let looks = [&policy_host, &sts_record, &tls_rpt_record, &acme_challenge];
        let elsewhere = |look: &&Result<Followed, Inconclusive>| {
            look.as_ref()
                .is_ok_and(|followed| followed.zone.as_ref().is_some_and(|zone| *zone != self.facts.zones.home))
        };
        let at_home =
            policy_host.as_ref().is_ok_and(|followed| followed.seen == CnameSeen::Ours) && !looks.iter().any(elsewhere);
        let before = self.facts.delegation.as_ref();
        let at = self.now();
        let policy_host = policy_host.map_err(|error| self.inconclusive(DelegationPurpose::PolicyHost, &error))?.seen;
        // "Without a break": the first look that did not find us counts, not the latest.
        let lost_since = match &policy_host {
            CnameSeen::Ours => None,
            _ => Some(before.and_then(|seen| seen.lost_since).unwrap_or(at)),
        };
        // The optional name must not keep the others from being seen: it stays as it was last seen.
        let acme_challenge = match acme_challenge {
            Ok(followed) => followed.seen,
            Err(_) => before.map_or(CnameSeen::Missing, |seen| seen.acme_challenge.clone()),
        };
        let home_since = at_home.then(|| before.and_then(|seen| seen.home_since).unwrap_or(at));
        Ok(Finding::Delegation(DelegationSeen {
            policy_host,
            sts_record: sts_record.map_err(|error| self.inconclusive(DelegationPurpose::StsRecord, &error))?.seen,
            tls_rpt_record: tls_rpt_record
                .map_err(|error| self.inconclusive(DelegationPurpose::TlsRptRecord, &error))?
                .seen,
            acme_challenge,
            at,
            lost_since,
            home_since,
        }))
    }

    /// Follows CNAMEs up to a zone of ours and no further: whether our own zones resolve says nothing about the
    /// delegation.
    async fn follow(&self, purpose: DelegationPurpose) -> Result<Followed, Inconclusive> {
        let nowhere = |seen| Ok(Followed { seen, zone: None });
        let mut at = purpose.name(&self.facts.name);
        for hop in 0..MAX_HOPS {
            let target = match self.deps.resolver.cname(&at).await? {
                CnameAnswer::Target(target) => target,
                CnameAnswer::None(_) if hop == 0 => return nowhere(CnameSeen::Missing),
                CnameAnswer::None(_) => return nowhere(CnameSeen::Elsewhere { target: at }),
            };
            for zone in self.facts.zones.all() {
                if let Some(label) = purpose.label_of(&target, zone) {
                    let seen = seen_in_zone(&label, &self.facts.label, target);
                    return Ok(Followed { seen, zone: Some(zone.clone()) });
                }
            }
            if let Some(zone) = self.deps.zones.zone_of(&target) {
                // A label that is at home in another zone of ours, or no label of this kind: nobody's.
                return nowhere(match purpose.label_of(&target, zone) {
                    Some(label) if label != self.facts.label => CnameSeen::OtherLabel { target },
                    _ => CnameSeen::Elsewhere { target },
                });
            }
            at = target;
        }
        Err(Inconclusive::TooLong)
    }

    /// "Could not resolve" is not "moved": the last look stays what is known.
    fn inconclusive(&self, purpose: DelegationPurpose, error: &Inconclusive) -> Failure {
        let name = purpose.name(&self.facts.name);
        match error {
            Inconclusive::Resolve(error) => {
                Failure::new("DnsUnavailable", format!("The CNAME of {name} could not be resolved: {error}"))
            }
            Inconclusive::TooLong => {
                Failure::new("CnameChainTooLong", format!("More than {MAX_HOPS} CNAMEs follow from {name}."))
            }
        }
    }
}

/// Where CNAMEs led.
struct Followed {
    seen: CnameSeen,
    /// The zone of ours in which they ended.
    zone: Option<ZoneName>,
}

fn seen_in_zone(found: &Label, ours: &Label, target: String) -> CnameSeen {
    if found == ours { CnameSeen::Ours } else { CnameSeen::OtherLabel { target } }
}

enum Inconclusive {
    Resolve(ResolveError),
    TooLong,
}

impl From<ResolveError> for Inconclusive {
    fn from(error: ResolveError) -> Self {
        Self::Resolve(error)
    }
}
