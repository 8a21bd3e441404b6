//! What matches, and what is refused.

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> MxPattern {
    text.parse().unwrap()
}

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

#[test]
fn rfc8461_4_1_a_name_matches_itself_in_any_case() {
    assert!(pattern("Mail.Example.com").matches(&host("mail.EXAMPLE.com.")));
    assert!(!pattern("mail.example.com").matches(&host("a.mail.example.com")));
    assert!(!pattern("mail.example.com").matches(&host("example.com")));
}

#[test]
fn rfc8461_4_1_a_wildcard_is_exactly_one_whole_label() {
    let wildcard = pattern("*.example.com");
    assert!(wildcard.matches(&host("mx1.example.com")));
    for other in ["example.com", "a.b.example.com", "mx1.badexample.com", "mx1.example.com.evil.net", "com"] {
        assert!(!wildcard.matches(&host(other)), "{other}");
    }
}

#[test]
fn rfc8461_4_1_a_host_deeper_below_a_wildcard_is_told_from_a_strange_one() {
    let wildcard = pattern("*.mx.microsoft");
    assert!(wildcard.misses_deeper(&host("x.h-v1.mx.microsoft")));
    for other in ["x.mx.microsoft", "mx.microsoft", "x.y.badmx.microsoft", "x.mx.microsoft.example.com"] {
        assert!(!wildcard.misses_deeper(&host(other)), "{other}");
    }
    assert!(!pattern("mx.microsoft").misses_deeper(&host("x.mx.microsoft")));
}

#[test]
fn rfc8461_4_1_a_wildcard_anywhere_else_is_refused() {
    for text in ["*", "**.example.com", "*.*.example.com", "mx*.example.com", "*mx.example.com", "mx.*.com", "a.*"] {
        assert_eq!(text.parse::<MxPattern>(), Err(MxPatternError::Wildcard), "{text}");
    }
}

#[test]
fn what_is_no_host_name_is_refused() {
    for text in [
        "",
        "*.",
        ".example.com",
        "mx_1.example.com",
        "192.0.2.1",
        "[192.0.2.1]",
        "mx.bücher.example",
        "mx 1.example.com",
    ] {
        assert!(matches!(text.parse::<MxPattern>(), Err(MxPatternError::Name(_))), "{text}");
    }
}

#[test]
fn a_pattern_is_held_in_lower_case_without_the_last_dot() {
    assert_eq!(pattern("*.Example.COM.").as_str(), "*.example.com");
    assert_eq!(pattern("MX.example.com.").to_string(), "mx.example.com");
    assert_eq!(MxPattern::from(&host("MX.example.com")), pattern("mx.example.com"));
}

#[test]
fn a_wildcard_directly_above_a_public_suffix_is_wide() {
    for text in ["*.com", "*.co.uk", "*.github.io", "*.nosuchsuffix"] {
        assert!(pattern(text).is_wide(), "{text}");
    }
    for text in ["*.iana.com", "iana.com", "com", "*.mail.protection.outlook.com"] {
        assert!(!pattern(text).is_wide(), "{text}");
    }
}

#[test]
fn a_pattern_is_text_in_json() {
    assert_eq!(serde_json::to_string(&pattern("*.example.com")).unwrap(), "\"*.example.com\"");
    assert_eq!(serde_json::from_str::<MxPattern>("\"MX.example.com\"").unwrap(), pattern("mx.example.com"));
    assert!(serde_json::from_str::<MxPattern>("\"*\"").is_err());
}

proptest! {
    #[test]
    fn a_pattern_prints_and_reads_back(text in "(\\*\\.)?([a-z0-9]{1,8}\\.){1,4}[a-z]{2,5}") {
        let pattern = pattern(&text);
        prop_assert_eq!(pattern.as_str(), text);
    }

    #[test]
    fn a_wildcard_matches_by_label_count_and_rest(
        labels in proptest::collection::vec("[a-z0-9]{1,8}", 1..4),
        parent in "[a-z]{1,8}\\.[a-z]{2,5}",
    ) {
        let name = host(&format!("{}.{parent}", labels.join(".")));
        prop_assert_eq!(pattern(&format!("*.{parent}")).matches(&name), labels.len() == 1);
        let other = pattern(&format!("*.x{parent}"));
        prop_assert!(!other.matches(&name));
    }

    #[test]
    fn no_input_makes_the_parser_panic(text in any::<String>()) {
        let _ = text.parse::<MxPattern>();
    }
}
