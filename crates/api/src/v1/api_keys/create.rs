//! `POST /v1/api-keys`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, post};
use chrono::{DateTime, Utc};
use mtasts_model::{Scope, Scopes, Timestamp};
use mtasts_store::{Actor, TenantTx};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{
    LONGEST_LIFE, ScopeSchema,
    issue::{Draft, Issuer, NewApiKeyBody},
};
use crate::{
    auth::{TenantScope, access},
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::fields::{Faults, future, name},
};

/// A new API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "deployment", "scopes": ["domains:read", "domains:write"]}))]
pub(crate) struct CreateApiKey {
    /// Its name, for people: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it may do, for good; absent: all that the credential of this request may do, but neither `customers:act` nor
    /// `customers:write`, which reach other tenants and are given by name only.
    #[schema(value_type = Option<Vec<ScopeSchema>>, min_items = 1, max_items = 9)]
    scopes: Option<Vec<String>>,
    /// Until when it works: at most five years from now. Absent: until it is revoked.
    expires_at: Option<DateTime<Utc>>,
}

/// A [`CreateApiKey`] without faults.
pub(crate) struct WantedApiKey {
    name: String,
    scopes: Option<Scopes>,
    expires_at: Option<Timestamp>,
}

impl CreateApiKey {
    pub(crate) fn parse(&self, now: Timestamp) -> Result<WantedApiKey, Problem> {
        let mut faults = Faults::default();
        let name = faults.keep(name("/name", &self.name));
        let scopes = match &self.scopes {
            Some(words) => scopes(words, &mut faults).map(Some),
            None => Some(None),
        };
        let expires_at = match self.expires_at {
            Some(at) => faults.keep(expiry(at, now)).map(Some),
            None => Some(None),
        };
        match (name, scopes, expires_at) {
            (Some(name), Some(scopes), Some(expires_at)) => Ok(WantedApiKey { name, scopes, expires_at }),
            _ => Err(faults.into_problem()),
        }
    }
}

fn scopes(words: &[String], faults: &mut Faults) -> Option<Scopes> {
    if words.len() > Scope::ALL.len() {
        let message = format!("there are {} scopes: name each at most once", Scope::ALL.len());
        return faults.keep(Err(FieldError::at("/scopes", "too-many", message)));
    }
    let scopes = faults.keep_all(words.iter().enumerate().map(|(index, word)| {
        word.parse::<Scope>()
            .map_err(|error| FieldError::at(format!("/scopes/{index}"), error.code(), error.to_string()))
    }))?;
    let none = |_| FieldError::at("/scopes", "no-scope", "a key needs at least one scope; leave the field out for all");
    faults.keep(Scopes::new(scopes).map_err(none))
}

fn expiry(at: DateTime<Utc>, now: Timestamp) -> Result<Timestamp, FieldError> {
    let at = future("/expires_at", at, now)?;
    if at - now > LONGEST_LIFE {
        let message = format!("must be within {} days from now; leave it out for no end", LONGEST_LIFE.num_days());
        return Err(FieldError::at("/expires_at", "too-far", message));
    }
    Ok(at)
}

impl WantedApiKey {
    /// The key, if whoever makes it has all of its scopes.
    pub(crate) fn made_by(self, holder: Scopes) -> Result<Draft, Problem> {
        let Some(scopes) = self.scopes.or_else(|| holder.within(Scopes::USUAL)) else {
            let message = "your key has none but scopes that are given by name only: name those that the new key needs";
            return Err(Problem::field("/scopes", "missing-field", message));
        };
        if let Some(lacking) = scopes.beyond(holder) {
            let detail = format!("A key cannot make one that may do more than itself; your key lacks: {lacking}");
            return Err(access::missing(lacking, detail));
        }
        Ok(Draft { name: self.name, scopes, expires_at: self.expires_at })
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::ONCE, &[ProblemKind::QuotaExceeded]])
    }
}

/// Create an API key
///
/// A further key of your own tenant, with scopes that your key has itself. The key is in this answer only: it is not
/// stored. A repeated request with the same `Idempotency-Key` and the same credential gets it again.
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
    let draft = body.value.parse(now)?.made_by(scope.scopes())?;
    let issuer = Issuer::new(scope.state(), scope.credential(), now);
    let once = issuer.once(&key, body.hash);
    let tx = scope.begin().await?;
    let answer = once.run(tx, async |tx| {
        tx.make_room_for_api_key(scope.state().config.quotas.api_keys, now).await?;
        insert(tx, &issuer, draft, &scope.actor(), now).await
    });
    Ok(issuer.respond(answer.await?))
}

/// Makes the key.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    issuer: &Issuer<'_>,
    draft: Draft,
    by: &Actor,
    now: Timestamp,
) -> Result<Answer, Problem> {
    let (new, salt) = issuer.draw(draft);
    let key = tx.create_api_key(new, by, now).await?;
    Issuer::answer(salt, &NewApiKeyBody::from(key))
}
