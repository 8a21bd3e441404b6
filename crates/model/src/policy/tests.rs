//! Printing and both ways of reading.

use proptest::prelude::*;

use super::{LintCode as Code, *};
use crate::mx_pattern::MxPatternError;

fn week() -> MaxAge {
    MaxAge::new(604_800).unwrap()
}

macro_rules! corpus {
    ($name:literal) => {
        include_bytes!(concat!("../../testdata/policies/", $name, ".txt")).as_slice()
    };
}

fn patterns(texts: &[&str]) -> Vec<MxPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn policy(mode: Mode, mx: &[&str]) -> Policy {
    Policy::new(mode, patterns(mx), week()).unwrap()
}

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

/// The policy, and the lints as (line, code).
fn lenient(body: &[u8]) -> Result<(Policy, Vec<(usize, Code)>), PolicyError> {
    let (policy, lints) = Policy::parse_lenient(body)?;
    Ok((policy, lints.into_iter().map(|lint| (lint.line, lint.code)).collect()))
}

#[test]
fn rfc8461_3_2_a_policy_prints_with_version_first_and_crlf() {
    assert_eq!(
        policy(Mode::Enforce, &["mx1.example.com", "*.example.net"]).to_text(),
        "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
    );
    assert_eq!(policy(Mode::None, &[]).to_text(), "version: STSv1\r\nmode: none\r\nmax_age: 604800\r\n");
}

#[test]
fn rfc8461_3_2_testing_and_enforce_need_an_mx_and_none_does_not() {
    for mode in [Mode::Testing, Mode::Enforce] {
        assert_eq!(Policy::new(mode, vec![], week()), Err(PolicyError::NoMx { mode }));
        assert_eq!(policy(Mode::None, &[]).with_mode(mode), Err(PolicyError::NoMx { mode }));
    }
    assert!(policy(Mode::None, &[]).mx().is_empty());
    assert_eq!(policy(Mode::None, &["mx.example.com"]).mx().len(), 1);
    let enforced = policy(Mode::Testing, &["mx.example.com"]).with_mode(Mode::Enforce).unwrap();
    assert_eq!(enforced, policy(Mode::Enforce, &["mx.example.com"]));
}

#[test]
fn a_repeated_pattern_is_dropped_and_the_order_kept() {
    let policy = policy(Mode::Testing, &["b.example.com", "a.example.com", "B.example.com."]);
    assert_eq!(policy.mx(), patterns(&["b.example.com", "a.example.com"]));
}

#[test]
fn rfc8461_3_2_max_age_is_at_most_a_year() {
    assert_eq!(MaxAge::new(0).unwrap().seconds(), 0);
    assert_eq!(MaxAge::new(31_557_600), Ok(MaxAge::MAX));
    assert_eq!(MaxAge::new(31_557_601), Err(MaxAgeError { seconds: 31_557_601 }));
}

#[test]
fn rfc7405_modes_are_read_with_their_case() {
    for mode in [Mode::None, Mode::Testing, Mode::Enforce] {
        assert_eq!(mode.to_string().parse(), Ok(mode));
        assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
    }
    for text in ["", "Enforce", "NONE", "report", " none"] {
        assert_eq!(text.parse::<Mode>(), Err(ModeError), "{text}");
    }
}

#[test]
fn rfc8461_3_2_a_policy_above_64_kilobytes_cannot_be_made_or_read() {
    let mx: Vec<MxPattern> = (0..5000).map(|number| format!("mx{number}.example.com").parse().unwrap()).collect();
    assert!(matches!(Policy::new(Mode::Testing, mx.clone(), week()), Err(PolicyError::TooLong { .. })));
    let fitting = Policy::new(Mode::Testing, mx[..2500].to_vec(), week()).unwrap();
    let padding = MAX_POLICY_OCTETS - fitting.to_text().len();
    let exact = fitting.to_text() + &" ".repeat(padding);
    assert_eq!(Policy::parse_lenient(exact.as_bytes()).unwrap().0, fitting);
    let above = exact + " ";
    let octets = MAX_POLICY_OCTETS + 1;
    assert_eq!(Policy::parse_lenient(above.as_bytes()).unwrap_err(), PolicyError::TooLong { octets });
    assert_eq!(Policy::parse_strict(&above).unwrap_err(), PolicyError::TooLong { octets });
}

