//! Single rows of a tenant's reports: failures of TLS, and records of DMARC.

use std::net::IpAddr;

use chrono::NaiveDate;
use mtasts_model::{DomainId, EdgeVerdict, PolicyVersionId, ReportGrade, ReportId};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{
    TenantTx,
    report_rows::{self, Filters, ReportPage, ReportPageQuery, ReportPosition, Row, Source},
    report_sums::count,
};
use crate::{
    AddressOrigin, StoreError,
    sql::{self, MAX_LIST},
    stored::At,
};

/// Which failures of TLS. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsResultFilter {
    /// Those that this organisation reported.
    pub organization: Option<String>,
    /// Of reports with these grades; empty: with any.
    pub grades: Vec<ReportGrade>,
    /// Those with this result type.
    pub result: Option<String>,
    /// Those at this MX host.
    pub mx: Option<String>,
    /// Those from this address.
    pub sending_ip: Option<IpAddr>,
}

/// Which records of DMARC. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DmarcResultFilter {
    /// Those that this organisation reported.
    pub organization: Option<String>,
    /// Of reports with these grades; empty: with any.
    pub grades: Vec<ReportGrade>,
    /// Those from this address.
    pub source_ip: Option<IpAddr>,
    /// Those with which this was done.
    pub disposition: Option<String>,
    /// Those that passed, or that did not.
    pub passed: Option<bool>,
}

/// One failure detail of a TLS report (RFC 8460 §4.3).
#[derive(Debug, Clone, PartialEq)]
pub struct TlsResult {
    /// Where it stands.
    pub position: ReportPosition,
    /// The domain that it is about.
    pub domain: DomainId,
    /// The domain's name, if the domain is still known.
    pub domain_name: Option<String>,
    /// Who reported it.
    pub organization: String,
    /// The report's grade.
    pub grade: ReportGrade,
    /// False: it is in no sum.
    pub counts: bool,
    /// The result type, or the sender's word.
    pub result: String,
    /// Sessions.
    pub sessions: u64,
    /// The receiving MX host.
    pub receiving_mx: Option<String>,
    /// Its address.
    pub receiving_ip: Option<String>,
    /// The sending address.
    pub sending_ip: Option<String>,
    /// Where that is.
    pub origin: AddressOrigin,
    /// `failure-reason-code`.
    pub reason: Option<String>,
    /// `additional-information`.
    pub additional: Option<String>,
    /// The kind of the policy as the sender saw it.
    pub policy_type: String,
    /// Our version, where it was one of ours.
    pub policy_version: Option<PolicyVersionId>,
    /// Where it speaks of the policy host: whether the fault was the service's.
    pub edge_verdict: Option<EdgeVerdict>,
    /// Why it is thought so.
    pub edge_reason: Option<String>,
}

/// One record of a DMARC report.
#[derive(Debug, Clone, PartialEq)]
pub struct DmarcResult {
    /// Where it stands.
    pub position: ReportPosition,
    /// The domain that it is about.
    pub domain: DomainId,
    /// The domain's name, if the domain is still known.
    pub domain_name: Option<String>,
    /// Who reported it.
    pub organization: String,
    /// The report's grade.
    pub grade: ReportGrade,
    /// The sending address.
    pub source_ip: Option<String>,
    /// Where that is.
    pub origin: AddressOrigin,
    /// Messages.
    pub messages: u64,
    /// What the receiver did with them.
    pub disposition: String,
    /// What DKIM came to, aligned.
    pub dkim: String,
    /// What SPF came to, aligned.
    pub spf: String,
    /// Whether they passed DMARC.
    pub passed: bool,
    /// The domain in From.
    pub header_from: Option<String>,
    /// The domain of the envelope sender.
    pub envelope_from: Option<String>,
    /// Each signature and check, and reasons for which the policy was not applied.
    pub details: Json,
}

macro_rules! columns {
    ($($further:literal)*) => {
        concat!(
            "s.report_id, s.seq, s.domain_id, s.day, s.organization, s.grade, s.country, s.asn, s.as_name,
            (SELECT d.name FROM domains d WHERE d.id = s.domain_id) AS domain_name",
            $(", ", $further),*
        )
    };
}

