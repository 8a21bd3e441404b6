//! Which report it is, and whose.

use mtasts_reports::{Identity, Limits, ReportKey, Source, read};

use crate::corpus::file;

fn identity(bytes: &[u8]) -> Identity {
    let mut readings: Vec<_> = read(bytes, &Limits::default()).collect();
    readings.remove(0).outcome.unwrap().1
}

fn key(organization: &str, report_id: &str, policy_domain: &str) -> ReportKey {
    let [organization, report_id, policy_domain] = [organization, report_id, policy_domain].map(str::to_owned);
    ReportKey { organization, report_id, policy_domain }
}

#[test]
fn the_document_outranks_the_subject_and_the_file_name() {
    let mail = String::from_utf8(file("good", "tls-rpt-plain-part.eml")).unwrap();
    let other = mail.replace("Report-ID: <2026-11-20T00:00:00Z_example.net>", "Report-ID: <another>");
    let found = identity(other.replace("Submitter: sender.example", "Submitter: other.example").as_bytes());
    assert_eq!(found.keys, [key("sender example", "2026-11-20T00:00:00Z_example.net", "example.net")]);
    assert_eq!(found.source, Source::Document);
}

#[test]
fn what_the_document_lacks_the_subject_and_then_the_file_name_say() {
    let mail = String::from_utf8(file("good", "tls-rpt-plain-part.eml")).unwrap();
    let without_id = mail.replace("\"report-id\"", "\"another-field\"");
    let found = identity(without_id.as_bytes());
    assert_eq!(found.keys, [key("sender example", "2026-11-20T00:00:00Z_example.net", "example.net")]);
    assert_eq!(found.source, Source::Subject);
    let without_subject = without_id.replace("Subject: Report Domain", "Subject: Hello");
    let without_subject = without_subject.replace("Submitter: sender.example\r\n Report-ID", "\r\n Report");
    let found = identity(without_subject.as_bytes());
    assert_eq!(found.keys, [key("sender example", "001", "example.net")]);
    assert_eq!(found.source, Source::FileName);
}

#[test]
fn a_report_without_any_id_has_no_key() {
    assert!(identity(&file("deviations", "missing-field.report-id.json")).keys.is_empty());
}

#[test]
fn there_is_a_key_for_each_policy_domain() {
    let found = identity(&file("good", "tls-rpt-several-tenants.json"));
    let domains: Vec<_> = found.keys.iter().map(|key| key.policy_domain.as_str()).collect();
    assert_eq!(domains, ["example.net", "example.org"]);
}

#[test]
fn each_claim_of_the_organisations_domain_is_kept_with_its_source() {
    let found = identity(&file("good", "tls-rpt.eml"));
    let claims: Vec<_> = found.claims.iter().map(|claim| (claim.domain.as_str(), claim.source)).collect();
    let sources = [Source::ContactInfo, Source::From, Source::HeaderField, Source::Subject, Source::FileName];
    assert_eq!(claims, sources.map(|source| ("sender.example", source)));
}