#[test]
fn rfc8461_4_1_a_policy_covers_what_one_of_its_patterns_matches() {
    let policy = policy(Mode::Enforce, &["mx1.example.com", "*.example.net"]);
    assert!(policy.covers(&host("MX1.example.com")));
    assert!(policy.covers(&host("any.example.net")));
    assert!(!policy.covers(&host("mx2.example.com")));
    assert!(!policy.covers(&host("a.b.example.net")));
}

#[test]
fn rfc8461_3_2_strict_reading_takes_the_grammar() {
    let expected = policy(Mode::Enforce, &["mx1.example.com"]);
    for text in [
        "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.com\r\nmax_age: 604800\r\n",
        "version: STSv1\nmode: enforce\nmx: mx1.example.com\nmax_age: 604800",
        "version:STSv1 \nmax_age:\t604800\t\nmx:   MX1.example.com\nmode:enforce\n",
        "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.com\r\nmax_age: 0000604800\r\n",
    ] {
        assert_eq!(Policy::parse_strict(text).as_ref(), Ok(&expected), "{text:?}");
    }
}

#[test]
fn rfc8461_3_2_strict_reading_refuses_all_else_and_names_the_line() {
    let with = |rest: &str| Policy::parse_strict(&format!("version: STSv1\r\n{rest}")).unwrap_err();
    let tail = "mx: mx1.example.com\r\nmax_age: 1\r\n";
    assert_eq!(with(&format!("mode: strict\r\n{tail}")), PolicyError::Mode { line: 2, source: ModeError });
    assert_eq!(with(&format!("mode:\r\n{tail}")), PolicyError::Mode { line: 2, source: ModeError });
    assert_eq!(with(tail), PolicyError::MissingKey { key: "mode" });
    assert_eq!(with("mode: none\r\n"), PolicyError::MissingKey { key: "max_age" });
    assert_eq!(with("mode: testing\r\nmax_age: 1"), PolicyError::NoMx { mode: Mode::Testing });
    assert_eq!(with("mode: none\r\nmode: none\r\n"), PolicyError::RepeatedKey { line: 3, key: "mode" });
    assert_eq!(with("version: STSv1\r\n"), PolicyError::RepeatedKey { line: 2, key: "version" });
    assert_eq!(with("max_age: 1\r\nmax_age: 1"), PolicyError::RepeatedKey { line: 3, key: "max_age" });
    assert_eq!(with("Mode: none\r\n"), PolicyError::UnknownKey { line: 2 });
    assert_eq!(with("mode : none\r\n"), PolicyError::UnknownKey { line: 2 });
    assert_eq!(with("nmx: mx1.example.com\r\n"), PolicyError::UnknownKey { line: 2 });
    assert_eq!(with("\r\n"), PolicyError::Line { line: 2 });
    assert_eq!(with("mode none\r\n"), PolicyError::Line { line: 2 });
    assert_eq!(with(&format!("mode: testing\r\n{tail}\r\n")), PolicyError::Line { line: 5 });
    for number in ["", "1 week", "-1", "+1", "1.5", "12345678901", "１"] {
        let text = format!("mode: none\r\nmax_age: {number}\r\n");
        assert_eq!(with(&text), PolicyError::MaxAgeNumber { line: 3 }, "{number}");
    }
    let source = MaxAgeError { seconds: 9_999_999_999 };
    assert_eq!(with("max_age: 9999999999"), PolicyError::MaxAge { line: 2, source });
    let source = MxPatternError::Wildcard;
    assert_eq!(with("mx: *"), PolicyError::Mx { line: 2, source });
    for mx in ["mx1.example.com.", "bücher.example", "192.0.2.1", ""] {
        assert!(matches!(with(&format!("mx: {mx}")), PolicyError::Mx { line: 2, .. }), "{mx}");
    }
    let strict = Policy::parse_strict;
    assert_eq!(strict(""), Err(PolicyError::Line { line: 1 }));
    assert_eq!(strict("version: STSv2"), Err(PolicyError::Version { line: 1 }));
    assert_eq!(strict("mode: none\r\nversion: STSv1"), Err(PolicyError::VersionNotFirst { line: 1 }));
    assert_eq!(strict("\u{feff}version: STSv1"), Err(PolicyError::VersionNotFirst { line: 1 }));
}

