//! `GET /v1/domains/{domain_id}/delegation`

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, get, http::header};
use chrono::{DateTime, Utc};
use mtasts_model::{Delegation, DomainId};
use mtasts_store::DomainView;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{
    format::{Format, ReadDelegation},
    terraform::terraform,
};
use crate::{
    auth::TenantScope,
    domain_connect::{Discovery, NotPossible, TemplateBody, discover, template},
    extract::{PathId, Query},
    problem::{Problem, ProblemKind, documented, groups},
    v1::domains::body::{DelegationBody, RecordBody},
};

/// The records that hand a domain's names to the service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DelegationView {
    /// The domain's id.
    #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    domain_id: String,
    /// The mail domain as A-labels.
    #[schema(example = "example.com")]
    domain: String,
    /// The CNAMEs to set, once, with what was last seen of each.
    records: Vec<RecordBody>,
    /// The same as lines of a zone file.
    #[schema(example = "mta-sts.example.com. 3600 IN CNAME 4xk7n2d3e5pzk7qn2wq4lq3m6y.edge.sts.example.net.\n")]
    zone_file: String,
    /// When the records were last looked at; null until they were.
    #[schema(required)]
    checked_at: Option<DateTime<Utc>>,
    /// `format=domain-connect`: whether one click is enough, and where; else null.
    #[schema(required)]
    domain_connect: Option<DomainConnectBody>,
}

/// Domain Connect for a domain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DomainConnect)]
pub(crate) struct DomainConnectBody {
    /// Whether `apply_url` is there.
    supported: bool,
    /// Why not: `not-configured`, `not-offered`, `zone-elsewhere`, `no-synchronous-flow`, `template-unknown`,
    /// `unreachable` or `malformed-answer`; null where it is.
    #[schema(required, example = "template-unknown")]
    reason: Option<&'static str>,
    /// A sentence for people: what is so and what to do.
    #[schema(example = "Example DNS does not know our template yet: set the CNAMEs by hand")]
    message: String,
    /// The domain's DNS provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Example DNS")]
    dns_provider: Option<String>,
    /// The zone that holds the domain there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "example.com")]
    zone: Option<String>,
    /// Where whoever may change the zone confirms the records. Signed, and without a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri")]
    apply_url: Option<String>,
    /// Our template; null where this service does not offer Domain Connect.
    #[schema(required)]
    template: Option<TemplateBody>,
    /// Where the template is for everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri")]
    template_url: Option<String>,
}

impl DelegationView {
    fn of(view: &DomainView, domain_connect: Option<DomainConnectBody>) -> Self {
        let DelegationBody { records, zone_file, checked_at } = DelegationBody::of(view);
        Self {
            domain_id: view.id.to_string(),
            domain: view.name.to_string(),
            records,
            zone_file,
            checked_at,
            domain_connect,
        }
    }
}

impl DomainConnectBody {
    async fn of(view: &DomainView, scope: &TenantScope) -> Result<Self, Problem> {
        let state = scope.state();
        // The template names one zone; a domain that is at home in another has the other formats.
        let Some(offered) = state.domain_connect.as_ref().filter(|_| view.zones.home == state.config.zone) else {
            return Ok(Self::from(Discovery::NotPossible(NotPossible::NotConfigured)));
        };
        let _place = state.places.take(scope.home())?;
        let deadline = Instant::now() + state.config.customer_dns_deadline;
        let look = discover(&*offered.web, &offered.identity, (&view.name, &view.label), &state.config.name_rules);
        let late = Ok(Discovery::NotPossible(NotPossible::Unreachable));
        let mut body = Self::from(timeout_at(deadline, look).await.unwrap_or(late)?);
        let base = state.config.public_url.as_str().trim_end_matches('/');
        body.template = Some(template(&offered.identity, &state.config.zone));
        body.template_url = Some(format!("{base}/domain-connect/template.json"));
        Ok(body)
    }
}

impl From<Discovery> for DomainConnectBody {
    fn from(discovery: Discovery) -> Self {
        let (template, template_url) = (None, None);
        match discovery {
            Discovery::Possible { dns_provider, zone, apply_url } => Self {
                supported: true,
                reason: None,
                message: format!("Open `apply_url`: {dns_provider} shows the records and asks for confirmation"),
                dns_provider: Some(dns_provider),
                zone: Some(zone),
                apply_url: Some(apply_url.into()),
                template,
                template_url,
            },
            Discovery::NotPossible(reason) => Self {
                supported: false,
                reason: Some(reason.code()),
                message: reason.to_string(),
                dns_provider: None,
                zone: None,
                apply_url: None,
                template,
                template_url,
            },
        }
    }
}

/// For the document.
const ZONE_FILE_EXAMPLE: &str = "mta-sts.example.com. 3600 IN CNAME 4xk7n2d3e5pzk7qn2wq4lq3m6y.edge.sts.example.net.\n";
/// For the document.
const TERRAFORM_EXAMPLE: &str = r#"resource "dns_cname_record" "mtasts_example_com_policy_host" {
  zone  = var.mtasts_example_com_zone
  name  = trimsuffix("mta-sts.example.com.", ".${var.mtasts_example_com_zone}")
  cname = "4xk7n2d3e5pzk7qn2wq4lq3m6y.edge.sts.example.net."
  ttl   = 3600
}
"#;

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT, &[ProblemKind::DnsCallsBusy]])
    }
}

/// Read the delegation
///
/// The CNAMEs to set, with what was last seen of each: as JSON, as lines of a zone file (`text/dns`, RFC 4027), as
/// Terraform resources, or with a Domain Connect link. The last asks the domain's DNS provider; where that does not take
/// part, the answer says so, and the other formats remain.
#[utoipa::path(
    tag = "delegation",
    operation_id = "read_delegation",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        ReadDelegation,
    ),
    responses(
        (status = 200, description = "The delegation.", content(
            (DelegationView = "application/json"),
            (String = "text/dns", example = json!(ZONE_FILE_EXAMPLE)),
            (String = "text/plain", example = json!(TERRAFORM_EXAMPLE)),
        )),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/delegation")]
pub(crate) async fn read_delegation(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<ReadDelegation>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let format = query.0.format(&request)?;
    let view = scope.begin().await?.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let delegation = || Delegation::new(&view.name, &view.label, &view.zones.home);
    let mut response = HttpResponse::Ok();
    response.insert_header((header::VARY, "Accept"));
    let file = |extension: &str| {
        (header::CONTENT_DISPOSITION, format!("inline; filename=\"mta-sts-{}.{extension}\"", view.name))
    };
    Ok(match format {
        Format::Json => response.json(DelegationView::of(&view, None)),
        Format::ZoneFile => {
            response.content_type("text/dns").insert_header(file("zone")).body(delegation().zone_file())
        }
        Format::Terraform(provider) => response
            .content_type("text/plain; charset=utf-8")
            .insert_header(file("tf"))
            .body(terraform(provider, &view.name, &delegation())),
        Format::DomainConnect => {
            let domain_connect = DomainConnectBody::of(&view, &scope).await?;
            response.json(DelegationView::of(&view, Some(domain_connect)))
        }
    })
}
