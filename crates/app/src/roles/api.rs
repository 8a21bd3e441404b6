//! The REST API.

use std::sync::Arc;

use mtasts_api::{Api, ApiConfig, ApiServer, DomainConnect, WebhookSettings};
use mtasts_certs::KeyRing;
use mtasts_dns::Resolver;
use mtasts_store::Role;

use super::{Context, Running, check_keys, connect_watched};
use crate::{
    adapters::{CustomersDns, ProvidersWeb, WebhookSecrets},
    admin::{Probe, RoleReadiness},
    config::{key_ring, oidc_verifier, operator_token},
    startup::{StartupError, causes},
};

pub(super) async fn start(context: &Context, running: &mut Running) -> Result<Probe, StartupError> {
    let config = &context.config;
    let store = connect_watched(context, Role::Api, "api").await?;
    if has_ring(context) {
        check_keys(&store, &key_ring(config, context.may_draw_secrets, &*context.entropy)?).await?;
    }
    let token = operator_token(config, context.may_draw_secrets, &*context.entropy)?;
    let public_url = config.api.public_url()?;
    let mut api = ApiConfig::new(config.api.listen.clone(), config.service.zone()?, token, public_url);
    api.name_rules = config.names.rules();
    api.placement = config.placement()?;
    api.limits = config.limits.settings()?;
    api.quotas = config.quotas.quotas()?;
    api.enforce = config.enforce.demands()?;
    api.record_ttl = config.worker.record_ttl_seconds;
    api.checks_per_hour = config.checks.per_hour()?;
    api.report_host.clone_from(&config.reports.host);
    api.report_uris = config.reports.uris()?;
    // Whether there will be digests; the relay's credentials are the worker's.
    api.mail = config.mail.relay.is_some();
    api.callers_traces = config.telemetry.callers();
    let server = Api::bind(api, store, Arc::clone(&context.clock), Arc::clone(&context.entropy))?;
    let server = match config.limits.shared(&config.redis)? {
        Some(shared) => server.with_shared_limits(shared),
        None => server,
    };
    let server = match oidc_verifier(&config.oidc, Arc::clone(&context.clock))? {
        Some(verifier) => server.with_oidc(Arc::new(verifier)),
        None => server,
    };
    let server = with_webhooks(with_customers_side(server, context)?, context)?;
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

/// The ways to the customers' DNS and to DNS providers.
fn with_customers_side(server: ApiServer, context: &Context) -> Result<ApiServer, StartupError> {
    let config = &context.config;
    let resolver = Resolver::new(config.resolver.config())?;
    let probe = config.probe(Arc::clone(&context.clock))?;
    let server = match ring(context)? {
        Some(key_ring) => server.with_customer_dns(Arc::new(CustomersDns {
            key_ring,
            resolver: resolver.clone(),
            clock: Arc::clone(&context.clock),
            cloudflare_api: config.customer_dns.cloudflare_api()?,
            allow_private_addresses: probe.allow_private_addresses,
        })),
        None => server,
    };
    Ok(match config.domain_connect.identity(config.service.zone()?.as_str())? {
        Some(identity) => {
            let web = Arc::new(ProvidersWeb::new(&probe, resolver)?);
            server.with_domain_connect(DomainConnect { identity: Arc::new(identity), web })
        }
        None => server,
    })
}

/// Webhooks, where there are keys to seal their secrets with.
fn with_webhooks(server: ApiServer, context: &Context) -> Result<ApiServer, StartupError> {
    let config = &context.config;
    if !has_ring(context) {
        tracing::info!("tenants cannot have webhooks: the API has no key ring");
        return Ok(server);
    }
    let key_ring = key_ring(config, context.may_draw_secrets, &*context.entropy)?;
    let sealer = Arc::new(WebhookSecrets { key_ring });
    Ok(server.with_webhooks(WebhookSettings { sealer, allow_http: config.webhooks.allow_http }))
}

fn has_ring(context: &Context) -> bool {
    let secrets = &context.config.secrets;
    context.may_draw_secrets || secrets.key_ring.is_some() || secrets.key_ring_file.is_some()
}

/// The keys that customers' credentials are sealed with; None where tenants cannot hand any over.
fn ring(context: &Context) -> Result<Option<KeyRing>, StartupError> {
    let config = &context.config;
    if !config.customer_dns.enabled.unwrap_or_else(|| has_ring(context)) {
        tracing::info!("tenants cannot hand over credentials for their own DNS: customer_dns.enabled is not set");
        return Ok(None);
    }
    key_ring(config, context.may_draw_secrets, &*context.entropy).map(Some)
}
