//! Why a process could not start.

use std::{net::SocketAddr, path::PathBuf};

pub(crate) use mtasts_model::causes;

/// Why a process could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartupError {
    #[error("no asynchronous runtime can be started")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error("the database is not ready")]
    Store(#[from] mtasts_store::StoreError),
    #[error("the database's schema is at {found}, and this version needs {wanted}: run `mtasts migrate`")]
    Schema { found: String, wanted: &'static str },
    #[error(
        "secrets are sealed under keys that the key ring lacks: {}. Put them back behind the first; they may go once \
         `mtasts admin keys status` no longer names them", .0.join(", ")
    )]
    KeysMissing(Vec<String>),
    #[error("the key ring cannot be opened")]
    Vault(#[from] crate::vault::VaultError),
    #[error("the API cannot start")]
    Api(#[from] mtasts_api::ApiError),
    #[error("the edge cannot start")]
    Edge(#[from] mtasts_edge::EdgeError),
    #[error("the nameserver cannot start")]
    Nameserver(#[from] mtasts_nameserver::BindError),
    #[error("the intake cannot start")]
    Intake(#[from] mtasts_intake::IntakeError),
    #[error("no resolver can be set up")]
    Resolver(#[from] mtasts_dns::ResolveError),
    #[error("no TLS client can be set up")]
    Tls(#[from] rustls::Error),
    #[error("the issuer cannot be used")]
    Acme(#[from] mtasts_certs::AcmeConfigError),
    #[error("the local CA cannot be used")]
    LocalCa(#[from] mtasts_certs::LocalCaError),
    #[error("the relay for mail cannot be used")]
    Relay(#[from] mtasts_worker::RelayError),
    #[error("no identity provider can be asked")]
    Oidc(#[from] mtasts_oidc::SetupError),
    #[error("metrics cannot be collected")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    #[error("the admin port {address} cannot be opened")]
    Admin {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("{} cannot be used", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the role {role} ended by itself")]
    Ended { role: &'static str },
}
