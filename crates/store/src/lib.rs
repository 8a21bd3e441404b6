//! What mtasts remembers: repositories over Postgres, tenant transactions under row-level security, the change feeds,
//! and leases with fencing tokens.

mod audit;
mod budget;
mod change;
mod check;
mod check_queue;
mod config;
mod der;
mod digest;
mod digest_content;
mod digest_queue;
mod dns_credential;
mod domain;
mod domain_list;
mod domain_rows;
mod entity;
mod error;
mod event;
mod feed;
mod fleet;
mod held;
mod host;
mod hosting;
mod idempotency;
mod intake;
mod lease;
mod lease_tx;
mod ledger;
mod limits;
mod logins;
mod migrate;
mod migration;
mod mx_host_look;
mod new_version;
mod node;
mod nudge;
mod operation;
mod operator;
mod order;
mod policy_settings;
mod proof;
mod proposal;
mod quota;
mod recovery;
mod report;
mod report_alert;
mod report_alert_tx;
mod report_settings;
mod rollout;
mod schedule;
mod sealing;
mod sql;
mod store;
mod stored;
mod tenancy;
mod tenant_tx;
mod usage;
mod version;
mod watch;
mod webhook;
mod webhook_queue;
mod webhook_url;
mod zone;

pub use audit::{Actor, ActorKind, AuditEvent, AuditFilter, AuditLine, ChainFault, ChainReport};
pub use budget::{BucketEmpty, TokenBucket};
pub use check::{AskedCheck, CHECKS_KEPT, Check, CheckState, NewCheck};
pub use check_queue::{CheckOutcome, DueCheck};
pub use config::{Role, StoreConfig};
pub use digest::{
    AddedRecipient, DIGEST_RECIPIENTS_PER_TENANT, DigestLink, DigestRecipient, DigestState, DigestToken,
    NewDigestRecipient,
};
pub use digest_content::{
    DigestDomain, DigestFailure, DigestFigures, DigestList, DigestNewFailure, DigestPeriod, DigestSilence,
};
pub use digest_queue::{DueMail, MailOutcome, MailPurpose};
pub use dns_credential::{
    CustomerProvider, DNS_CREDENTIALS_PER_TENANT, DnsCredential, NewDnsCredential, SealedDnsCredential, ServerAddress,
    ServerAddressError, TsigAlgorithm, TsigKeyName, TsigKeyNameError,
};
pub use domain::{CertificateSummary, DomainFilter, DomainState, DomainView, NewDomain, RemovalGround};
pub use domain_list::{DomainPage, DomainPosition, DomainQuery, DomainSort};
pub use error::StoreError;
pub use event::{EVENTS_KEPT, Event, EventFilter};
pub use fleet::{EXPIRY_DAYS, FIGURES_COUNTED, FeedFigures, FleetFigures, HostingFigures, QueueFigures};
pub use hosting::{
    DueWrite, HostingLease, HostingProblem, HostingView, HostingWork, WantedSet, WriteKey, WriteOutcome, WriteResult,
};
pub use idempotency::Idempotency;
pub use intake::{Acceptance, NewArrival, Recipient};
pub use lease::{DomainSettings, Lease, Shares};
pub use lease_tx::{HostTaken, LeaseTx};
pub use limits::{LimitBucket, Quota, QuotaError, SharedLimits, Taken};
pub use logins::{Login, LoginError, make_logins};
pub use migrate::{MigrationReport, migrate, newest_migration};
pub use migration::{MigrationState, MigrationView};
pub use mx_host_look::{MX_HOST_LOOKS_KEPT, MxHostClaim, MxHostLook, MxHostTurn};
pub use node::{Node, NodeKind};
pub use nudge::{Channel, NudgeReceiver};
pub use operation::{
    LineOutcome, NewOperation, Operation, OperationChunk, OperationKind, OperationLine, OperationState,
};
pub use operator::{
    Erased, Export, NotErasable, OperatorAuditFilter, OperatorAuditLine, TenantStanding, TenantUsage, erased_tables,
};
pub use order::{Certificate, NewCertificate, Order, OrderChallenge};
pub use policy_settings::PolicySettings;
pub use proof::{MX_HISTORY_KEPT, MxDayView, Proof};
pub use proposal::{Proposal, SpareIds};
pub use quota::{GrantedQuotas, QuotaUse, Quotas};
pub use recovery::{RecoveredDomain, Recovery, RecoveryDomain, UnknownHost};
pub use report::{
    AddressOrigin, AnyArrival, Applied, DomainHistory, DueArrival, HeldDomain, NewDmarcResult, NewReport, NewTlsResult,
    RawArrival, ReadArrival, ReplayFilter, Replayed, ReportRetention, ReportsForgotten, Sum, VersionThen,
};
pub use report_alert::DueAlerts;
pub use report_alert_tx::{
    AlertFacts, AlertMemory, AlertTx, DaySessions, FailureKind, Quarantined, ReporterDays, SilentReporter,
};
pub use report_settings::ReportSettings;
pub use rollout::RolloutView;
pub use sealing::{Resealed, SealedCount, SealedKind, SealedSecret, SealingKey};
pub use store::{PoolFigures, Store};
pub use tenancy::{Admission, ApiKey, AuthenticatedKey, NewApiKey, NewTenant, Tenant};
pub use tenant_tx::{
    ArrivalState, ArrivalView, Breakdown, CachedVersion, DaySum, DmarcResult, DmarcResultFilter, FailureSums, GradeSum,
    RawAccess, ReportDimension, ReportFilter, ReportOrder, ReportPage, ReportPageQuery, ReportPosition, ReportRange,
    ReportView, SumRow, TenantTx, TlsResult, TlsResultFilter, ValueSums, VerdictSums, VersionSeen,
};
pub use usage::{DomainCounts, UsageDay};
pub use version::{NewVersion, PolicyVersion, SetPolicy, VersionReason};
pub use watch::{WATCH_HISTORY_KEPT, WatchDay, WatchView};
pub use webhook::{Delivery, DeliveryFilter, DeliveryState, NewWebhook, WEBHOOKS_PER_TENANT, Webhook, WebhookChange};
pub use webhook_queue::{Attempt, AttemptOutcome, DueDelivery, DueWebhook};
pub use webhook_url::{WebhookUrl, WebhookUrlError};
pub use zone::ZoneWrite;