#[test]
fn rfc8461_3_2_a_clean_policy_of_others_has_no_lints() {
    let (read, lints) = lenient(corpus!("rfc8461-example")).unwrap();
    assert_eq!(read, policy(Mode::Enforce, &["mail.example.com", "*.example.net", "backupmx.example.com"]));
    assert_eq!(lints, []);
    assert_eq!(lenient(corpus!("no-last-line-end")).unwrap(), (policy(Mode::Testing, &["mx1.example.com"]), vec![]));
}

#[test]
fn errata6253_line_feeds_alone_are_accepted_and_told_once() {
    let (read, lints) = lenient(corpus!("unix-line-ends")).unwrap();
    assert_eq!(read.mx(), patterns(&["mx1.example.com", "*.mx.example.com"]));
    assert_eq!(lints, [(1, Code::BareLineFeed)]);
}

#[test]
fn what_is_odd_but_clear_is_accepted_and_told() {
    let testing = policy(Mode::Testing, &["mx1.example.com"]);
    assert_eq!(lenient(corpus!("byte-order-mark")).unwrap(), (testing.clone(), vec![(1, Code::ByteOrderMark)]));
    assert_eq!(lenient(corpus!("version-second")).unwrap(), (testing.clone(), vec![(1, Code::VersionNotFirst)]));
    assert_eq!(
        lenient(corpus!("odd-whitespace")).unwrap(),
        (testing, vec![(1, Code::Whitespace), (2, Code::Whitespace), (4, Code::EmptyLine), (6, Code::EmptyLine)])
    );
}

#[test]
fn rfc8461_3_2_unknown_keys_are_ignored_and_slips_pointed_out() {
    let (read, lints) = Policy::parse_lenient(corpus!("misspelt-keys")).unwrap();
    assert_eq!(read, policy(Mode::Enforce, &["mx2.example.com"]));
    let seen: Vec<_> = lints.iter().map(|lint| (lint.line, lint.code)).collect();
    assert_eq!(seen, [(3, Code::MisspeltKey), (5, Code::MisspeltKey)]);
    assert!(lints[0].message.ends_with("did you mean `mx`?"), "{}", lints[0].message);
    assert!(lints[1].message.ends_with("did you mean `max_age`?"), "{}", lints[1].message);
    for (key, code) in [
        ("Mode", Code::MisspeltKey),
        ("mdoe", Code::MisspeltKey),
        ("mod", Code::MisspeltKey),
        ("modes", Code::MisspeltKey),
        ("maxage", Code::MisspeltKey),
        ("MAX-AGE", Code::MisspeltKey),
        ("verson", Code::MisspeltKey),
        ("mxx", Code::MisspeltKey),
        ("model2", Code::UnknownKey),
        ("emdo", Code::UnknownKey),
        ("x-operator", Code::UnknownKey),
        ("größe", Code::UnknownKey),
        ("", Code::UnknownKey),
    ] {
        let text = format!("version: STSv1\r\nmode: none\r\nmax_age: 0\r\n{key}: value\r\n");
        assert_eq!(lenient(text.as_bytes()).unwrap().1, [(4, code)], "{key}");
    }
}

