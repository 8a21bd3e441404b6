//! Which keys secrets are sealed under, and exchanging what is sealed: for the rotation of keys.
//!
//! Nothing is opened here. Whoever has the key ring opens and seals; the store hands out what is sealed under a key, and
//! takes the exchange if nobody else has changed it meanwhile.

use mtasts_model::{DomainId, TenantId, Timestamp};
use sea_orm::{DatabaseTransaction, FromQueryResult, Value};
use uuid::Uuid;

use crate::{Store, StoreError, sql};

/// Where secrets are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealedKind {
    /// The private keys of certificates.
    CertificateKey,
    /// The private keys of orders, live and closed.
    OrderKey,
    /// Accounts at CAs.
    AcmeAccount,
    /// The secrets that webhooks are signed with.
    WebhookSecret,
    /// Those of before a rotation, which sign along for a while.
    FormerWebhookSecret,
    /// Credentials for tenants' own DNS.
    DnsCredential,
}

/// A secret as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// The row's key, as text.
    pub row: String,
    /// Whose it is; None: the service's.
    pub tenant_id: Option<TenantId>,
    /// Of which domain.
    pub domain_id: Option<DomainId>,
    /// The sealed message.
    pub sealed: Vec<u8>,
}

/// What takes the place of a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Resealed {
    /// The row's key, as text.
    pub row: String,
    /// What must still stand there.
    pub former: Vec<u8>,
    /// The same secret, sealed anew.
    pub sealed: Vec<u8>,
}

/// How many secrets of a kind are sealed under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCount {
    /// Where.
    pub kind: SealedKind,
    /// The key's id; None: the message has no known format.
    pub key: Option<String>,
    /// How many.
    pub count: u64,
}

/// A key that something is sealed under, or was until it is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingKey {
    /// Its id in the key ring.
    pub id: String,
    /// Since when.
    pub first_used_at: Timestamp,
    /// How many edges may hold secrets under it in their replicas, because they have not read far enough since.
    pub edges_behind: u64,
}

impl SealedKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CertificateKey,
        Self::OrderKey,
        Self::AcmeAccount,
        Self::WebhookSecret,
        Self::FormerWebhookSecret,
        Self::DnsCredential,
    ];

    /// Table, and column, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CertificateKey => "certificates",
            Self::OrderKey => "acme_orders",
            Self::AcmeAccount => "acme_accounts",
            Self::WebhookSecret => "webhooks",
            Self::FormerWebhookSecret => "webhooks (former)",
            Self::DnsCredential => "dns_credentials",
        }
    }

    fn place(self) -> Place {
        let plain = Place {
            table: "",
            key: "id",
            key_type: "uuid",
            tenant: "tenant_id",
            domain: "NULL::uuid",
            sealed: "sealed",
            under: "sealed_under",
        };
        match self {
            Self::CertificateKey => Place { table: "certificates", sealed: "sealed_key", domain: "domain_id", ..plain },
            Self::OrderKey => Place { table: "acme_orders", sealed: "sealed_key", domain: "domain_id", ..plain },
            Self::AcmeAccount => {
                Place { table: "acme_accounts", key: "issuer", key_type: "text", tenant: "NULL::uuid", ..plain }
            }
            Self::WebhookSecret => Place { table: "webhooks", ..plain },
            Self::FormerWebhookSecret => {
                Place { table: "webhooks", sealed: "former_sealed", under: "former_sealed_under", ..plain }
            }
            Self::DnsCredential => Place { table: "dns_credentials", ..plain },
        }
    }
}

/// Names of the schema. None comes from outside.
struct Place {
    table: &'static str,
    key: &'static str,
    key_type: &'static str,
    tenant: &'static str,
    domain: &'static str,
    sealed: &'static str,
    under: &'static str,
}

