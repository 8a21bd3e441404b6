//! Telling a tenant what the service has found out or brought about. Only what a transaction changes is told of, so that
//! a step that is repeated tells nothing twice.

use chrono::TimeDelta;
use mtasts_model::{
    CertificateId, Condition, EventData, HostName, MailDomain, Mode, Policy, PolicyVersionId, Timestamp,
    event::{
        CertificateExpiring, CertificateIssued, ConditionChanged, DomainRemoved, DomainStillDelegated, DriftFound,
        EventDomain, PolicyPublished, RenewalFailed,
    },
    label::DelegationPurpose,
    lifecycle::{CnameSeen, DelegationSeen, MxSeen, RenewalTrouble},
};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use super::LeaseTx;
use crate::{
    Channel, PolicyVersion, StoreError,
    domain_rows::status_word,
    event,
    new_version::{self, Made},
    sql,
};

/// Dangling CNAMEs are told of this often, with the jitter of daily looks.
const TOLD_AGAIN_AFTER: TimeDelta = TimeDelta::days(7);

/// A condition whose status is about to change.
#[derive(Debug, FromQueryResult)]
struct Changing {
    kind: String,
    before: String,
}

#[derive(Debug, FromQueryResult)]
struct InUse {
    id: Uuid,
    not_after: Timestamp,
}

impl LeaseTx {
    pub(crate) async fn emit(&mut self, data: impl Into<EventData>) -> Result<(), StoreError> {
        if event::emit(&self.tx, self.lease.tenant_id, data, self.now).await? {
            self.nudges.insert(Channel::Webhooks);
        }
        Ok(())
    }

    pub(crate) fn event_domain(&self) -> Result<EventDomain, StoreError> {
        event::domain(self.lease.domain_id, &self.domain.name)
    }

    pub(crate) async fn tell_of_policy(&mut self, made: &Made) -> Result<(), StoreError> {
        let data = made.event(self.event_domain()?);
        self.emit(data).await
    }

    pub(super) async fn tell_of_removal(&mut self) -> Result<(), StoreError> {
        let domain = self.event_domain()?;
        self.emit(DomainRemoved { domain }).await
    }

    /// Before `published_at` is stamped: only the first time counts.
    pub(super) async fn tell_of_publication(&mut self, id: PolicyVersionId) -> Result<(), StoreError> {
        let row = new_version::newest(&self.tx, Some(id.as_uuid())).await?;
        let Some(row) = row.filter(|row| row.published_at.is_none() && row.domain_id == self.id()) else {
            return Ok(());
        };
        let version = PolicyVersion::try_from(row)?;
        let domain = self.event_domain()?;
        let mode = version.policy.mode();
        self.emit(PolicyPublished { domain, version_id: id, policy_id: version.policy_id, mode }).await
    }

    /// Before it becomes the domain's newest.
    pub(super) async fn tell_of_certificate(
        &mut self,
        certificate_id: CertificateId,
        not_after: Timestamp,
    ) -> Result<(), StoreError> {
        let (domain, renewal) = (self.event_domain()?, self.certificate_in_use().await?.is_some());
        self.emit(CertificateIssued { domain, certificate_id, not_after, renewal }).await
    }

    /// A first certificate that is late shows in the domain's conditions; here there is one that will end.
    pub(super) async fn tell_of_failed_renewal(&mut self, reason: &str, message: &str) -> Result<(), StoreError> {
        let Some(InUse { id, not_after }) = self.certificate_in_use().await? else { return Ok(()) };
        let domain = self.event_domain()?;
        let (reason, message) = (reason.to_owned(), message.to_owned());
        let certificate_id = CertificateId::from_uuid(id);
        self.emit(RenewalFailed { domain, certificate_id, not_after, reason, message }).await
    }

    /// Tells that the certificate in use ends and is not renewed, unless that was told for so many days or fewer.
    pub async fn tell_of_expiry(
        &mut self,
        certificate_id: CertificateId,
        days: u16,
        trouble: RenewalTrouble,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE certificates SET told_days = $2
            WHERE id = $1 AND domain_id = $3 AND (told_days IS NULL OR told_days > $2) RETURNING not_after";
        let days = i16::try_from(days).unwrap_or(i16::MAX);
        let values = vec![certificate_id.as_uuid().into(), days.into(), self.id().into()];
        let Some(row) = sql::row(&self.tx, sql, values).await? else { return Ok(()) };
        let not_after: Timestamp = row.try_get("", "not_after")?;
        let days_left = u32::try_from((not_after - self.now).num_days()).unwrap_or(0);
        let domain = self.event_domain()?;
        let RenewalTrouble { reason, message, what_to_do } = trouble;
        let what_to_do = what_to_do.to_owned();
        self.emit(CertificateExpiring { domain, certificate_id, not_after, days_left, reason, message, what_to_do })
            .await
    }

