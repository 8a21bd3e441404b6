//! `X-Tenant`: a provider's key acts within a tenant beneath its own.

use actix_web::http::header::{HeaderMap, HeaderName};
use mtasts_model::TenantId;
use utoipa::openapi::{
    RefOr,
    path::{Operation, ParameterBuilder, ParameterIn},
    schema::{ObjectBuilder, Type},
};

use crate::problem::{Problem, ProblemKind, documented};

/// The header, as it is documented.
const NAME: &str = "X-Tenant";
const X_TENANT: HeaderName = HeaderName::from_static("x-tenant");

/// The tenant that the header names; None where it is absent.
pub(super) fn target(headers: &HeaderMap) -> Result<Option<TenantId>, Problem> {
    let mut given = headers.get_all(X_TENANT);
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(Problem::parameter(
            NAME,
            "duplicate-parameter",
            "is there more than once: a call acts for one tenant",
        ));
    }
    let id = value.to_str().unwrap_or_default().parse();
    id.map(Some).map_err(|error: mtasts_model::ids::IdError| Problem::parameter(NAME, "invalid-id", error.to_string()))
}

/// Writes the header into an operation of tenants, and the answer that it may lead to.
pub(super) fn document(operation: &mut Operation) {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^ten_[0-9a-f]{32}$"));
    let parameter = ParameterBuilder::new()
        .name(NAME)
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "Act within this tenant: your own, or one beneath it if your credential has the scope `customers:act`. Any other \
             answers 404, whether it exists or not.",
        ))
        .schema(Some(schema))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
    let not_found = ProblemKind::NotFound.status().as_u16().to_string();
    if !operation.responses.responses.contains_key(&not_found) {
        operation.responses.responses.extend(documented(&[&[ProblemKind::NotFound]]));
    }
}