impl Place {
    /// `$1` key's id, `$2` row after which to go on, `$3` how many: by the index on both.
    fn page(&self, first: bool) -> String {
        let Self { table, key, key_type, tenant, domain, sealed, under } = self;
        let after = if first { String::new() } else { format!("AND {key} > $3::{key_type}") };
        format!(
            "SELECT {key}::text AS row, {tenant} AS tenant_id, {domain} AS domain_id, {sealed} AS sealed
             FROM {table} WHERE {under} = $1 {after} ORDER BY {key} LIMIT $2"
        )
    }

    /// `$1` rows, `$2` what stands there, `$3` what takes its place. Whoever has a row locked at this moment is not waited
    /// for: it comes again in the next round.
    fn exchange(&self) -> String {
        let Self { table, key, key_type, sealed, .. } = self;
        format!(
            "UPDATE {table} t SET {sealed} = n.sealed
             FROM (SELECT s.{key} AS key, n.former, n.sealed
                   FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS n (key, former, sealed)
                   JOIN {table} s ON s.{key} = n.key::{key_type} AND s.{sealed} = n.former
                   FOR NO KEY UPDATE OF s SKIP LOCKED) n
             WHERE t.{key} = n.key RETURNING t.{key}::text AS row"
        )
    }
}

/// The lock of the edge feed is taken before any row is touched, and no row is waited for under it: see
/// `next_edge_revision`.
const LOCK_EDGE_FEED: &str = "SELECT pg_advisory_xact_lock(1836344435, 1)";

/// `$1` certificates, `$2` now.
const SEND_AGAIN: &str = "
    UPDATE edge_entries SET revision = next_edge_revision(), changed_at = $2
    WHERE kind = 'host' AND certificate_id = ANY ($1::uuid[])";

/// `$1` the key's id.
const EDGES_UNTIL: &str = "
    UPDATE sealing_keys SET edges_until = GREATEST(edges_until, (SELECT last_value FROM edge_revisions)) WHERE id = $1";

const KEYS: &str = "
    SELECT k.id, k.first_used_at,
        (SELECT count(*) FROM nodes n WHERE n.kind = 'edge' AND n.position < k.edges_until) AS edges_behind
    FROM sealing_keys k ORDER BY k.first_used_at, k.id";

const FORGET_KEY: &str = "
    DELETE FROM sealing_keys k WHERE k.id = $1
        AND NOT EXISTS (SELECT FROM nodes n WHERE n.kind = 'edge' AND n.position < k.edges_until)";

#[derive(Debug, FromQueryResult)]
struct SecretRow {
    row: String,
    tenant_id: Option<Uuid>,
    domain_id: Option<Uuid>,
    sealed: Vec<u8>,
}

#[derive(Debug, FromQueryResult)]
struct CountRow {
    key: Option<String>,
    count: i64,
}

#[derive(Debug, FromQueryResult)]
struct KeyRow {
    id: String,
    first_used_at: Timestamp,
    edges_behind: i64,
}

impl Store {
    /// The ids of the keys that a key ring must have, for whatever is sealed to open. Any role that has a ring may ask.
    pub async fn needed_keys(&self) -> Result<Vec<String>, StoreError> {
        let rows = sql::rows(self.db(), "SELECT id FROM sealing_keys ORDER BY first_used_at, id", vec![]).await?;
        rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
    }

    /// The same, with how long edges need them. As the keeper.
    pub async fn sealing_keys(&self) -> Result<Vec<SealingKey>, StoreError> {
        let rows = sql::all::<KeyRow>(self.db(), KEYS, vec![]).await?;
        let key = |row: KeyRow| SealingKey {
            id: row.id,
            first_used_at: row.first_used_at,
            edges_behind: row.edges_behind.unsigned_abs(),
        };
        Ok(rows.into_iter().map(key).collect())
    }

