//! Rows of `certificates`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "certificates")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub domain_id: Uuid,
    pub order_id: Uuid,
    pub chain: Vec<u8>,
    pub sealed_key: Vec<u8>,
    pub not_before: ChronoDateTimeUtc,
    pub not_after: ChronoDateTimeUtc,
    pub serial: String,
    pub issuer: String,
    pub renew_at: ChronoDateTimeUtc,
    pub advice_due_at: Option<ChronoDateTimeUtc>,
    pub ari_id: Option<String>,
    pub created_at: ChronoDateTimeUtc,
    pub in_feed: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
