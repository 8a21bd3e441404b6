//! DMARC aggregate reports (RFC 7489, RFC 9990).

use mtasts_model::ReportKind;
use mtasts_reports::dmarc::{Record, Report};
use mtasts_store::{AddressOrigin, NewDmarcResult, NewReport};
use serde_json::{Value as Json, json};

use super::{Context, Header, KEPT_ROWS, add_origin, is_too_large};
use crate::reports::{
    attribution::{Addressed, Place},
    origins::Origins,
    sums::Sums,
};

/// Signatures, checks and reasons of one record that are kept.
const MOST_DETAILS: usize = 20;

/// One: a DMARC report has one policy domain.
pub(super) fn parts(mut report: Report, context: &Context<'_>) -> Vec<NewReport> {
    let verified = context.graded.grade == mtasts_model::ReportGrade::Verified;
    let addressed = Addressed { own: context.own, verified, held: context.held };
    let own = (context.arrival.domain, context.arrival.tenant);
    let (to, is_ours) = match addressed.dmarc(report.policy.domain.as_deref()) {
        Place::Own => (own, true),
        Place::Other(held) => ((held.domain, held.tenant), true),
        Place::Nobody => (own, false),
    };
    let records = std::mem::take(&mut report.records);
    let body = body(&report, &records, is_ours);
    let mut part = context.report(
        ReportKind::Dmarc,
        to,
        Header {
            organization: report.organization.as_deref(),
            contact: report.contact.as_deref(),
            report_id: report.report_id.as_deref(),
            period: report.period,
            deviations: &report.deviations,
            domains: report.policy.domain.as_deref().into_iter().collect(),
            body,
        },
    );
    part.complete = report.complete;
    part.counts = is_ours;
    if is_ours {
        count(&mut part, &records, context.origins);
    }
    vec![part]
}

fn count(part: &mut NewReport, records: &[Record], origins: &Origins) {
    let mut sums = Sums::default();
    for record in records {
        let mut row = row(record);
        let (good, bad) = if row.passed { (row.messages, 0) } else { (0, row.messages) };
        part.good = part.good.saturating_add(good);
        part.bad = part.bad.saturating_add(bad);
        if let Some(ip) = row.source_ip {
            sums.add("source_ip", ip.to_string(), good, bad);
            row.origin = origins.of(ip);
            add_origin(&mut sums, &row.origin, good, bad);
        }
        sums.add("disposition", row.disposition.as_str(), good, bad);
        let word = |word: &str| if word.is_empty() { "none".to_owned() } else { word.to_owned() };
        sums.add("alignment", format!("dkim={} spf={}", word(&row.dkim), word(&row.spf)), good, bad);
        if let Some(from) = &row.header_from {
            sums.add("header_from", from.as_str(), good, bad);
        }
        part.dmarc.push(row);
    }
    sums.add("total", "", part.good, part.bad);
    sums.add("organization", part.organization.as_str(), part.good, part.bad);
    part.sums = sums.finish();
}

fn row(record: &Record) -> NewDmarcResult {
    let few = |list: Vec<Json>| -> Json { list.into_iter().take(MOST_DETAILS).collect() };
    NewDmarcResult {
        source_ip: record.source.as_ref().and_then(|address| address.ip),
        origin: AddressOrigin::default(),
        messages: record.messages.unwrap_or(0),
        disposition: record.disposition.as_ref().map(|word| word.as_str().to_owned()).unwrap_or_default(),
        dkim: record.dkim.as_ref().map(|word| word.as_str().to_owned()).unwrap_or_default(),
        spf: record.spf.as_ref().map(|word| word.as_str().to_owned()).unwrap_or_default(),
        passed: record.passes(),
        header_from: record.header_from.clone(),
        envelope_from: record.envelope_from.clone(),
        details: json!({
            "dkim": few(record.dkim_results.iter().map(|result| json!(result)).collect()),
            "spf": few(record.spf_results.iter().map(|result| json!(result)).collect()),
            "reasons": few(record.reasons.iter().map(|reason| json!(reason)).collect()),
        }),
    }
}

/// The normal form. Where it is too large, with fewer records, and the number of the others.
fn body(shell: &Report, records: &[Record], is_ours: bool) -> Json {
    for most in KEPT_ROWS {
        let mut body = json!(shell);
        body["records"] = json!(records[..records.len().min(most)]);
        if records.len() > most {
            body["rows_left_out"] = (records.len() - most).into();
        }
        if !is_ours {
            let note = "The policy is of a domain that this service does not hold, or of which only a verified report is heard; it is not counted.";
            body["unattributed"] = json!({ "note": note, "number": records.len() });
        }
        if !is_too_large(&body) {
            return body;
        }
    }
    json!({ "rows_left_out": records.len(), "note": "The report is too large to be kept in its normal form." })
}
