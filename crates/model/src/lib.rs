//! Names, policies, records, ids and the lifecycle planner of mtasts: no I/O, no async.
//!
//! Types here have private fields where a wrong value could be built, and are born valid: there is no `validate()`.

mod causes;
pub mod clock;
pub mod condition;
pub mod feed;
pub mod ids;
pub mod label;
pub mod lifecycle;
pub mod mx_pattern;
pub mod name;
pub mod policy;
pub mod policy_id;
pub mod record;
pub mod scope;

pub use causes::causes;
pub use clock::{Clock, Entropy, SystemClock, SystemEntropy, Timestamp};
pub use condition::{Condition, ConditionKind, Status};
pub use feed::Revision;
pub use ids::{
    ApiKeyId, AuditEventId, CertificateId, DnsCredentialId, DomainId, NodeId, OperationId, OrderId, PolicyVersionId,
    TenantId,
};
pub use label::{Delegation, Label, ZoneName};
pub use mx_pattern::MxPattern;
pub use name::{HostName, MailDomain, NameRules};
pub use policy::{MaxAge, Mode, Policy};
pub use policy_id::PolicyId;
pub use record::{ReportUri, StsRecord, TlsRptRecord};
pub use scope::{Scope, Scopes};
