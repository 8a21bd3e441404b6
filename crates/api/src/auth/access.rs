//! What each operation asks of the credential: the one table, which is enforced and documented from here.

use actix_web::http::{
    Method,
    header::{self, HeaderValue},
};
use mtasts_model::{Scope, Scopes};
use utoipa::openapi::{OpenApi, PathItem, path::Operation, security::SecurityRequirement};

use super::acting;
use crate::{
    problem::{Problem, ProblemKind},
    routes,
};

/// The scheme of tenants' keys in the OpenAPI document.
const API_KEY: &str = "api_key";

/// What an operation asks of the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// The operator token.
    Operator,
    /// Any credential of the tenant: nothing but what belongs to the credential itself is shown; or the operation reads
    /// from the body what is asked for, and holds the credential to the scopes of that.
    AnyKey,
    /// A key with this scope.
    Key(Scope),
}

use Access::{AnyKey, Key, Operator};
use Scope::{
    AuditRead, CustomersAct, CustomersWrite, DomainsRead, DomainsWrite, KeysWrite, PolicyWrite, ReportsRead,
    WebhooksWrite,
};

/// Every operation, by method and path. One that is missing here answers nobody.
const TABLE: &[(&str, &str, Access)] = &[
    ("POST", "/v1/tenants", Operator),
    ("GET", "/v1/tenants", Operator),
    ("GET", "/v1/tenants/{tenant_id}", Operator),
    ("POST", "/v1/tenants/{tenant_id}/api-keys", Operator),
    ("POST", "/v1/tenants/{tenant_id}/domains/{domain_id}/force-removal", Operator),
    ("GET", "/v1/tenant", AnyKey),
    ("POST", "/v1/api-keys", Key(KeysWrite)),
    ("GET", "/v1/api-keys", Key(KeysWrite)),
    ("DELETE", "/v1/api-keys/{key_id}", Key(KeysWrite)),
    ("POST", "/v1/api-keys/{key_id}/rotate", Key(KeysWrite)),
    ("POST", "/v1/domains", Key(DomainsWrite)),
    ("GET", "/v1/domains", Key(DomainsRead)),
    ("GET", "/v1/domains/{domain_id}", Key(DomainsRead)),
    ("PATCH", "/v1/domains/{domain_id}", Key(DomainsWrite)),
    ("DELETE", "/v1/domains/{domain_id}", Key(DomainsWrite)),
    ("POST", "/v1/domains/{domain_id}/verify", Key(DomainsWrite)),
    ("GET", "/v1/domains/{domain_id}/checks", Key(DomainsRead)),
    ("GET", "/v1/domains/{domain_id}/delegation", Key(DomainsRead)),
    ("POST", "/v1/domains/{domain_id}/delegation:plan", Key(DomainsWrite)),
    ("POST", "/v1/domains/{domain_id}/delegation:apply", Key(DomainsWrite)),
    ("POST", "/v1/dns-credentials", Key(DomainsWrite)),
    ("GET", "/v1/dns-credentials", Key(DomainsRead)),
    ("GET", "/v1/dns-credentials/{dns_credential_id}", Key(DomainsRead)),
    ("DELETE", "/v1/dns-credentials/{dns_credential_id}", Key(DomainsWrite)),
    ("POST", "/v1/checks", Key(DomainsWrite)),
    ("GET", "/v1/checks", Key(DomainsRead)),
    ("GET", "/v1/checks/{check_id}", Key(DomainsRead)),
    ("POST", "/v1/policies:generate", Key(DomainsWrite)),
    ("GET", "/v1/policy-settings", Key(DomainsRead)),
    ("PUT", "/v1/policy-settings", Key(PolicyWrite)),
    ("GET", "/v1/domains/{domain_id}/readiness", Key(DomainsRead)),
    ("POST", "/v1/domains/{domain_id}/migrations", Key(PolicyWrite)),
    ("GET", "/v1/domains/{domain_id}/migrations", Key(DomainsRead)),
    ("POST", "/v1/domains/{domain_id}/migrations:confirm", Key(PolicyWrite)),
    ("DELETE", "/v1/domains/{domain_id}/migrations", Key(PolicyWrite)),
    ("PUT", "/v1/domains/{domain_id}/rollout", Key(PolicyWrite)),
    ("GET", "/v1/domains/{domain_id}/rollout", Key(DomainsRead)),
    ("DELETE", "/v1/domains/{domain_id}/rollout", Key(PolicyWrite)),
    ("POST", "/v1/domains/{domain_id}/rollout:pause", Key(PolicyWrite)),
    ("POST", "/v1/domains/{domain_id}/rollout:resume", Key(PolicyWrite)),
    ("GET", "/v1/domains/{domain_id}/proposal", Key(DomainsRead)),
    ("POST", "/v1/domains/{domain_id}/proposal:apply", Key(PolicyWrite)),
    ("POST", "/v1/domains/{domain_id}/proposal:dismiss", Key(PolicyWrite)),
    ("GET", "/v1/domains/{domain_id}/policy", Key(DomainsRead)),
    ("PUT", "/v1/domains/{domain_id}/policy", Key(PolicyWrite)),
    ("PATCH", "/v1/domains/{domain_id}/policy", Key(PolicyWrite)),
    ("PUT", "/v1/domains/{domain_id}/mode", Key(PolicyWrite)),
    ("POST", "/v1/domains/{domain_id}/policy/rollback", Key(PolicyWrite)),
    ("POST", "/v1/domains/{domain_id}/policy:simulate", Key(PolicyWrite)),
    ("GET", "/v1/domains/{domain_id}/policy/versions", Key(DomainsRead)),
    ("GET", "/v1/domains/{domain_id}/policy/versions/{version_id}", Key(DomainsRead)),
    ("GET", "/v1/audit-events", Key(AuditRead)),
    ("POST", "/v1/customers", Key(CustomersWrite)),
    ("GET", "/v1/customers", Key(CustomersAct)),
    ("GET", "/v1/customers/{tenant_id}", Key(CustomersAct)),
    ("PATCH", "/v1/customers/{tenant_id}", Key(CustomersWrite)),
    ("POST", "/v1/customers/{tenant_id}/api-keys", Key(CustomersWrite)),
    ("GET", "/v1/events", Key(DomainsRead)),
    ("POST", "/v1/webhooks", Key(WebhooksWrite)),
    ("GET", "/v1/webhooks", Key(WebhooksWrite)),
    ("GET", "/v1/webhooks/{webhook_id}", Key(WebhooksWrite)),
    ("PATCH", "/v1/webhooks/{webhook_id}", Key(WebhooksWrite)),
    ("DELETE", "/v1/webhooks/{webhook_id}", Key(WebhooksWrite)),
    ("POST", "/v1/webhooks/{webhook_id}/rotate-secret", Key(WebhooksWrite)),
    ("POST", "/v1/webhooks/{webhook_id}/test", Key(WebhooksWrite)),
    ("GET", "/v1/webhooks/{webhook_id}/deliveries", Key(WebhooksWrite)),
    ("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", Key(WebhooksWrite)),
    ("POST", "/v1/domains:batch", AnyKey),
    ("POST", "/v1/domains:import", Key(DomainsWrite)),
    ("GET", "/v1/domains:export", Key(DomainsRead)),
    ("GET", "/v1/operations", Key(DomainsRead)),
    ("GET", "/v1/operations/{operation_id}", Key(DomainsRead)),
    ("GET", "/v1/operations/{operation_id}/results", Key(DomainsRead)),
    ("POST", "/v1/operations/{operation_id}/cancel", Key(DomainsWrite)),
    ("GET", "/v1/tenants/{tenant_id}/quotas", Operator),
    ("PUT", "/v1/tenants/{tenant_id}/quotas", Operator),
    ("POST", "/v1/digest-recipients", Key(WebhooksWrite)),
    ("GET", "/v1/digest-recipients", Key(WebhooksWrite)),
    ("GET", "/v1/digest-recipients/{digest_recipient_id}", Key(WebhooksWrite)),
    ("DELETE", "/v1/digest-recipients/{digest_recipient_id}", Key(WebhooksWrite)),
    ("GET", "/v1/report-settings", Key(ReportsRead)),
    ("PUT", "/v1/report-settings", Key(WebhooksWrite)),
    ("GET", "/v1/usage", Key(DomainsRead)),
    ("GET", "/v1/tenants/{tenant_id}/usage", Operator),
    ("GET", "/v1/reports/summary", Key(ReportsRead)),
    ("GET", "/v1/domains/{domain_id}/reports/summary", Key(ReportsRead)),
    ("GET", "/v1/reports/breakdown", Key(ReportsRead)),
    ("GET", "/v1/domains/{domain_id}/reports/breakdown", Key(ReportsRead)),
    ("GET", "/v1/reports/failures", Key(ReportsRead)),
    ("GET", "/v1/domains/{domain_id}/reports/failures", Key(ReportsRead)),
    ("GET", "/v1/reports/results", Key(ReportsRead)),
    ("GET", "/v1/domains/{domain_id}/reports/results", Key(ReportsRead)),
    ("GET", "/v1/reports/export", Key(ReportsRead)),
    ("GET", "/v1/domains/{domain_id}/reports/export", Key(ReportsRead)),
    ("GET", "/v1/reports", Key(ReportsRead)),
    ("GET", "/v1/domains/{domain_id}/reports", Key(ReportsRead)),
    ("GET", "/v1/reports/{report_id}", Key(ReportsRead)),
    ("GET", "/v1/reports/{report_id}/raw", Key(ReportsRead)),
    ("GET", "/v1/reports/{report_id}/results", Key(ReportsRead)),
    ("GET", "/v1/report-arrivals", Key(ReportsRead)),
    ("GET", "/v1/report-arrivals/{arrival_id}", Key(ReportsRead)),
    ("GET", "/v1/report-arrivals/{arrival_id}/raw", Key(ReportsRead)),
];

