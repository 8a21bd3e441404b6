//! The OpenAPI document: collected from the operations, so that it says what is served.

mod examples;
mod headers;

use actix_web::App;
use utoipa::{
    OpenApi,
    openapi::{
        OpenApi as Document,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_actix_web::AppExt;

use crate::{auth::access, problem::ProblemSchema, v1};

/// What the operations do not say themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "mtasts",
        description = "Hosted MTA-STS (RFC 8461) with SMTP TLS reporting (RFC 8460).\n\n\
                       Register a domain, set three CNAMEs once, and the policy host, its certificate and the TXT \
                       record are taken care of. Errors are problem details (RFC 9457); each `type` leads to a page. \
                       Times are RFC 3339 in UTC. Lists have cursors.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact(name = "The operator of this service"),
    ),
    tags(
        (name = "tenants", description = "Customer accounts, as the operator handles them."),
        (name = "customers", description = "Tenants beneath yours, for providers; `X-Tenant` acts within one."),
        (name = "api-keys", description = "Credentials of a tenant."),
        (name = "domains", description = "Mail domains: registration, delegation and health."),
        (name = "delegation", description = "The CNAMEs of a domain: in other formats, by one click, or set by us."),
        (name = "dns-credentials", description = "Credentials for your own DNS, with which we set the CNAMEs for you."),
        (name = "policy", description = "The MTA-STS policy of a domain and its versions."),
        (name = "checks", description = "Looks at any domain as a sender would, and policies that are built from one."),
        (name = "events", description = "What happened to your domains."),
        (name = "webhooks", description = "Where you are told of events (Standard Webhooks)."),
        (name = "alerts", description = "What you are told of reports by itself."),
        (name = "operations", description = "Bulk operations: how far they have come, and what became of each line."),
        (name = "reports", description = "What senders report on your domains: TLS (RFC 8460) and DMARC aggregate."),
        (name = "usage", description = "What a tenant has and uses, day by day."),
        (name = "audit-events", description = "Who did what: append-only, each line chained to the one before."),
    ),
    servers((url = "/", description = "This server")),
    components(schemas(ProblemSchema)),
)]
struct Base;

/// The document without the operations.
pub(crate) fn base() -> Document {
    let mut base = Base::openapi();
    let bearer = |description: &str| {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(description.to_owned());
        SecurityScheme::Http(http)
    };
    let components = base.components.get_or_insert_default();
    components.add_security_scheme("operator_token", bearer("The operator's token, from the configuration."));
    components.add_security_scheme(
        "api_key",
        bearer(
            "A tenant's API key, `mts_live_…`, or a token of an identity provider that this service trusts. It needs the \
             scope that the operation names; those of a token are those of its role.",
        ),
    );
    base
}

/// The API's OpenAPI 3.1 document. Always the same for the same version of the code.
pub fn openapi() -> Document {
    let mut document = App::new().into_utoipa_app().openapi(base()).configure(v1::configure).split_for_parts().1;
    access::document(&mut document);
    v1::events::catalogue::document(&mut document);
    examples::fill(&mut document);
    headers::fill(&mut document);
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_described_tagged_secured_and_answers_with_problems() {
        let document = serde_json::to_value(openapi()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let at = format!("{method} {path}");
                for member in ["summary", "description", "operationId", "tags", "security"] {
                    assert!(!operation[member].is_null(), "{at} has no {member}");
                }
                assert!(ids.insert(operation["operationId"].to_string()), "{at} shares its id");
                for status in ["401", "403", "500", "503"] {
                    assert!(operation["responses"][status].is_object(), "{at} does not document {status}");
                }
                let has_body = operation["requestBody"].is_object();
                assert!(!has_body || operation["responses"]["422"].is_object(), "{at} takes a body without 422");
            }
        }
        assert!(ids.len() >= 56, "only {} operations", ids.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = serde_json::to_value(openapi()).unwrap();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference} is not there");
        }
    }
}
