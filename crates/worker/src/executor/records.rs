//! The TXT records in the service's zone: written only once every edge has the body (invariant 1, RFC 8461 §8.1).

use std::time::Duration;

use chrono::TimeDelta;
use mtasts_dns::{ConfirmError, Confirmation, ProviderError, RecordChange, confirm};
use mtasts_model::{
    PolicyVersionId, ReportUri, StsRecord, Timestamp, TlsRptRecord,
    feed::{RecordData, RecordType},
    label::DelegationPurpose,
    lifecycle::{DomainFacts, VersionFacts},
};
use tokio::time::{Instant, sleep};

use super::Context;
use crate::outcome::{Failure, Finding, StepError};

/// Servers that lag are asked again this often …
const CONFIRM_PAUSE: Duration = Duration::from_millis(50);
/// … and so long before the step is given back. Our own nameservers need well under a second.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(2);

impl Context<'_> {
    /// Writes the id, and where reports go.
    pub(super) async fn write_records(&self, id: PolicyVersionId) -> Result<Finding, StepError> {
        // What was planned may have changed meanwhile: looked at again as shortly before the write as can be.
        let facts = self.deps.store.facts(self.lease, self.now(), self.config.edge_grace).await?;
        let version = may_publish(&facts, id)?;
        let changes = self.changes(version, &self.report_uris().await?)?;
        self.apply(&changes).await?;
        Ok(Finding::RecordsWritten { version: id })
    }

    /// Reads the records back from every authoritative server.
    pub(super) async fn confirm_records(&self, id: PolicyVersionId) -> Result<Finding, StepError> {
        let version = self.version(id)?;
        let report_uris = self.report_uris().await?;
        let changes = self.changes(version, &report_uris)?;
        self.wait_for_servers(&changes).await?;
        Ok(Finding::RecordsConfirmed { version: id, report_uris })
    }

    /// Takes all of the domain's records out of the zone.
    pub(super) async fn remove_records(&self) -> Result<Finding, StepError> {
        let gone = |purpose: DelegationPurpose| RecordChange {
            name: purpose.target(&self.facts.label, &self.config.zone),
            record_type: RecordType::Txt,
            set: None,
        };
        let purposes =
            [DelegationPurpose::StsRecord, DelegationPurpose::TlsRptRecord, DelegationPurpose::AcmeChallenge];
        let changes = purposes.map(gone);
        self.apply(&changes).await?;
        self.wait_for_servers(&changes).await?;
        Ok(Finding::RecordsRemoved)
    }

    fn changes(&self, version: &VersionFacts, report_uris: &[ReportUri]) -> Result<[RecordChange; 2], StepError> {
        let change = |purpose: DelegationPurpose, value: Option<String>| RecordChange {
            name: purpose.target(&self.facts.label, &self.config.zone),
            record_type: RecordType::Txt,
            set: value.map(|value| RecordData { ttl: self.config.record_ttl, values: vec![value] }),
        };
        let sts = StsRecord::new(version.policy_id.clone()).to_string();
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
            Some(record.map_err(|error| Failure::caused("ReportAddressUnusable", &error))?.to_string())
        };
        Ok([change(DelegationPurpose::StsRecord, Some(sts)), change(DelegationPurpose::TlsRptRecord, tls_rpt)])
    }

    /// The tenant's own addresses.
    async fn report_uris(&self) -> Result<Vec<ReportUri>, StepError> {
        Ok(self.deps.store.domain_settings(self.lease).await?.report_uris)
    }

    async fn wait_for_servers(&self, changes: &[RecordChange]) -> Result<(), StepError> {
        let patience = Instant::now() + CONFIRM_PATIENCE;
        for change in changes {
            while let Some(failure) = self.lagging(change).await {
                if Instant::now() >= patience {
                    return Err(failure.into());
                }
                sleep(CONFIRM_PAUSE).await;
            }
        }
        Ok(())
    }

    async fn lagging(&self, change: &RecordChange) -> Option<Failure> {
        let (resolver, provider) = (&self.deps.resolver, &*self.deps.provider);
        match confirm(resolver, provider, &change.name, change.record_type, change.set.as_ref()).await {
            Ok(Confirmation::Agreed) => None,
            Ok(Confirmation::Lagging { server }) => {
                Some(Failure::new("RecordsLag", format!("The nameserver {server} does not have {} yet.", change.name)))
            }
            Err(error @ ConfirmError::NoServers) => Some(Failure::caused("NoNameservers", &error)),
            Err(error @ ConfirmError::Resolve(_)) => Some(Failure::caused("NameserverUnreachable", &error)),
        }
    }
}

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

/// A failure of the provider, with its own wish when to be asked again.
pub(super) fn provider_failed(error: &ProviderError, now: Timestamp) -> Failure {
    let (reason, after) = match error {
        ProviderError::Unavailable { retry_after, .. } => ("DnsProviderUnavailable", *retry_after),
        ProviderError::RateLimited { retry_after } => ("DnsProviderRateLimited", *retry_after),
        ProviderError::Unauthorized => ("DnsProviderUnauthorized", None),
        ProviderError::NameOutsideZone { .. } | ProviderError::InvalidName(_) => ("RecordNameUnusable", None),
        ProviderError::Conflict { .. } => ("DnsRecordConflict", None),
        ProviderError::Other(_) => ("DnsProviderFailed", None),
    };
    let after = after.and_then(|wait| TimeDelta::from_std(wait).ok());
    Failure::caused(reason, error).until(after.map(|wait| now + wait))
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        CertificateId, Clock, DomainId, Label, MailDomain, MaxAge, Mode, Policy, PolicyId, Revision, TenantId,
        clock::{ManualClock, SeededEntropy},
        lifecycle::{Attempts, EdgeFacts, HostContentRef, HostFacts, HostOwner, LedgerFacts, MxSource, Purpose},
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
            created_at: now,
            purpose: Purpose::Live,
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
            ledger: LedgerFacts::default(),
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
