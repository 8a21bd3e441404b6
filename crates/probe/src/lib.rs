//! Looks at a domain the way a sending MTA does: its policy over verified HTTPS (RFC 8461 §3.3), its MX hosts over
//! verified STARTTLS (RFC 3207, RFC 8461 §4.2).
//!
//! Names to look at come from strangers, so every connection goes through [`address::refusal`] after resolution, every
//! byte that is read is capped, and every wait has a deadline.

pub mod address;
mod config;
mod connect;
pub mod explain;
mod failure;
pub mod generate;
mod http_get;
pub mod inspect;
mod look;
mod mx;
mod policy;
mod post;
mod smtp;
mod tls;

pub use config::{ProbeConfig, RootsError, Timeouts, roots};
pub use failure::{AddressFailure, FetchError, FetchFailure};
pub use look::{MAX_MX_HOSTS, MxRoute, MxRouteError, mx_route};
pub use mx::{HostLook, MxProber};
pub use policy::{AddressAnswer, FetchedPolicy, MAX_POLICY_BYTES, PolicyFetcher};
pub use post::{MAX_POST_EXCERPT, PostError, PostTarget, Posted, Poster};
pub use tls::{CertificateSeen, TlsFailure};
