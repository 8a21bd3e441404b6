//! Names, policies, records, ids and the lifecycle planner of mtasts: no I/O, no async.
//!
//! Types here have private fields where a wrong value could be built, and are born valid: there is no `validate()`.

mod causes;
pub mod check;
pub mod clock;
pub mod condition;
pub mod drift;
pub mod email;
pub mod event;
pub mod feed;
pub mod ids;
pub mod label;
pub mod lifecycle;
pub mod migration;
pub mod mx_pattern;
pub mod name;
pub mod network;
pub mod policy;
pub mod policy_id;
pub mod readiness;
pub mod record;
pub mod report;
pub mod role;
pub mod rollout;
pub mod scope;
pub mod simulation;
pub mod tag;
pub mod trace;

pub use causes::causes;
pub use clock::{Clock, Entropy, SystemClock, SystemEntropy, Timestamp};
pub use condition::{Condition, ConditionKind, Status};
pub use email::{EmailAddress, EmailError};
pub use event::{EventData, EventType};
pub use feed::Revision;
pub use ids::{
    ApiKeyId, ArrivalId, AuditEventId, CertificateId, CheckId, DeliveryId, DigestRecipientId, DnsCredentialId,
    DomainId, EventId, MigrationId, NodeId, OperationId, OrderId, PolicyVersionId, ProposalId, ReportId, TenantId,
    WebhookId,
};
pub use label::{Delegation, Label, ZoneName};
pub use mx_pattern::MxPattern;
pub use name::{HostName, MailDomain, NameRules};
pub use network::{Network, NetworkError};
pub use policy::{MaxAge, Mode, Policy};
pub use policy_id::PolicyId;
pub use record::{ReportUri, StsRecord, TlsRptRecord};
pub use report::{
    AlertKind, DigestFrequency, EdgeVerdict, ReportGrade, ReportKind, ReportVia, ReportWordError, ResultType,
};
pub use role::{Role, RoleError};
pub use scope::{Scope, Scopes};
pub use tag::{Tag, TagError};
pub use trace::{TraceParent, TraceParentError};
