//! `POST /v1/api-keys/{key_id}/rotate`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, post};
use chrono::TimeDelta;
use mtasts_model::{ApiKeyId, Scopes, Timestamp};
use mtasts_store::{ApiKey, TenantTx};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{
    ApiKeyBody, LONGEST_LIFE,
    issue::{Draft, Issuer, NewApiKeyBody},
};
use crate::{
    auth::{TenantScope, access},
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, PathId},
    problem::{Problem, ProblemKind, documented, groups},
};

/// The longest overlap, in seconds: a week.
const LONGEST_OVERLAP: u32 = 604_800;
/// The overlap where none is given, in seconds: a day.
const DEFAULT_OVERLAP: u32 = 86_400;

/// How a key is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"overlap_seconds": 3600}))]
pub(crate) struct RotateApiKey {
    /// How long the old key still works, in seconds: at most a week; 0: it ends at once.
    #[schema(minimum = 0, maximum = 604_800, default = 86_400)]
    overlap_seconds: Option<u64>,
}

impl RotateApiKey {
    fn overlap(&self) -> Result<TimeDelta, Problem> {
        let seconds = self.overlap_seconds.unwrap_or(DEFAULT_OVERLAP.into());
        match u32::try_from(seconds) {
            Ok(seconds) if seconds <= LONGEST_OVERLAP => Ok(TimeDelta::seconds(seconds.into())),
            _ => Err(Problem::field("/overlap_seconds", "out-of-range", format!("must be 0 to {LONGEST_OVERLAP}"))),
        }
    }
}

/// The new key with its secret, and the old one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RotatedApiKey)]
pub(crate) struct RotatedApiKeyBody {
    #[serde(flatten)]
    successor: NewApiKeyBody,
    /// The old key: `expires_at` is the end of the overlap, or its own end if that is nearer.
    replaced: ApiKeyBody,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, &[ProblemKind::ApiKeyEnded]])
    }
}

/// Rotate an API key
///
/// Makes a key with the same name, the same scopes and the same time to live, and lets the old one end after the
/// overlap. Your key needs the scopes of the key that it rotates; it may rotate itself. The new key is in this answer
/// only: it is not stored. A repeated request with the same `Idempotency-Key` and the same credential gets it again.
#[utoipa::path(
    tag = "api-keys",
    operation_id = "rotate_api_key",
    params(
        ("key_id" = String, Path, description = "The key's id", pattern = "^key_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = RotateApiKey,
    responses((status = 201, description = "The new key, and the old one.", body = RotatedApiKeyBody), Errors),
    security(("api_key" = [])),
)]
#[post("/api-keys/{key_id}/rotate")]
pub(crate) async fn rotate_api_key(
    scope: TenantScope,
    id: PathId<ApiKeyId>,
    key: IdempotencyKey,
    body: Json<RotateApiKey>,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let overlap = body.value.overlap()?;
    let issuer = Issuer::new(scope.state(), scope.credential(), now);
    let once = issuer.once(&key, body.hash);
    let tx = scope.begin().await?;
    let answer = once.run(tx, async |tx| rotate(tx, &scope, &issuer, id.0, (now, now + overlap)).await).await?;
    Ok(issuer.respond(answer))
}

async fn rotate(
    tx: &mut TenantTx,
    scope: &TenantScope,
    issuer: &Issuer<'_>,
    id: ApiKeyId,
    (now, until): (Timestamp, Timestamp),
) -> Result<Answer, Problem> {
    let old = tx.lock_api_key(id).await?.ok_or_else(|| Problem::not_found("API key"))?;
    let draft = successor(&old, scope.scopes(), now)?;
    let (new, salt) = issuer.draw(draft);
    let (successor, replaced) = tx.replace_api_key(old, new, until, &scope.actor(), now).await?;
    Issuer::answer(salt, &RotatedApiKeyBody { successor: successor.into(), replaced: replaced.into() })
}

/// What takes the key's place.
fn successor(old: &ApiKey, holder: Scopes, now: Timestamp) -> Result<Draft, Problem> {
    // Whoever rotates a key learns the secret of the next one.
    if let Some(lacking) = old.scopes.beyond(holder) {
        let detail = format!("A key cannot rotate one that may do more than itself; your key lacks: {lacking}");
        return Err(access::missing(lacking, detail));
    }
    let ended = |detail: String| Err(Problem::new(ProblemKind::ApiKeyEnded, detail));
    if old.revoked_at.is_some() {
        return ended("The key was revoked".to_owned());
    }
    if let Some(successor) = old.successor {
        return ended(format!("The key was rotated before: {successor} took its place"));
    }
    if !old.works(now) {
        return ended("The key has expired".to_owned());
    }
    // A key of before there was a longest life may have been made for longer.
    let expires_at = old.expires_at.map(|at| now + (at - old.created_at).min(LONGEST_LIFE));
    Ok(Draft { name: old.name.clone(), scopes: old.scopes, expires_at })
}
