//! `GET /v1/domains:export`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get, web::Bytes};
use futures_util::stream;
use mtasts_model::{DomainId, Mode, TenantId, lifecycle::MxSource};
use mtasts_store::{DomainFilter, DomainState, DomainView, Store};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::import::{Lines, NDJSON};
use crate::{
    auth::TenantScope,
    problem::{Problem, documented, groups},
};

/// Domains that are read at once, which is all that is held in memory.
const AT_ONCE: u32 = 200;

/// A domain as `POST /v1/domains` and an import take it.
#[derive(Serialize)]
struct ExportedDomain {
    name: String,
    mode: Mode,
    mx: Value,
    max_age: u32,
    tls_rpt: Value,
    tags: Vec<String>,
}

impl From<&DomainView> for ExportedDomain {
    fn from(view: &DomainView) -> Self {
        let policy = view.version.as_ref().map(|version| &version.policy);
        let mx = match (view.mx_source, policy) {
            (MxSource::Listed | MxSource::Follow, Some(policy)) => {
                policy.mx().iter().map(mtasts_model::MxPattern::as_str).collect()
            }
            _ => json!("auto"),
        };
        Self {
            name: view.name.to_string(),
            mode: policy.map_or(view.preferred_mode, mtasts_model::Policy::mode),
            mx,
            max_age: policy.map_or(view.preferred_max_age, mtasts_model::Policy::max_age).seconds(),
            tls_rpt: json!({ "rua": view.report_uris.iter().map(mtasts_model::ReportUri::as_str).collect::<Vec<_>>() }),
            tags: view.tags.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Where an export stands.
struct Export {
    store: Store,
    tenant: TenantId,
    after: Option<DomainId>,
    count: u64,
    ended: bool,
}

impl Export {
    /// The next lines; none after the last. A transaction of its own: nothing is held while the client reads.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        if self.ended {
            return Ok(None);
        }
        let tx = self.store.tenant_tx(self.tenant).await?;
        let page = tx.list_domains(&DomainFilter::default(), self.after, AT_ONCE).await?;
        tx.commit().await?;
        let mut lines = Vec::new();
        for view in &page {
            self.after = Some(view.id);
            // What is being withdrawn is not to be registered again.
            if view.state != DomainState::Withdrawing {
                push(&mut lines, &ExportedDomain::from(view))?;
                self.count += 1;
            }
        }
        if page.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX) {
            push(&mut lines, &json!({ "end": true, "count": self.count }))?;
            self.ended = true;
        }
        Ok(Some((lines.into(), self)))
    }
}

fn push(lines: &mut Vec<u8>, line: &impl Serialize) -> Result<(), Problem> {
    serde_json::to_writer(&mut *lines, line).map_err(Problem::internal)?;
    lines.push(b'\n');
    Ok(())
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

/// Export the domains
///
/// All domains but those that are being withdrawn, one JSON object per line, as an import takes them. The last line is
/// `{"end":true,"count":n}`: an export without it broke off. What is registered or changed meanwhile may or may not be in
/// it.
#[utoipa::path(
    tag = "domains",
    operation_id = "export_domains",
    responses(
        (status = 200, description = "The domains.", body = inline(Lines), content_type = "application/x-ndjson",
            example = "{\"name\":\"example.com\",\"mode\":\"testing\",\"mx\":\"auto\",\"max_age\":604800,\"tls_rpt\":{\"rua\":[]},\"tags\":[]}\n{\"end\":true,\"count\":1}\n"),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/domains:export")]
pub(crate) async fn export_domains(scope: TenantScope) -> Result<HttpResponse, Problem> {
    let export =
        Export { store: scope.state().store.clone(), tenant: scope.tenant_id(), after: None, count: 0, ended: false };
    // The first lines before the answer begins, so that a database that is away is told by its status.
    let Some((first, rest)) = export.next().await? else { return Err(Problem::internal("an export without an end")) };
    let lines = stream::try_unfold((Some(first), rest), async |(first, rest)| match first {
        Some(first) => Ok(Some((first, (None, rest)))),
        None => match rest.next().await {
            Ok(more) => Ok(more.map(|(lines, rest)| (lines, (None, rest)))),
            Err(problem) => {
                tracing::warn!(%problem, cause = problem.cause().map(tracing::field::display), "an export broke off");
                Err(problem)
            }
        },
    });
    Ok(HttpResponse::Ok().content_type(NDJSON).streaming(lines))
}
