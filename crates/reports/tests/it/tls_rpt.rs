//! What comes of TLS reports.

use mtasts_model::Mode;
use mtasts_reports::{
    Limits, Report as AnyReport, ReportHosts, Unreadable, read,
    tls_rpt::{EdgeFault, PolicyType, Report, ResultType},
};
use serde_json::{Value, json};

use crate::{
    build::{codes, tls},
    corpus::{file, files},
};

fn parse(folder: &str, name: &str) -> Report {
    Report::parse(&file(folder, name), &Limits::default()).unwrap()
}

#[test]
fn every_field_of_rfc_8460_is_there() {
    let report = parse("good", "tls-rpt.json");
    assert_eq!(report.organization.as_deref(), Some("Sender Example"));
    assert_eq!(report.contact.as_deref(), Some("tls-reports@sender.example"));
    assert_eq!(report.report_id.as_deref(), Some("2026-11-20T00:00:00Z_example.net"));
    assert_eq!(report.period.day().unwrap().to_string(), "2026-11-20");
    let [policy] = report.policies.as_slice() else { panic!() };
    assert_eq!((policy.successful_sessions, policy.failed_sessions), (Some(120), Some(5)));
    assert_eq!(policy.policy.kind, PolicyType::Sts);
    assert_eq!(policy.policy.domain.as_deref(), Some("example.net"));
    assert_eq!(policy.policy.mx_hosts, ["*.example.net"]);
    assert_eq!(policy.policy.sts().unwrap().mode(), Mode::Enforce);
    let second = &policy.failures[1];
    assert_eq!((&second.result, second.sessions), (&ResultType::StarttlsNotSupported, Some(2)));
    assert_eq!(second.sending_ip.as_ref().unwrap().to_string(), "2001:db8::10");
    assert_eq!(second.receiving_ip.as_ref().unwrap().to_string(), "2001:db8:1::2");
    assert_eq!(second.receiving_mx.as_deref(), Some("mx2.example.net"));
    assert_eq!(second.receiving_helo.as_deref(), Some("mx2.example.net"));
    assert_eq!(second.additional_information.as_deref(), Some("https://sender.example/tls?id=1"));
}

#[test]
fn each_result_type_says_what_it_means_and_what_to_do() {
    assert_eq!(ResultType::KNOWN.len(), 11);
    for known in ResultType::KNOWN {
        let report = tls(|json| json["policies"][0]["failure-details"][0]["result-type"] = known.as_str().into());
        assert_eq!(&report.policies[0].failures[0].result, known);
        assert!(known.meaning().ends_with('.') && known.advice().ends_with('.'));
    }
}

#[test]
fn a_word_that_the_rfc_does_not_know_is_kept() {
    let report = parse("deviations", "unknown-value.result-type.json");
    assert_eq!(report.policies[0].failures[0].result, ResultType::Other("weather".to_owned()));
    let report = parse("deviations", "unknown-value.policy-type.json");
    assert_eq!(report.policies[0].policy.kind, PolicyType::Other("invalid-policy-type".to_owned()));
}

#[test]
fn fields_that_the_rfc_does_not_know_are_kept_at_every_level() {
    let report = tls(|json| {
        json["a"] = json!({ "b": [1, null] });
        json["policies"][0]["c"] = json!(true);
        json["policies"][0]["policy"]["d"] = json!(1.5);
        json["policies"][0]["failure-details"][0]["e"] = json!("f");
    });
    let policy = &report.policies[0];
    assert_eq!(Value::Object(report.extra.clone()), json!({ "a": { "b": [1, null] } }));
    assert_eq!(policy.extra["c"], json!(true));
    assert_eq!(policy.policy.extra["d"], json!(1.5));
    assert_eq!(policy.failures[0].extra["e"], json!("f"));
}