    /// Tells of CNAMEs that a domain which is gone has left behind, once a week.
    pub(super) async fn tell_of_dangling(&mut self, seen: &DelegationSeen) -> Result<(), StoreError> {
        let domain = self.event_domain()?;
        let remove_records = still_here(&domain.domain, seen);
        if remove_records.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE domains SET still_delegated_told_at = $2
            WHERE id = $1 AND state = 'gone' AND gone_at IS NOT NULL
                AND (still_delegated_told_at IS NULL OR still_delegated_told_at <= $3) RETURNING gone_at";
        let values = vec![self.id().into(), self.now.into(), (self.now - TOLD_AGAIN_AFTER).into()];
        let Some(row) = sql::row(&self.tx, sql, values).await? else { return Ok(()) };
        let gone_at = row.try_get("", "gone_at")?;
        self.emit(DomainStillDelegated { domain, remove_records, gone_at }).await
    }

    async fn certificate_in_use(&self) -> Result<Option<InUse>, StoreError> {
        let sql = "SELECT c.id, c.not_after FROM domains d JOIN certificates c ON c.id = d.certificate_id
            WHERE d.id = $1";
        sql::one(&self.tx, sql, vec![self.id().into()]).await
    }

    /// Before they are shown. What is not shown yet is unknown, so that a condition that appears as such tells nothing.
    pub(super) async fn tell_of_conditions(&mut self, conditions: &[Condition]) -> Result<(), StoreError> {
        let (kinds, statuses): (Vec<_>, Vec<_>) = conditions
            .iter()
            .map(|condition| (condition.kind.as_str().to_owned(), status_word(condition.status).to_owned()))
            .unzip();
        let sql = "SELECT new.kind, COALESCE(old.status, 'Unknown') AS before
            FROM unnest($2::text[], $3::text[]) AS new (kind, status)
            LEFT JOIN domain_conditions old ON old.domain_id = $1 AND old.kind = new.kind
            WHERE COALESCE(old.status, 'Unknown') <> new.status";
        let changing =
            sql::all::<Changing>(&self.tx, sql, vec![self.id().into(), kinds.into(), statuses.into()]).await?;
        for condition in conditions {
            let Some(changing) = changing.iter().find(|changing| changing.kind == condition.kind.as_str()) else {
                continue;
            };
            let data = ConditionChanged {
                domain: self.event_domain()?,
                condition: condition.kind,
                status_before: self.at().status("status", &changing.before)?,
                status: condition.status,
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            };
            self.emit(data).await?;
        }
        Ok(())
    }

    /// Before the look is recorded. Hosts that were not covered at the look before, by the policy of now, are no news;
    /// nor is it when the tenant has just made the policy so.
    pub(super) async fn tell_of_drift(&mut self, seen: &MxSeen) -> Result<(), StoreError> {
        let Some(row) = new_version::newest(&self.tx, self.domain.version_id).await? else { return Ok(()) };
        let policy = PolicyVersion::try_from(row)?.policy;
        let uncovered_mx = uncovered(&policy, seen);
        if policy.mode() == Mode::None || uncovered_mx.is_empty() {
            return Ok(());
        }
        let sql = "SELECT mx FROM domains WHERE id = $1";
        let row = sql::row(&self.tx, sql, vec![self.id().into()]).await?.ok_or(StoreError::NotFound)?;
        let before = self.at().json_or_none::<MxSeen>("mx", row.try_get::<Option<Json>>("", "mx")?)?;
        if before.is_some_and(|before| uncovered(&policy, &before) == uncovered_mx) {
            return Ok(());
        }
        let domain = self.event_domain()?;
        self.emit(DriftFound { domain, uncovered_mx, mode: policy.mode() }).await
    }
}

/// The names whose CNAMEs lead to this registration's label.
pub(crate) fn still_here(domain: &MailDomain, seen: &DelegationSeen) -> Vec<String> {
    let looks = [
        (DelegationPurpose::PolicyHost, &seen.policy_host),
        (DelegationPurpose::StsRecord, &seen.sts_record),
        (DelegationPurpose::TlsRptRecord, &seen.tls_rpt_record),
        (DelegationPurpose::AcmeChallenge, &seen.acme_challenge),
    ];
    let ours = looks.into_iter().filter(|(_, cname)| **cname == CnameSeen::Ours);
    ours.map(|(purpose, _)| purpose.name(domain)).collect()
}

fn uncovered(policy: &Policy, seen: &MxSeen) -> Vec<HostName> {
    let mut hosts: Vec<_> =
        seen.hosts.iter().map(|seen| seen.host.clone()).filter(|host| !policy.covers(host)).collect();
    hosts.sort();
    hosts
}
