//! MX hosts: found for the first policy, probed for its proof.

use mtasts_model::{
    Mode, MxPattern, Policy, PolicyId, PolicyVersionId,
    lifecycle::{MxSeen, MxSource},
};
use mtasts_probe::{MxRoute, MxRouteError, mx_route};
use mtasts_store::{NewVersion, SpareIds, VersionReason};

use super::{Context, mx_hosts::Looked};
use crate::outcome::{Failure, Finding, StepError};

impl Context<'_> {
    /// Makes the first version from the MX hosts that DNS names (`mx: auto`).
    pub(super) async fn discover_mx(&self) -> Result<Finding, StepError> {
        let name = &self.facts.name;
        let settings = self.deps.store.domain_settings(self.lease).await?;
        let route = mx_route(&self.deps.resolver, name).await.map_err(|error| unknown_route(&error))?;
        let hosts = match &route {
            MxRoute::Hosts(_) | MxRoute::Implicit(_) => route.hosts(),
            MxRoute::Null => {
                let message =
                    format!("{name} has a null MX (RFC 7505): it takes no mail, so there is nothing to protect.");
                return Err(Failure::new("NullMx", message).into());
            }
            MxRoute::Absent => {
                let message =
                    format!("{name} has neither MX hosts nor an address. Add MX records, or list the hosts in `mx`.");
                return Err(Failure::new("NoMxHosts", message).into());
            }
        };
        let (mode, mx) = match settings.preferred_mode {
            // Invariant 6: no `enforce` without proof. Begun in `testing`, the tenant can change it once all hosts pass.
            Mode::Enforce => {
                let seen = match self.look_at_hosts(&route).await? {
                    Looked::Seen(seen) => seen,
                    Looked::PutOff(until) => return Ok(Finding::MxPutOff { until }),
                };
                let mode = if proves(&seen) { Mode::Enforce } else { Mode::Testing };
                tracing::info!(domain = %self.facts.domain_id, %name, %mode, "enforce was wished for");
                (mode, Some(seen))
            }
            mode => (mode, None),
        };
        let patterns: Vec<MxPattern> = hosts.iter().map(|(_, host)| MxPattern::from(host)).collect();
        let policy = Policy::new(mode, patterns, settings.preferred_max_age)
            .map_err(|error| Failure::caused("PolicyImpossible", &error))?;
        let now = self.now();
        let version = NewVersion {
            id: PolicyVersionId::draw(now, &*self.deps.entropy),
            policy_id: PolicyId::draw(now, &*self.deps.entropy),
            policy,
            reason: VersionReason::Discovered,
            forced: None,
        };
        Ok(Finding::FirstVersion { version, mx })
    }

    /// Looks at every MX host as a sender would. Where the hosts are is asked for each domain, how they do once for all.
    pub(super) async fn probe_mx(&self) -> Result<Finding, StepError> {
        let route = mx_route(&self.deps.resolver, &self.facts.name).await.map_err(|error| unknown_route(&error))?;
        let seen = match self.look_at_hosts(&route).await? {
            Looked::Seen(seen) => seen,
            Looked::PutOff(until) => return Ok(Finding::MxPutOff { until }),
        };
        let follow = (self.facts.mx_source == MxSource::Follow).then(|| self.spare_ids());
        Ok(Finding::Mx { seen, follow })
    }

    /// Drawn before it is known whether they are needed: what a transaction decides, it decides on what it has.
    pub(super) fn spare_ids(&self) -> SpareIds {
        let (now, entropy) = (self.now(), &*self.deps.entropy);
        SpareIds { version: PolicyVersionId::draw(now, entropy), policy: PolicyId::draw(now, entropy) }
    }
}

fn proves(seen: &MxSeen) -> bool {
    !seen.hosts.is_empty() && seen.hosts.iter().all(|host| host.failure.is_none())
}

fn unknown_route(error: &MxRouteError) -> Failure {
    let reason = match error {
        MxRouteError::Resolve { .. } => "MxUnresolvable",
        MxRouteError::NotAHost { .. } => "MxNotAHost",
        MxRouteError::TooMany { .. } => "TooManyMxHosts",
    };
    Failure::caused(reason, error)
}