/// Whether a key with these scopes may call the operation. `path` is the one that the router matched.
pub(super) fn allow(method: &Method, path: &str, held: Scopes) -> Result<(), Problem> {
    // A HEAD is answered as the GET would be (RFC 9110 §9.3.2).
    let method = if method == Method::HEAD { Method::GET.as_str() } else { method.as_str() };
    // Where two patterns match, the one with fewer parameters is meant, as in `routes`.
    let entry = TABLE
        .iter()
        .filter(|(of, pattern, _)| *of == method && routes::matches(pattern, path))
        .min_by_key(|(_, pattern, _)| pattern.matches('{').count());
    match entry.map(|(_, _, access)| *access) {
        Some(AnyKey) => Ok(()),
        Some(Key(scope)) if held.contains(scope) => Ok(()),
        Some(Key(scope)) => Err(missing(
            Scopes::from(scope),
            format!("This operation needs the scope `{scope}`, which your credential does not have"),
        )),
        Some(Operator) | None => Err(Problem::internal("the operation is not in the table of scopes")),
    }
}

/// The refusal of a key that lacks scopes.
pub(crate) fn missing(lacking: Scopes, detail: String) -> Problem {
    let words: Vec<_> = lacking.iter().map(Scope::as_str).collect();
    let problem = Problem::new(ProblemKind::ScopeMissing, detail).with("missing_scopes", words);
    // RFC 6750 §3.1.
    let challenge = format!("Bearer realm=\"mtasts\", error=\"insufficient_scope\", scope=\"{lacking}\"");
    match HeaderValue::try_from(challenge) {
        Ok(challenge) => problem.header(header::WWW_AUTHENTICATE, challenge),
        Err(error) => Problem::internal(error),
    }
}

