//! The edge: serves policies.

use std::{sync::Arc, time::Duration};

use mtasts_edge::{Edge, Handover, Inventory};
use mtasts_store::{NodeKind, Role};

use super::{Context, Running, check_keys, connect_watched};
use crate::{
    adapters::{CertificateKeys, EdgeFeed, Node, node_id, node_name},
    admin::{Probe, RoleReadiness},
    config::key_ring,
    startup::StartupError,
};

/// For requests under way after the drain.
const FINISH: Duration = Duration::from_secs(15);

pub(super) async fn start(context: &Context, running: &mut Running) -> Result<(Probe, Inventory), StartupError> {
    let config = &context.config;
    let edge = config.edge.config(&config.data_dir)?;
    let ring = key_ring(config, context.may_draw_secrets, &*context.entropy)?;
    let id = node_id(&edge.replica_dir.join("node-id"), &*context.clock, &*context.entropy)?;
    let store = connect_watched(context, Role::Edge, "edge").await?;
    check_keys(&store, &ring).await?;
    let name = node_name(&edge.https);
    let node = Arc::new(Node::new(store, Arc::clone(&context.clock), id, NodeKind::Edge, name));
    let feed = Arc::new(EdgeFeed::new(Arc::clone(&node)));
    let drain = edge.drain;
    let handle = Edge::start(edge, feed, Arc::new(CertificateKeys(ring)), Arc::clone(&context.clock))?;
    let (https, http) = (handle.local_https_addrs(), handle.local_http_addrs());
    tracing::info!(node = %id, ?https, ?http, "the edge has its ports");
    let inventory = handle.inventory();
    let state = Arc::new(parking(handle));
    let probed = Arc::clone(&state);
    let stop = context.stop.clone();
    running.spawn(async move {
        stop.cancelled().await;
        let handle = state.lock().await.take();
        if let Some(handle) = handle {
            match handle.shutdown(drain + FINISH).await {
                // Only now: gates wait for an edge for as long as it serves, and withdrawals until its ledger is here.
                Handover::Complete => node.retire().await,
                Handover::Waiting { lines, why } => tracing::error!(
                    node = %id, lines, why,
                    "the served ledger was not handed over: this edge stays registered, and withdrawals wait, until it \
                     has come back and handed it over"
                ),
            }
        }
        "edge"
    });
    let probe: Probe = Box::new(move || match probed.try_lock().ok().as_deref() {
        Some(Some(handle)) => {
            let readiness = handle.readiness();
            let mut notes = readiness.notes.clone();
            if let Err(reason) = &readiness.state {
                notes.push(reason.to_string());
            }
            RoleReadiness { role: "edge", ready: readiness.is_ready(), notes }
        }
        _ => RoleReadiness { role: "edge", ready: false, notes: vec!["stopping".to_owned()] },
    });
    Ok((probe, inventory))
}

/// The handle is consumed by the shutdown while probes still look at it.
fn parking<T>(value: T) -> tokio::sync::Mutex<Option<T>> {
    tokio::sync::Mutex::new(Some(value))
}
