//! Many domains in one request.

pub(crate) mod batch;
pub(crate) mod export;
pub(crate) mod import;

use actix_web::http::StatusCode;
use mtasts_model::OperationId;
use mtasts_store::{NewOperation, OperationKind, OperationLine};

use super::operations::OperationBody;
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyKey, Once},
    problem::Problem,
};

/// Stores the lines as an operation: from now on they are carried out, whatever becomes of this process.
async fn accept(
    scope: &TenantScope,
    key: &IdempotencyKey,
    hash: [u8; 32],
    kind: OperationKind,
    lines: Vec<OperationLine>,
) -> Result<Answer, Problem> {
    let now = scope.now();
    let new = NewOperation { id: OperationId::draw(now, &*scope.state().entropy), kind, lines };
    let tx = scope.begin().await?;
    Once::new(key, hash, now)
        .run(tx, async |tx| {
            let quota = scope.state().config.quotas.operations;
            let operation = tx.create_operation(&new, quota, &scope.actor(), now).await?;
            let location = format!("/v1/operations/{}", operation.id);
            Ok(Answer::new(StatusCode::ACCEPTED, &OperationBody::from(operation))?.location(location))
        })
        .await
}
