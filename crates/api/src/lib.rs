//! The REST API of mtasts: what customers and operators call.
//!
//! [`Api::bind`] makes the server, [`openapi`] the document that describes it. Errors are RFC 9457 problem details;
//! the types of problems are in [`ProblemKind`], and are the only place where faults become HTTP statuses.

mod auth;
mod bulk;
mod config;
mod customer_dns;
mod digest_pages;
mod domain_connect;
mod drain;
mod enforce;
mod extract;
mod limits;
mod observe;
mod openapi;
mod pages;
mod problem;
mod routes;
mod server;
mod state;
mod token;
mod v1;
mod warnings;
mod webhooks;

pub use config::{ApiConfig, CallersTraces};
pub use customer_dns::{BoxError, CustomerDns, CustomerDnsError, OpenZone, Standing, ZoneAccess};
pub use domain_connect::{
    DomainConnect, DomainConnectError, DomainConnectIdentity, DomainConnectSettings, DomainConnectWeb, WebAnswer,
};
pub use limits::LimitSettings;
pub use openapi::openapi;
pub use problem::ProblemKind;
pub use server::{Api, ApiError, ApiServer};
pub use webhooks::{WebhookSealer, WebhookSettings};
