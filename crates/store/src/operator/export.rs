//! Everything that is kept of a tenant, without what opens anything.

use mtasts_model::TenantId;
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::Value as Json;

use crate::{Store, StoreError, sql};

/// So many rows are read at once.
const FETCH: u32 = 200;

/// Tables of which nothing is handed out: answers that were kept for a repetition, links of mails, and what the service
/// keeps for itself about the order of its work.
const KEPT_BACK: [&str; 2] = ["idempotency_keys", "digest_tokens"];

/// Columns that the role may read, of tables with a tenant; what is secret is not among them.
const TABLES: &str = "
    SELECT c.relname::text AS name, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
        AND c.relname <> ALL ($1)
        AND EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped)
        AND has_column_privilege(c.oid, a.attnum, 'SELECT')
    GROUP BY c.relname ORDER BY c.relname";

/// An export under way: one snapshot of the database.
pub struct Export {
    tx: DatabaseTransaction,
    tenant: TenantId,
    /// Table and columns, those that are to come last in front.
    tables: Vec<(String, String)>,
    /// The table that is being read.
    open: Option<String>,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("tenant", &self.tenant).field("open", &self.open).finish_non_exhaustive()
    }
}

impl Store {
    /// Begins to read everything of a tenant, as of this moment. As the operator. [`StoreError::NotFound`] when there is
    /// no such tenant.
    pub async fn export_tenant(&self, tenant: TenantId) -> Result<(Json, Export), StoreError> {
        let tx = self.begin().await?;
        tx.execute_unprepared("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        let own = "SELECT to_jsonb(t) AS row FROM tenants t WHERE id = $1";
        let row = sql::row(&tx, own, vec![tenant.as_uuid().into()]).await?.ok_or(StoreError::NotFound)?;
        let own: Json = row.try_get("", "row")?;
        let kept_back: Vec<String> = KEPT_BACK.iter().map(|name| (*name).to_owned()).collect();
        let mut tables = Vec::new();
        for row in sql::rows(&tx, TABLES, vec![kept_back.into()]).await? {
            tables.push((row.try_get("", "name")?, row.try_get("", "columns")?));
        }
        tables.reverse();
        Ok((own, Export { tx, tenant, tables, open: None }))
    }
}

impl Export {
    /// The next rows, all of one table; None at the end. In bounded memory, whatever the tenant has.
    pub async fn next(&mut self) -> Result<Option<(String, Vec<Json>)>, StoreError> {
        loop {
            let table = match self.open.take() {
                Some(table) => table,
                None => match self.tables.pop() {
                    None => return Ok(None),
                    Some((table, columns)) => {
                        // Names of the schema, and a UUID.
                        let tenant = self.tenant.as_uuid();
                        self.tx
                            .execute_unprepared(&format!(
                                "DECLARE export NO SCROLL CURSOR FOR SELECT to_jsonb(r) AS row
                                 FROM (SELECT {columns} FROM \"{table}\" WHERE tenant_id = '{tenant}') r"
                            ))
                            .await?;
                        table
                    }
                },
            };
            let rows = sql::rows(&self.tx, &format!("FETCH {FETCH} FROM export"), vec![]).await?;
            if rows.is_empty() {
                self.tx.execute_unprepared("CLOSE export").await?;
                continue;
            }
            let rows = rows.iter().map(|row| Ok(row.try_get("", "row")?)).collect::<Result<_, StoreError>>()?;
            self.open = Some(table.clone());
            return Ok(Some((table, rows)));
        }
    }
}
