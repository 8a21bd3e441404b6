//! Edges and nameservers: who is in service, and how far each has come.

use chrono::TimeDelta;
use mtasts_model::{NodeId, Revision, Timestamp};

use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::{
    Store, StoreError, sql,
    stored::{At, revision_column},
};

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Serves policies.
    Edge,
    /// Answers for the service's zone.
    Nameserver,
}

/// A node that has not retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// What it does.
    pub kind: NodeKind,
    /// Its name, for people.
    pub name: String,
    /// How far it has come in its feed.
    pub position: Revision,
    /// Until when its last sign of life holds. Gates wait for it during the grace after that as well.
    pub lease_until: Timestamp,
    /// An edge has reported all that it served before this moment.
    pub covered_until: Timestamp,
}

impl NodeKind {
    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Nameserver => "nameserver",
        }
    }
}

impl Store {
    /// Brings a node into service at position 0, before it has read anything: gates wait for it from now on.
    ///
    /// An edge that comes back under its old id did not retire: it was killed, and what it served since its last
    /// report died with it. All that was in the feed since then is taken for served until now (invariant 5), so that
    /// nothing before now is left to be reported.
    pub async fn register_node(
        &self,
        node: NodeId,
        kind: NodeKind,
        name: &str,
        now: Timestamp,
        lease: TimeDelta,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO nodes (id, kind, name, position, lease_until, covered_until, started_at)
            VALUES ($1, $2, $3, 0, $4, $5, $5)
            ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, name = excluded.name, position = 0,
                lease_until = excluded.lease_until, started_at = excluded.started_at,
                covered_until = GREATEST(nodes.covered_until, excluded.covered_until)";
        let values = vec![node.as_uuid().into(), kind.as_str().into(), name.into(), (now + lease).into(), now.into()];
        let tx = self.begin().await?;
        sql::execute(&tx, KEEP_GAP, vec![node.as_uuid().into(), now.into()]).await?;
        sql::execute(&tx, sql, values).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Says how far the node has come (lower than before if it has lost its replica), and that it is alive.
    /// [`StoreError::NotFound`]: register again.
    pub async fn acknowledge(
        &self,
        node: NodeId,
        position: Revision,
        now: Timestamp,
        lease: TimeDelta,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE nodes SET position = $1, lease_until = $2 WHERE id = $3";
        let values = vec![revision_column(position).into(), (now + lease).into(), node.as_uuid().into()];
        if sql::execute(self.db(), sql, values).await? == 0 { Err(StoreError::NotFound) } else { Ok(()) }
    }

    /// Takes a node out of service at once. It must have stopped serving and flushed its ledger before.
    pub async fn retire_node(&self, node: NodeId) -> Result<(), StoreError> {
        sql::execute(self.db(), "DELETE FROM nodes WHERE id = $1", vec![node.as_uuid().into()]).await?;
        Ok(())
    }

    /// Takes a node out of service that cannot do so itself, so that nothing waits for it any more. What an edge has
    /// not reported is taken for served until now, or until the end of its lease. A node that is alive after all
    /// registers again with its next sign of life. False: there is no such node.
    pub async fn evict_node(&self, node: NodeId, now: Timestamp) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let gone = sql::execute(&tx, EVICT, vec![node.as_uuid().into(), now.into()]).await?;
        tx.commit().await?;
        Ok(gone > 0)
    }

    /// All nodes that have not retired, those without a sign of life for the longest time first.
    pub async fn list_nodes(&self) -> Result<Vec<Node>, StoreError> {
        let sql = "SELECT id, kind, name, position, lease_until, covered_until FROM nodes ORDER BY lease_until, id";
        let rows = sql::all::<NodeRow>(self.db(), sql, vec![]).await?;
        rows.into_iter().map(Node::try_from).collect()
    }
}

/// `$1` node, `$2` now. A gap that was kept already and has grown since, because the edge came back and was killed
/// again before it reported anything, is lengthened: an edge that cannot start must not fill the table.
const KEEP_GAP: &str = "
    WITH gap AS (
        SELECT id, covered_until FROM nodes WHERE id = $1 AND kind = 'edge' AND covered_until < $2 FOR UPDATE
    ), longer AS (
        UPDATE ledger_gaps g SET until_at = $2 FROM gap WHERE g.node_id = gap.id AND g.until_at = gap.covered_until
        RETURNING g.node_id
    )
    INSERT INTO ledger_gaps (node_id, from_at, until_at)
    SELECT id, covered_until, $2 FROM gap WHERE NOT EXISTS (SELECT FROM longer)
    ON CONFLICT (node_id, from_at) DO UPDATE SET until_at = GREATEST(ledger_gaps.until_at, excluded.until_at)";

/// Touches one row if there is such a node. A nameserver's gap concerns nobody, and is empty.
const EVICT: &str = "
    WITH gone AS (DELETE FROM nodes WHERE id = $1 RETURNING id, kind, covered_until, lease_until)
    INSERT INTO ledger_gaps (node_id, from_at, until_at)
    SELECT id, covered_until, CASE kind WHEN 'edge' THEN GREATEST(covered_until, lease_until, $2) ELSE covered_until END
    FROM gone
    ON CONFLICT (node_id, from_at) DO UPDATE SET until_at = GREATEST(ledger_gaps.until_at, excluded.until_at)";

#[derive(Debug, FromQueryResult)]
struct NodeRow {
    id: Uuid,
    kind: String,
    name: String,
    position: i64,
    lease_until: Timestamp,
    covered_until: Timestamp,
}

impl TryFrom<NodeRow> for Node {
    type Error = StoreError;

    fn try_from(row: NodeRow) -> Result<Self, StoreError> {
        let at = At { table: "nodes", row: row.id };
        let kind = match row.kind.as_str() {
            "edge" => NodeKind::Edge,
            "nameserver" => NodeKind::Nameserver,
            other => {
                return Err(StoreError::unreadable("nodes", "kind", row.id, format!("unknown word {other:?}")));
            }
        };
        Ok(Self {
            id: NodeId::from_uuid(row.id),
            kind,
            name: row.name,
            position: at.revision("position", row.position)?,
            lease_until: row.lease_until,
            covered_until: row.covered_until,
        })
    }
}
