//! Issuers (ACME, local CA), renewal decisions and the sealing of secrets.
//!
//! An [`Issuer`] is asked one short step at a time, so that the worker persists what it has before the next call and
//! a crash resumes the same order. What comes back is believed only after [`chain::prove`].

pub mod acme;
pub mod chain;
pub mod challenge;
pub mod csr;
pub mod issuer;
pub mod local_ca;
pub mod renewal;
pub mod seal;

pub use acme::{AccountStore, AccountStoreError, AcmeConfig, AcmeConfigError, AcmeIssuer, ExternalAccount};
pub use chain::{ChainError, IssuedChain, Leaf, ProofError, Proven, prove};
pub use challenge::{ChallengeError, ChallengeKind, OfferedChallenge};
pub use csr::{KeyError, OrderKey};
pub use issuer::{CaaIdentity, IssueError, Issuer, OrderState, PlacedOrder};
pub use local_ca::{LocalCa, LocalCaConfig, LocalCaError};
pub use renewal::{RenewalInfo, RenewalKey, renew_at};
pub use seal::{KeyRing, KeyRingError, Purpose, SealError};
