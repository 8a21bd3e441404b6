//! A tenant's domains.

use mtasts_model::{DomainId, MailDomain, ReportUri, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::TenantTx;
use crate::{
    Actor, DomainFilter, DomainView, NewDomain, StoreError, domain_rows,
    new_version::{self, Target},
    sql,
    stored::{mx_source_word, report_uri_texts, seconds_column},
};

impl TenantTx {
    /// Registers a domain, and wakes it. [`StoreError::DomainExists`] when the tenant has it already (the transaction
    /// can go on), [`StoreError::Taken`] when a drawn id or label is taken.
    pub async fn create_domain(
        &mut self,
        new: NewDomain,
        by: &Actor,
        now: Timestamp,
    ) -> Result<DomainView, StoreError> {
        if let Some(id) = self.living(&new.name).await? {
            return Err(StoreError::DomainExists { id });
        }
        let label = "INSERT INTO labels (label, drawn_at) VALUES ($1, $2)";
        sql::execute(&self.tx, label, vec![new.label.as_str().into(), now.into()]).await?;
        if !self.insert_domain(&new, now).await? {
            // Another request was faster: its row is visible now.
            let id = self.living(&new.name).await?.ok_or(StoreError::NotFound)?;
            return Err(StoreError::DomainExists { id });
        }
        let schedule = "INSERT INTO domain_schedule (domain_id, tenant_id, wake_at, woken) VALUES ($1, $2, $3, true)";
        let values = vec![new.id.as_uuid().into(), self.tenant.as_uuid().into(), now.into()];
        sql::execute(&self.tx, schedule, values).await?;
        let after = json!({ "name": new.name.as_str(), "label": new.label.as_str(), "zone": new.zone.as_str(),
            "mx_source": mx_source_word(new.mx_source), "policy": new.first.as_ref().map(|first| &first.policy),
            "forced": new.first.as_ref().and_then(|first| first.forced.as_ref()),
            "report_uris": report_uri_texts(&new.report_uris) });
        if let Some(first) = new.first {
            let target = Target { domain: new.id, tenant: self.tenant, name: new.name.as_str(), newest: None };
            new_version::make(&self.tx, target, first, by, now).await?;
        }
        self.audit(by, "domain.create", new.id.to_string(), (None, Some(after)), now).await?;
        self.wake(new.id, now).await?;
        self.domains_made += 1;
        self.existing(new.id).await
    }

    async fn insert_domain(&self, new: &NewDomain, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO domains (id, tenant_id, name, label, state, mx_source, preferred_mode,
                preferred_max_age, report_uris, created_at, nudged_at, zone)
            VALUES ($1, $2, $3, $4, 'pending', $5, $6, $7, $8, $9, $9, $10)
            ON CONFLICT (tenant_id, name) WHERE state <> 'gone' DO NOTHING";
        let values = vec![
            new.id.as_uuid().into(),
            self.tenant.as_uuid().into(),
            new.name.as_str().into(),
            new.label.as_str().into(),
            mx_source_word(new.mx_source).into(),
            new.preferred_mode.as_str().into(),
            seconds_column(new.preferred_max_age).into(),
            report_uri_texts(&new.report_uris).into(),
            now.into(),
            new.zone.as_str().into(),
        ];
        Ok(sql::execute(&self.tx, sql, values).await? > 0)
    }

    async fn living(&self, name: &MailDomain) -> Result<Option<DomainId>, StoreError> {
        let sql = "SELECT id FROM domains WHERE name = $1 AND state <> 'gone'";
        let row = sql::row(&self.tx, sql, vec![name.as_str().into()]).await?;
        Ok(row.map(|row| row.try_get::<Uuid>("", "id")).transpose()?.map(DomainId::from_uuid))
    }

    /// One domain; None when there is none, or it is another tenant's.
    pub async fn domain(&self, id: DomainId) -> Result<Option<DomainView>, StoreError> {
        domain_rows::by_id(&self.tx, id).await
    }

    pub(super) async fn existing(&self, id: DomainId) -> Result<DomainView, StoreError> {
        self.domain(id).await?.ok_or(StoreError::NotFound)
    }

    /// The living registration of a name.
    pub async fn domain_by_name(&self, name: &MailDomain) -> Result<Option<DomainView>, StoreError> {
        domain_rows::by_name(&self.tx, name.as_str()).await
    }

    /// Domains, at most 200, from the one after `after` on: ordered by id, or by name when there is a `name_prefix`.
    pub async fn list_domains(
        &self,
        filter: &DomainFilter,
        after: Option<DomainId>,
        limit: u32,
    ) -> Result<Vec<DomainView>, StoreError> {
        domain_rows::list(&self.tx, filter, after, limit).await
    }

    /// Asks to look at everything again at once. Within 15 s of the last such request it changes nothing: a tenant who
    /// asks in a loop must not keep workers and their probes busy. [`StoreError::NotFound`] for a domain that is gone
    /// as well.
    pub async fn request_verify(&mut self, id: DomainId, by: &Actor, now: Timestamp) -> Result<DomainView, StoreError> {
        let domain = self.lock(id).await?;
        if domain.state()? == crate::DomainState::Gone {
            return Err(StoreError::NotFound);
        }
        if domain.was_nudged_lately(now) {
            return self.existing(id).await;
        }
        self.nudge_domain(id, now).await?;
        self.audit(by, "domain.verify", id.to_string(), (None, None), now).await?;
        self.existing(id).await
    }

    pub(super) async fn nudge_domain(&mut self, id: DomainId, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE domains SET nudged_at = $1 WHERE id = $2";
        sql::execute(&self.tx, sql, vec![now.into(), id.as_uuid().into()]).await?;
        self.wake(id, now).await
    }

    /// Sets where senders send their reports (RFC 8460 §3); none: no TLSRPT record. [`StoreError::Withdrawing`] once
    /// the domain is being taken back.
    pub async fn set_report_uris(
        &mut self,
        id: DomainId,
        uris: &[ReportUri],
        by: &Actor,
        now: Timestamp,
    ) -> Result<DomainView, StoreError> {
        let domain = self.lock(id).await?;
        if !domain.is_kept()? {
            return Err(StoreError::Withdrawing);
        }
        let after = report_uri_texts(uris);
        if domain.report_uris != after {
            let sql = "UPDATE domains SET report_uris = $1 WHERE id = $2";
            sql::execute(&self.tx, sql, vec![after.clone().into(), id.as_uuid().into()]).await?;
            let change = (Some(domain.report_uris), Some(after));
            self.audit(by, "domain.report-uris", id.to_string(), change, now).await?;
            self.wake(id, now).await?;
        }
        self.existing(id).await
    }
}
