//! A tenant's credentials for its own DNS.

use mtasts_model::{DnsCredentialId, DomainId, HostName, Timestamp};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::TenantTx;
use crate::{
    Actor, CustomerProvider, DNS_CREDENTIALS_PER_TENANT, DnsCredential, DomainView, NewDnsCredential,
    SealedDnsCredential, StoreError, TsigAlgorithm,
    sql::{self, MAX_LIST},
    stored::{At, to_json},
};

const TABLE: &str = "dns_credentials";
/// All but the secret.
const COLUMNS: &str = "id, name, provider, zone, settings, created_at, last_used_at";

#[derive(Debug, FromQueryResult)]
struct Row {
    id: Uuid,
    name: String,
    provider: String,
    zone: Option<String>,
    settings: Json,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

/// `settings` of a [`CustomerProvider::Rfc2136`].
#[derive(Serialize, Deserialize)]
struct Rfc2136Settings {
    server: String,
    key_name: String,
    algorithm: TsigAlgorithm,
}

fn settings(provider: &CustomerProvider) -> Result<Json, StoreError> {
    match provider {
        CustomerProvider::Cloudflare => Ok(json!({})),
        CustomerProvider::Rfc2136 { server, key_name, algorithm } => to_json(&Rfc2136Settings {
            server: server.to_string(),
            key_name: key_name.as_str().to_owned(),
            algorithm: *algorithm,
        }),
    }
}

impl TryFrom<Row> for DnsCredential {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let at = At { table: TABLE, row: row.id };
        let provider = match row.provider.as_str() {
            "cloudflare" => CustomerProvider::Cloudflare,
            "rfc2136" => {
                let settings: Rfc2136Settings = at.json("settings", row.settings)?;
                CustomerProvider::Rfc2136 {
                    server: at.parse("settings", &settings.server)?,
                    key_name: at.parse("settings", &settings.key_name)?,
                    algorithm: settings.algorithm,
                }
            }
            other => return Err(at.unreadable("provider", format!("unknown word {other:?}"))),
        };
        Ok(Self {
            id: DnsCredentialId::from_uuid(row.id),
            name: row.name,
            provider,
            zone: row.zone.map(HostName::try_from).transpose().map_err(|error| at.unreadable("zone", error))?,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        })
    }
}

