//! What comes of DMARC reports.

use mtasts_reports::{
    Limits,
    dmarc::{Alignment, Disposition, DkimResult, Namespace, Report, SpfResult},
};

use crate::{
    build::{codes, dmarc, dmarc_xml, record},
    corpus::file,
};

fn parse(folder: &str, name: &str) -> Report {
    Report::parse(&file(folder, name), &Limits::default()).unwrap()
}

#[test]
fn every_field_of_rfc_7489_is_there() {
    let report = parse("good", "dmarc.xml");
    assert_eq!(report.version.as_deref(), Some("1.0"));
    assert_eq!(report.organization.as_deref(), Some("Sender Example"));
    assert_eq!(report.contact.as_deref(), Some("dmarc@sender.example"));
    assert_eq!(report.report_id.as_deref(), Some("dmarc-1"));
    assert_eq!(report.period.day().unwrap().to_string(), "2026-11-20");
    assert_eq!(report.policy.domain.as_deref(), Some("example.net"));
    assert_eq!((report.policy.p.as_deref(), report.policy.pct.as_deref()), (Some("quarantine"), Some("100")));
    let [record] = report.records.as_slice() else { panic!() };
    assert_eq!(record.source.as_ref().unwrap().to_string(), "192.0.2.20");
    assert_eq!(record.messages, Some(7));
    assert_eq!(record.disposition, Some(Disposition::None));
    assert_eq!((&record.dkim, &record.spf), (&Some(Alignment::Pass), &Some(Alignment::Fail)));
    assert!(record.passes());
    assert_eq!(record.header_from.as_deref(), Some("example.net"));
    assert_eq!(record.dkim_results[0].result, Some(DkimResult::Pass));
    assert_eq!(record.dkim_results[0].selector.as_deref(), Some("s1"));
    assert_eq!(record.spf_results[0].result, Some(SpfResult::SoftFail));
    assert_eq!(record.spf_results[0].domain.as_deref(), Some("bounce.example.net"));
    assert!(report.complete);
}

#[test]
fn both_namespaces_and_none_are_read() {
    assert_eq!(parse("good", "dmarc.xml").namespace, Namespace::None);
    assert_eq!(parse("good", "dmarc-rfc7489-namespace.xml").namespace, Namespace::Rfc7489);
    assert_eq!(parse("good", "dmarc-prefixed-namespace.xml").namespace, Namespace::Rfc9990);
    let newer = parse("good", "dmarc-rfc9990.xml");
    assert_eq!(newer.namespace, Namespace::Rfc9990);
    assert_eq!(newer.generator.as_deref(), Some("Reporter 1.2"));
    assert_eq!((newer.policy.np.as_deref(), newer.policy.testing.as_deref()), (Some("reject"), Some("n")));
    assert_eq!(newer.policy.discovery_method.as_deref(), Some("treewalk"));
    assert_eq!(newer.records[0].disposition, Some(Disposition::Pass));
}

#[test]
fn words_outside_of_the_schema_are_understood_or_kept() {
    let report = parse("deviations", "unknown-value.hardfail.xml");
    assert_eq!(report.records[0].spf_results[0].result, Some(SpfResult::Fail));
    let report = parse("deviations", "unknown-value.disposition-pass.xml");
    assert_eq!(report.records[0].disposition, Some(Disposition::Pass));
    let report = dmarc(&record("192.0.2.1", "1", "burn"));
    assert_eq!(report.records[0].disposition, Some(Disposition::Other("burn".to_owned())));
}

#[test]
fn a_reason_is_read_with_a_type_as_text_and_an_empty_one_is_none() {
    let reason = parse("deviations", "wrong-type.reason-as-text.xml").records[0].reasons[0].clone();
    assert_eq!((reason.kind, reason.comment.as_deref()), (None, Some("mailing list")));
    let reason = parse("good", "dmarc-comments-and-cdata.xml").records[0].reasons[0].clone();
    assert_eq!((reason.kind.as_deref(), reason.comment.as_deref()), (Some("forwarded"), Some("a < b & c")));
    let empty =
        record("192.0.2.1", "1", "none").replace("</policy_evaluated>", "<reason><type/></reason></policy_evaluated>");
    assert!(dmarc(&empty).records[0].reasons.is_empty());
}