const TLS: Source = Source {
    table: "tls_results",
    id: "report_id",
    seq: Some("seq"),
    columns: columns!(
        "s.counts, s.result, s.sessions, s.receiving_mx, host(s.receiving_ip) AS receiving_ip,
        host(s.sending_ip) AS sending_ip, s.reason, s.additional, s.policy_type, s.policy_version_id, s.edge_verdict,
        s.edge_reason"
    ),
};

const DMARC: Source = Source {
    table: "dmarc_results",
    id: "report_id",
    seq: Some("seq"),
    columns: columns!(
        "host(s.source_ip) AS source_ip, s.messages, s.disposition, s.dkim, s.spf, s.passed, s.header_from,
        s.envelope_from, s.details"
    ),
};

#[derive(FromQueryResult)]
struct TlsRow {
    report_id: Uuid,
    seq: i32,
    domain_id: Uuid,
    day: NaiveDate,
    organization: String,
    grade: String,
    country: Option<String>,
    asn: Option<i64>,
    as_name: Option<String>,
    domain_name: Option<String>,
    counts: bool,
    result: String,
    sessions: i64,
    receiving_mx: Option<String>,
    receiving_ip: Option<String>,
    sending_ip: Option<String>,
    reason: Option<String>,
    additional: Option<String>,
    policy_type: String,
    policy_version_id: Option<Uuid>,
    edge_verdict: Option<String>,
    edge_reason: Option<String>,
}

#[derive(FromQueryResult)]
struct DmarcRow {
    report_id: Uuid,
    seq: i32,
    domain_id: Uuid,
    day: NaiveDate,
    organization: String,
    grade: String,
    country: Option<String>,
    asn: Option<i64>,
    as_name: Option<String>,
    domain_name: Option<String>,
    source_ip: Option<String>,
    messages: i64,
    disposition: String,
    dkim: String,
    spf: String,
    passed: bool,
    header_from: Option<String>,
    envelope_from: Option<String>,
    details: Json,
}

fn position(day: NaiveDate, report: Uuid, seq: i32) -> ReportPosition {
    ReportPosition { day, report: ReportId::from_uuid(report), seq: u32::try_from(seq).unwrap_or(0) }
}

impl Row for TlsRow {
    fn position(&self) -> ReportPosition {
        position(self.day, self.report_id, self.seq)
    }
}

impl Row for DmarcRow {
    fn position(&self) -> ReportPosition {
        position(self.day, self.report_id, self.seq)
    }
}

/// The column has room for more than an autonomous system's number has (RFC 6793).
fn origin(country: Option<String>, asn: Option<i64>, as_name: Option<String>) -> AddressOrigin {
    AddressOrigin { country, asn: asn.and_then(|asn| u32::try_from(asn).ok()), as_name }
}

impl TryFrom<TlsRow> for TlsResult {
    type Error = StoreError;

    fn try_from(row: TlsRow) -> Result<Self, StoreError> {
        let at = At { table: "tls_results", row: row.report_id };
        let verdict = row.edge_verdict.as_deref();
        Ok(Self {
            position: row.position(),
            domain: DomainId::from_uuid(row.domain_id),
            grade: at.parse("grade", &row.grade)?,
            edge_verdict: verdict.map(|word| at.parse("edge_verdict", word)).transpose()?,
            sessions: count(row.sessions),
            origin: origin(row.country, row.asn, row.as_name),
            policy_version: row.policy_version_id.map(PolicyVersionId::from_uuid),
            domain_name: row.domain_name,
            organization: row.organization,
            counts: row.counts,
            result: row.result,
            receiving_mx: row.receiving_mx,
            receiving_ip: row.receiving_ip,
            sending_ip: row.sending_ip,
            reason: row.reason,
            additional: row.additional,
            policy_type: row.policy_type,
            edge_reason: row.edge_reason,
        })
    }
}

impl TryFrom<DmarcRow> for DmarcResult {
    type Error = StoreError;

