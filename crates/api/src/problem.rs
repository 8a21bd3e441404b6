//! Errors as the caller sees them: RFC 9457 problem details. The only place where faults become HTTP statuses.

mod customer_dns;
mod documented;
mod kinds;
pub(crate) mod pages;
mod store;

use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;
use utoipa::ToSchema;

pub(crate) use documented::documented;
pub(crate) use documented::groups;
pub use kinds::ProblemKind;

use crate::{
    enforce::Doubt,
    v1::{api_keys::ScopeSchema, delegation::PlannedRecordBody},
};

/// The media type of RFC 9457 §6.1.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// When to try again after a fault of the store.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

type Cause = Box<dyn StdError + Send + Sync>;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"pointer": "/mx/0", "code": "mx-wildcard", "message": "`*` can only be the whole first label"}))]
pub(crate) struct FieldError {
    /// A JSON pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// The name of a parameter in the path, the query or a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// A stable word for programs.
    code: Cow<'static, str>,
    /// A sentence for people: what is so and what to do.
    message: String,
}

impl FieldError {
    /// A fault in the body.
    pub(crate) fn at(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, code: code.into(), message: message.into() }
    }

    /// A fault in path, query or headers.
    pub(crate) fn parameter(name: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.into()), code: code.into(), message: message.into() }
    }
}

/// What goes wrong with a request, on its way to becoming an answer. A handler returns it; the answer is made where
/// the request's id is known ([`Problem::respond`]).
pub(crate) struct Problem(Box<Inner>);

struct Inner {
    kind: ProblemKind,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    extensions: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Cause>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            extensions: Map::new(),
            headers: Vec::new(),
            cause: None,
        }))
    }

    /// Faults in the body's fields.
    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.message.clone(),
            _ => format!("{} fields are not valid; `errors` lists them", errors.len()),
        };
        let mut problem = Self::new(ProblemKind::InvalidFields, detail);
        problem.0.errors = errors;
        problem
    }

    /// A fault in one field of the body.
    pub(crate) fn field(pointer: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::at(pointer, code, message)])
    }

    /// A fault in a parameter of path, query or headers.
    pub(crate) fn parameter(name: &str, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        let mut problem = Self::new(ProblemKind::InvalidParameters, format!("`{name}`: {message}"));
        problem.0.errors = vec![FieldError::parameter(name, code, message)];
        problem
    }

    /// No object with the given id that the caller may see. Says nothing on whether there is one that it may not.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(ProblemKind::NotFound, format!("There is no such {what}"))
    }

    /// A fault of ours: the caller learns nothing but the request's id, the log gets the cause.
    pub(crate) fn internal(cause: impl Into<Cause>) -> Self {
        let mut problem = Self::new(
            ProblemKind::Internal,
            "The request failed by a fault on our side; it is in our log under this request id",
        );
        problem.0.cause = Some(cause.into());
        problem
    }

    /// The store does not answer.
    pub(crate) fn store_unavailable(cause: impl Into<Cause>) -> Self {
        let mut problem = Self::new(
            ProblemKind::StoreUnavailable,
            "The database does not answer at the moment; policies are served on. Try again shortly",
        )
        .retry_after(RETRY_AFTER);
        problem.0.cause = Some(cause.into());
        problem
    }

    /// Adds a member of the answer.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0.extensions.insert(member.to_owned(), value.into());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub(crate) fn retry_after(self, after: Duration) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)))
    }

    /// Its type.
    pub(crate) fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// What is to be logged of it; None for faults of the caller.
    pub(crate) fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// Tells the log why, and the caller nothing of it.
    pub(crate) fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The answer.
    pub(crate) fn respond(&self, public_url: &Url, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.kind.status());
        for (name, value) in &self.0.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        // A map with text keys always serialises; an empty body would still carry the right status.
        let json = serde_json::to_vec(&self.body(public_url, request_id)).unwrap_or_default();
        response.content_type(PROBLEM_JSON).body(json)
    }

    /// The same as a part of another answer.
    pub(crate) fn to_value(&self, public_url: &Url, request_id: &str) -> Value {
        serde_json::to_value(self.body(public_url, request_id)).unwrap_or_default()
    }

    fn body<'a>(&'a self, public_url: &Url, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            r#type: type_uri(public_url, self.0.kind),
            title: self.0.kind.title(),
            status: self.0.kind.status().as_u16(),
            detail: &self.0.detail,
            code: self.0.kind.slug(),
            request_id,
            errors: &self.0.errors,
            extensions: &self.0.extensions,
        }
    }
}

/// The type URI of a kind: absolute, as RFC 9457 §3.1.1 recommends.
pub(crate) fn type_uri(public_url: &Url, kind: ProblemKind) -> String {
    format!("{}/problems/{}", public_url.as_str().trim_end_matches('/'), kind.slug())
}

/// The answer to a request that failed (RFC 9457). Some types have further members.
#[derive(ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "https://api.sts.example.net/problems/not-found",
    "title": "There is no such object",
    "status": 404,
    "detail": "There is no such domain",
    "code": "not-found",
    "request_id": "req_5pzk7qn2wq4lq3m6y4xk7n2d3e",
}))]
#[expect(dead_code, reason = "the schema of `ProblemBody`, whose further members depend on the type")]
pub(crate) struct ProblemSchema {
    /// A URI that names the type of problem, and leads to a page on it.
    #[schema(format = "uri")]
    r#type: String,
    /// The type's title: the same in every occurrence.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened this time, and what to do.
    detail: String,
    /// The last segment of `type`: a stable word for programs.
    code: String,
    /// The request's id, as in the header `X-Request-Id` and in our log.
    request_id: String,
    /// What is wrong with which field or parameter.
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// `scope-missing`: the scopes that the key lacks.
    #[schema(required = false)]
    missing_scopes: Vec<ScopeSchema>,
    /// `enforce-not-proven`: what speaks against `enforce`.
    #[schema(required = false)]
    reasons: Vec<Doubt>,
    /// `domain-exists`: the registration that exists.
    #[schema(required = false)]
    domain_id: String,
    /// `domain-exists`: its path.
    #[schema(required = false)]
    domain_url: String,
    /// `migration-not-safe`: from when on it would be safe; null while that is not known.
    safe_at: Option<chrono::DateTime<chrono::Utc>>,
    /// `precondition-failed`: the tag of what is current, of a policy its version's id; null where there is none.
    current: Option<String>,
    /// `delegation-changed`, `delegation-refused`: the records, and what stands at their names now.
    #[schema(required = false)]
    records: Vec<PlannedRecordBody>,
    /// `body-too-large`: the longest body that is read, in octets. `quota-exceeded`: how many are possible.
    #[schema(required = false)]
    limit: u64,
    /// `quota-exceeded`: what is counted.
    #[schema(required = false)]
    quota: String,
    /// `quota-exceeded`: how many there are.
    #[schema(required = false)]
    used: u64,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    extensions: &'a Map<String, Value>,
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem").field("kind", &self.0.kind).field("detail", &self.0.detail).finish_non_exhaustive()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.slug(), self.0.detail)
    }
}

impl StdError for Problem {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.kind.status()
    }

    /// Only the status: the observing middleware makes the body, as it knows the request's id.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
