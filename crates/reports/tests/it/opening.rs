//! From whatever arrives to the documents in it.

use mtasts_reports::{Document, Limits, Unreadable, open, read};

use crate::{
    build::{gzip, tls_json, zip},
    corpus::file,
};

fn paths(bytes: &[u8]) -> Vec<String> {
    open(bytes, &Limits::default()).found.iter().map(|found| found.path.join(" > ")).collect()
}

#[test]
fn the_same_document_is_found_whatever_it_came_in() {
    let json = file("good", "tls-rpt.json");
    let names = ["checksum-mismatch.json.gz", "wrong-media-type.plain-json-as-gzip.eml", "nested-message.base64.eml"];
    for name in names {
        let opened = open(&file("deviations", name), &Limits::default());
        let [found] = opened.found.as_slice() else { panic!("{name}: {:?}", opened.found) };
        let Ok(Document::Json(octets)) = &found.document else { panic!("{name}") };
        let parsed: serde_json::Value = serde_json::from_slice(octets).unwrap();
        assert_eq!(parsed, serde_json::from_slice::<serde_json::Value>(&json).unwrap(), "{name}");
    }
}

#[test]
fn the_way_to_a_document_is_told() {
    assert_eq!(
        paths(&file("good", "tls-rpt.eml")),
        ["part 2 > sender.example!example.net!1795132800!1795219199!001.json.gz > gzip"]
    );
    assert_eq!(paths(&file("good", "dmarc-two-entries.zip")), ["folder/a.xml", "b.xml"]);
    assert_eq!(paths(&file("good", "tls-rpt.json")), [""]);
}

#[test]
fn an_archive_within_an_archive_within_a_message_is_followed() {
    let json = tls_json().to_string();
    let inner = zip(&[("a.json.gz", &gzip(json.as_bytes()))]);
    assert_eq!(paths(&zip(&[("inner.zip", &inner), ("../../etc/passwd", b"root")])), ["inner.zip > a.json.gz > gzip"]);
}

#[test]
fn one_broken_entry_loses_no_other() {
    let json = tls_json().to_string();
    let opened = open(&zip(&[("bad.gz", b"\x1f\x8b\x08junk"), ("good.json", json.as_bytes())]), &Limits::default());
    let results: Vec<_> = opened.found.iter().map(|found| found.document.as_ref().map(drop)).collect();
    assert!(matches!(results.as_slice(), [Err(Unreadable::Gzip { .. }), Ok(())]), "{results:?}");
}

#[test]
fn headers_of_the_message_are_kept_for_its_document() {
    let opened = open(&file("good", "tls-rpt.eml"), &Limits::default());
    let mail = opened.found[0].mail.as_deref().unwrap();
    assert_eq!(mail.from.as_deref(), Some("noreply@sender.example"));
    assert_eq!(mail.message_id.as_deref(), Some("r1@sender.example"));
    assert_eq!(mail.report_domain.as_deref(), Some("example.net"));
    assert_eq!(mail.report_submitter.as_deref(), Some("sender.example"));
    let subject = mail.subject_fields.as_ref().unwrap();
    assert_eq!(subject.report_id.as_deref(), Some("2026-11-20T00:00:00Z_example.net"));
}

#[test]
fn the_message_of_a_forwarded_report_is_the_inner_one() {
    let opened = open(&file("deviations", "nested-message.forwarded.eml"), &Limits::default());
    assert_eq!(opened.found[0].mail.as_deref().unwrap().from.as_deref(), Some("noreply@sender.example"));
}

#[test]
fn banners_html_and_other_attachments_are_no_failure_beside_a_report() {
    let mail = String::from_utf8(file("good", "tls-rpt.eml")).unwrap();
    let banner = mail.replace("This is an aggregate", "[EXTERNAL] Be careful.\r\n{This} is an aggregate");
    let html = "--b1\r\nContent-Type: text/html\r\n\r\n<div>Hello</div>\r\n";
    let other = "--b1\r\nContent-Type: application/json\r\n\r\n{\"hello\": 1}\r\n";
    let mail = banner.replace("--b1--", &format!("{html}{other}--b1--"));
    let readings: Vec<_> = read(mail.as_bytes(), &Limits::default()).collect();
    assert_eq!(readings.len(), 1);
    assert!(readings[0].outcome.is_ok());
}

#[test]
fn every_media_type_that_is_met_is_read_whatever_it_holds() {
    let json = tls_json().to_string().into_bytes();
    let contents = [gzip(&json), zip(&[("report.json", &json)]), json];
    for declared in [
        "application/tlsrpt+gzip",
        "application/tlsrpt+json",
        "application/json",
        "application/gzip",
        "application/x-gzip",
        "application/octet-stream",
        "application/zip",
        "text/plain",
    ] {
        for content in &contents {
            let mut mail = format!(
                "From: a@sender.example\r\nContent-Type: {declared}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            )
            .into_bytes();
            mail.extend(content);
            let readings: Vec<_> = read(&mail, &Limits::default()).collect();
            assert_eq!(readings.len(), 1, "{declared}");
            assert!(readings[0].outcome.is_ok(), "{declared}: {:?}", readings[0].outcome);
        }
    }
}
