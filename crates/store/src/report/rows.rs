//! Rows as JSON, for `jsonb_to_recordset`: one parameter however many there are.

use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{NewDmarcResult, NewReport, NewTlsResult, figure};
use crate::StoreError;

/// Rows of one statement, so that none of them takes long or a large message.
pub(super) const AT_ONCE: usize = 2_000;

/// Text that Postgres takes: at most so many characters, and no NUL.
pub(super) fn text(text: &str, most: usize) -> String {
    text.chars().filter(|char| *char != '\0').take(most).collect()
}

pub(super) fn optional(value: Option<&str>, most: usize) -> Option<String> {
    value.map(|value| text(value, most))
}

/// The same value without NUL, which `jsonb` does not take.
pub(super) fn clean(value: Json) -> Json {
    match value {
        Json::String(string) if string.contains('\0') => Json::String(string.replace('\0', "\u{fffd}")),
        Json::Array(items) => items.into_iter().map(clean).collect(),
        Json::Object(fields) => Json::Object(
            fields.into_iter().map(|(name, value)| (name.replace('\0', "\u{fffd}"), clean(value))).collect(),
        ),
        other => other,
    }
}

/// The rows in pieces of a statement each.
pub(super) fn pieces<T: Serialize>(rows: &[T]) -> Result<Vec<String>, StoreError> {
    let piece = |rows: &[T]| {
        serde_json::to_string(rows).map_err(|error| StoreError::unreadable("reports", "rows", "to be written", error))
    };
    rows.chunks(AT_ONCE).map(piece).collect()
}

#[derive(Debug, Serialize)]
pub(super) struct ReportRow {
    id: Uuid,
    tenant_id: Uuid,
    domain_id: Uuid,
    arrival_id: Uuid,
    document: u32,
    kind: &'static str,
    via: &'static str,
    received_at: mtasts_model::Timestamp,
    grade: &'static str,
    signer: Option<String>,
    grade_reason: &'static str,
    organization: String,
    contact: Option<String>,
    report_id: String,
    begins_at: Option<mtasts_model::Timestamp>,
    ends_at: Option<mtasts_model::Timestamp>,
    day: chrono::NaiveDate,
    good: i64,
    bad: i64,
    counts: bool,
    complete: bool,
    shared: bool,
    deviations: i32,
    body: Json,
    applied: Json,
}

pub(super) const INSERT_REPORTS: &str = "
    INSERT INTO reports (id, tenant_id, domain_id, arrival_id, document, kind, via, received_at, grade, signer,
        grade_reason, organization, contact, report_id, begins_at, ends_at, day, good, bad, counts, complete, shared,
        deviations, body, applied)
    SELECT id, tenant_id, domain_id, arrival_id, document, kind, via, received_at, grade, signer,
        grade_reason, organization, contact, report_id, begins_at, ends_at, day, good, bad, counts, complete, shared,
        deviations, body, applied
    FROM jsonb_to_recordset($1::jsonb) AS r (id uuid, tenant_id uuid, domain_id uuid, arrival_id uuid, document integer,
        kind text, via text, received_at timestamptz, grade text, signer text, grade_reason text, organization text,
        contact text, report_id text, begins_at timestamptz, ends_at timestamptz, day date, good bigint, bad bigint,
        counts boolean, complete boolean, shared boolean, deviations integer, body jsonb, applied jsonb)";

impl ReportRow {
    pub(super) fn of(report: &mut NewReport, arrival: &super::DueArrival, applied: Json) -> Self {
        Self {
            id: report.id.as_uuid(),
            tenant_id: report.tenant.as_uuid(),
            domain_id: report.domain.as_uuid(),
            arrival_id: arrival.id.as_uuid(),
            document: report.document,
            kind: report.kind.as_str(),
            via: arrival.via.as_str(),
            received_at: arrival.received_at,
            grade: report.grade.as_str(),
            signer: optional(report.signer.as_deref(), 255),
            grade_reason: report.grade_reason,
            organization: text(&report.organization, 255),
            contact: optional(report.contact.as_deref(), 255),
            report_id: text(&report.report_id, 255),
            begins_at: report.begins_at.filter(is_storable),
            ends_at: report.ends_at.filter(is_storable),
            day: report.day,
            good: figure(report.good),
            bad: figure(report.bad),
            counts: report.counts,
            complete: report.complete,
            shared: report.shared,
            deviations: i32::try_from(report.deviations).unwrap_or(i32::MAX),
            body: clean(std::mem::take(&mut report.body)),
            applied,
        }
    }
}

/// Postgres has no times beyond these, and no report either.
fn is_storable(time: &mtasts_model::Timestamp) -> bool {
    use chrono::Datelike;
    (1..=9999).contains(&time.year())
}

