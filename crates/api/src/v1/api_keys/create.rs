//! `POST /v1/api-keys`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use chrono::{DateTime, Utc};
use mtasts_model::{ApiKeyId, Timestamp};
use mtasts_store::{Actor, NewApiKey, TenantTx};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::ApiKeyBody;
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once},
    problem::{Problem, documented, groups},
    state::State,
    token::ApiKeySecret,
    v1::fields::{Faults, future, name},
};

/// A new API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "deployment"}))]
pub(crate) struct CreateApiKey {
    /// Its name, for people: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Until when it works; absent: until it is revoked.
    expires_at: Option<DateTime<Utc>>,
}

/// A [`CreateApiKey`] without faults.
pub(crate) struct WantedApiKey {
    name: String,
    expires_at: Option<Timestamp>,
}

impl CreateApiKey {
    pub(crate) fn parse(&self, now: Timestamp) -> Result<WantedApiKey, Problem> {
        let mut faults = Faults::default();
        let name = faults.keep(name("/name", &self.name));
        let expires_at = match self.expires_at {
            Some(at) => faults.keep(future("/expires_at", at, now)).map(Some),
            None => Some(None),
        };
        match (name, expires_at) {
            (Some(name), Some(expires_at)) => Ok(WantedApiKey { name, expires_at }),
            _ => Err(faults.into_problem()),
        }
    }
}

/// A new API key with its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewApiKey)]
pub(crate) struct NewApiKeyBody {
    #[serde(flatten)]
    api_key: ApiKeyBody,
    /// The key itself. Keep it: it is shown in this answer only.
    #[schema(required, value_type = String, example = "mts_live_5pzk7qn2wq4lq3m6y4xk7n2d3e5pzk7q_n2wq4lq3")]
    key: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::ONCE])
    }
}

/// Create an API key
///
/// A further key of your own tenant. The key itself is in this answer only: it is not stored.
#[utoipa::path(
    tag = "api-keys",
    operation_id = "create_api_key",
    params(IdempotencyHeader),
    request_body = CreateApiKey,
    responses((status = 201, description = "The new key.", body = NewApiKeyBody), Errors),
    security(("api_key" = [])),
)]
#[post("/api-keys")]
pub(crate) async fn create_api_key(
    scope: TenantScope,
    key: IdempotencyKey,
    body: Json<CreateApiKey>,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let wanted = body.value.parse(now)?;
    let tx = scope.begin().await?;
    let credential = scope.credential();
    let answer = Once::new(&key, body.hash, now)
        .run(tx, async |tx| insert(tx, wanted, scope.state(), credential, &scope.actor(), now).await)
        .await?;
    Ok(answer.reveal("key", |salt| ApiKeySecret::derive(salt, credential).reveal().to_owned()).respond())
}

/// Makes the key. The answer holds a salt in place of the secret, so that no secret is stored with it.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    wanted: WantedApiKey,
    state: &State,
    credential: &SecretString,
    by: &Actor,
    now: Timestamp,
) -> Result<Answer, Problem> {
    let mut salt = [0_u8; 32];
    state.entropy.fill(&mut salt);
    let secret = ApiKeySecret::derive(&salt, credential);
    let new = NewApiKey {
        id: ApiKeyId::draw(now, &*state.entropy),
        name: wanted.name,
        prefix: secret.shown_prefix(),
        hash: secret.hash(),
        expires_at: wanted.expires_at,
    };
    let api_key = ApiKeyBody::from(tx.create_api_key(new, by, now).await?);
    Ok(Answer::new(StatusCode::CREATED, &NewApiKeyBody { api_key, key: None })?.salt(salt))
}
