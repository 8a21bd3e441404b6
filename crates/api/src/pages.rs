//! What is served beside the API: its documentation, and the answer to what is not there.

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{self, HeaderValue},
};

use crate::{
    auth::state,
    problem::{Problem, ProblemKind},
};

/// `/` leads to the documentation.
#[get("/")]
pub(crate) async fn root() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, "docs/")).finish()
}

/// `/docs` leads to `/docs/`.
#[get("/docs")]
pub(crate) async fn docs() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, "docs/")).finish()
}

/// What no route takes: 405 where the path exists, else 404.
pub(crate) async fn fallback(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let allow = state(&request).ok().and_then(|state| state.routes.allow(request.path()));
    Err(match allow.and_then(|allow| HeaderValue::from_str(&allow).ok().zip(Some(allow))) {
        Some((value, allow)) => {
            Problem::new(ProblemKind::MethodNotAllowed, format!("This path takes {allow}")).header(header::ALLOW, value)
        }
        None => Problem::new(ProblemKind::NoSuchRoute, "No operation has this path; /docs/ lists all"),
    })
}
