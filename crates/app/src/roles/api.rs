//! The REST API.

use std::sync::Arc;

use mtasts_api::{Api, ApiConfig};
use mtasts_store::Role;

use super::{Context, Running, connect};
use crate::{
    admin::{Probe, RoleReadiness},
    config::operator_token,
    startup::{StartupError, causes},
};

pub(super) async fn start(context: &Context, running: &mut Running) -> Result<Probe, StartupError> {
    let config = &context.config;
    let store = connect(config, Role::Api).await?;
    let token = operator_token(config, context.may_draw_secrets, &*context.entropy)?;
    let public_url = config.api.public_url()?;
    let mut api = ApiConfig::new(config.api.listen.clone(), config.service.zone()?, token, public_url);
    api.name_rules = config.names.rules();
    let server = Api::bind(api, store, Arc::clone(&context.clock), Arc::clone(&context.entropy))?;
    tracing::info!(listen = ?server.local_addrs(), docs = %format_args!("{}docs/", config.api.public_url()?), "the API answers");
    let stop = context.stop.clone();
    running.spawn(async move {
        if let Err(error) = server.run(async move { stop.cancelled().await }).await {
            tracing::error!(error = %causes(&error), "the API ended");
        }
        "api"
    });
    // Without its database the API answers 503 with Retry-After, which says more than a refused connection.
    Ok(Box::new(|| RoleReadiness { role: "api", ready: true, notes: Vec::new() }))
}
