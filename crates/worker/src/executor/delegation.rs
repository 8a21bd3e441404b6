//! Where the customer's CNAMEs lead (invariant 3).

use mtasts_dns::{CnameAnswer, ResolveError};
use mtasts_model::{
    Label,
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
        let before = self.facts.delegation.as_ref();
        let at = self.now();
        let policy_host = policy_host.map_err(|error| self.inconclusive(DelegationPurpose::PolicyHost, &error))?;
        // "Without a break": the first look that did not find us counts, not the latest.
        let lost_since = match &policy_host {
            CnameSeen::Ours => None,
            _ => Some(before.and_then(|seen| seen.lost_since).unwrap_or(at)),
        };
        // The optional name must not keep the others from being seen: it stays as it was last seen.
        let acme_challenge =
            acme_challenge.unwrap_or_else(|_| before.map_or(CnameSeen::Missing, |seen| seen.acme_challenge.clone()));
        Ok(Finding::Delegation(DelegationSeen {
            policy_host,
            sts_record: sts_record.map_err(|error| self.inconclusive(DelegationPurpose::StsRecord, &error))?,
            tls_rpt_record: tls_rpt_record
                .map_err(|error| self.inconclusive(DelegationPurpose::TlsRptRecord, &error))?,
            acme_challenge,
            at,
            lost_since,
        }))
    }

    /// Follows CNAMEs up to our zone and no further: whether our own zone resolves says nothing about the delegation.
    async fn follow(&self, purpose: DelegationPurpose) -> Result<CnameSeen, Inconclusive> {
        let zone = &self.config.zone;
        let mut at = purpose.name(&self.facts.name);
        for hop in 0..MAX_HOPS {
            let target = match self.deps.resolver.cname(&at).await? {
                CnameAnswer::Target(target) => target,
                CnameAnswer::None(_) if hop == 0 => return Ok(CnameSeen::Missing),
                CnameAnswer::None(_) => return Ok(CnameSeen::Elsewhere { target: at }),
            };
            if let Some(label) = purpose.label_of(&target, zone) {
                return Ok(seen_in_zone(&label, &self.facts.label, target));
            }
            // In our zone, but no label of this kind: nobody's.
            if target.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) {
                return Ok(CnameSeen::Elsewhere { target });
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