/// Writes into the document which scope each operation needs, and for whom it may act.
pub(crate) fn document(openapi: &mut OpenApi) {
    for (method, pattern, access) in TABLE {
        if *access == Operator {
            continue;
        }
        let operation = openapi.paths.paths.get_mut(*pattern).and_then(|item| operation(item, method));
        let Some(operation) = operation else { continue };
        acting::document(operation);
        let Key(scope) = access else { continue };
        operation.security = Some(vec![SecurityRequirement::new(API_KEY, [scope.as_str()])]);
        let description = operation.description.get_or_insert_default();
        description.push_str("\n\nNeeds the scope `");
        description.push_str(scope.as_str());
        description.push_str("`.");
    }
}

fn operation<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "PUT" => item.put.as_mut(),
        "POST" => item.post.as_mut(),
        "DELETE" => item.delete.as_mut(),
        "PATCH" => item.patch.as_mut(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    fn only(scope: Scope) -> Scopes {
        Scopes::from(scope)
    }

    #[test]
    fn every_operation_of_the_document_has_one_entry_and_every_entry_an_operation() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let method = method.to_uppercase();
                let entries: Vec<_> = TABLE.iter().filter(|entry| entry.0 == method && entry.1 == path).collect();
                let [(_, _, access)] = entries[..] else {
                    panic!("{method} {path} has {} entries in the table of scopes: it needs one", entries.len());
                };
                let expected = match access {
                    Operator => json!([{"operator_token": []}]),
                    AnyKey => json!([{"api_key": []}]),
                    Key(scope) => json!([{"api_key": [scope.as_str()]}]),
                };
                assert_eq!(operation["security"], expected, "{method} {path}");
                let description = operation["description"].as_str().unwrap();
                let sentence = match access {
                    Key(scope) => format!("\n\nNeeds the scope `{scope}`."),
                    Operator | AnyKey => String::new(),
                };
                assert!(description.ends_with(&sentence), "{method} {path} names no scope");
                let mut parameters = operation["parameters"].as_array().into_iter().flatten();
                let acts = parameters.any(|parameter| parameter["name"] == "X-Tenant" && parameter["in"] == "header");
                assert_eq!(acts, *access != Operator, "{method} {path}: X-Tenant is for tenants' operations alone");
                let problems = &operation["responses"]["404"]["content"]["application/problem+json"]["examples"];
                assert!(!acts || problems["not-found"].is_object(), "{method} {path} does not document not-found");
                documented.insert((method, path.clone()));
            }
        }
        for (method, path, _) in TABLE {
            assert!(
                documented.contains(&((*method).to_owned(), (*path).to_owned())),
                "{method} {path} is no operation"
            );
        }
    }

    #[test]
    fn nothing_is_changed_with_a_scope_to_read_and_no_policy_with_that_of_domains() {
        for (method, path, access) in TABLE {
            let Key(scope) = access else { continue };
            let reads = scope.as_str().ends_with(":read") || *scope == CustomersAct;
            assert!(*method == "GET" || !reads, "{method} {path} changes something with {scope}");
            let policy =
                ["/policy", "/mode", "/proposal", "/rollout", "/migrations"].iter().any(|part| path.contains(part));
            assert!(*method == "GET" || policy == (*scope == PolicyWrite), "{method} {path} with {scope}");
        }
    }

    #[test]
    fn only_the_scope_of_the_operation_opens_it() {
        let concrete = |pattern: &str| {
            let segments = pattern.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
            segments.collect::<Vec<_>>().join("/")
        };
        for (method, pattern, access) in TABLE {
            let (method, path) = (Method::from_bytes(method.as_bytes()).unwrap(), concrete(pattern));
            for scope in Scope::ALL {
                let outcome = allow(&method, &path, only(scope)).map_err(|problem| problem.kind());
                let expected = match access {
                    AnyKey => Ok(()),
                    Key(needed) if *needed == scope => Ok(()),
                    Key(_) => Err(ProblemKind::ScopeMissing),
                    Operator => Err(ProblemKind::Internal),
                };
                assert_eq!(outcome, expected, "{method} {path} with {scope}");
            }
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_refused_to_every_key_and_head_is_read_as_get() {
        for (method, path) in [(Method::GET, "/v1/new"), (Method::PUT, "/v1/domains"), (Method::GET, "/v1/domains/")] {
            assert_eq!(allow(&method, path, Scopes::ALL).map_err(|problem| problem.kind()), Err(ProblemKind::Internal));
        }
        assert!(allow(&Method::HEAD, "/v1/domains", only(DomainsRead)).is_ok());
        assert!(allow(&Method::HEAD, "/v1/domains", only(DomainsWrite)).is_err());
    }
}
