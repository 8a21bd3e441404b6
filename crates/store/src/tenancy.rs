//! Tenants and their API keys, as the operator handles them.

use chrono::TimeDelta;
use mtasts_model::{ApiKeyId, Scope, Scopes, TenantId, Timestamp};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use serde_json::json;

use crate::{
    Actor, Store, StoreError, audit,
    entity::{api_key, tenant},
    sql::{self, MAX_LIST},
};

/// Levels of tenants, roots included. The table holds it too (migration `0008_tenant_tree`).
const TENANT_LEVELS: i32 = 5;

/// A customer account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, for people.
    pub name: String,
    /// The provider that manages it.
    pub parent: Option<TenantId>,
    /// Since when.
    pub created_at: Timestamp,
}

/// What a new tenant is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// Drawn by the caller.
    pub id: TenantId,
    /// 1 to 200 characters.
    pub name: String,
    /// The provider that manages it.
    pub parent: Option<TenantId>,
}

/// A credential, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its name, for people.
    pub name: String,
    /// How its text begins, so that people recognise it.
    pub prefix: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it works; None: until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// The key that a rotation put in its place.
    pub successor: Option<ApiKeyId>,
}

impl ApiKey {
    /// Whether it opens anything at this time.
    pub fn works(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|until| until > now)
    }
}

/// What a new key is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Drawn by the caller.
    pub id: ApiKeyId,
    /// 1 to 200 characters.
    pub name: String,
    /// How its text begins.
    pub prefix: String,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// What it may do, for good.
    pub scopes: Scopes,
    /// Until when it works.
    pub expires_at: Option<Timestamp>,
}

/// Whose key was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticatedKey {
    /// The tenant for whom it speaks.
    pub tenant_id: TenantId,
    /// The key.
    pub key_id: ApiKeyId,
    /// What it may do.
    pub scopes: Scopes,
    /// The tenant within which the call acts: the key's own, or the one beneath it that was asked for. None: that one
    /// does not exist, or is out of the key's reach.
    pub acts_for: Option<TenantId>,
    /// Whether the operator has suspended either.
    pub suspended: bool,
}

/// Within which tenant somebody acts who has no key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// As of a key: see [`AuthenticatedKey::acts_for`].
    pub acts_for: Option<TenantId>,
    /// Whether the operator has suspended it, or the tenant whom the caller belongs to.
    pub suspended: bool,
}

impl Store {
    /// Makes a tenant. [`StoreError::NotFound`] when the parent does not exist, [`StoreError::Taken`] when the id does,
    /// [`StoreError::TooDeep`] when the parent stands at the lowest level.
    pub async fn create_tenant(&self, new: NewTenant, by: &Actor, now: Timestamp) -> Result<Tenant, StoreError> {
        let tx = self.operator_tx().await?;
        let created = insert(&tx, new, by, now).await?;
        tx.commit().await?;
        Ok(created)
    }

    /// One tenant.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let tx = self.operator_tx().await?;
        let row = tenant::Entity::find_by_id(id.as_uuid()).one(&tx).await?;
        tx.commit().await?;
        Ok(row.map(Tenant::from))
    }

    /// Tenants by id, at most 200.
    pub async fn list_tenants(&self, after: Option<TenantId>, limit: u32) -> Result<Vec<Tenant>, StoreError> {
        let tx = self.operator_tx().await?;
        let mut query = tenant::Entity::find().order_by_asc(tenant::Column::Id).limit(u64::from(limit.min(MAX_LIST)));
        if let Some(after) = after {
            query = query.filter(tenant::Column::Id.gt(after.as_uuid()));
        }
        let rows = query.all(&tx).await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(Tenant::from).collect())
    }

    /// Whose key this is, and whether it may act for `target`; None when there is no such key, or it has expired or was
    /// revoked. Notes the use, at most once a minute. The database is asked each time: a key that was revoked through any
    /// replica is refused by all of them.
    pub async fn authenticate(
        &self,
        key_hash: &[u8; 32],
        target: Option<TenantId>,
        now: Timestamp,
    ) -> Result<Option<AuthenticatedKey>, StoreError> {
        let tx = self.begin().await?;
        let hash = data_encoding::HEXLOWER.encode(key_hash);
        let set = "SELECT set_config('role', 'mtasts_api', true), set_config('app.key_hash', $1, true)";
        sql::execute(&tx, set, vec![hash.into()]).await?;
        let row = api_key::Entity::find().filter(api_key::Column::Hash.eq(key_hash.to_vec())).one(&tx).await?;
        let Some(row) = row else { return Ok(None) };
        let tenant_id = TenantId::from_uuid(row.tenant_id);
        let key = ApiKey::try_from(row)?;
        if !key.works(now) {
            return Ok(None);
        }
        if key.last_used_at.is_none_or(|at| at + TimeDelta::minutes(1) <= now) {
            // Whoever else notes it at this moment writes the same: nobody waits.
            let note = "UPDATE api_keys SET last_used_at = $1 WHERE id = (
                SELECT id FROM api_keys WHERE hash = $2 FOR NO KEY UPDATE SKIP LOCKED)";
            sql::execute(&tx, note, vec![now.into(), key_hash.to_vec().into()]).await?;
        }
        see(&tx, tenant_id).await?;
        let acts_for = reach(&tx, tenant_id, key.scopes, target).await?;
        let suspended = is_suspended(&tx, tenant_id, acts_for).await?;
        tx.commit().await?;
        Ok(Some(AuthenticatedKey { tenant_id, key_id: key.id, scopes: key.scopes, acts_for, suspended }))
    }

    /// Within which tenant somebody acts who has these scopes in `home`, and asks for `target`. None when there is no tenant
    /// `home`.
    pub async fn admit(
        &self,
        home: TenantId,
        scopes: Scopes,
        target: Option<TenantId>,
    ) -> Result<Option<Admission>, StoreError> {
        let tx = self.begin().await?;
        let set = "SELECT set_config('role', 'mtasts_api', true), set_config('app.tenant', $1, true)";
        sql::execute(&tx, set, vec![home.as_uuid().to_string().into()]).await?;
        let look = "SELECT 1 AS there FROM tenants WHERE id = $1";
        let there = sql::row(&tx, look, vec![home.as_uuid().into()]).await?.is_some();
        let admission = if there {
            let acts_for = reach(&tx, home, scopes, target).await?;
            Some(Admission { acts_for, suspended: is_suspended(&tx, home, acts_for).await? })
        } else {
            None
        };
        tx.commit().await?;
        Ok(admission)
    }

    /// A transaction that sees and makes tenants, and sees nothing of what they own.
    pub(crate) async fn operator_tx(&self) -> Result<DatabaseTransaction, StoreError> {
        let tx = self.begin().await?;
        let set = "SELECT set_config('role', 'mtasts_api', true), set_config('app.operator', 'on', true)";
        sql::execute(&tx, set, vec![]).await?;
        Ok(tx)
    }
}

