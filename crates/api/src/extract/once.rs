//! `Idempotency-Key`: a repeated POST has one effect and gets the same answer (invariant 7).

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{StatusCode, header},
};
use mtasts_model::Timestamp;
use mtasts_store::{Idempotency, TenantTx};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::Duration;
use utoipa::IntoParams;

use crate::problem::{Problem, ProblemKind};

const HEADER: &str = "Idempotency-Key";
const MAX_KEY: usize = 255;

/// The header, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by [`IdempotencyKey`], which knows what is wrong with it")]
pub(crate) struct IdempotencyHeader {
    /// A key of your choice, such as a UUID: the same request with the same key has one effect and gets the same
    /// answer.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: Option<String>,
}

/// The header's value, if it is there.
pub(crate) struct IdempotencyKey {
    key: Option<String>,
    /// Method and path: the same key on another route is another request.
    target: String,
}

impl IdempotencyKey {
    pub(crate) fn as_deref(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn read(request: &HttpRequest) -> Result<Self, Problem> {
        let malformed = || {
            let message = format!("must have 1 to {MAX_KEY} visible ASCII characters, such as a UUID");
            Problem::parameter(HEADER, "invalid-idempotency-key", message)
        };
        let key = match request.headers().get(HEADER) {
            None => None,
            Some(value) => Some(
                value
                    .to_str()
                    .ok()
                    .filter(|key| (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()))
                    .ok_or_else(malformed)?
                    .to_owned(),
            ),
        };
        Ok(Self { key, target: format!("{} {}", request.method(), request.path()) })
    }
}

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::read(request))
    }
}

/// An answer that can be kept and given again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// What a part of the body that must not be stored is computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<[u8; 32]>,
    body: Value,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_value(body).map_err(Problem::internal)?;
        Ok(Self { status, replayed: false, location: None, etag: None, salt: None, body })
    }

    pub(crate) fn location(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    pub(crate) fn etag(mut self, etag: String) -> Self {
        self.etag = Some(etag);
        self
    }

    pub(crate) fn salt(mut self, salt: [u8; 32]) -> Self {
        self.salt = Some(salt);
        self
    }

    /// Puts in what is not stored, computed from the salt.
    pub(crate) fn reveal(mut self, member: &str, secret: impl FnOnce(&[u8; 32]) -> String) -> Self {
        if let Some(salt) = &self.salt {
            self.body[member] = Value::String(secret(salt));
        }
        self
    }

    pub(crate) fn respond(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(location) = self.location {
            response.insert_header((header::LOCATION, location));
        }
        if let Some(etag) = self.etag {
            response.insert_header((header::ETAG, etag));
        }
        if self.replayed {
            response.insert_header(("Idempotent-Replayed", "true"));
        }
        response.json(self.body)
    }
}

/// Carries a request out once.
pub(crate) struct Once<'a> {
    key: &'a IdempotencyKey,
    body_hash: [u8; 32],
    now: Timestamp,
}

impl<'a> Once<'a> {
    pub(crate) fn new(key: &'a IdempotencyKey, body_hash: [u8; 32], now: Timestamp) -> Self {
        Self { key, body_hash, now }
    }

    /// The answer of the first time, if there was one: for operations that call the outside before they have anything to
    /// write, as no transaction is held over such a call. What comes after it must bear being done twice.
    pub(crate) async fn peek(&self, mut tx: TenantTx) -> Result<Option<Answer>, Problem> {
        let Some(key) = self.key.as_deref() else { return Ok(None) };
        let answer = self.first_answer(&mut tx, key).await?;
        // Not dropped: a rollback in the background would hold the key's lock when `run` asks for it.
        tx.commit().await?;
        Ok(answer)
    }

    /// Runs `carry_out` and commits, with the answer in the same transaction; or gives the answer of the first time.
    /// A problem is not kept: it had no effect, and the repeated request is judged afresh.
    pub(crate) async fn run(
        self,
        mut tx: TenantTx,
        carry_out: impl AsyncFnOnce(&mut TenantTx) -> Result<Answer, Problem>,
    ) -> Result<Answer, Problem> {
        let Some(key) = self.key.as_deref() else {
            let answer = carry_out(&mut tx).await?;
            tx.commit().await?;
            return Ok(answer);
        };
        if let Some(answer) = self.first_answer(&mut tx, key).await? {
            return Ok(answer);
        }
        let answer = carry_out(&mut tx).await?;
        let kept = serde_json::to_vec(&answer).map_err(Problem::internal)?;
        tx.finish_idempotent(key, answer.status.as_u16(), &kept).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn first_answer(&self, tx: &mut TenantTx, key: &str) -> Result<Option<Answer>, Problem> {
        let hash =
            Sha256::new().chain_update(&self.key.target).chain_update([0]).chain_update(self.body_hash).finalize();
        match tx.begin_idempotent(key, &hash.into(), self.now).await? {
            Idempotency::Fresh => Ok(None),
            Idempotency::Replay { status, body } => {
                let mut answer: Answer = serde_json::from_slice(&body).map_err(Problem::internal)?;
                answer.status = StatusCode::from_u16(status).map_err(Problem::internal)?;
                answer.replayed = true;
                Ok(Some(answer))
            }
            Idempotency::Conflict => Err(Problem::new(
                ProblemKind::IdempotencyKeyReused,
                "This `Idempotency-Key` was used for another path or body: draw a new one for a new request",
            )),
            Idempotency::InFlight => Err(Problem::new(
                ProblemKind::IdempotencyInFlight,
                "The first request with this `Idempotency-Key` is still running",
            )
            .retry_after(Duration::from_secs(1))),
        }
    }
}
