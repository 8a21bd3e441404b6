//! The tenants beneath a tenant, which is their provider.

use mtasts_model::{TenantId, Timestamp};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;

use super::TenantTx;
use crate::{
    Actor, NewTenant, Store, StoreError, Tenant,
    entity::tenant,
    sql::{self, MAX_LIST},
    tenancy,
};

impl Store {
    /// A transaction within a tenant beneath `provider`; None when there is no such tenant there.
    pub async fn customer_tx(&self, provider: TenantId, customer: TenantId) -> Result<Option<TenantTx>, StoreError> {
        let tx = TenantTx::begin(self.clone(), customer).await?;
        tenancy::look_beneath(&tx.tx, provider).await?;
        Ok(tenancy::is_beneath(&tx.tx, provider, customer).await?.then_some(tx))
    }
}

impl TenantTx {
    /// Makes a tenant beneath this one. [`StoreError::NotFound`] when its parent is neither this tenant nor beneath it,
    /// [`StoreError::TooDeep`] when the parent stands at the lowest level.
    pub async fn create_customer(&mut self, new: NewTenant, by: &Actor, now: Timestamp) -> Result<Tenant, StoreError> {
        tenancy::look_beneath(&self.tx, self.tenant).await?;
        // The customer's log begins with how it came to be.
        let set = "SELECT set_config('app.customer', $1, true)";
        sql::execute(&self.tx, set, vec![new.id.as_uuid().to_string().into()]).await?;
        let parent = Some(new.parent.unwrap_or(self.tenant));
        let made = tenancy::insert(&self.tx, NewTenant { parent, ..new }, by, now).await?;
        let after = json!({ "name": made.name, "parent": made.parent });
        self.audit(by, "customer.create", made.id.to_string(), (None, Some(after)), now).await?;
        Ok(made)
    }

    /// One tenant beneath this one, at any level; None when there is no such tenant there.
    pub async fn customer(&mut self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        if !self.is_customer(id).await? {
            return Ok(None);
        }
        Ok(tenant::Entity::find_by_id(id.as_uuid()).one(&self.tx).await?.map(Tenant::from))
    }

    /// The tenants directly beneath `parent`, by id, at most 200; None when that is neither this tenant nor beneath it.
    pub async fn list_customers(
        &mut self,
        parent: TenantId,
        after: Option<TenantId>,
        limit: u32,
    ) -> Result<Option<Vec<Tenant>>, StoreError> {
        if !self.is_customer(parent).await? && parent != self.tenant {
            return Ok(None);
        }
        let mut query = tenant::Entity::find()
            .filter(tenant::Column::ParentId.eq(parent.as_uuid()))
            .order_by_asc(tenant::Column::Id)
            .limit(u64::from(limit.min(MAX_LIST)));
        if let Some(after) = after {
            query = query.filter(tenant::Column::Id.gt(after.as_uuid()));
        }
        Ok(Some(query.all(&self.tx).await?.into_iter().map(Tenant::from).collect()))
    }

    /// The tenant of this transaction, under another name. [`StoreError::NotFound`] in a transaction that did not begin
    /// as [`Store::customer_tx`]: nobody but a provider renames.
    pub async fn rename(&mut self, name: &str, by: &Actor, now: Timestamp) -> Result<Tenant, StoreError> {
        let lock = "SELECT name FROM tenants WHERE id = $1 FOR NO KEY UPDATE";
        let id = self.tenant.as_uuid();
        let row = sql::row(&self.tx, lock, vec![id.into()]).await?.ok_or(StoreError::NotFound)?;
        let before: String = row.try_get("", "name")?;
        let rename = "UPDATE tenants SET name = $2 WHERE id = $1";
        if before != name {
            sql::execute(&self.tx, rename, vec![id.into(), name.into()]).await?;
            let change = (Some(json!({ "name": before })), Some(json!({ "name": name })));
            self.audit(by, "tenant.rename", self.tenant.to_string(), change, now).await?;
        }
        let row = tenant::Entity::find_by_id(id).one(&self.tx).await?;
        row.map(Tenant::from).ok_or(StoreError::NotFound)
    }

    /// Whether it is beneath this tenant. From here on the transaction sees all that are.
    async fn is_customer(&mut self, id: TenantId) -> Result<bool, StoreError> {
        tenancy::look_beneath(&self.tx, self.tenant).await?;
        tenancy::is_beneath(&self.tx, self.tenant, id).await
    }
}
