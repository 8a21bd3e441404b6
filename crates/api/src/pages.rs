//! What is served beside the API: its documentation, and the answer to what is not there.

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{self, HeaderValue},
    web::Data,
};

use crate::{
    auth::state,
    domain_connect,
    problem::{Problem, ProblemKind},
    state::State,
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

/// Our Domain Connect template, for DNS providers that take it up. It is the same for everybody, and holds no secret.
#[get("/domain-connect/template.json")]
pub(crate) async fn domain_connect_template(state: Data<State>) -> Result<HttpResponse, Problem> {
    let domain_connect = state.domain_connect.as_ref().ok_or_else(no_domain_connect)?;
    let identity = &*domain_connect.identity;
    let disposition = format!("inline; filename=\"{}\"", identity.template_file_name());
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .json(domain_connect::template(identity, &state.config.zone)))
}

/// The TXT records with our public key, for the operator to publish.
#[get("/domain-connect/key.txt")]
pub(crate) async fn domain_connect_key(state: Data<State>) -> Result<HttpResponse, Problem> {
    let domain_connect = state.domain_connect.as_ref().ok_or_else(no_domain_connect)?;
    let records = domain_connect.identity.key_records().map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(records))
}

fn no_domain_connect() -> Problem {
    Problem::new(ProblemKind::NoSuchRoute, "This service does not offer Domain Connect")
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