#[test]
fn rfc8461_3_2_the_first_of_a_repeated_key_counts() {
    let (read, lints) = lenient(corpus!("repeated-keys")).unwrap();
    assert_eq!((read.mode(), read.max_age().seconds(), read.mx().len()), (Mode::Testing, 3600, 1));
    assert_eq!(lints, [(4, Code::ShortMaxAge), (5, Code::RepeatedKey), (6, Code::RepeatedKey), (7, Code::RepeatedMx)]);
    // A repeated key is ignored even where its value is none.
    let text = "version: STSv1\r\nmode: none\r\nmax_age: 0\r\nmode: x\r\nmax_age: y\r\nversion: z\r\n";
    assert_eq!(lenient(text.as_bytes()).unwrap().1.len(), 3);
}

#[test]
fn rfc8461_8_3_a_small_max_age_is_normal_for_none() {
    assert_eq!(lenient(corpus!("none-without-mx")).unwrap().1, []);
}

#[test]
fn an_mx_that_is_no_pattern_covers_nothing_and_is_told() {
    let (read, lints) = lenient(corpus!("odd-mx")).unwrap();
    assert_eq!(read.mx(), patterns(&["mx1.example.com", "*.com"]));
    assert_eq!(
        lints,
        [
            (3, Code::TrailingDot),
            (4, Code::InvalidMx),
            (5, Code::WideMx),
            (6, Code::InvalidMx),
            (7, Code::InvalidMx),
            (8, Code::InvalidMx)
        ]
    );
    let none_left = lenient(corpus!("enforce-without-usable-mx"));
    assert_eq!(none_left, Err(PolicyError::NoMx { mode: Mode::Enforce }));
}

#[test]
fn rfc8461_3_2_a_max_age_above_a_year_counts_as_a_year() {
    let (read, lints) = lenient(corpus!("max-age-above-a-year")).unwrap();
    assert_eq!(read.max_age(), MaxAge::MAX);
    assert_eq!(lints, [(4, Code::LongMaxAge)]);
}

#[test]
fn lines_that_cannot_be_read_are_ignored_and_told() {
    let (read, lints) = lenient(corpus!("extensions-and-trailing-text")).unwrap();
    assert_eq!(read, policy(Mode::Testing, &["mx1.example.com"]));
    assert_eq!(lints, [(5, Code::NotUtf8), (6, Code::UnknownKey), (7, Code::MalformedLine), (8, Code::MalformedLine)]);
}

#[test]
fn what_no_sender_could_use_is_an_error_that_names_the_line() {
    assert_eq!(lenient(corpus!("html-page")), Err(PolicyError::MissingKey { key: "version" }));
    assert_eq!(lenient(corpus!("mode-in-capitals")), Err(PolicyError::Mode { line: 2, source: ModeError }));
    assert_eq!(lenient(corpus!("max-age-in-words")), Err(PolicyError::MaxAgeNumber { line: 4 }));
    assert_eq!(lenient(corpus!("version-2")), Err(PolicyError::Version { line: 1 }));
    assert_eq!(lenient(b""), Err(PolicyError::MissingKey { key: "version" }));
    assert_eq!(lenient(b"version: STSv1"), Err(PolicyError::MissingKey { key: "mode" }));
    assert_eq!(lenient(b"version: STSv1\nmode: none"), Err(PolicyError::MissingKey { key: "max_age" }));
}

#[test]
fn a_strangers_text_neither_floods_nor_breaks_messages() {
    let flood = "\u{1b}[31m\n".repeat(5000) + "version: STSv1\nmode: none\nmax_age: 0\n";
    let (_, lints) = Policy::parse_lenient(flood.as_bytes()).unwrap();
    assert_eq!(lints.len(), 100);
    assert!(lints.iter().all(|lint| !lint.message.contains(char::is_control)));
    let long = format!("version: STSv1\nmode: none\nmax_age: 0\n{}: x\nmx: {}\n", "k".repeat(9000), "ü".repeat(9000));
    let (_, lints) = Policy::parse_lenient(long.as_bytes()).unwrap();
    assert!(lints.iter().all(|lint| lint.message.len() < 300));
}

