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
        };
        let key = ApiKey::from(row.insert(&self.tx).await?);
        let after = json!({ "name": key.name, "prefix": key.prefix, "expires_at": key.expires_at });
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
        Ok(query.all(&self.tx).await?.into_iter().map(ApiKey::from).collect())
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
        Ok(api_key::Entity::find_by_id(id.as_uuid()).one(&self.tx).await?.map(ApiKey::from))
    }
}
