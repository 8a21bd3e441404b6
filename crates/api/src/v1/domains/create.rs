//! `POST /v1/domains`

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::{DomainId, Label, MailDomain, Mode, Policy, Tag, lifecycle::MxSource};
use mtasts_store::{DomainView, NewDomain, TenantTx, VersionReason};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::body::DomainBody;
use crate::{
    auth::TenantScope,
    enforce::{self, Doubt},
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once, Query},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::{
        dry_run::{self, DryRun, DryRunBody},
        fields::{
            DEFAULT_MAX_AGE, Faults, ModeSchema, MxChoice, TagSchema, TlsRpt, max_age, mx_choice_schema, mx_patterns,
            object, policy, report_uris, tags,
        },
        policy::new_version,
    },
};

/// A new domain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "example.com", "mode": "testing", "tls_rpt": {"rua": ["mailto:tls-reports@example.com"]}}))]
pub(crate) struct CreateDomain {
    /// The mail domain: the part behind `@`. Internationalised names are taken as they are or as A-labels.
    #[schema(min_length = 1, max_length = 1012)]
    name: String,
    /// The mode to start in: `testing` where absent. `enforce` comes later, with proof.
    #[schema(value_type = Option<ModeSchema>)]
    mode: Option<Mode>,
    /// The MX patterns: `"auto"` where absent.
    #[serde(default)]
    #[schema(schema_with = mx_choice_schema, required = false)]
    mx: MxChoice,
    /// How long senders may keep the policy, in seconds: 0 to 31,557,600. A week where absent.
    #[schema(minimum = 0, maximum = 31_557_600, default = 604_800)]
    max_age: Option<u64>,
    /// TLS reporting: off where absent.
    #[serde(default, deserialize_with = "object")]
    tls_rpt: Option<TlsRpt>,
    /// Tags of your own, to find the domain by in lists: up to 20 words of letters, digits, `:`, `.`, `_` and `-`.
    #[serde(default)]
    #[schema(value_type = Vec<TagSchema>, max_items = 20, example = json!(["customer:4711"]))]
    tags: Vec<String>,
}

/// A registration without faults in itself.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) new: NewDomain,
    tags: BTreeSet<Tag>,
}

/// What is to be made, or what is wrong with it.
pub(crate) fn wanted(body: &CreateDomain, scope: &TenantScope) -> Result<Registration, Problem> {
    let Wanted { mut new, first, tags } = body.parse(scope)?;
    if new.preferred_mode == Mode::Enforce {
        return Err(enforce::refusal(&Doubt::not_checked(scope.now())));
    }
    new.first = first.map(|policy| new_version(scope, policy, VersionReason::Registered, None));
    Ok(Registration { new, tags })
}

/// Registers a domain, if there is room for one more.
pub(crate) async fn carry_out(
    tx: &mut TenantTx,
    scope: &TenantScope,
    registration: Registration,
) -> Result<DomainView, Problem> {
    let Registration { new, tags } = registration;
    let id = new.id;
    tx.make_room_for_domain(scope.state().config.quotas.domains).await?;
    let view = tx.create_domain(new, &scope.actor(), scope.now()).await?;
    Ok(if tags.is_empty() { view } else { tx.set_tags(id, &tags, &scope.actor(), scope.now()).await? })
}

/// The parts of a [`NewDomain`] that the caller chooses.
struct Wanted {
    new: NewDomain,
    first: Option<Policy>,
    tags: BTreeSet<Tag>,
}

impl CreateDomain {
    /// Begins in `testing` where `enforce` is wanted, which needs proof.
    pub(crate) fn lower_enforce(&mut self) {
        self.mode = self.mode.map(|mode| if mode == Mode::Enforce { Mode::Testing } else { mode });
    }

    fn parse(&self, scope: &TenantScope) -> Result<Wanted, Problem> {
        let mut faults = Faults::default();
        let state = scope.state();
        let mode = self.mode.unwrap_or(Mode::Testing);
        let name = MailDomain::parse(&self.name, &state.config.name_rules)
            .map_err(|error| FieldError::at("/name", error.code(), error.to_string()));
        let name = faults.keep(name);
        let max_age = faults.keep(max_age(self.max_age.unwrap_or(DEFAULT_MAX_AGE.into())));
        let report_uris = report_uris(self.tls_rpt.as_ref().map_or(&[], |tls_rpt| &tls_rpt.rua), &mut faults);
        let first = match &self.mx {
            MxChoice::Auto => Some(None),
            MxChoice::Listed(texts) => {
                let mx = mx_patterns(texts, &mut faults);
                mx.zip(max_age).and_then(|(mx, max_age)| faults.keep(policy(mode, mx, max_age))).map(Some)
            }
        };
        let tags = tags(&self.tags, &mut faults);
        let (Some(name), Some(preferred_max_age), Some(report_uris), Some(first), Some(tags)) =
            (name, max_age, report_uris, first, tags)
        else {
            return Err(faults.into_problem());
        };
        let label = Label::draw(&*state.entropy);
        let new = NewDomain {
            id: DomainId::draw(scope.now(), &*state.entropy),
            name,
            zone: state.config.placement.choose(&label).clone(),
            label,
            mx_source: if first.is_some() { MxSource::Listed } else { MxSource::Auto },
            first: None,
            preferred_mode: mode,
            preferred_max_age,
            report_uris,
        };
        Ok(Wanted { new, first, tags })
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[
            groups::CALL,
            groups::BODY,
            groups::ONCE,
            &[ProblemKind::DomainExists, ProblemKind::EnforceNotProven, ProblemKind::QuotaExceeded],
        ])
    }
}

/// Register a domain
///
/// The answer lists the CNAMEs to set in your zone, once. From then on certificate, policy host and TXT record are
/// taken care of; `conditions` tells how far that has come. Any tenant may register any domain: the CNAMEs decide whose
/// it is.
#[utoipa::path(
    tag = "domains",
    operation_id = "create_domain",
    params(IdempotencyHeader, DryRun),
    request_body = CreateDomain,
    responses(
        (status = 200, description = "With `dry_run=true`: what would happen.", body = DryRunBody),
        (status = 201, description = "The domain.", body = DomainBody, headers(("Location" = String, description = "Where it is."), ("ETag" = String, description = "Its tag."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/domains")]
pub(crate) async fn create_domain(
    scope: TenantScope,
    key: IdempotencyKey,
    dry: Query<DryRun>,
    body: Json<CreateDomain>,
) -> Result<HttpResponse, Problem> {
    let registration = wanted(&body.value, &scope)?;
    let (id, now) = (registration.new.id, scope.now());
    let carry_out = async |tx: &mut TenantTx| {
        let view = carry_out(tx, &scope, registration).await?;
        let location = format!("/v1/domains/{}", view.id);
        let (body, tag) = DomainBody::tagged(view, &scope.state().config)?;
        Ok(Answer::new(StatusCode::CREATED, &body)?.location(location).etag(tag.quoted()))
    };
    if dry.0.dry_run {
        return dry_run::answer(&scope, id, carry_out).await;
    }
    let tx = scope.begin().await?;
    Ok(Once::new(&key, body.hash, now).run(tx, carry_out).await?.respond())
}
