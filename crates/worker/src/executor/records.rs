//! The TXT records in the service's zone: written only once every edge has the body (invariant 1, RFC 8461 §8.1).

use std::{net::SocketAddr, time::Duration};

use mtasts_dns::{ConfirmError, Confirmation, Lookup, confirm};
use mtasts_model::{
    PolicyVersionId, ReportUri, StsRecord, TlsRptRecord, ZoneName,
    feed::{RecordData, RecordType},
    label::DelegationPurpose,
    lifecycle::{DomainFacts, VersionFacts},
};
use mtasts_store::ZoneWrite;
use tokio::time::{Instant, sleep};

use super::Context;
use crate::outcome::{Failure, Finding, StepError};

/// Servers that lag are asked again this often …
const CONFIRM_PAUSE: Duration = Duration::from_millis(50);
/// … then more rarely …
const LONGEST_CONFIRM_PAUSE: Duration = Duration::from_millis(400);
/// … and so long before the step is given back. Our own nameservers need well under a second.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(2);

impl Context<'_> {
    /// Writes the id, and where reports go.
    pub(super) async fn write_records(&self, id: PolicyVersionId) -> Result<Finding, StepError> {
        // What was planned may have changed meanwhile: looked at again as shortly before the write as can be.
        let gates = self.deps.zones.gates();
        let facts = self.deps.store.facts(self.lease, self.now(), self.config.edge_grace, &gates).await?;
        let version = may_publish(&facts, id)?;
        let writes = self.wanted(version, &self.report_uris().await?)?;
        self.want(&writes).await?;
        Ok(Finding::RecordsWritten { version: id, zones: self.facts.zones.clone() })
    }

    /// Reads the records back from every authoritative server of every zone.
    pub(super) async fn confirm_records(&self, id: PolicyVersionId) -> Result<Finding, StepError> {
        let version = self.version(id)?;
        let report_uris = self.report_uris().await?;
        let writes = self.wanted(version, &report_uris)?;
        self.wait_for_servers(&writes).await?;
        Ok(Finding::RecordsConfirmed { version: id, report_uris })
    }

    /// Takes all of the domain's records out of the zones.
    pub(super) async fn remove_records(&self) -> Result<Finding, StepError> {
        let writes: Vec<_> = RECORDS.into_iter().flat_map(|purpose| self.in_zones(purpose, None)).collect();
        self.want(&writes).await?;
        self.wait_for_servers(&writes).await?;
        Ok(Finding::RecordsRemoved)
    }

    /// The records stand in the new home. The customer is about to be told to point the policy host's CNAME there as
    /// well, so that name must lead to the edges first.
    pub(super) async fn enter_zone(&self) -> Result<Finding, StepError> {
        let Some(zone) = self.facts.zones.next.clone() else {
            return Err(Failure::new("NotMoving", "The domain does not move to another zone.").into());
        };
        self.expect_edges_in(&zone).await?;
        Ok(Finding::ZoneEntered { zone })
    }

    /// Fails unless every server of the zone has an address for the domain's policy host.
    pub(super) async fn expect_edges_in(&self, zone: &ZoneName) -> Result<(), StepError> {
        let name = DelegationPurpose::PolicyHost.target(&self.facts.label, zone);
        for hosting in self.deps.zones.authoritative(zone) {
            for server in hosting.provider.authoritative() {
                if !self.has_address(server, &name).await? {
                    let message = format!("The nameserver {server} has no address for {name} yet.");
                    return Err(Failure::new("EdgesNotInZone", message).into());
                }
            }
        }
        Ok(())
    }

    async fn has_address(&self, server: SocketAddr, name: &str) -> Result<bool, StepError> {
        for record_type in [RecordType::A, RecordType::Aaaa] {
            let answer = self.deps.resolver.query_at(server, name, record_type).await;
            let answer = answer.map_err(|error| Failure::caused("NameserverUnreachable", &error))?;
            if matches!(answer, Lookup::Found(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the domain's records out of the zone that it has left.
    pub(super) async fn leave_zone(&self) -> Result<Finding, StepError> {
        let Some(zone) = self.facts.zones.former.clone() else {
            return Err(Failure::new("NotMoving", "The domain does not come from another zone.").into());
        };
        self.want(&RECORDS.map(|purpose| self.in_zone(&zone, purpose, None))).await?;
        Ok(Finding::ZoneLeft { zone })
    }

    /// One record set in each of the domain's zones.
    pub(super) fn in_zones(&self, purpose: DelegationPurpose, set: Option<&RecordData>) -> Vec<ZoneWrite> {
        self.facts.zones.all().map(|zone| self.in_zone(zone, purpose, set)).collect()
    }

    fn in_zone(&self, zone: &ZoneName, purpose: DelegationPurpose, set: Option<&RecordData>) -> ZoneWrite {
        ZoneWrite {
            zone: zone.clone(),
            name: purpose.target(&self.facts.label, zone),
            record_type: RecordType::Txt,
            set: set.cloned(),
        }
    }

    fn wanted(&self, version: &VersionFacts, report_uris: &[ReportUri]) -> Result<Vec<ZoneWrite>, StepError> {
        let text = |value: String| RecordData { ttl: self.config.record_ttl, values: vec![value] };
        let sts = text(StsRecord::new(version.policy_id.clone()).to_string());
        // The service's own intake first: some senders use the first address only (RFC 8460 §3).
        let mut rua = Vec::new();
        for template in &self.config.report_templates {
            let uri = template.for_label(&self.facts.label);
            rua.push(uri.map_err(|error| Failure::caused("ReportAddressUnusable", &error))?);
        }
        rua.extend_from_slice(report_uris);
        let tls_rpt = if rua.is_empty() {
            None
        } else {
            let record = TlsRptRecord::new(rua);
            Some(text(record.map_err(|error| Failure::caused("ReportAddressUnusable", &error))?.to_string()))
        };
        let mut writes = self.in_zones(DelegationPurpose::StsRecord, Some(&sts));
        writes.extend(self.in_zones(DelegationPurpose::TlsRptRecord, tls_rpt.as_ref()));
        Ok(writes)
    }

    /// The tenant's own addresses.
    async fn report_uris(&self) -> Result<Vec<ReportUri>, StepError> {
        Ok(self.deps.store.domain_settings(self.lease).await?.report_uris)
    }

    async fn wait_for_servers(&self, writes: &[ZoneWrite]) -> Result<(), StepError> {
        let patience = Instant::now() + CONFIRM_PATIENCE;
        for write in writes {
            let mut pause = CONFIRM_PAUSE;
            while let Some(failure) = self.lagging(write).await {
                if Instant::now() >= patience {
                    return Err(failure.into());
                }
                sleep(pause).await;
                // A hosted provider's servers are not to be asked twenty times a second.
                pause = (pause * 2).min(LONGEST_CONFIRM_PAUSE);
            }
        }
        Ok(())
    }

    /// Why one of the zone's servers does not have the set.
    pub(super) async fn lagging(&self, write: &ZoneWrite) -> Option<Failure> {
        let mut hostings = self.deps.zones.authoritative(&write.zone).peekable();
        if hostings.peek().is_none() {
            let message = format!("The zone {} is not configured with this worker any more.", write.zone);
            return Some(Failure::new("ZoneNotConfigured", message));
        }
        for hosting in hostings {
            let (resolver, provider) = (&self.deps.resolver, &*hosting.provider);
            match confirm(resolver, provider, &write.name, write.record_type, write.set.as_ref()).await {
                Ok(Confirmation::Agreed) => {}
                Ok(Confirmation::Lagging { server }) => {
                    let message = format!("The nameserver {server} does not have {} yet.", write.name);
                    return Some(Failure::new("RecordsLag", message));
                }
                Err(error @ ConfirmError::NoServers) => return Some(Failure::caused("NoNameservers", &error)),
                Err(error @ ConfirmError::Resolve(_)) => {
                    return Some(Failure::caused("NameserverUnreachable", &error));
                }
            }
        }
        None
    }
}

/// All record sets that a domain may have in a zone.
const RECORDS: [DelegationPurpose; 3] =
    [DelegationPurpose::StsRecord, DelegationPurpose::TlsRptRecord, DelegationPurpose::AcmeChallenge];

/// Invariant 1: the record never names a version that an in-service edge lacks.
fn may_publish(facts: &DomainFacts, id: PolicyVersionId) -> Result<&VersionFacts, Failure> {
    let Some(version) = facts.version.as_ref().filter(|version| version.id == id) else {
        return Err(Failure::new("VersionSuperseded", "A newer policy version came in between."));
    };
    if facts.host.content.is_none_or(|content| content.version_id != id) {
        return Err(Failure::new("NotServed", "The edges are told to serve something else by now."));
    }
    if facts.edges.acknowledged.is_none_or(|position| position < facts.host.revision) {
        return Err(Failure::new("EdgesLag", "An edge in service does not have the policy yet."));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        CertificateId, Clock, DomainId, Label, MailDomain, MaxAge, Mode, Policy, PolicyId, Revision, TenantId,
        clock::{ManualClock, SeededEntropy},
        lifecycle::{
            Attempts, DomainZones, EdgeFacts, HostContentRef, HostFacts, HostOwner, LedgerFacts, MxSource, Purpose,
        },
    };

    use super::*;

    /// The version is in the feed as of revision 7.
    fn facts(acknowledged: Option<u64>) -> (DomainFacts, PolicyVersionId) {
        let (now, entropy) = (ManualClock::default().now(), SeededEntropy::new(1));
        let (version, certificate) = (PolicyVersionId::draw(now, &entropy), CertificateId::draw(now, &entropy));
        let content = HostContentRef { version_id: version, certificate_id: certificate };
        let facts = DomainFacts {
            domain_id: DomainId::draw(now, &entropy),
            tenant_id: TenantId::draw(now, &entropy),
            name: MailDomain::from_stored("customer.test").unwrap(),
            label: Label::draw(&entropy),
            zones: DomainZones::at("sts.test".parse().unwrap()),
            created_at: now,
            purpose: Purpose::Live,
            gone_at: None,
            nudged_at: now,
            delegation: None,
            host: HostFacts {
                owner: HostOwner::Ours,
                content: Some(content),
                revision: Revision::new(7),
                changed_at: Some(now),
            },
            order: None,
            failed_validations: Vec::new(),
            certificate: None,
            mx_source: MxSource::Listed,
            version: Some(VersionFacts {
                id: version,
                policy_id: PolicyId::draw(now, &entropy),
                policy: Policy::new(Mode::None, Vec::new(), MaxAge::new(86_400).unwrap()).unwrap(),
                created_at: now,
                served_at: Some(now),
                verified_at: Some(now),
                published_at: None,
            }),
            record: mtasts_model::lifecycle::RecordFacts::default(),
            edges: EdgeFacts { acknowledged: acknowledged.map(Revision::new) },
            mx: None,
            mx_put_off: None,
            watch: None,
            rollout: None,
            migration: None,
            ledger: LedgerFacts::default(),
            reports: mtasts_model::lifecycle::ReportFacts::default(),
            attempts: Attempts::default(),
            conditions: Vec::new(),
        };
        (facts, version)
    }

    fn refusal(facts: &DomainFacts, version: PolicyVersionId) -> Option<&'static str> {
        may_publish(facts, version).err().map(|failure| failure.reason)
    }

    #[test]
    fn an_id_is_written_only_for_what_every_edge_in_service_has() {
        for (acknowledged, expected) in
            [(Some(7), None), (Some(8), None), (Some(6), Some("EdgesLag")), (None, Some("EdgesLag"))]
        {
            let (facts, version) = facts(acknowledged);
            assert_eq!(refusal(&facts, version), expected, "{acknowledged:?}");
        }
    }

    #[test]
    fn an_id_is_not_written_for_a_version_that_is_not_served_or_not_the_newest() {
        let (mut other, version) = facts(Some(7));
        let (unlike, _) = facts(Some(7));
        other.host.content = None;
        assert_eq!(refusal(&other, version), Some("NotServed"));
        other.host = unlike.host;
        other.version = None;
        assert_eq!(refusal(&other, version), Some("VersionSuperseded"));
    }
}