    fn try_from(row: DmarcRow) -> Result<Self, StoreError> {
        let at = At { table: "dmarc_results", row: row.report_id };
        Ok(Self {
            position: row.position(),
            domain: DomainId::from_uuid(row.domain_id),
            grade: at.parse("grade", &row.grade)?,
            origin: origin(row.country, row.asn, row.as_name),
            messages: count(row.messages),
            domain_name: row.domain_name,
            organization: row.organization,
            source_ip: row.source_ip,
            disposition: row.disposition,
            dkim: row.dkim,
            spf: row.spf,
            passed: row.passed,
            header_from: row.header_from,
            envelope_from: row.envelope_from,
            details: row.details,
        })
    }
}

pub(super) fn of_grades(filters: &mut Filters, grades: &[ReportGrade]) {
    if !grades.is_empty() {
        let words: Vec<_> = grades.iter().map(|grade| grade.as_str().to_owned()).collect();
        filters.add("s.grade = ANY ({})", words);
    }
}

/// To what it is read into.
fn converted<R, T: TryFrom<R, Error = StoreError>>(page: ReportPage<R>) -> Result<ReportPage<T>, StoreError> {
    let rows = page.rows.into_iter().map(T::try_from).collect::<Result<_, _>>()?;
    Ok(ReportPage { rows, next: page.next })
}

impl TenantTx {
    /// A page of failures of TLS.
    pub async fn tls_results(
        &self,
        filter: &TlsResultFilter,
        query: &ReportPageQuery,
    ) -> Result<ReportPage<TlsResult>, StoreError> {
        let mut filters = Filters::default();
        filters.add_some("s.organization = {}", filter.organization.as_deref());
        of_grades(&mut filters, &filter.grades);
        filters.add_some("s.result = {}", filter.result.as_deref());
        filters.add_some("s.receiving_mx = {}", filter.mx.as_deref());
        filters.add_some("s.sending_ip = CAST({} AS inet)", filter.sending_ip.map(|ip| ip.to_string()));
        converted::<TlsRow, _>(report_rows::page(self, &TLS, query, filters).await?)
    }

    /// A page of records of DMARC.
    pub async fn dmarc_results(
        &self,
        filter: &DmarcResultFilter,
        query: &ReportPageQuery,
    ) -> Result<ReportPage<DmarcResult>, StoreError> {
        let mut filters = Filters::default();
        filters.add_some("s.organization = {}", filter.organization.as_deref());
        of_grades(&mut filters, &filter.grades);
        filters.add_some("s.source_ip = CAST({} AS inet)", filter.source_ip.map(|ip| ip.to_string()));
        filters.add_some("s.disposition = {}", filter.disposition.as_deref());
        filters.add_some("s.passed = {}", filter.passed);
        converted::<DmarcRow, _>(report_rows::page(self, &DMARC, query, filters).await?)
    }

    /// Failures of one TLS report in its order, at most 201 behind `after`.
    pub async fn tls_results_of(
        &self,
        report: ReportId,
        after: Option<u32>,
        limit: u32,
    ) -> Result<Vec<TlsResult>, StoreError> {
        let rows: Vec<TlsRow> = self.results_of(&TLS, report, after, limit).await?;
        rows.into_iter().map(TlsResult::try_from).collect()
    }

    /// Records of one DMARC report in its order, at most 201 behind `after`.
    pub async fn dmarc_results_of(
        &self,
        report: ReportId,
        after: Option<u32>,
        limit: u32,
    ) -> Result<Vec<DmarcResult>, StoreError> {
        let rows: Vec<DmarcRow> = self.results_of(&DMARC, report, after, limit).await?;
        rows.into_iter().map(DmarcResult::try_from).collect()
    }

    async fn results_of<T: FromQueryResult>(
        &self,
        source: &Source,
        report: ReportId,
        after: Option<u32>,
        limit: u32,
    ) -> Result<Vec<T>, StoreError> {
        let read = format!(
            "SELECT {} FROM {} s WHERE s.report_id = $1 AND s.tenant_id = $2 AND s.seq > $3 ORDER BY s.seq LIMIT $4",
            source.columns, source.table
        );
        let after = after.map_or(-1, |after| i32::try_from(after).unwrap_or(i32::MAX));
        let limit = i64::from(limit.min(MAX_LIST + 1));
        let values = vec![report.as_uuid().into(), self.tenant.as_uuid().into(), after.into(), limit.into()];
        sql::all(&self.tx, &read, values).await
    }
}
