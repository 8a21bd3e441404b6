//! Rows of `policy_versions`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "policy_versions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub domain_id: Uuid,
    pub seq: i32,
    pub policy_id: String,
    pub policy_text: String,
    pub mode: String,
    pub max_age: i32,
    pub reason: String,
    pub forced: Option<String>,
    pub created_by: String,
    pub created_at: ChronoDateTimeUtc,
    pub served_at: Option<ChronoDateTimeUtc>,
    pub verified_at: Option<ChronoDateTimeUtc>,
    pub published_at: Option<ChronoDateTimeUtc>,
    pub superseded_at: Option<ChronoDateTimeUtc>,
    pub fed_at: Option<ChronoDateTimeUtc>,
    pub unfed_at: Option<ChronoDateTimeUtc>,
    pub traceparent: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
