//! `mtasts admin audit`: whether the audit log is what was written.

use std::io::Write as _;

use data_encoding::HEXLOWER;
use mtasts_model::TenantId;
use mtasts_store::{Role, Store, StoreError};

use super::{CommandError, ConfigArgs, Outcome, load, runtime};
use crate::{logging, roles, startup::StartupError};

/// So many tenants are looked up at once.
const PAGE: u32 = 200;

/// Why the verification came to no end.
#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no tenant {0}")]
    NoTenant(TenantId),
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
}

/// Walks the chain of one tenant or of each, and prints a line for each.
pub(super) fn verify(tenant: Option<TenantId>, args: &ConfigArgs) -> Outcome {
    let config = load(args)?;
    logging::start(&config.log)?;
    let broken = runtime()?.block_on(async {
        // No role sees all logs: this one sees the tenant's that it names for a transaction.
        let store = roles::connect(&config, Role::Api).await?;
        match tenant {
            Some(tenant) if store.tenant(tenant).await?.is_none() => Err(VerifyError::NoTenant(tenant)),
            Some(tenant) => Ok(usize::from(!verify_one(&store, tenant).await?)),
            None => verify_all(&store).await,
        }
    })?;
    if broken == 0 { Ok(()) } else { Err(CommandError::AuditBroken(broken).into()) }
}

/// How many logs are broken.
async fn verify_all(store: &Store) -> Result<usize, VerifyError> {
    let (mut broken, mut after) = (0, None);
    loop {
        let tenants = store.list_tenants(after, PAGE).await?;
        let Some(last) = tenants.last() else { return Ok(broken) };
        after = Some(last.id);
        for tenant in &tenants {
            broken += usize::from(!verify_one(store, tenant.id).await?);
        }
    }
}

/// Whether the log is sound.
async fn verify_one(store: &Store, tenant: TenantId) -> Result<bool, VerifyError> {
    let report = store.verify_audit_chain(tenant).await?;
    let (sound, hash) = (report.sound, HEXLOWER.encode(&report.hash));
    let mut out = std::io::stdout().lock();
    match report.fault {
        None => writeln!(out, "ok      {tenant}  {sound} lines, the last with the hash {hash}")?,
        Some(fault) => writeln!(out, "BROKEN  {tenant}  {fault}; sound before that: {sound} lines")?,
    }
    Ok(report.fault.is_none())
}
