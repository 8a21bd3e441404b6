//! A tenant's API keys.

use mtasts_model::{ApiKeyId, Timestamp};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;

use super::TenantTx;
use crate::{
    Actor, ApiKey, NewApiKey, StoreError,
    entity::api_key,
    sql::{self, MAX_LIST},
};

impl TenantTx {
    /// Makes a key. [`StoreError::Taken`] when its id or hash is taken.
    pub async fn create_api_key(&mut self, new: NewApiKey, by: &Actor, now: Timestamp) -> Result<ApiKey, StoreError> {
        let key = self.insert_api_key(new, now).await?;
        let after = json!({
            "name": key.name, "prefix": key.prefix, "scopes": words(&key), "expires_at": key.expires_at
        });
        self.audit(by, "api-key.create", key.id.to_string(), (None, Some(after)), now).await?;
        Ok(key)
    }

    /// Keys by id, revoked ones included, at most 200.
    pub async fn list_api_keys(&self, after: Option<ApiKeyId>, limit: u32) -> Result<Vec<ApiKey>, StoreError> {
        let mut query = api_key::Entity::find()
            .filter(api_key::Column::TenantId.eq(self.tenant.as_uuid()))
            .order_by_asc(api_key::Column::Id)
            .limit(u64::from(limit.min(MAX_LIST)));
        if let Some(after) = after {
            query = query.filter(api_key::Column::Id.gt(after.as_uuid()));
        }
        query.all(&self.tx).await?.into_iter().map(ApiKey::try_from).collect()
    }

    /// One key, which nobody else can revoke or rotate until the transaction ends; None when there is no such key.
    pub async fn lock_api_key(&mut self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        // The stamps of its use pass by.
        let lock = "SELECT * FROM api_keys WHERE id = $1 FOR NO KEY UPDATE";
        let row = sql::one::<api_key::Model>(&self.tx, lock, vec![id.as_uuid().into()]).await?;
        row.map(ApiKey::try_from).transpose()
    }

    /// Puts a new key in the place of `old`, which is to be locked, and lets that one end at `until` if it does not end
    /// before. Gives the new key, and the old one as it is now. [`StoreError::Taken`] when an id or hash is taken.
    pub async fn replace_api_key(
        &mut self,
        old: ApiKey,
        new: NewApiKey,
        until: Timestamp,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(ApiKey, ApiKey), StoreError> {
        let key = self.insert_api_key(new, now).await?;
        let until = old.expires_at.map_or(until, |expires_at| expires_at.min(until));
        let end = "UPDATE api_keys SET expires_at = $1, successor_id = $2 WHERE id = $3";
        let values = vec![until.into(), key.id.as_uuid().into(), old.id.as_uuid().into()];
        if sql::execute(&self.tx, end, values).await? == 0 {
            return Err(StoreError::NotFound);
        }
        let before = json!({ "expires_at": old.expires_at });
        let after = json!({
            "expires_at": until,
            "successor": {
                "id": key.id, "name": key.name, "prefix": key.prefix, "scopes": words(&key),
                "expires_at": key.expires_at
            },
        });
        self.audit(by, "api-key.rotate", old.id.to_string(), (Some(before), Some(after)), now).await?;
        let old = ApiKey { expires_at: Some(until), successor: Some(key.id), ..old };
        Ok((key, old))
    }

    /// Revokes a key for good; None when there is no such key. A key that is revoked already stays as it is.
    pub async fn revoke_api_key(
        &mut self,
        id: ApiKeyId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<ApiKey>, StoreError> {
        let revoke = "UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
        let revoked = sql::execute(&self.tx, revoke, vec![now.into(), id.as_uuid().into()]).await?;
        if revoked > 0 {
            self.audit(by, "api-key.revoke", id.to_string(), (None, None), now).await?;
        }
        api_key::Entity::find_by_id(id.as_uuid()).one(&self.tx).await?.map(ApiKey::try_from).transpose()
    }

    async fn insert_api_key(&mut self, new: NewApiKey, now: Timestamp) -> Result<ApiKey, StoreError> {
        let row = api_key::ActiveModel {
            id: Set(new.id.as_uuid()),
            tenant_id: Set(self.tenant.as_uuid()),
            name: Set(new.name),
            prefix: Set(new.prefix),
            hash: Set(new.hash.to_vec()),
            created_at: Set(now),
            expires_at: Set(new.expires_at),
            revoked_at: Set(None),
            last_used_at: Set(None),
            scopes: Set(new.scopes.iter().map(|scope| scope.as_str().to_owned()).collect()),
            successor_id: Set(None),
        };
        ApiKey::try_from(row.insert(&self.tx).await?)
    }
}

/// The scopes, as the audit log has them.
fn words(key: &ApiKey) -> Vec<&'static str> {
    key.scopes.iter().map(mtasts_model::Scope::as_str).collect()
}