impl TenantTx {
    /// Keeps a credential; None when the tenant has [`DNS_CREDENTIALS_PER_TENANT`] already. [`StoreError::Taken`] when
    /// its id is taken.
    pub async fn create_dns_credential(
        &mut self,
        new: NewDnsCredential,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<DnsCredential>, StoreError> {
        // Until the transaction ends, so that requests at the same time count each other.
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('dns_credentials ' || $1, 0))";
        sql::execute(&self.tx, lock, vec![self.tenant.to_string().into()]).await?;
        let room = "SELECT count(*) < $1 AS room FROM dns_credentials WHERE tenant_id = $2";
        let values = vec![i64::from(DNS_CREDENTIALS_PER_TENANT).into(), self.tenant.as_uuid().into()];
        let row = sql::row(&self.tx, room, values).await?.ok_or(StoreError::NotFound)?;
        if !row.try_get::<bool>("", "room")? {
            return Ok(None);
        }
        let insert = "INSERT INTO dns_credentials (id, tenant_id, name, provider, zone, settings, sealed, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values = vec![
            new.id.as_uuid().into(),
            self.tenant.as_uuid().into(),
            new.name.into(),
            new.provider.as_str().into(),
            new.zone.as_ref().map(|zone| zone.as_str().to_owned()).into(),
            settings(&new.provider)?.into(),
            new.sealed.into(),
            now.into(),
        ];
        sql::execute(&self.tx, insert, values).await?;
        let made = self.dns_credential(new.id).await?.ok_or(StoreError::NotFound)?;
        self.audit(by, "dns-credential.create", made.id.to_string(), (None, Some(described(&made)?)), now).await?;
        Ok(Some(made))
    }

    /// One credential; None when there is none, or it is another tenant's.
    pub async fn dns_credential(&self, id: DnsCredentialId) -> Result<Option<DnsCredential>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM dns_credentials WHERE id = $1");
        sql::one::<Row>(&self.tx, &sql, vec![id.as_uuid().into()]).await?.map(DnsCredential::try_from).transpose()
    }

    /// Credentials by id, at most 200.
    pub async fn list_dns_credentials(
        &self,
        after: Option<DnsCredentialId>,
        limit: u32,
    ) -> Result<Vec<DnsCredential>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM dns_credentials WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2)
             ORDER BY id LIMIT $3"
        );
        let after = after.map(DnsCredentialId::as_uuid);
        let values = vec![self.tenant.as_uuid().into(), after.into(), i64::from(limit.min(MAX_LIST)).into()];
        sql::all::<Row>(&self.tx, &sql, values).await?.into_iter().map(DnsCredential::try_from).collect()
    }

    /// Forgets a credential, and its secret with it; gives what it was, or None when there was none.
    pub async fn delete_dns_credential(
        &mut self,
        id: DnsCredentialId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<DnsCredential>, StoreError> {
        let Some(credential) = self.dns_credential(id).await? else { return Ok(None) };
        let delete = "DELETE FROM dns_credentials WHERE id = $1";
        if sql::execute(&self.tx, delete, vec![id.as_uuid().into()]).await? == 0 {
            // Somebody was faster.
            return Ok(None);
        }
        let before = described(&credential)?;
        self.audit(by, "dns-credential.delete", id.to_string(), (Some(before), None), now).await?;
        Ok(Some(credential))
    }

    /// Takes a credential with its sealed secret, for `purpose` on this domain; None when there is none. The use is
    /// stamped and audited.
    pub async fn use_dns_credential(
        &mut self,
        id: DnsCredentialId,
        (domain, purpose): (DomainId, &'static str),
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<SealedDnsCredential>, StoreError> {
        let stamp = "UPDATE dns_credentials SET last_used_at = $1 WHERE id = $2";
        sql::execute(&self.tx, stamp, vec![now.into(), id.as_uuid().into()]).await?;
        let Some(credential) = self.dns_credential(id).await? else { return Ok(None) };
        let sealed = "SELECT sealed FROM dns_credentials WHERE id = $1";
        let row = sql::row(&self.tx, sealed, vec![id.as_uuid().into()]).await?.ok_or(StoreError::NotFound)?;
        let after = json!({ "domain": domain, "purpose": purpose });
        self.audit(by, "dns-credential.use", id.to_string(), (None, Some(after)), now).await?;
        Ok(Some(SealedDnsCredential { credential, sealed: row.try_get("", "sealed")? }))
    }

    /// Notes in the audit log what became of the records of a domain's delegation in the customer's zone; if any was
    /// created, the domain is looked at again at once. [`StoreError::NotFound`] when the domain is gone.
    pub async fn note_delegation_applied(
        &mut self,
        (domain, credential): (DomainId, DnsCredentialId),
        (any_created, outcome): (bool, Json),
        by: &Actor,
        now: Timestamp,
    ) -> Result<DomainView, StoreError> {
        self.lock(domain).await?;
        if any_created {
            self.nudge_domain(domain, now).await?;
        }
        let after = json!({ "dns_credential": credential, "records": outcome });
        self.audit(by, "domain.delegation-apply", domain.to_string(), (None, Some(after)), now).await?;
        self.existing(domain).await
    }
}

/// A credential as the audit log tells of it: never the secret, sealed or not.
fn described(credential: &DnsCredential) -> Result<Json, StoreError> {
    Ok(json!({ "name": credential.name, "provider": credential.provider.as_str(), "zone": credential.zone,
        "settings": settings(&credential.provider)? }))
}
