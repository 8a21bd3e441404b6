//! `POST /v1/domains/{domain_id}/migrations`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::{DomainId, MigrationId, Mode, MxPattern, migration::Migration};
use mtasts_store::{MigrationState, StoreError, VersionReason};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{MigrationBody, not_safe};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, IfMatch, Json, Once, PathId},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::{
        fields::{Faults, MxPatternSchema, override_reason},
        policy::{Change, apply, current},
    },
};

/// From where to where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from": ["mx.old.example.net"], "to": ["mx.new.example.net"]}))]
pub(crate) struct CreateMigration {
    /// Patterns of the current policy that leave it in the end.
    #[schema(value_type = Vec<MxPatternSchema>, min_items = 1, max_items = 100)]
    from: Vec<String>,
    /// Patterns of the new hosts.
    #[schema(value_type = Vec<MxPatternSchema>, min_items = 1, max_items = 100)]
    to: Vec<String>,
    /// Begin in mode `enforce` although the MX hosts of now are not proven to pass.
    #[serde(default)]
    force: bool,
    /// Why. Goes with `force`, and is kept with the version.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// What is wanted, parsed.
struct Wanted {
    from: Vec<MxPattern>,
    to: Vec<MxPattern>,
    override_reason: Option<String>,
}

impl CreateMigration {
    fn parse(&self) -> Result<Wanted, Problem> {
        let mut faults = Faults::default();
        let from = read(&self.from, "/from", &mut faults);
        let to = read(&self.to, "/to", &mut faults);
        let override_reason = faults.keep(override_reason(self.force, self.reason.as_deref()));
        match (from, to, override_reason) {
            (Some(from), Some(to), Some(override_reason)) if from.iter().any(|pattern| !to.contains(pattern)) => {
                Ok(Wanted { from, to, override_reason })
            }
            (Some(_), Some(_), Some(_)) => Err(Problem::field(
                "/from",
                "nothing-leaves",
                "all of these are new hosts as well: nothing would leave",
            )),
            _ => Err(faults.into_problem()),
        }
    }
}

/// As many as a policy may list.
const MOST: usize = 100;

fn read(texts: &[String], pointer: &str, faults: &mut Faults) -> Option<Vec<MxPattern>> {
    if texts.is_empty() || texts.len() > MOST {
        let message = format!("must be 1 to {MOST} patterns");
        return faults.keep(Err(FieldError::at(pointer, "out-of-range", message)));
    }
    faults.keep_all(texts.iter().enumerate().map(|(index, text)| {
        text.parse::<MxPattern>()
            .map_err(|error| FieldError::at(format!("{pointer}/{index}"), error.code(), error.to_string()))
    }))
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::MigrationNotSafe, ProblemKind::NoPolicyYet];
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::POLICY, groups::ONCE, own])
    }
}

/// Begin an MX migration
///
/// The policy names the old hosts and the new ones from now on. The answer, and `GET …/migrations`, say when MX records may
/// name the new hosts alone, and when the old ones may be switched off; then these leave the policy by themselves.
#[utoipa::path(
    tag = "policy",
    operation_id = "create_migration",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = CreateMigration,
    responses((status = 201, description = "The migration.", body = MigrationBody), Errors),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/migrations")]
pub(crate) async fn create_migration(
    scope: TenantScope,
    id: PathId<DomainId>,
    key: IdempotencyKey,
    body: Json<CreateMigration>,
) -> Result<HttpResponse, Problem> {
    let wanted = body.value.parse()?;
    let now = scope.now();
    let answer = Once::new(&key, body.hash, now)
        .run(scope.begin().await?, async |tx| {
            let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
            if !domain.is_kept() {
                return Err(StoreError::Withdrawing.into());
            }
            let policy = &current(&domain)?.policy;
            if let Some(view) = tx.migration(id.0).await?.filter(|view| view.state == MigrationState::UnderWay) {
                return Err(not_safe(&view, "A migration is under way: wait for its end, or cancel it"));
            }
            if policy.mode() == Mode::None {
                return Err(Problem::field("/from", "mode-none", "with mode `none` no sender is bound to any host"));
            }
            if let Some(index) = wanted.from.iter().position(|pattern| !policy.mx().contains(pattern)) {
                let message = "the current policy has no such pattern";
                return Err(Problem::field(&format!("/from/{index}"), "no-such-pattern", message));
            }
            let mut migration = Migration {
                from: wanted.from,
                to: wanted.to,
                created_at: now,
                safe_to_point_mx_at: None,
                absent_since: None,
                confirmed_at: None,
            };
            let seen = domain.mx_seen.as_ref();
            migration.absent_since = seen.filter(|seen| !migration.is_pointed_at(seen)).map(|_| now);
            let widened = migration.widened(policy).ok_or_else(|| {
                Problem::field("/to", "policy-too-long", "with these the policy is longer than senders read")
            })?;
            let change = Change {
                policy: widened,
                reason: VersionReason::MigrationWidened,
                override_reason: wanted.override_reason,
                from_current: true,
            };
            let set = apply(tx, &scope, &domain, change, &IfMatch::Absent).await?;
            let migration_id = MigrationId::draw(now, &*scope.state().entropy);
            let version = set.version().id;
            tx.begin_migration(&domain, (migration_id, version), &migration, &scope.actor(), now).await?;
            let view = super::under_way(tx, &domain).await?;
            Answer::new(StatusCode::CREATED, &MigrationBody::of(&view, now))
        })
        .await?;
    Ok(answer.respond())
}
