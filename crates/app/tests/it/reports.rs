//! `mtasts reports read`, which needs neither a configuration nor a service.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::service::BINARY;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/testdata").join(name)
}

/// Runs it in an environment where there is nothing else.
fn read(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(BINARY)
        .args(["reports", "read"])
        .args(args)
        .env_clear()
        .env("MTASTS_CONFIG", "/nonexistent.toml")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended already, and then nobody reads.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_report_is_a_table_with_what_each_failure_means_and_what_to_do() {
    let output = read(&[testdata("good/tls-rpt.eml").to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for wanted in [
        "TLS REPORT by Sender Example, 2026-11-20",
        "example.net  sts  sessions: 120 good, 5 failed",
        "policy seen: mode enforce, max_age 604800 s, mx *.example.net",
        "3  certificate-expired     mx1.example.net  192.0.2.10",
        "certificate-expired: The MX host's certificate has expired. Renew",
        "reports: 1 TLS, 0 DMARC, 0 repeated, 0 unreadable",
    ] {
        assert!(table.contains(wanted), "no {wanted:?} in\n{table}");
    }
}

#[test]
fn a_folder_is_read_with_its_totals_and_a_report_that_came_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::copy(testdata("good/tls-rpt.json"), inner.join("a.json")).unwrap();
    fs::copy(testdata("good/tls-rpt.json.gz"), inner.join("b.json.gz")).unwrap();
    fs::copy(testdata("good/dmarc.zip"), folder.path().join("c.zip")).unwrap();
    fs::write(folder.path().join("README"), "Reports.").unwrap();
    let output = read(&["--json", folder.path().to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines = lines(&output);
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["dmarc", "tls-rpt", "tls-rpt", "totals"]);
    assert_eq!((&lines[1]["repeated"], &lines[2]["repeated"]), (&Value::Bool(false), &Value::Bool(true)));
    let totals = &lines[3];
    assert_eq!(totals["files"], 4);
    assert_eq!(totals["without_a_report"], 1);
    assert_eq!(totals["sessions"]["successful"], 120);
    assert_eq!(totals["sessions"]["failed"], 5);
    assert_eq!(totals["sessions"]["failed_by_result"]["certificate-expired"], 3);
    assert_eq!(totals["messages"]["passing"], 7);
}

#[test]
fn json_has_the_normal_form_the_identity_and_the_deviations() {
    let output = read(&["--json", testdata("deviations/trailing-octets.behind-gzip.json.gz").to_str().unwrap()], b"");
    let line = &lines(&output)[0];
    assert_eq!(line["organization"], "Sender Example");
    assert_eq!(line["policies"][0]["failures"][0]["result"], "certificate-expired");
    assert_eq!(line["policies"][0]["failures"][0]["sending_ip"]["ip"], "192.0.2.10");
    assert_eq!(line["policies"][0]["policy"]["type"], "sts");
    assert_eq!(line["identity"]["keys"][0]["policy_domain"], "example.net");
    assert_eq!(line["identity"]["claims"][0]["source"], "contact-info");
    assert_eq!(line["deviations_on_the_way"][0]["code"], "trailing-octets");
    assert_eq!(line["deviations"], serde_json::json!([]));
}

#[test]
fn standard_input_is_read_and_what_is_unreadable_is_named_with_exit_code_1() {
    let report = fs::read(testdata("good/dmarc.xml")).unwrap();
    let output = read(&["-"], &report);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("messages: 7, of which 7 pass DMARC and 0 fail"));

    let output = read(&["-", testdata("good/tls-rpt.json").to_str().unwrap(), "/nonexistent"], b"Hello");
    assert_eq!(output.status.code(), Some(1));
    let complaints = text(&output.stderr);
    assert!(complaints.contains("standard input: there is no report in it"), "{complaints}");
    assert!(complaints.contains("/nonexistent: "), "{complaints}");
    assert!(text(&output.stdout).contains("reports: 1 TLS, 0 DMARC, 0 repeated, 2 unreadable"));
}

#[test]
fn each_message_of_a_mail_folder_is_read() {
    let (first, second) = (testdata("good/tls-rpt.eml"), testdata("good/dmarc-whole-body.eml"));
    let separator = b"From sender@sender.example Sat Nov 21 01:00:00 2026\n";
    let lunch = b"From: a@example.net\nSubject: lunch\n\nAt noon?\n\n";
    let folder =
        [separator, &fs::read(first).unwrap()[..], b"\n", separator, lunch, separator, &fs::read(second).unwrap()];
    let output = read(&["--json", "-"], &folder.concat());
    let lines = lines(&output);
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["tls-rpt", "dmarc", "totals"]);
    assert_eq!(lines[1]["file"], "standard input, message 3");
    assert_eq!(lines[2]["without_a_report"], 1);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn without_a_file_it_is_a_wrong_use_with_exit_code_2() {
    assert_eq!(read(&[], b"").status.code(), Some(2));
    assert_eq!(read(&["--max-octets", "many", "-"], b"").status.code(), Some(2));
}

#[test]
fn a_file_above_the_limit_is_refused_until_the_limit_is_raised() {
    let path = testdata("good/tls-rpt.json");
    let path = path.to_str().unwrap();
    let output = read(&["--max-octets", "100", path], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("more than 100 octets"));
    assert_eq!(read(&["--max-octets", "100000", path], b"").status.code(), Some(0));
}

#[test]
fn what_is_said_of_a_report_host_is_marked_and_does_not_count() {
    let path = testdata("good/tls-rpt.json");
    let output = read(&["--json", "--report-host", "example.net", path.to_str().unwrap()], b"");
    let lines = lines(&output);
    assert_eq!(lines[0]["policies"][0]["about_report_host"], true);
    assert_eq!(lines[1]["sessions"]["failed"], 0);
}

#[test]
fn control_characters_of_a_sender_never_reach_the_terminal() {
    let report = fs::read_to_string(testdata("good/tls-rpt.json")).unwrap();
    let hostile = report.replace("Sender Example", "\\u001b[2J\\u0007Sender").replace("192.0.2.10", "\\u001b]0;x");
    let output = read(&["-"], hostile.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).chars().all(|char| char == '\n' || !char.is_control()));
}