#[test]
fn a_row_that_is_none_is_kept_apart_and_loses_no_other_row() {
    let report = parse("deviations", "unread-row.policies.json");
    assert_eq!(report.policies.len(), 1);
    assert_eq!((report.unread[0].place.as_str(), &report.unread[0].value), ("/policies/0", &json!("what is this")));
    let report = parse("deviations", "unread-row.details.json");
    assert_eq!(report.policies[0].failures.len(), 2);
    assert_eq!(
        (report.unread[0].place.as_str(), &report.unread[0].value),
        ("/policies/0/failure-details/1", &json!(42))
    );
}

#[test]
fn a_report_on_several_tenants_is_split_by_policy_domain() {
    let report = parse("good", "tls-rpt-several-tenants.json");
    assert_eq!(report.policy_domains(), ["example.net", "example.org"]);
    assert_eq!(report.of("example.org").map(|policy| policy.successful_sessions).collect::<Vec<_>>(), [Some(9)]);
}

#[test]
fn times_without_a_zone_are_utc_and_the_next_midnight_is_the_second_before() {
    let good = parse("good", "tls-rpt.json").period;
    for name in ["time-without-zone.json", "end-is-next-midnight.json", "time-notation.seconds.json"] {
        assert_eq!(parse("deviations", name).period.end, good.end, "{name}");
        assert_eq!(parse("deviations", name).period.begin, good.begin, "{name}");
    }
}

#[test]
fn a_tlsa_list_as_json_text_and_a_policy_in_one_text_are_taken_apart() {
    let list = parse("deviations", "list-as-json-text.tlsa.json");
    assert_eq!(list.policies[0].policy.strings, parse("good", "tls-rpt-dane.json").policies[0].policy.strings);
    let lines = parse("deviations", "several-lines.json");
    assert_eq!(lines.policies[0].policy.strings, parse("good", "tls-rpt.json").policies[0].policy.strings);
}

