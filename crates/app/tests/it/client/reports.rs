//! `mtasts reports` as a client.

use super::answers::{run, scripted};

fn answer(body: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

const FIGURES: &str = r#""reports": 2, "good": 90, "bad": 10, "failure_rate": 0.1, "by_grade": {"verified": {"reports": 1, "good": 8, "bad": 1}}"#;

#[test]
fn a_summary_is_a_table_of_days_with_what_is_verified_apart() {
    let body = format!(
        r#"{{"from": "2026-11-01", "to": "2026-11-02", "organizations": 3, "totals": {{{FIGURES}}}, "days": [{{"day": "2026-11-02", {FIGURES}}}]}}"#
    );
    let asked = scripted(vec![answer(&body)], |desk| {
        let said = run(
            desk,
            &["reports", "summary", "dom_1", "--from", "2026-11-01", "--grade", "verified", "--grade", "failed"],
        );
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.contains("2026-11-02  2        90    10      10.00 %  1 of 9"), "{}", said.out);
        assert!(said.out.contains("3 organisations have reported"), "{}", said.out);
    });
    let line = asked[0].lines().next().unwrap().to_owned();
    assert!(
        line.contains("/v1/domains/dom_1/reports/summary?from=2026-11-01&grade=verified&grade=failed&kind=tls-rpt"),
        "{line}"
    );
}

#[test]
fn failures_and_lists_are_shown_without_what_could_steer_a_terminal() {
    let failures = r#"{"from": "a", "to": "b", "data": [{"result": "certificate-expired", "receiving_mx": "mx\u001b[2J",
        "meaning": "It expired.", "advice": "Renew it.", "new": true, "first_day": "2026-11-01", "last_day": "2026-11-02",
        "bad": 7}], "policy_host": [{"result": "sts-policy-fetch-error", "verdict": "not-ours", "explanation": "Served.",
        "bad": 2}]}"#;
    let list = r#"{"data": [{"id": "rpt_1", "kind": "tls-rpt", "day": "2026-11-02", "organization": "Evil\u0007", "good": 1,
        "bad": 0, "grade": "anonymous", "grade_explanation": "Nobody knows.", "counts": true, "complete": true}],
        "next_cursor": "abc"}"#;
    let asked = scripted(vec![answer(failures), answer(list), answer(list)], |desk| {
        let said = run(desk, &["reports", "failures"]);
        assert!(said.out.contains("certificate-expired at mx\u{fffd}[2J: 7 sessions, new"), "{}", said.out);
        assert!(said.out.contains("It expired. Renew it.") && said.out.contains("not-ours"), "{}", said.out);
        let said = run(desk, &["reports", "list", "--failures", "--kind", "tls-rpt"]);
        assert!(said.out.contains("rpt_1  Evil\u{fffd}") && said.out.contains("--cursor abc"), "{}", said.out);
        let said = run(desk, &["reports", "list", "--json"]);
        assert_eq!(said.out.trim(), list);
    });
    assert!(asked[1].contains("GET /base/v1/reports?limit=50&kind=tls-rpt&failures=true "), "{}", asked[1]);
}

#[test]
fn octets_go_into_a_file_as_they_are() {
    let octets = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\nContent-Length: 4\r\n\r\n\u{1}\u{1b}ab";
    let asked = scripted(vec![octets.to_owned(), octets.to_owned()], |desk| {
        let file = desk.folder.path().join("octets");
        let said = run(desk, &["reports", "raw", "rpt_1", "--output", file.to_str().unwrap()]);
        assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
        assert_eq!(std::fs::read(file).unwrap(), b"\x01\x1bab");
        let file = desk.folder.path().join("others");
        run(desk, &["reports", "raw", "arr_1", "-o", file.to_str().unwrap()]);
    });
    assert!(asked[0].contains("/v1/reports/rpt_1/raw ") && asked[1].contains("/v1/report-arrivals/arr_1/raw "));
}
