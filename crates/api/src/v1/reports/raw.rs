//! `GET /v1/reports/{report_id}/raw`, and the octets of arrivals for all who show them.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, body::SizedStream, get, http::header, web::Bytes};
use futures_util::stream;
use mtasts_model::{ArrivalId, ReportId, TenantId};
use mtasts_store::{RawAccess, Store};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::read::not_found;
use crate::{
    auth::TenantScope,
    extract::PathId,
    problem::{Problem, ProblemKind, documented, groups},
};

/// Octets that are held in memory at once.
const PIECE: u32 = 512 * 1024;

/// Octets as they came, for the OpenAPI document.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "for the OpenAPI document")]
pub(crate) struct Octets(Vec<u8>);

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT, &[ProblemKind::RawWithheld]])
    }
}

/// Read a report's octets
///
/// What the report came in, octet for octet as it was delivered: of a mail all of it, with its headers. They are kept for a
/// shorter time than what was read from them, and then answer 404. What also speaks of somebody else's domain is shown to
/// nobody.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_report_raw",
    params(("report_id" = String, Path, description = "The report's id", pattern = "^rpt_[0-9a-f]{32}$")),
    responses(
        (status = 200, description = "The octets.", body = inline(Octets), content_type = "application/octet-stream",
            example = "{\"organization-name\":\"Google Inc.\"}"),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/reports/{report_id}/raw")]
pub(crate) async fn read_report_raw(scope: TenantScope, id: PathId<ReportId>) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let report = tx.report(id.0).await?.ok_or_else(not_found)?;
    if report.shared {
        return Err(withheld("The report also speaks of somebody else's domain: its octets are shown to nobody"));
    }
    let access = tx.arrival_raw(report.arrival).await?;
    tx.commit().await?;
    answer(&scope, report.arrival, access, &id.0.to_string()).await
}

fn withheld(detail: &'static str) -> Problem {
    Problem::new(ProblemKind::RawWithheld, detail)
}

/// Piece by piece, each in a transaction of its own: nothing is held while the client reads.
struct Pieces {
    store: Store,
    tenant: TenantId,
    arrival: ArrivalId,
    offset: u32,
}

impl Pieces {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        let tx = self.store.tenant_tx(self.tenant).await?;
        let piece = tx.arrival_piece(self.arrival, self.offset, PIECE).await?.ok_or_else(gone)?;
        tx.commit().await?;
        if piece.is_empty() {
            return Ok(None);
        }
        self.offset = self.offset.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        Ok(Some((piece.into(), self)))
    }
}

fn gone() -> Problem {
    Problem::new(ProblemKind::NotFound, "Its octets are not kept any more")
}

/// The octets of an arrival, for download: whatever a stranger put into them, no browser shows it.
pub(crate) async fn answer(
    scope: &TenantScope,
    arrival: ArrivalId,
    access: RawAccess,
    name: &str,
) -> Result<HttpResponse, Problem> {
    let octets = match access {
        RawAccess::Open { octets } => octets,
        RawAccess::Gone => return Err(gone()),
        RawAccess::NotRead => return Err(withheld("It is not read yet: try again in a minute")),
        RawAccess::Shared => {
            return Err(withheld(
                "What it came in also speaks of somebody else's domain, or repeats what came before: its octets are shown \
                 to nobody",
            ));
        }
    };
    let pieces = Pieces { store: scope.state().store.clone(), tenant: scope.tenant_id(), arrival, offset: 0 };
    // The first piece before the answer begins, so that a database that is away is told by its status.
    let (first, rest) = match pieces.next().await? {
        Some((first, rest)) => (Some(first), Some(rest)),
        None => (None, None),
    };
    let octets_left =
        stream::try_unfold((first, rest), async |(first, rest): (Option<Bytes>, Option<Pieces>)| match (first, rest) {
            (Some(first), rest) => Ok(Some((first, (None, rest)))),
            (None, Some(rest)) => match rest.next().await {
                Ok(more) => Ok(more.map(|(piece, rest)| (piece, (None, Some(rest))))),
                Err(problem) => {
                    tracing::warn!(%problem, "the octets of a report broke off");
                    Err(problem)
                }
            },
            (None, None) => Ok(None),
        });
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .body(SizedStream::new(octets, Box::pin(octets_left))))
}
