//! A tenant's domains.

use std::collections::BTreeSet;

use mtasts_model::{DomainId, MailDomain, ReportUri, Tag, Timestamp, event::DomainCreated};
use serde_json::json;
use uuid::Uuid;

use super::TenantTx;
use crate::{
    Actor, DomainFilter, DomainPage, DomainPosition, DomainQuery, DomainView, NewDomain, StoreError, domain_list,
    domain_rows, event,
    new_version::{self, Target},
    sql::{self, MAX_LIST},
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
        self.emit(DomainCreated { domain: event::domain(new.id, new.name.as_str())? }, now).await?;
        if let Some(first) = new.first {
            let target = Target { domain: new.id, tenant: self.tenant, name: new.name.as_str(), newest: None };
            let made = new_version::make(&self.tx, target, first, by, now).await?;
            self.tell_of_policy(&made, (new.id, new.name.as_str()), now).await?;
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

    /// One domain, locked against the worker and other requests until the transaction ends: what is decided on its state
    /// holds. None as with [`Self::domain`].
    pub async fn domain_locked(&self, id: DomainId) -> Result<Option<DomainView>, StoreError> {
        match self.lock(id).await {
            // A statement of its own, so that it sees what was committed while this one waited for the lock.
            Ok(_) => self.domain(id).await,
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn existing(&self, id: DomainId) -> Result<DomainView, StoreError> {
        self.domain(id).await?.ok_or(StoreError::NotFound)
    }

    /// The living registration of a name.
    pub async fn domain_by_name(&self, name: &MailDomain) -> Result<Option<DomainView>, StoreError> {
        domain_rows::by_name(&self.tx, name.as_str()).await
    }

    /// A page of domains. What it costs is bounded, whatever the filters and however many domains there are.
    pub async fn domain_page(&self, query: &DomainQuery) -> Result<DomainPage, StoreError> {
        domain_list::page(&self.tx, query).await
    }

    /// Domains in order of their ids, from the one after `after` on: at most 200, and fewer than `limit` only at the end.
    pub async fn list_domains(
        &self,
        filter: &DomainFilter,
        after: Option<DomainId>,
        limit: u32,
    ) -> Result<Vec<DomainView>, StoreError> {
        let limit = limit.min(MAX_LIST);
        let after = after.map(|id| DomainPosition { id, name: None });
        let mut query = DomainQuery { filter: filter.clone(), after, limit, ..DomainQuery::default() };
        let mut domains = Vec::new();
        loop {
            let page = self.domain_page(&query).await?;
            domains.extend(page.domains);
            query.limit = limit.saturating_sub(u32::try_from(domains.len()).unwrap_or(limit));
            match page.next {
                Some(next) if query.limit > 0 => query.after = Some(next),
                _ => return Ok(domains),
            }
        }
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

    /// Gives a domain these tags and no others. [`StoreError::Withdrawing`] once it is being taken back.
    pub async fn set_tags(
        &mut self,
        id: DomainId,
        tags: &BTreeSet<Tag>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<DomainView, StoreError> {
        let domain = self.lock(id).await?;
        if !domain.is_kept()? {
            return Err(StoreError::Withdrawing);
        }
        let before = self.existing(id).await?;
        if before.tags.iter().eq(tags) {
            return Ok(before);
        }
        let words: Vec<String> = tags.iter().map(Tag::to_string).collect();
        let drop = "DELETE FROM domain_tags WHERE domain_id = $1 AND tag <> ALL ($2)";
        sql::execute(&self.tx, drop, vec![id.as_uuid().into(), words.clone().into()]).await?;
        let add = "INSERT INTO domain_tags (tenant_id, domain_id, tag, name)
            SELECT $1, $2, tag, $3 FROM unnest($4::text[]) AS t (tag) ON CONFLICT DO NOTHING";
        let values = vec![self.tenant.as_uuid().into(), id.as_uuid().into(), domain.name.into(), words.into()];
        sql::execute(&self.tx, add, values).await?;
        let change = (Some(json!(before.tags)), Some(json!(tags)));
        self.audit(by, "domain.tags", id.to_string(), change, now).await?;
        self.existing(id).await
    }
}
