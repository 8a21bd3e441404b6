//! `POST /v1/operations/{operation_id}/cancel`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::OperationId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::OperationBody;
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, NoBody, Once, PathId},
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE])
    }
}

/// Cancel a bulk operation
///
/// No further line is carried out once this is answered; what was done stays done, and its results stay. To cancel an
/// operation that has ended changes nothing.
#[utoipa::path(
    tag = "operations",
    operation_id = "cancel_operation",
    params(
        ("operation_id" = String, Path, description = "The operation's id", pattern = "^op_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    responses((status = 200, description = "The operation, cancelled or ended before.", body = OperationBody), Errors),
    security(("api_key" = [])),
)]
#[post("/operations/{operation_id}/cancel")]
pub(crate) async fn cancel_operation(
    scope: TenantScope,
    id: PathId<OperationId>,
    key: IdempotencyKey,
    body: NoBody,
) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let now = scope.now();
    let answer = Once::new(&key, body.hash, now)
        .run(tx, async |tx| {
            let operation = tx.cancel_operation(id.0, &scope.actor(), now).await?;
            let operation = operation.ok_or_else(|| Problem::not_found("operation"))?;
            Answer::new(StatusCode::OK, &OperationBody::from(operation))
        })
        .await?;
    Ok(answer.respond())
}