#[test]
fn mx_host_is_read_as_a_text_with_the_policys_key_and_as_a_list() {
    for (host, code) in [
        (json!("MX1.example.net."), Some("not-a-list")),
        (json!(["mx: mx1.example.net"]), Some("mx-host-with-key")),
        (json!(["mx1.example.net"]), None),
    ] {
        let report = tls(|json| json["policies"][0]["policy"]["mx-host"] = host.clone());
        assert_eq!(report.policies[0].policy.mx_hosts, ["mx1.example.net"], "{host}");
        let found: Vec<_> = codes(report.deviations.list()).into_iter().map(|(code, _)| code).collect();
        assert_eq!(found, code.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_count_as_text_is_a_count_and_a_detail_without_one_is_a_session_at_least() {
    let report = tls(|json| json["policies"][0]["failure-details"][0]["failed-session-count"] = json!(" 3 "));
    assert_eq!(report.policies[0].failures[0].sessions, Some(3));
    assert_eq!(
        codes(report.deviations.list()),
        [("number-as-text", "/policies/0/failure-details/0/failed-session-count")]
    );
    let report = tls(|json| {
        json["policies"][0]["failure-details"][0].as_object_mut().unwrap().remove("failed-session-count");
    });
    assert_eq!(report.policies[0].detailed(), 1);
}

#[test]
fn sums_are_held_against_their_details() {
    let report = parse("deviations", "sums-disagree.json");
    assert_eq!((report.policies[0].failed(), report.policies[0].detailed()), (50, 5));
    assert_eq!(codes(report.deviations.list()), [("sums-disagree", "/policies/0/summary")]);
}

#[test]
fn counts_near_the_end_of_their_range_do_not_overflow() {
    let report = tls(|json| {
        let detail = json["policies"][0]["failure-details"][0].clone();
        json["policies"][0]["failure-details"] = json!([detail, detail]);
        for index in 0..2 {
            json["policies"][0]["failure-details"][index]["failed-session-count"] = json!(u64::MAX);
        }
    });
    assert_eq!(report.policies[0].detailed(), u64::MAX);
}

#[test]
fn failures_at_the_policy_host_are_told_with_the_status_and_the_host() {
    let report = parse("good", "tls-rpt-edge-failures.json");
    let policy = &report.policies[0];
    let hint = policy.failures[0].edge.unwrap();
    assert_eq!((hint.fault, hint.status), (EdgeFault::HttpStatus, Some(404)));
    assert_eq!(policy.failures[1].edge.unwrap().fault, EdgeFault::CertificateExpired);
    assert_eq!(policy.policy_host().as_deref(), Some("mta-sts.example.net"));
    assert_eq!(parse("good", "tls-rpt.json").policies[0].failures[0].edge, None);
}

#[test]
fn what_speaks_of_a_report_host_is_marked_and_the_rest_is_not() {
    let hosts = ReportHosts::new(["reports.example.net"]);
    for (domain, mx, marked) in [
        ("reports.example.net", "mx1.example.net", true),
        ("example.net", "mx.reports.example.net", true),
        ("example.net", "mx1.example.net", false),
    ] {
        let mut report = tls(|json| {
            json["policies"][0]["policy"]["policy-domain"] = domain.into();
            json["policies"][0]["failure-details"][0]["receiving-mx-hostname"] = mx.into();
        });
        report.mark_report_hosts(&hosts);
        assert_eq!(report.policies[0].about_report_host, marked, "{domain} {mx}");
    }
}

#[test]
fn the_place_of_a_deviation_points_into_the_document() {
    for (name, bytes) in files("deviations").into_iter().chain(files("good")) {
        let Ok(document) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let report = Report::parse(&bytes, &Limits::default()).unwrap();
        for deviation in report.deviations.list() {
            // Of a field that is missing or misspelt, the object is there.
            let (object, _) = deviation.place.rsplit_once('/').unwrap_or_default();
            let is_there = document.pointer(&deviation.place).or_else(|| document.pointer(object)).is_some();
            assert!(is_there, "{name}: {deviation:?}");
        }
    }
}

#[test]
fn deviations_beyond_the_cap_are_counted() {
    let document = {
        let mut json = crate::build::tls_json();
        json["policies"] = json!(vec!["x"; 50]);
        json.to_string()
    };
    let limits = Limits { deviations: 10, ..Limits::default() };
    let report = Report::parse(document.as_bytes(), &limits).unwrap();
    assert_eq!((report.deviations.list().len(), report.deviations.further()), (10, 41));
    assert_eq!(report.unread.len(), 50);
}

#[test]
fn json_that_is_no_report_is_an_error_and_says_what_it_is() {
    for (text, code) in
        [("{}", "not-a-report"), ("[]", "not-a-report"), ("3", "not-a-report"), ("{", "not-json"), ("", "empty")]
    {
        assert_eq!(Report::parse(text.as_bytes(), &Limits::default()).map_err(|why| why.code()), Err(code), "{text}");
    }
    let broken = Report::parse(b"{\n \"report-id\": x}", &Limits::default());
    assert!(matches!(broken, Err(Unreadable::Json { line: 2, .. })), "{broken:?}");
}

#[test]
fn json_with_small_faults_is_mended_and_the_texts_are_whole() {
    let good = parse("good", "tls-rpt.json");
    let mail = file("deviations", "mended-json.wrapped-by-a-gateway.eml");
    let mut readings: Vec<_> = read(&mail, &Limits::default()).collect();
    let AnyReport::TlsRpt(report) = readings.remove(0).outcome.unwrap().0 else { panic!() };
    assert_eq!((&report.report_id, &report.policies), (&good.report_id, &good.policies));
    assert_eq!(parse("deviations", "mended-json.last-comma.json").policies, good.policies);
    let escapes = parse("deviations", "mended-json.escapes.json");
    assert_eq!(escapes.organization.as_deref(), Some("S\u{fffd}nder \\x41"));
}