/// Makes the row of a tenant, and the first line of its log. The parent must be in the transaction's sight.
pub(crate) async fn insert(
    tx: &DatabaseTransaction,
    new: NewTenant,
    by: &Actor,
    now: Timestamp,
) -> Result<Tenant, StoreError> {
    if let Some(parent) = new.parent {
        let level = "SELECT cardinality(ancestors) AS level FROM tenants WHERE id = $1";
        let row = sql::row(tx, level, vec![parent.as_uuid().into()]).await?.ok_or(StoreError::NotFound)?;
        // A root is at level 0.
        if row.try_get::<i32>("", "level")? + 1 >= TENANT_LEVELS {
            return Err(StoreError::TooDeep);
        }
    }
    let row = tenant::ActiveModel {
        id: Set(new.id.as_uuid()),
        name: Set(new.name),
        parent_id: Set(new.parent.map(TenantId::as_uuid)),
        created_at: Set(now),
    };
    let created = Tenant::from(row.insert(tx).await?);
    let entry = audit::Entry {
        tenant: created.id,
        action: "tenant.create",
        object: created.id.to_string(),
        before: None,
        after: Some(json!({ "name": created.name, "parent": created.parent })),
    };
    audit::record(tx, by, entry, now).await?;
    Ok(created)
}

/// The tenant within which whoever is at `home` with these scopes acts when asking for `target`; None: out of reach.
pub(crate) async fn reach(
    tx: &DatabaseTransaction,
    home: TenantId,
    scopes: Scopes,
    target: Option<TenantId>,
) -> Result<Option<TenantId>, StoreError> {
    let target = match target {
        None => return Ok(Some(home)),
        Some(target) if target == home => return Ok(Some(home)),
        Some(target) => target,
    };
    if !scopes.contains(Scope::CustomersAct) {
        return Ok(None);
    }
    look_beneath(tx, home).await?;
    Ok(is_beneath(tx, home, target).await?.then_some(target))
}

/// From here on the transaction sees this tenant.
async fn see(tx: &DatabaseTransaction, tenant: TenantId) -> Result<(), StoreError> {
    let set = "SELECT set_config('app.tenant', $1, true)";
    sql::execute(tx, set, vec![tenant.as_uuid().to_string().into()]).await?;
    Ok(())
}

/// Whether the operator has suspended one of these, which are in the transaction's sight.
async fn is_suspended(
    tx: &DatabaseTransaction,
    home: TenantId,
    acts_for: Option<TenantId>,
) -> Result<bool, StoreError> {
    let look = "SELECT 1 AS there FROM tenants WHERE id IN ($1, $2) AND suspended_at IS NOT NULL LIMIT 1";
    let values = vec![home.as_uuid().into(), acts_for.unwrap_or(home).as_uuid().into()];
    Ok(sql::row(tx, look, values).await?.is_some())
}

/// From here on the transaction sees the tenants beneath `provider`.
pub(crate) async fn look_beneath(tx: &DatabaseTransaction, provider: TenantId) -> Result<(), StoreError> {
    let set = "SELECT set_config('app.provider', $1, true)";
    sql::execute(tx, set, vec![provider.as_uuid().to_string().into()]).await?;
    Ok(())
}

/// Whether `tenant` is beneath `provider`, at any level: one look at its row.
pub(crate) async fn is_beneath(
    tx: &DatabaseTransaction,
    provider: TenantId,
    tenant: TenantId,
) -> Result<bool, StoreError> {
    let look = "SELECT 1 AS there FROM tenants WHERE id = $1 AND $2 = ANY (ancestors)";
    Ok(sql::row(tx, look, vec![tenant.as_uuid().into(), provider.as_uuid().into()]).await?.is_some())
}
