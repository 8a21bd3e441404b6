//! A tenant's reports as they were read.

use chrono::NaiveDate;
use mtasts_model::{ArrivalId, DomainId, ReportGrade, ReportId, ReportKind, ReportVia, Timestamp};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{
    TenantTx,
    report_results::of_grades,
    report_rows::{self, Filters, ReportPage, ReportPageQuery, ReportPosition, Row, Source},
    report_sums::count,
};
use crate::{StoreError, sql, stored::At};

/// Which reports. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportFilter {
    /// Of this kind.
    pub kind: Option<ReportKind>,
    /// Of this organisation.
    pub organization: Option<String>,
    /// With these grades; empty: with any.
    pub grades: Vec<ReportGrade>,
    /// Those that speak of failures, or those that do not.
    pub failures: Option<bool>,
}

/// What one document says of one domain.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportView {
    /// Which.
    pub id: ReportId,
    /// The domain that it is about.
    pub domain: DomainId,
    /// The domain's name, if the domain is still known.
    pub domain_name: Option<String>,
    /// What it came in.
    pub arrival: ArrivalId,
    /// Which document of that, from 0.
    pub document: u32,
    /// Of which kind.
    pub kind: ReportKind,
    /// By which way it came.
    pub via: ReportVia,
    /// When.
    pub received_at: Timestamp,
    /// What is known of who sent it.
    pub grade: ReportGrade,
    /// The domain that signed.
    pub signer: Option<String>,
    /// Why it is graded so: a word.
    pub grade_reason: String,
    /// Who says to have sent it; empty: nobody.
    pub organization: String,
    /// How the sender can be reached, as it says.
    pub contact: Option<String>,
    /// The sender's id of it.
    pub report_id: String,
    /// The beginning of its period.
    pub begins_at: Option<Timestamp>,
    /// Its end.
    pub ends_at: Option<Timestamp>,
    /// The day that its figures count for (UTC).
    pub day: NaiveDate,
    /// What went well: sessions, or messages.
    pub good: u64,
    /// What did not.
    pub bad: u64,
    /// False: its figures are in no sum.
    pub counts: bool,
    /// False: the document breaks off.
    pub complete: bool,
    /// It also speaks of somebody else's domain.
    pub shared: bool,
    /// In how many ways it departs from its RFC.
    pub deviations: u32,
}

const REPORTS: Source = Source {
    table: "reports",
    id: "id",
    seq: None,
    columns:
        "s.id, s.domain_id, s.arrival_id, s.document, s.kind, s.via, s.received_at, s.grade, s.signer, s.grade_reason,
        s.organization, s.contact, s.report_id, s.begins_at, s.ends_at, s.day, s.good, s.bad, s.counts, s.complete,
        s.shared, s.deviations, (SELECT d.name FROM domains d WHERE d.id = s.domain_id) AS domain_name",
};

#[derive(FromQueryResult)]
struct ReportRow {
    id: Uuid,
    domain_id: Uuid,
    arrival_id: Uuid,
    document: i32,
    kind: String,
    via: String,
    received_at: Timestamp,
    grade: String,
    signer: Option<String>,
    grade_reason: String,
    organization: String,
    contact: Option<String>,
    report_id: String,
    begins_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    day: NaiveDate,
    good: i64,
    bad: i64,
    counts: bool,
    complete: bool,
    shared: bool,
    deviations: i32,
    domain_name: Option<String>,
}

#[derive(FromQueryResult)]
struct WholeRow {
    #[sea_orm(nested)]
    report: ReportRow,
    body: Json,
}

impl Row for ReportRow {
    fn position(&self) -> ReportPosition {
        ReportPosition { day: self.day, report: ReportId::from_uuid(self.id), seq: 0 }
    }
}

impl TryFrom<ReportRow> for ReportView {
    type Error = StoreError;

    fn try_from(row: ReportRow) -> Result<Self, StoreError> {
        let at = At { table: "reports", row: row.id };
        Ok(Self {
            id: ReportId::from_uuid(row.id),
            domain: DomainId::from_uuid(row.domain_id),
            arrival: ArrivalId::from_uuid(row.arrival_id),
            document: at.number("document", row.document)?,
            kind: at.parse("kind", &row.kind)?,
            via: at.parse("via", &row.via)?,
            grade: at.parse("grade", &row.grade)?,
            good: count(row.good),
            bad: count(row.bad),
            deviations: at.number("deviations", row.deviations)?,
            domain_name: row.domain_name,
            received_at: row.received_at,
            signer: row.signer,
            grade_reason: row.grade_reason,
            organization: row.organization,
            contact: row.contact,
            report_id: row.report_id,
            begins_at: row.begins_at,
            ends_at: row.ends_at,
            day: row.day,
            counts: row.counts,
            complete: row.complete,
            shared: row.shared,
        })
    }
}

impl TenantTx {
    /// A page of reports, in order of the days that they count for.
    pub async fn reports(
        &self,
        filter: &ReportFilter,
        query: &ReportPageQuery,
    ) -> Result<ReportPage<ReportView>, StoreError> {
        let mut filters = Filters::default();
        filters.add_some("s.kind = {}", filter.kind.map(ReportKind::as_str));
        filters.add_some("s.organization = {}", filter.organization.as_deref());
        of_grades(&mut filters, &filter.grades);
        match filter.failures {
            Some(true) => filters.add_plain("s.bad > 0"),
            Some(false) => filters.add_plain("s.bad = 0"),
            None => {}
        }
        let page: ReportPage<ReportRow> = report_rows::page(self, &REPORTS, query, filters).await?;
        let rows = page.rows.into_iter().map(ReportView::try_from).collect::<Result<_, _>>()?;
        Ok(ReportPage { rows, next: page.next })
    }

    /// One report.
    pub async fn report(&self, id: ReportId) -> Result<Option<ReportView>, StoreError> {
        let read = format!("SELECT {} FROM reports s WHERE s.id = $1 AND s.tenant_id = $2", REPORTS.columns);
        let values = vec![id.as_uuid().into(), self.tenant.as_uuid().into()];
        sql::one::<ReportRow>(&self.tx, &read, values).await?.map(ReportView::try_from).transpose()
    }

    /// One report with its normal form.
    pub async fn report_body(&self, id: ReportId) -> Result<Option<(ReportView, Json)>, StoreError> {
        let read = format!("SELECT {}, s.body FROM reports s WHERE s.id = $1 AND s.tenant_id = $2", REPORTS.columns);
        let values = vec![id.as_uuid().into(), self.tenant.as_uuid().into()];
        let row = sql::one::<WholeRow>(&self.tx, &read, values).await?;
        row.map(|row| Ok((ReportView::try_from(row.report)?, row.body))).transpose()
    }
}
