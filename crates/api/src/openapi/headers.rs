//! Headers that every answer has, whatever the operation.

use utoipa::openapi::{
    Header, OpenApi, Ref, RefOr,
    header::HeaderBuilder,
    schema::{ObjectBuilder, Type},
};

use super::examples::operations;

/// Writes them into every answer of every operation.
pub(super) fn fill(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    components.headers.extend(ALWAYS.map(|(name, description)| (name.to_owned(), RefOr::T(text(description)))));
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        for response in operation.responses.responses.values_mut() {
            let RefOr::T(response) = response else { continue };
            for (name, _) in ALWAYS {
                let reference = || RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
                response.headers.entry(name.to_owned()).or_insert_with(reference);
            }
        }
    }
}

/// Those of the limits are absent where this installation has none, or the credential is not valid.
const ALWAYS: [(&str, &str); 3] = [
    ("X-Request-Id", "The request's id: yours if you sent one, else ours. It is in our log."),
    ("RateLimit-Policy", "The limits of the credential, such as `\"key\";q=200;w=20`."),
    ("RateLimit", "What is left of them, such as `\"key\";r=199;t=1`."),
];

fn text(description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build()
}
