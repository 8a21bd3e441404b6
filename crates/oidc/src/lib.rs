//! Bearer tokens of OpenID Connect issuers: who signed one, for whom, and for which tenant and role.
//!
//! An issuer's keys come by discovery (OpenID Connect Discovery 1.0 §4) and JWKS (RFC 7517). They are fetched when they are
//! first needed and kept: nothing here waits for an issuer at its start, and one that is away for a while is not missed.

mod cache;
mod config;
mod fetch;
mod keys;
mod verify;

pub use config::{ClaimPath, ClaimPathError, IssuerConfig, IssuerUrl, IssuerUrlError};
pub use fetch::SetupError;
pub use verify::{Identity, Refused, Verifier};
