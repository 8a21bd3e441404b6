//! Problem answers for the OpenAPI document.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::{
    ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
    example::ExampleBuilder,
    header::HeaderBuilder,
    schema::{ObjectBuilder, Type},
};

use super::{PROBLEM_JSON, ProblemKind};

/// Kinds that come together.
pub(crate) mod groups {
    use super::ProblemKind;

    /// Every operation under `/v1`.
    pub(crate) const CALL: &[ProblemKind] = &[
        ProblemKind::InvalidParameters,
        ProblemKind::Unauthenticated,
        ProblemKind::WrongCredential,
        ProblemKind::ScopeMissing,
        ProblemKind::IdentityNotAdmitted,
        ProblemKind::TenantSuspended,
        ProblemKind::RateLimited,
        ProblemKind::Internal,
        ProblemKind::StoreUnavailable,
        ProblemKind::IdentityProviderUnavailable,
        ProblemKind::DeadlineExceeded,
    ];
    /// Operations that read a body.
    pub(crate) const BODY: &[ProblemKind] = &[
        ProblemKind::MalformedJson,
        ProblemKind::BodyTooSlow,
        ProblemKind::BodyTooLarge,
        ProblemKind::UnsupportedMediaType,
        ProblemKind::InvalidFields,
    ];
    /// Operations on one object.
    pub(crate) const OBJECT: &[ProblemKind] = &[ProblemKind::NotFound];
    /// Operations that take an `Idempotency-Key`.
    pub(crate) const ONCE: &[ProblemKind] = &[ProblemKind::IdempotencyInFlight, ProblemKind::IdempotencyKeyReused];
    /// Operations that set a policy.
    pub(crate) const POLICY: &[ProblemKind] = &[
        ProblemKind::EnforceNotProven,
        ProblemKind::DomainWithdrawing,
        ProblemKind::PolicyChanged,
        ProblemKind::MigrationNotSafe,
        ProblemKind::PreconditionFailed,
    ];
    /// Operations that ask a customer's DNS provider.
    pub(crate) const CUSTOMER_DNS: &[ProblemKind] = &[
        ProblemKind::DnsCredentialRefused,
        ProblemKind::DnsServerUnusable,
        ProblemKind::CustomerDnsOff,
        ProblemKind::DnsProviderUnavailable,
        ProblemKind::DnsCallsBusy,
    ];
    /// Operations on a domain's delegation by a credential.
    pub(crate) const DELEGATION: &[ProblemKind] = &[ProblemKind::DnsZoneNotCovered, ProblemKind::DomainWithdrawing];
}

