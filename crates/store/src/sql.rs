//! Plain statements through sea-orm.

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, QueryResult, Statement, Value};

use crate::StoreError;

/// The longest list that is handed out at once.
pub(crate) const MAX_LIST: u32 = 200;

pub(crate) fn statement(sql: &str, values: Vec<Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// Runs a statement; gives the number of rows that it touched.
pub(crate) async fn execute(db: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
    Ok(db.execute_raw(statement(sql, values)).await?.rows_affected())
}

pub(crate) async fn rows(
    db: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<QueryResult>, StoreError> {
    Ok(db.query_all_raw(statement(sql, values)).await?)
}

pub(crate) async fn row(
    db: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Option<QueryResult>, StoreError> {
    Ok(db.query_one_raw(statement(sql, values)).await?)
}

pub(crate) async fn all<T: FromQueryResult>(
    db: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<T>, StoreError> {
    let rows = rows(db, sql, values).await?;
    rows.iter().map(|row| T::from_query_result(row, "").map_err(StoreError::from)).collect()
}

pub(crate) async fn one<T: FromQueryResult>(
    db: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Option<T>, StoreError> {
    let row = row(db, sql, values).await?;
    row.map(|row| T::from_query_result(&row, "").map_err(StoreError::from)).transpose()
}
