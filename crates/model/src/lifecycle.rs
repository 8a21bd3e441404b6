//! The reconciler's heart: a pure plan from what is known about one domain.
//!
//! [`plan`] looks at [`DomainFacts`] and names the one next [`Step`], the conditions to show, and when to look again.
//! The worker carries the step out, records the outcome, and asks again. Every step is idempotent, so that after a
//! crash the same facts give the same plan.

mod attempts;
mod conditions;
mod expiry;
mod facts;
mod plan;
mod schedule;
mod watch;

pub use attempts::{Attempt, Attempts};
pub use expiry::{EXPIRY_ALERT_DAYS, RenewalTrouble};
pub use facts::{
    CertificateFacts, CnameSeen, DelegationSeen, DomainFacts, DomainZones, EdgeFacts, HostContentRef, HostFacts,
    HostOwner, LedgerFacts, MxFailure, MxHostSeen, MxPutOff, MxSeen, MxSource, OrderFacts, OrderState, Purpose,
    RecordFacts, RecordProblem, ReportFacts, VersionFacts,
};
pub use plan::{Plan, Step, StepKind, plan};
pub use schedule::{MAX_FAILED_VALIDATIONS_PER_HOUR, WITHDRAWAL_MAX_AGE};
pub use watch::{WatchFacts, WatchProblem};