#[derive(Debug, Serialize)]
pub(super) struct TlsRow {
    report_id: Uuid,
    seq: usize,
    tenant_id: Uuid,
    domain_id: Uuid,
    day: chrono::NaiveDate,
    organization: String,
    grade: &'static str,
    counts: bool,
    result: String,
    sessions: i64,
    receiving_mx: Option<String>,
    receiving_ip: Option<std::net::IpAddr>,
    sending_ip: Option<std::net::IpAddr>,
    country: Option<String>,
    asn: Option<u32>,
    as_name: Option<String>,
    reason: Option<String>,
    additional: Option<String>,
    policy_type: String,
    policy_version_id: Option<Uuid>,
    edge_verdict: Option<&'static str>,
    edge_reason: Option<&'static str>,
}

pub(super) const INSERT_TLS: &str = "
    INSERT INTO tls_results (report_id, seq, tenant_id, domain_id, day, organization, grade, counts, result, sessions,
        receiving_mx, receiving_ip, sending_ip, country, asn, as_name, reason, additional, policy_type,
        policy_version_id, edge_verdict, edge_reason)
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (report_id uuid, seq integer, tenant_id uuid, domain_id uuid,
        day date, organization text, grade text, counts boolean, result text, sessions bigint, receiving_mx text,
        receiving_ip inet, sending_ip inet, country text, asn bigint, as_name text, reason text, additional text, policy_type text, policy_version_id uuid,
        edge_verdict text, edge_reason text)";

impl TlsRow {
    pub(super) fn of(report: &NewReport, seq: usize, row: &NewTlsResult) -> Self {
        Self {
            report_id: report.id.as_uuid(),
            seq,
            tenant_id: report.tenant.as_uuid(),
            domain_id: report.domain.as_uuid(),
            day: report.day,
            organization: text(&report.organization, 255),
            grade: report.grade.as_str(),
            counts: row.counts && report.counts,
            result: text(&row.result, 100),
            sessions: figure(row.sessions),
            receiving_mx: optional(row.receiving_mx.as_deref(), 255),
            receiving_ip: row.receiving_ip,
            sending_ip: row.sending_ip,
            country: row.origin.country.clone(),
            asn: row.origin.asn,
            as_name: optional(row.origin.as_name.as_deref(), 200),
            reason: optional(row.reason.as_deref(), 1_000),
            additional: optional(row.additional.as_deref(), 1_000),
            policy_type: text(&row.policy_type, 100),
            policy_version_id: row.policy_version.map(mtasts_model::PolicyVersionId::as_uuid),
            edge_verdict: row.edge.map(|(verdict, _)| verdict.as_str()),
            edge_reason: row.edge.map(|(_, reason)| reason),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct DmarcRow {
    report_id: Uuid,
    seq: usize,
    tenant_id: Uuid,
    domain_id: Uuid,
    day: chrono::NaiveDate,
    organization: String,
    grade: &'static str,
    source_ip: Option<std::net::IpAddr>,
    country: Option<String>,
    asn: Option<u32>,
    as_name: Option<String>,
    messages: i64,
    disposition: String,
    dkim: String,
    spf: String,
    passed: bool,
    header_from: Option<String>,
    envelope_from: Option<String>,
    details: Json,
}

pub(super) const INSERT_DMARC: &str = "
    INSERT INTO dmarc_results (report_id, seq, tenant_id, domain_id, day, organization, grade, source_ip, country, asn,
        as_name, messages, disposition, dkim, spf, passed, header_from, envelope_from, details)
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (report_id uuid, seq integer, tenant_id uuid, domain_id uuid,
        day date, organization text, grade text, source_ip inet, country text, asn bigint,
        as_name text, messages bigint, disposition text, dkim text, spf text,
        passed boolean, header_from text, envelope_from text, details jsonb)";

impl DmarcRow {
    pub(super) fn of(report: &NewReport, seq: usize, row: NewDmarcResult) -> Self {
        Self {
            report_id: report.id.as_uuid(),
            seq,
            tenant_id: report.tenant.as_uuid(),
            domain_id: report.domain.as_uuid(),
            day: report.day,
            organization: text(&report.organization, 255),
            grade: report.grade.as_str(),
            source_ip: row.source_ip,
            country: row.origin.country,
            asn: row.origin.asn,
            as_name: optional(row.origin.as_name.as_deref(), 200),
            messages: figure(row.messages),
            disposition: text(&row.disposition, 100),
            dkim: text(&row.dkim, 100),
            spf: text(&row.spf, 100),
            passed: row.passed,
            header_from: optional(row.header_from.as_deref(), 255),
            envelope_from: optional(row.envelope_from.as_deref(), 255),
            details: clean(row.details),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_does_not_take_is_left_out_or_replaced_and_nothing_else() {
        assert_eq!(text("a\0bcd", 3), "abc");
        let odd = serde_json::json!({"a\0": ["x\0y", "\\u0000", 1.5, null]});
        assert_eq!(clean(odd), serde_json::json!({"a\u{fffd}": ["x\u{fffd}y", "\\u0000", 1.5, null]}));
    }
}
