//! Domains: what a tenant registers, and how healthy it is.

pub(crate) mod body;
pub(crate) mod checks;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod update;
pub(crate) mod verify;

use mtasts_model::DomainId;
use mtasts_store::{DomainView, TenantTx};

use self::body::DomainBody;
use crate::{auth::TenantScope, extract::IfMatch, problem::Problem};

/// A domain that is to be changed, locked until the transaction ends, if it is as the caller believes.
async fn matching(tx: &TenantTx, scope: &TenantScope, id: DomainId, if_match: &IfMatch) -> Result<DomainView, Problem> {
    let view = tx.domain_locked(id).await?.ok_or_else(|| Problem::not_found("domain"))?;
    if *if_match != IfMatch::Absent {
        if_match.check_tag(&DomainBody::tagged(view.clone(), &scope.state().config)?.1)?;
    }
    Ok(view)
}
