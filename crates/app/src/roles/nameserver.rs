//! The embedded nameserver: answers for the service's zone.

use std::sync::Arc;

use mtasts_nameserver::Nameserver;
use mtasts_store::{NodeKind, Role};

use super::{Context, Running, connect_watched};
use crate::{
    adapters::{Node, ZoneFollower, node_id, node_name},
    admin::{Probe, RoleReadiness},
    config::key_ring,
    startup::StartupError,
};

pub(super) async fn start(context: &Context, running: &mut Running) -> Result<Probe, StartupError> {
    let config = &context.config;
    let mut nameserver = config.nameserver.config(config)?;
    let ring = || key_ring(config, context.may_draw_secrets, &*context.entropy);
    nameserver.dnssec = config.nameserver.dnssec(ring)?;
    let id = node_id(&config.data_dir.join("nameserver-node-id"), &*context.clock, &*context.entropy)?;
    let store = connect_watched(context, Role::Edge, "nameserver").await?;
    let name = node_name(&nameserver.listen);
    let node = Arc::new(Node::new(store, Arc::clone(&context.clock), id, NodeKind::Nameserver, name));
    let feed = Arc::new(ZoneFollower::new(Arc::clone(&node)));
    let zone = nameserver.zone.clone();
    let entropy = Arc::clone(&context.entropy);
    let server =
        Arc::new(Nameserver::bind(nameserver, feed, entropy, Arc::clone(&context.clock), context.stop.clone()).await?);
    tracing::info!(node = %id, %zone, listen = ?server.addresses(), "the nameserver answers");
    let probed = Arc::clone(&server);
    running.spawn(async move {
        server.stopped().await;
        node.retire().await;
        "nameserver"
    });
    Ok(Box::new(move || {
        let ready = probed.ready();
        let notes = if ready { Vec::new() } else { vec!["the zone has not been read yet".to_owned()] };
        RoleReadiness { role: "nameserver", ready, notes }
    }))
}