/// One answer per status, with an example for each kind.
pub(crate) fn documented(groups: &[&[ProblemKind]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<ProblemKind>> = BTreeMap::new();
    for kind in groups.iter().copied().flatten().copied() {
        let kinds = by_status.entry(kind.status().as_u16().to_string()).or_default();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    by_status.into_iter().map(|(status, kinds)| (status, RefOr::T(response(&kinds)))).collect()
}

fn response(kinds: &[ProblemKind]) -> Response {
    let description: Vec<_> = kinds.iter().map(|kind| format!("`{}`: {}.", kind.slug(), kind.title())).collect();
    let examples = kinds.iter().map(|kind| {
        let example = ExampleBuilder::new().summary(kind.title()).value(Some(example(*kind))).build();
        (kind.slug(), RefOr::T(example))
    });
    let content = ContentBuilder::new()
        .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
        .examples_from_iter(examples)
        .build();
    let mut response = ResponseBuilder::new().description(description.join(" ")).content(PROBLEM_JSON, content);
    let may_be_repeated = |kind: &ProblemKind| {
        kind.status().as_u16() == 503 || matches!(kind, ProblemKind::IdempotencyInFlight | ProblemKind::RateLimited)
    };
    if kinds.iter().any(may_be_repeated) {
        response = response.header("Retry-After", text_header("Seconds after which to try again."));
    }
    if kinds.iter().any(|kind| matches!(kind, ProblemKind::Unauthenticated | ProblemKind::ScopeMissing)) {
        response = response.header("WWW-Authenticate", text_header("How to authenticate (RFC 6750 §3)."));
    }
    if kinds.contains(&ProblemKind::PreconditionFailed) || kinds.contains(&ProblemKind::PreconditionRequired) {
        response = response.header("ETag", text_header("What `If-Match` would have to name; absent where nothing is."));
    }
    response.build()
}

fn text_header(description: &str) -> utoipa::openapi::Header {
    HeaderBuilder::new()
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn example(kind: ProblemKind) -> serde_json::Value {
    let (detail, more) = match kind {
        ProblemKind::MalformedJson => ("expected `,` or `}` at line 1 column 24", json!({})),
        ProblemKind::InvalidFields => (
            "this is an IP address, or ends in a number as one does: give a domain name",
            json!({"errors": [{
                "pointer": "/name",
                "code": "name-ip-address",
                "message": "this is an IP address, or ends in a number as one does: give a domain name",
            }]}),
        ),
        ProblemKind::InvalidParameters => (
            "`limit`: must be 1 to 100",
            json!({"errors": [{"parameter": "limit", "code": "out-of-range", "message": "must be 1 to 100"}]}),
        ),
        ProblemKind::ScopeMissing => (
            "This operation needs the scope `domains:write`, which your credential does not have",
            json!({"missing_scopes": ["domains:write"]}),
        ),
        ProblemKind::DomainExists => (
            "example.com is registered already",
            json!({
                "domain_id": "dom_0190c3a0b1c27d3e8f4051627384950a",
                "domain_url": "/v1/domains/dom_0190c3a0b1c27d3e8f4051627384950a",
            }),
        ),
        ProblemKind::EnforceNotProven => (
            "1 reason speaks against enforce; `reasons` lists them",
            json!({"reasons": [{
                "host": "mx2.example.com",
                "code": "starttls-not-supported",
                "weight": "blocking",
                "message": "mx2.example.com does not offer STARTTLS",
                "what_to_do": "mend it at the host, then ask for a new look with verify",
            }]}),
        ),
        ProblemKind::MigrationNotSafe => (
            "Senders may still hold a policy without the new hosts: wait until `safe_at`",
            json!({"safe_at": "2026-01-08T00:00:00Z"}),
        ),
        ProblemKind::PreconditionFailed => {
            ("The current policy version is another one", json!({"current": "pol_0190c3a0b1c27d3e8f4051627384950a"}))
        }
        ProblemKind::DelegationChanged | ProblemKind::DelegationRefused => (
            "1 of 3 names has other records; `records` shows them, and nothing was written",
            json!({"records": [{
                "purpose": "policy-host",
                "type": "CNAME",
                "name": "mta-sts.example.com",
                "target": "4xk7n2d3e5pzk7qn2wq4lq3m6y.edge.sts.example.net",
                "ttl": 3600,
                "action": "refuse",
                "standing": [{"type": "A", "value": "192.0.2.7"}],
                "message": "A 192.0.2.7 stands here: remove it, or keep this name as it is",
            }]}),
        ),
        ProblemKind::BodyTooLarge => ("The body may have 65536 octets", json!({"limit": 65_536})),
        ProblemKind::QuotaExceeded => (
            "You have 20 operations and may have 20: ask the operator of this service for more",
            json!({"quota": "operations", "limit": 20, "used": 20}),
        ),
        ProblemKind::RateLimited => ("Too many calls with this API key: the next one is possible in 1 s", json!({})),
        other => (other.title(), json!({})),
    };
    let mut example = json!({
        "type": format!("https://api.sts.example.net/problems/{}", kind.slug()),
        "title": kind.title(),
        "status": kind.status().as_u16(),
        "detail": detail,
        "code": kind.slug(),
        "request_id": "req_5pzk7qn2wq4lq3m6y4xk7n2d3e",
    });
    if let (Some(example), serde_json::Value::Object(more)) = (example.as_object_mut(), more) {
        example.extend(more);
    }
    example
}
