//! DNS for mtasts: a resolver that never mistakes silence for an answer, the [`ZoneProvider`] trait with its
//! providers, and the embedded authoritative nameserver.
//!
//! All wire formats are `hickory-proto`'s. The sockets are ours, for the client as for the server: a lookup here must
//! be fresh (no cache) and must tell "no such record" from "could not find out", and the nameserver must cap what a
//! stranger can hold open.

mod exchange;
mod name;
pub mod nameserver;
pub mod provider;
pub mod providers;
pub mod resolver;

pub use name::InvalidName;
pub use nameserver::{Nameserver, NameserverConfig};
pub use provider::{ConfirmError, Confirmation, ProviderError, RecordChange, ZoneProvider, confirm};
pub use resolver::{Caa, CaaSet, CnameAnswer, Lookup, Mx, MxSet, Negative, ResolveError, Resolver, ResolverConfig};
