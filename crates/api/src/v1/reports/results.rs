//! `GET /v1/reports/results` and `GET /v1/domains/{domain_id}/reports/results`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::{DomainId, ReportKind};
use mtasts_store::{DmarcResultFilter, ReportPageQuery, TenantTx, TlsResultFilter};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{KindSchema, address, begin, kind, place::Place, report_query, rows::ResultBody, text};
use crate::{
    auth::TenantScope,
    extract::{Cursor, PathId, Query, limit},
    problem::{Problem, documented, groups},
};

report_query! {
    /// Which rows, and which page.
    ListResults {
        /// Of which kind of report; `tls-rpt` where absent.
        #[param(value_type = Option<KindSchema>, inline)]
        kind: Option<String>,
        /// Only what this organisation reported.
        #[param(example = "Google Inc.", min_length = 1, max_length = 300)]
        organization: Option<String>,
        /// `tls-rpt`: only failures of this type.
        #[param(example = "certificate-expired", min_length = 1, max_length = 300)]
        result: Option<String>,
        /// `tls-rpt`: only failures at this MX host.
        #[param(example = "mx1.example.com", min_length = 1, max_length = 300)]
        mx: Option<String>,
        /// `tls-rpt`: only failures of this sending address.
        #[param(example = "198.51.100.7", min_length = 2, max_length = 45)]
        sending_ip: Option<String>,
        /// `dmarc`: only messages from this address.
        #[param(example = "198.51.100.7", min_length = 2, max_length = 45)]
        source_ip: Option<String>,
        /// `dmarc`: only messages with which this was done.
        #[param(example = "reject", min_length = 1, max_length = 300)]
        disposition: Option<String>,
        /// `dmarc`: only messages that passed, or only those that did not.
        passed: Option<bool>,
        /// How many, 1 to 100.
        #[param(minimum = 1, maximum = 100, default = 50)]
        limit: Option<u32>,
        /// `next_cursor` of the page before. Goes with the same filters.
        #[param(pattern = "^[A-Za-z0-9_-]+$")]
        cursor: Option<String>,
    }
}

/// A page of rows, the latest day first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportResultList)]
pub(super) struct ResultList {
    /// The rows: fewer than asked for, even none, where few among many match.
    #[schema(max_items = 100)]
    pub(super) data: Vec<ResultBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    pub(super) next_cursor: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

struct ErrorsOfDomain;

impl IntoResponses for ErrorsOfDomain {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// List rows of reports
///
/// Of all of your domains, the latest day first: failures of TLS, or records of DMARC. The filters can be combined. A page
/// looks at 1,000 rows at most: where few among many match it may be short, even empty, and yet have a next one.
#[utoipa::path(
    tag = "reports",
    operation_id = "list_results",
    params(ListResults),
    responses((status = 200, description = "A page of rows.", body = ResultList), Errors),
    security(("api_key" = [])),
)]
#[get("/reports/results")]
pub(crate) async fn list_results(scope: TenantScope, query: Query<ListResults>) -> Result<HttpResponse, Problem> {
    list(&scope, None, &query.0).await
}

/// List rows of a domain's reports
///
/// The latest day first: failures of TLS, or records of DMARC. The filters can be combined. A page looks at 1,000 rows at
/// most: where few among many match it may be short, even empty, and yet have a next one.
#[utoipa::path(
    tag = "reports",
    operation_id = "list_domain_results",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"), ListResults),
    responses((status = 200, description = "A page of rows.", body = ResultList), ErrorsOfDomain),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/reports/results")]
pub(crate) async fn list_domain_results(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<ListResults>,
) -> Result<HttpResponse, Problem> {
    list(&scope, Some(id.0), &query.0).await
}

/// What is asked for, by the kind of report: the filters of the other kind would be passed over in silence.
enum Wanted {
    Tls(TlsResultFilter),
    Dmarc(DmarcResultFilter),
}

impl ListResults {
    fn wanted(&self) -> Result<Wanted, Problem> {
        let kind = kind(self.kind.as_deref())?.unwrap_or(ReportKind::TlsRpt);
        let given = match kind {
            ReportKind::TlsRpt => [
                ("source_ip", self.source_ip.is_some()),
                ("disposition", self.disposition.is_some()),
                ("passed", self.passed.is_some()),
            ],
            ReportKind::Dmarc => [
                ("result", self.result.is_some()),
                ("mx", self.mx.is_some()),
                ("sending_ip", self.sending_ip.is_some()),
            ],
        };
        if let Some((name, _)) = given.iter().find(|(_, given)| *given) {
            let message = format!("does not go with `kind={}`", kind.as_str());
            return Err(Problem::parameter(name, "of-another-kind", message));
        }
        let organization = text("organization", self.organization.as_deref())?;
        let grades = self.grades()?;
        Ok(match kind {
            ReportKind::TlsRpt => Wanted::Tls(TlsResultFilter {
                organization,
                grades,
                result: text("result", self.result.as_deref())?,
                mx: text("mx", self.mx.as_deref())?,
                sending_ip: address("sending_ip", self.sending_ip.as_deref())?,
            }),
            ReportKind::Dmarc => Wanted::Dmarc(DmarcResultFilter {
                organization,
                grades,
                source_ip: address("source_ip", self.source_ip.as_deref())?,
                disposition: text("disposition", self.disposition.as_deref())?,
                passed: self.passed,
            }),
        })
    }
}

async fn list(scope: &TenantScope, domain: Option<DomainId>, query: &ListResults) -> Result<HttpResponse, Problem> {
    let wanted = query.wanted()?;
    let (from, to) = query.days(scope.now())?;
    let after = Cursor::read::<Place>(query.cursor.as_deref())?.map(|place| place.0);
    let page = ReportPageQuery { domain, from, to, after, descending: true, limit: limit(query.limit)? };
    let tx = begin(scope, domain).await?;
    Ok(HttpResponse::Ok().json(read(&tx, &wanted, &page).await?))
}

async fn read(tx: &TenantTx, wanted: &Wanted, query: &ReportPageQuery) -> Result<ResultList, Problem> {
    let (data, next) = match wanted {
        Wanted::Tls(filter) => {
            let page = tx.tls_results(filter, query).await?;
            (page.rows.into_iter().map(ResultBody::from).collect(), page.next)
        }
        Wanted::Dmarc(filter) => {
            let page = tx.dmarc_results(filter, query).await?;
            (page.rows.into_iter().map(ResultBody::from).collect(), page.next)
        }
    };
    Ok(ResultList { data, next_cursor: next.map(|next| Cursor::after(&Place(next))) })
}
