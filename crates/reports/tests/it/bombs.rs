//! Inputs that mean harm. Each is a typed error, and what it took is counted.

use std::{fmt::Write, fs};

use mtasts_reports::{Limits, Opened, Unreadable, dmarc, open, read, tls_rpt};
use serde_json::json;

use crate::build::{dmarc_xml, gzip, gzip_of, record, tls_json, zip};

/// The one reason why nothing was found, and that no more than the cap was inflated.
fn refusal(bytes: &[u8], limits: &Limits) -> Unreadable {
    let Opened { found, spent } = open(bytes, limits);
    assert!(spent.inflated <= limits.inflated, "{spent:?}");
    assert!(spent.parts <= limits.parts && spent.entries <= limits.entries, "{spent:?}");
    found.last().unwrap().document.clone().unwrap_err()
}

#[test]
fn a_gzip_stream_of_a_gigabyte_is_not_inflated_beyond_the_caps() {
    let limits = Limits::default();
    let bomb = gzip_of(b' ', 1024);
    assert!(bomb.len() < limits.octets);
    assert_eq!(refusal(&bomb, &limits), Unreadable::Ratio { limit: limits.ratio });
    assert!(open(&bomb, &limits).spent.inflated <= (1 << 20) + (16 << 10));
    let loose = Limits { ratio: usize::MAX, ..limits };
    assert_eq!(refusal(&bomb, &loose), Unreadable::Inflated { limit: limits.inflated });
}

#[test]
fn members_of_one_gzip_file_share_one_cap() {
    let member = gzip(&vec![b' '; 1 << 20]);
    let mut bomb = Vec::new();
    for _ in 0..40 {
        bomb.extend(&member);
    }
    let limits = Limits { ratio: usize::MAX, ..Limits::default() };
    assert_eq!(refusal(&bomb, &limits), Unreadable::Inflated { limit: limits.inflated });
    let limits = Limits { entries: 10, ..limits };
    assert_eq!(refusal(&bomb, &limits), Unreadable::TooManyEntries { limit: 10 });
}

#[test]
fn a_zip_of_zips_shares_one_cap_over_all_levels() {
    let leaf = gzip_of(b'x', 8);
    let names: Vec<String> = (0..16).map(|index| format!("{index}.gz")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), leaf.as_slice())).collect();
    let inner = zip(&entries);
    let bomb = zip(&[("a.zip", &inner), ("b.zip", &inner), ("c.zip", &inner)]);
    let limits = Limits { ratio: usize::MAX, ..Limits::default() };
    assert_eq!(refusal(&bomb, &limits), Unreadable::Inflated { limit: limits.inflated });
}

#[test]
fn archives_within_archives_end_at_the_depth() {
    let mut bomb = b"{\"report-id\": \"x\"}".to_vec();
    for _ in 0..40 {
        bomb = zip(&[("a.zip", &bomb)]);
    }
    assert_eq!(refusal(&bomb, &Limits::default()), Unreadable::TooDeep { limit: Limits::default().depth });
}

#[test]
fn an_archive_of_many_entries_is_refused_before_room_is_made_for_them() {
    let names: Vec<String> = (0..1000).map(|index| index.to_string()).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    let limits = Limits::default();
    assert_eq!(refusal(&zip(&entries), &limits), Unreadable::TooManyEntries { limit: limits.entries });
    // End records, each of which claims 65,535 entries.
    let mut claims = b"PK\x03\x04".to_vec();
    for _ in 0..100_000 {
        claims.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0");
    }
    assert_eq!(refusal(&claims, &limits), Unreadable::TooManyEntries { limit: limits.entries });
}

#[test]
fn messages_within_messages_end_at_the_depth_and_parts_at_their_number() {
    let header = "From: a@example.net\r\nContent-Type: message/rfc822\r\n\r\n";
    assert_eq!(refusal(header.repeat(5000).as_bytes(), &Limits::default()).code(), "too-deep");
    let mut deep = String::from("From: a@example.net\r\n");
    for level in 0..5000 {
        write!(deep, "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").unwrap();
    }
    assert_eq!(refusal(deep.as_bytes(), &Limits::default()).code(), "too-deep");
    let wide = format!(
        "From: a@example.net\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\n\r\nx\r\n".repeat(500_000)
    );
    assert_eq!(refusal(wide.as_bytes(), &Limits::default()).code(), "too-many-parts");
}

#[test]
fn a_message_of_nothing_but_header_fields_keeps_none_of_them() {
    let fields = format!("From: a@example.net\r\n{}\r\n\r\n", "a:b\r\n".repeat(1_500_000));
    assert_eq!(refusal(fields.as_bytes(), &Limits::default()), Unreadable::NothingFound);
    let continued = format!("Subject: a\r\n{}\r\n\r\nx", " b\r\n".repeat(1_500_000));
    assert_eq!(refusal(continued.as_bytes(), &Limits::default()), Unreadable::NothingFound);
}

#[test]
fn an_input_above_the_limit_is_not_looked_at() {
    let limits = Limits { octets: 100, ..Limits::default() };
    assert_eq!(refusal(&[b'{'; 101], &limits), Unreadable::TooLarge { limit: 100 });
}