#[test]
fn a_policy_is_an_object_in_json_and_read_by_the_same_rules() {
    let policy = policy(Mode::Testing, &["mx1.example.com"]);
    let json = r#"{"mode":"testing","mx":["mx1.example.com"],"max_age":604800}"#;
    assert_eq!(serde_json::to_string(&policy).unwrap(), json);
    assert_eq!(serde_json::from_str::<Policy>(json).unwrap(), policy);
    for wrong in [
        r#"{"mode":"testing","mx":[],"max_age":604800}"#,
        r#"{"mode":"testing","mx":["*"],"max_age":604800}"#,
        r#"{"mode":"Testing","mx":["mx1.example.com"],"max_age":604800}"#,
        r#"{"mode":"testing","mx":["mx1.example.com"],"max_age":31557601}"#,
        r#"{"mode":"testing","mx":["mx1.example.com"],"max_age":-1}"#,
        r#"{"mode":"testing","mx":["mx1.example.com"],"max_age":1,"id":"1"}"#,
    ] {
        assert!(serde_json::from_str::<Policy>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn lint_codes_are_the_same_words_in_json_and_in_text() {
    for code in [Code::ByteOrderMark, Code::NotUtf8, Code::MisspeltKey, Code::WideMx, Code::LongMaxAge] {
        assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
    }
}

prop_compose! {
    fn any_policy()(
        mode in prop_oneof![Just(Mode::None), Just(Mode::Testing), Just(Mode::Enforce)],
        mx in proptest::collection::vec("(\\*\\.)?([a-z0-9]{1,8}\\.){1,3}(net|de)", 1..20),
        max_age in 86_400..=31_557_600_u32,
    ) -> Policy {
        let mx = mx.iter().map(|text| text.parse().unwrap()).collect();
        Policy::new(mode, mx, MaxAge::new(max_age).unwrap()).unwrap()
    }
}

proptest! {
    #[test]
    fn a_printed_policy_reads_back_both_ways(policy in any_policy()) {
        let text = policy.to_text();
        prop_assert_eq!(Policy::parse_strict(&text).unwrap(), policy.clone());
        let (read, lints) = Policy::parse_lenient(text.as_bytes()).unwrap();
        prop_assert_eq!(read, policy.clone());
        prop_assert!(lints.iter().all(|lint| lint.code == Code::WideMx));
        let json = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
    }

    #[test]
    fn what_strict_reading_takes_lenient_reading_takes_for_the_same(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("mode: testing"), Just("mode:none "), Just("mx: a.example.com"), Just("mx: *.b.example"),
                Just("max_age: 5"), Just("max_age:\t99999999"), Just("mx: *"), Just("version: STSv1"), Just("x: y"),
            ],
            1..6,
        ),
        end in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        let text = format!("version: STSv1{end}{}{end}", lines.join(end));
        if let Ok(policy) = Policy::parse_strict(&text) {
            prop_assert_eq!(Policy::parse_lenient(text.as_bytes()).unwrap().0, policy);
        }
    }

    #[test]
    fn no_body_makes_a_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..400), text in "\\PC*") {
        let _ = Policy::parse_lenient(&body);
        let _ = Policy::parse_strict(&text);
        let _ = Policy::parse_lenient(format!("version: STSv1\nmode: {text}\nmx: {text}\n{text}").as_bytes());
    }

    #[test]
    fn one_damaged_byte_changes_at_most_two_patterns(
        policy in any_policy(),
        place in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = policy.to_text().into_bytes();
        let place = place.index(body.len());
        body[place] = byte;
        if let Ok((read, _)) = Policy::parse_lenient(&body) {
            let changed = read.mx().iter().filter(|pattern| !policy.mx().contains(pattern)).count();
            // One byte touches one line, or joins or parts two.
            prop_assert!(changed <= 2, "{:?}", read);
        }
    }
}
