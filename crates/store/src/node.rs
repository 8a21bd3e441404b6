//! Edges and nameservers: who is in service, and how far each has come.

use chrono::TimeDelta;
use mtasts_model::{NodeId, Revision, Timestamp};

use crate::{Store, StoreError, sql, stored::revision_column};

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Serves policies.
    Edge,
    /// Answers for the service's zone.
    Nameserver,
}

impl NodeKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Nameserver => "nameserver",
        }
    }
}

impl Store {
    /// Brings a node into service at position 0, before it has read anything: gates wait for it from now on. A node
    /// that comes back under its old id keeps what it said about its ledger, since it may have served since.
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
                lease_until = excluded.lease_until, started_at = excluded.started_at";
        let values = vec![node.as_uuid().into(), kind.as_str().into(), name.into(), (now + lease).into(), now.into()];
        sql::execute(self.db(), sql, values).await?;
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
}