    /// How many secrets are sealed under which key: a look at all entries of an index, for people. As the keeper.
    pub async fn count_sealed(&self) -> Result<Vec<SealedCount>, StoreError> {
        let mut counts = Vec::new();
        for kind in SealedKind::ALL {
            let Place { table, under, sealed, .. } = kind.place();
            let sql = format!(
                "SELECT {under} AS key, count(*) AS count FROM {table}
                 WHERE {under} IS NOT NULL OR {sealed} IS NOT NULL GROUP BY 1 ORDER BY 1"
            );
            let rows = sql::all::<CountRow>(self.db(), &sql, vec![]).await?;
            counts.extend(rows.into_iter().map(|row| SealedCount {
                kind,
                key: row.key,
                count: row.count.unsigned_abs(),
            }));
        }
        Ok(counts)
    }

    /// Secrets of a kind that are sealed under a key, in the order of their rows, after `after`. As the keeper.
    pub async fn sealed_under(
        &self,
        kind: SealedKind,
        key: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<SealedSecret>, StoreError> {
        let mut values: Vec<Value> = vec![key.into(), i64::from(limit).into()];
        values.extend(after.map(Value::from));
        let rows = sql::all::<SecretRow>(self.db(), &kind.place().page(after.is_none()), values).await?;
        let secret = |row: SecretRow| SealedSecret {
            row: row.row,
            tenant_id: row.tenant_id.map(TenantId::from_uuid),
            domain_id: row.domain_id.map(DomainId::from_uuid),
            sealed: row.sealed,
        };
        Ok(rows.into_iter().map(secret).collect())
    }

    /// Exchanges secrets, each only if nobody has changed it since it was read; gives how many it exchanged. Certificates
    /// that edges hold are sent to them once more, and the key `under` which they were sealed stays needed until all edges have them. As
    /// the keeper.
    pub async fn reseal(
        &self,
        kind: SealedKind,
        under: &str,
        batch: &[Resealed],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let tx = self.begin().await?;
        if kind == SealedKind::CertificateKey {
            sql::execute(&tx, LOCK_EDGE_FEED, vec![]).await?;
        }
        let rows: Vec<String> = batch.iter().map(|secret| secret.row.clone()).collect();
        let former: Vec<Vec<u8>> = batch.iter().map(|secret| secret.former.clone()).collect();
        let sealed: Vec<Vec<u8>> = batch.iter().map(|secret| secret.sealed.clone()).collect();
        let values = vec![rows.into(), former.into(), sealed.into()];
        let exchanged = sql::rows(&tx, &kind.place().exchange(), values).await?;
        if kind == SealedKind::CertificateKey {
            let ids: Result<Vec<String>, _> = exchanged.iter().map(|row| row.try_get("", "row")).collect();
            send_again(&tx, ids?, under, now).await?;
        }
        tx.commit().await?;
        Ok(u64::try_from(exchanged.len()).unwrap_or(u64::MAX))
    }

    /// Forgets a key that nothing is sealed under any more, neither here nor in an edge's replica: then processes start
    /// without it. False: it is still needed, or was never known. As the keeper.
    pub async fn forget_sealing_key(&self, key: &str) -> Result<bool, StoreError> {
        match sql::execute(self.db(), FORGET_KEY, vec![key.into()]).await {
            Ok(gone) => Ok(gone > 0),
            // Foreign key violation: something is sealed under it.
            Err(error) if error.sqlstate().as_deref() == Some("23503") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

async fn send_again(
    tx: &DatabaseTransaction,
    certificates: Vec<String>,
    under: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    if sql::execute(tx, SEND_AGAIN, vec![certificates.into(), now.into()]).await? > 0 {
        sql::execute(tx, EDGES_UNTIL, vec![under.into()]).await?;
    }
    Ok(())
}

impl std::fmt::Debug for SealedSecret {
    /// Not what is sealed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedSecret").field("row", &self.row).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Resealed {
    /// Not what is sealed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resealed").field("row", &self.row).finish_non_exhaustive()
    }
}