#[test]
fn a_record_that_makes_no_sense_loses_no_other() {
    let records =
        record("192.0.2.1", "3", "none") + "<record><row/></record><record/>" + &record("192.0.2.2", "4", "none");
    let report = dmarc(&records);
    assert_eq!((report.records.len(), report.messages()), (4, 7));
    assert!(codes(report.deviations.list()).contains(&("missing-field", "/feedback/record[2]/row/count")));
}

#[test]
fn the_place_of_a_deviation_names_the_row_and_the_element() {
    let record = record("192.0.2.1", "1", "none");
    let several =
        record.replace("</auth_results>", "<dkim><domain>a b</domain><result>pass</result></dkim></auth_results>");
    let report = dmarc(&(record + &several));
    assert_eq!(codes(report.deviations.list()), [("not-a-name", "/feedback/record[2]/auth_results/dkim[2]/domain")]);
}

#[test]
fn a_document_that_breaks_off_keeps_what_was_before_and_says_so() {
    let report = parse("deviations", "cut-off.xml");
    assert_eq!((report.records.len(), report.complete), (1, false));
}

#[test]
fn a_record_that_is_not_xml_loses_no_other() {
    let (first, last) = (record("192.0.2.1", "3", "none"), record("192.0.2.2", "4", "none"));
    for broken in [
        first.replace("</row>", "</rwo>"),
        first.replace("</auth_results></record>", ""),
        "<record <<row>".to_owned(),
        "<record><row>".to_owned(),
        "<record><!--".to_owned(),
    ] {
        let report = dmarc(&format!("{first}{broken}{last}"));
        let sources: Vec<_> =
            report.records.iter().filter_map(|record| Some(record.source.as_ref()?.to_string())).collect();
        assert_eq!(
            (sources.first().unwrap().as_str(), sources.last().unwrap().as_str()),
            ("192.0.2.1", "192.0.2.2"),
            "{broken}"
        );
        assert!(codes(report.deviations.list()).iter().any(|(code, _)| *code == "cut-off"), "{broken}");
        assert!(!report.complete);
    }
}

#[test]
fn a_document_that_ends_within_a_tag_is_read_to_there_and_to_an_end() {
    for tail in ["<record ", "<record a=\"", "<record", "<"] {
        let whole = dmarc_xml(&record("192.0.2.1", "3", "none"));
        let cut = whole.replace("</feedback>", tail);
        let report = Report::parse(cut.as_bytes(), &Limits::default()).unwrap();
        assert_eq!((report.records.len(), report.complete), (1, false), "{tail}");
    }
}

#[test]
fn elements_and_attributes_that_the_rfc_does_not_know_are_kept() {
    let report = parse("good", "dmarc-extension.xml");
    let extra = &report.extra[0];
    assert_eq!((extra.place.as_str(), extra.element.name.as_str()), ("/feedback", "extensions"));
    let extension = &extra.element.children[0];
    let inner: Vec<_> = extension.children.iter().map(|child| (child.name.as_str(), child.text.as_str())).collect();
    assert_eq!(inner, [("@name", "x"), ("@definition", "https://sender.example/x"), ("data", "1")]);
}

#[test]
fn octets_of_a_declared_latin_encoding_are_letters_and_others_are_marked() {
    assert_eq!(parse("good", "dmarc-latin-1.xml").organization.as_deref(), Some("Sénder"));
    assert_eq!(parse("deviations", "invalid-utf-8.xml").organization.as_deref(), Some("S\u{fffd}nder"));
}

#[test]
fn entities_are_never_expanded() {
    assert_eq!(parse("deviations", "entity-reference.xml").organization.as_deref(), Some("Sender &nbsp; Example"));
    let inside = dmarc_xml("<!DOCTYPE x [<!ENTITY a \"b\">]>");
    assert_eq!(
        Report::parse(inside.as_bytes(), &Limits::default()).map_err(|why| why.code()),
        Err("document-type-declaration")
    );
}
