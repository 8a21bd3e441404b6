//! How a new key gets its secret: what making one and rotating one have in common.

use actix_web::{HttpResponse, http::StatusCode};
use mtasts_model::{ApiKeyId, Scopes, Timestamp};
use mtasts_store::{ApiKey, NewApiKey};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::ApiKeyBody;
use crate::{
    extract::{Answer, IdempotencyKey, Once},
    problem::Problem,
    state::State,
    token::ApiKeySecret,
};

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

impl From<ApiKey> for NewApiKeyBody {
    /// Without the secret, which [`Issuer::respond`] puts in.
    fn from(key: ApiKey) -> Self {
        Self { api_key: key.into(), key: None }
    }
}

/// A key that may be made.
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Makes secrets from the caller's own credential.
pub(crate) struct Issuer<'a> {
    state: &'a State,
    credential: &'a SecretString,
    now: Timestamp,
}

impl<'a> Issuer<'a> {
    pub(crate) fn new(state: &'a State, credential: &'a SecretString, now: Timestamp) -> Self {
        Self { state, credential, now }
    }

    /// Once for this body and this credential: with another one a repeated request would be answered with a secret that
    /// opens nothing, so that it counts as another request.
    pub(crate) fn once<'k>(&self, key: &'k IdempotencyKey, body_hash: [u8; 32]) -> Once<'k> {
        let hash = Sha256::new().chain_update(body_hash).chain_update(self.credential.expose_secret().as_bytes());
        Once::new(key, hash.finalize().into(), self.now)
    }

    /// The key as the store takes it, with a new id and secret, and the salt that the secret is computed from.
    pub(crate) fn draw(&self, draft: Draft) -> (NewApiKey, [u8; 32]) {
        let mut salt = [0_u8; 32];
        self.state.entropy.fill(&mut salt);
        let secret = ApiKeySecret::derive(&salt, self.credential);
        let new = NewApiKey {
            id: ApiKeyId::draw(self.now, &*self.state.entropy),
            name: draft.name,
            prefix: secret.shown_prefix(),
            hash: secret.hash(),
            scopes: draft.scopes,
            expires_at: draft.expires_at,
        };
        (new, salt)
    }

    /// The answer to be kept: with the salt in place of the secret, so that no secret is stored.
    pub(crate) fn answer(salt: [u8; 32], body: &impl Serialize) -> Result<Answer, Problem> {
        Ok(Answer::new(StatusCode::CREATED, body)?.salt(salt))
    }

    /// The answer with the secret in it.
    pub(crate) fn respond(&self, answer: Answer) -> HttpResponse {
        answer.reveal("key", |salt| ApiKeySecret::derive(salt, self.credential).reveal().to_owned()).respond()
    }
}
