//! What was so at the time that a report speaks of: who held a domain, and what its policy host had.

use mtasts_model::{DomainId, PolicyVersionId, TenantId, Timestamp};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{Store, StoreError, sql};

/// Versions of a domain that are looked at, the newest.
const VERSIONS: i64 = 50;
/// Certificates of a domain that are looked at, the newest.
const CERTIFICATES: i64 = 20;

/// A domain whose policy host is the service's, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDomain {
    /// Its name.
    pub name: String,
    /// Which registration.
    pub domain: DomainId,
    /// Whose.
    pub tenant: TenantId,
}

/// A policy version and when it was in the edges' feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionThen {
    /// Which.
    pub id: PolicyVersionId,
    /// Byte for byte as served.
    pub text: String,
    /// From when.
    pub fed_at: Option<Timestamp>,
    /// Until when; None while it is in the feed, or never was.
    pub unfed_at: Option<Timestamp>,
}

/// What a domain's policy host had, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainHistory {
    /// Which.
    pub domain: DomainId,
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The newest policy versions, newest first.
    pub versions: Vec<VersionThen>,
    /// From when and until when the newest certificates are valid, since when the service has each, newest first.
    pub certificates: Vec<(Timestamp, Timestamp)>,
    /// When the delegation was last looked at.
    pub delegation_seen_at: Option<Timestamp>,
    /// Since when the policy host has not led to the service; None while it does, or was never looked at.
    pub delegation_lost_since: Option<Timestamp>,
}

#[derive(Debug, FromQueryResult)]
struct HeldRow {
    name: String,
    domain_id: Uuid,
    tenant_id: Uuid,
}

#[derive(Debug, FromQueryResult)]
struct HistoryRow {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    delegation: Option<Json>,
    versions: Option<Json>,
    certificates: Option<Json>,
}

#[derive(Debug, serde::Deserialize)]
struct VersionJson {
    id: Uuid,
    text: String,
    fed_at: Option<Timestamp>,
    unfed_at: Option<Timestamp>,
}

#[derive(Debug, serde::Deserialize)]
struct CertificateJson {
    since: Timestamp,
    until: Timestamp,
}

const HISTORY: &str = "
    SELECT d.id, d.tenant_id, d.name, d.delegation,
        (SELECT jsonb_agg(jsonb_build_object('id', v.id, 'text', v.policy_text, 'fed_at', v.fed_at, 'unfed_at', v.unfed_at)
                ORDER BY v.seq DESC)
            FROM (SELECT * FROM policy_versions WHERE domain_id = d.id ORDER BY seq DESC LIMIT $2) v) AS versions,
        (SELECT jsonb_agg(jsonb_build_object('since', c.created_at, 'until', c.not_after) ORDER BY c.created_at DESC)
            FROM (SELECT created_at, not_after FROM certificates WHERE domain_id = d.id
                ORDER BY created_at DESC LIMIT $3) c) AS certificates
    FROM domains d WHERE d.id = ANY ($1::uuid[])";

impl Store {
    /// Which of these names have their policy host with the service, and who has them: whoever DNS points to.
    pub async fn held_domains(&self, names: &[String]) -> Result<Vec<HeldDomain>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "SELECT name, domain_id, tenant_id FROM edge_entries
            WHERE name = ANY ($1::text[]) AND kind = 'host' AND domain_id IS NOT NULL";
        let rows = sql::all::<HeldRow>(self.db(), sql, vec![names.to_vec().into()]).await?;
        let held = |row: HeldRow| HeldDomain {
            name: row.name,
            domain: DomainId::from_uuid(row.domain_id),
            tenant: TenantId::from_uuid(row.tenant_id),
        };
        Ok(rows.into_iter().map(held).collect())
    }

    /// What these domains' policy hosts had, and when; of domains that are no more, nothing.
    pub async fn domain_histories(&self, domains: &[DomainId]) -> Result<Vec<DomainHistory>, StoreError> {
        let ids: Vec<Uuid> = domains.iter().map(|domain| domain.as_uuid()).collect();
        let values = vec![ids.into(), VERSIONS.into(), CERTIFICATES.into()];
        let rows = sql::all::<HistoryRow>(self.db(), HISTORY, values).await?;
        rows.into_iter().map(history).collect()
    }
}

fn history(row: HistoryRow) -> Result<DomainHistory, StoreError> {
    fn list<T: serde::de::DeserializeOwned>(
        row: Uuid,
        column: &'static str,
        json: Option<Json>,
    ) -> Result<Vec<T>, StoreError> {
        let read = json.map(serde_json::from_value).transpose();
        Ok(read.map_err(|error| StoreError::unreadable("domains", column, row, error))?.unwrap_or_default())
    }
    let versions = list::<VersionJson>(row.id, "versions", row.versions)?;
    let certificates = list::<CertificateJson>(row.id, "certificates", row.certificates)?;
    let time = |field: &str| row.delegation.as_ref()?.get(field)?.as_str()?.parse::<Timestamp>().ok();
    Ok(DomainHistory {
        domain: DomainId::from_uuid(row.id),
        tenant: TenantId::from_uuid(row.tenant_id),
        delegation_seen_at: time("at"),
        delegation_lost_since: time("lost_since"),
        versions: versions
            .into_iter()
            .map(|version| VersionThen {
                id: PolicyVersionId::from_uuid(version.id),
                text: version.text,
                fed_at: version.fed_at,
                unfed_at: version.unfed_at,
            })
            .collect(),
        certificates: certificates.into_iter().map(|certificate| (certificate.since, certificate.until)).collect(),
        name: row.name,
    })
}