#[test]
fn json_ends_at_the_depth_the_values_and_the_rows() {
    let limits = Limits::default();
    let parse = |text: &str| tls_rpt::Report::parse(text.as_bytes(), &limits).map_err(|why| why.code());
    let deep = format!("{{\"policies\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(parse(&deep), Err("too-deep"));
    let objects = format!("{}1{}", "{\"policies\":".repeat(100_000), "}".repeat(100_000));
    assert_eq!(parse(&objects), Err("too-deep"));
    let wide = format!("{{\"policies\": [{}0]}}", "0,".repeat(5_000_000));
    assert_eq!(parse(&wide), Err("too-many-values"));
    let mut rows = tls_json();
    rows["policies"] = json!(vec![json!({}); limits.rows + 1]);
    assert_eq!(parse(&rows.to_string()), Err("too-many-rows"));
}

#[test]
fn texts_that_are_split_off_from_one_are_counted() {
    let limits = Limits::default();
    let mut report = tls_json();
    report["policies"][0]["policy"]["policy-string"] = json!(["a\n".repeat(2_000_000)]);
    let lines = tls_rpt::Report::parse(report.to_string().as_bytes(), &limits);
    assert_eq!(lines, Err(Unreadable::TooManyValues { limit: limits.values / 2 }));
    let list = format!("[{}\"a\"]", "\"a\",".repeat(100_000));
    report["policies"][0]["policy"]["policy-string"] = json!(vec![list; 10]);
    let lists = tls_rpt::Report::parse(report.to_string().as_bytes(), &limits);
    assert_eq!(lists, Err(Unreadable::TooManyValues { limit: limits.values / 2 }));
}

#[test]
fn xml_ends_at_the_depth_the_values_and_a_million_rows() {
    let limits = Limits::default();
    let parse = |text: &str| dmarc::Report::parse(text.as_bytes(), &limits).map_err(|why| why.code());
    assert_eq!(parse(&format!("<feedback>{}", "<a>".repeat(1_000_000))), Err("too-deep"));
    assert_eq!(parse(&dmarc_xml(&format!("<record>{}</record>", "<a/>".repeat(1_000_000)))), Err("too-many-values"));
    assert_eq!(parse(&dmarc_xml(&"<record/>".repeat(1_000_000))), Err("too-many-rows"));
}

#[test]
fn entities_of_entities_are_refused_with_their_declaration() {
    let mut bomb = String::from("<?xml version=\"1.0\"?><!DOCTYPE l [<!ENTITY a0 \"lol\">");
    for level in 1..20 {
        write!(bomb, "<!ENTITY a{level} \"{}\">", format!("&a{};", level - 1).repeat(10)).unwrap();
    }
    bomb.push_str("]><feedback><report_metadata><org_name>&a19;</org_name></report_metadata></feedback>");
    let readings: Vec<_> = read(bomb.as_bytes(), &Limits::default()).collect();
    assert_eq!(readings[0].outcome.as_ref().err(), Some(&Unreadable::Dtd));
}

#[test]
fn long_names_of_elements_are_not_kept_once_more_for_each_child() {
    let name = "n".repeat(1 << 20);
    let records = format!("<{name}>{}</{name}>", "<b>&x;</b>".repeat(100_000));
    let report = dmarc::Report::parse(dmarc_xml(&records).as_bytes(), &Limits::default()).unwrap();
    assert!(report.extra[0].element.name.len() < 200);
    assert!(report.deviations.list().iter().all(|deviation| deviation.place.len() < 1000));
}

/// The kernel's word on it: with nextest each test is a process of its own, and all of this stays within the room that
/// `Limits` promises.
#[cfg(target_os = "linux")]
#[test]
fn the_largest_inputs_within_the_caps_leave_memory_flat() {
    const NAMES: [&str; 20] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    fn peak() -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }
    let limits = Limits::default();
    let before = peak();
    let rows = dmarc_xml(&record("192.0.2.1", "1", "none").repeat(50_000));
    let values = format!(
        "{{\"report-id\": \"x\", \"policies\": [], \"extra\": [{}0]}}",
        "\"a\",".repeat(limits.values / 2 - 10)
    );
    let mut keys = "{".to_owned();
    for index in 0..limits.values / 2 - 10 {
        write!(keys, "\"k{index}\":{index},").unwrap();
    }
    keys.push_str("\"report-id\": \"x\"}");
    let broken = format!("{{\"report-id\": \"{}\"}}", "x".repeat(4 << 20)).into_bytes();
    let broken: Vec<u8> = broken.into_iter().map(|octet| if octet == b'x' { 0xff } else { octet }).collect();
    let mended = keys.replace("\"x\"}", "\"x\",}");
    for input in [rows.as_bytes(), values.as_bytes(), keys.as_bytes(), mended.as_bytes(), &broken] {
        let readings: Vec<_> = read(input, &Limits { octets: limits.inflated, ..limits }).collect();
        assert!(readings[0].outcome.is_ok(), "{:?}", readings[0].outcome.as_ref().err());
        println!("{} MiB after {}", (peak() - before) >> 20, String::from_utf8_lossy(&input[..20]));
    }
    // Many documents, each of which takes much more room read than unread.
    let some = format!("{}\"report-id\": \"x\"}}", &keys[..=keys.match_indices(',').nth(100_000).unwrap().0]);
    let entries: Vec<(&str, &[u8])> = NAMES.iter().map(|name| (*name, some.as_bytes())).collect();
    let many = zip(&entries);
    let loose = Limits { ratio: usize::MAX, ..limits };
    assert_eq!(read(&many, &loose).filter(|reading| reading.outcome.is_ok()).count(), NAMES.len());
    println!("{} MiB after many", (peak() - before) >> 20);
    for octet in [b' ', b'{', b'[', b'<', 0] {
        read(&gzip_of(octet, 1024), &limits).for_each(drop);
        read(&gzip_of(octet, 31), &loose).for_each(drop);
    }
    let grown = peak() - before;
    assert!(grown < 220 << 20, "{} MiB", grown >> 20);
    println!("{} MiB", grown >> 20);
}
