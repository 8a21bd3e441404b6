//! DNS for mtasts: a resolver that never mistakes silence for an answer, and the [`ZoneProvider`] trait with its
//! providers.
//!
//! All wire formats are `hickory-proto`'s. The sockets are ours: a lookup here must be fresh (no cache) and must tell
//! "no such record" from "could not find out".

mod exchange;
pub mod name;
pub mod provider;
pub mod providers;
pub mod resolver;
pub mod sweep;
pub mod tsig;
pub mod wire;

pub use exchange::UDP_PAYLOAD;
pub use name::InvalidName;
pub use provider::{
    Applied, ConfirmError, Confirmation, CustomerZone, Known, Mark, Marker, Observed, Pace, ProviderError,
    RecordChange, StandingRecord, ZoneProvider, confirm,
};
pub use resolver::{
    Caa, CaaSet, CnameAnswer, Lookup, Mx, MxSet, Negative, ResolveError, Resolver, ResolverConfig, TlsaSet,
};
