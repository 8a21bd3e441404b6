//! Carries out the plan: claims due domains, does the one next step of each outside of any transaction, and records
//! the outcome under the lease's fencing token.
//!
//! The worker takes no input but the store: it looks at what is known of a domain, does what
//! [`mtasts_model::lifecycle::plan`] says, and looks again. Every step may be repeated, so a crash anywhere is followed
//! by the same plan.

mod alerts;
mod caa;
mod checks;
mod claim;
mod config;
mod deadline;
mod digests;
mod executor;
mod fleet;
mod mx_looks;
mod outcome;
mod pace;
mod places;
mod record;
mod reports;
mod session;
mod webhooks;
mod worker;
mod zones;

pub use alerts::{AlertDeps, AlertWorker};
pub use checks::{CheckConfig, CheckDeps, CheckWorker};
pub use config::{Budget, CaBudget, ReportTemplate, ReportTemplateError, WorkerConfig};
pub use digests::{DigestDeps, DigestWorker, Relay, RelayConfig, RelayError, RelayTls};
pub use fleet::show_fleet;
pub use mx_looks::{MxLookAges, MxLookAgesError};
pub use pace::shared_pacer;
pub use reports::{OriginFiles, Origins, ReportConfig, ReportDeps, ReportWorker};
pub use webhooks::{WebhookConfig, WebhookDeps, WebhookWorker, seal_webhook_secret};
pub use worker::{Worker, WorkerDeps};
pub use zones::{CaaPolicy, Hosting, Infrastructure, ReportHost, Zones};
