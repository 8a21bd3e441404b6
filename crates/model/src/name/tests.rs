//! Names that are refused, names that are held, and their limits.

use proptest::prelude::*;

use super::*;

fn strict(input: &str) -> Result<MailDomain, NameError> {
    MailDomain::parse(input, &NameRules::strict())
}

fn allowing_example(input: &str) -> Result<MailDomain, NameError> {
    MailDomain::parse(input, &NameRules::allowing(["example"]))
}

/// `length` octets of the name: labels of 63, the last of them shorter, and `.net`.
fn name_of(length: usize) -> String {
    let mut name = String::new();
    while length - name.len() > 4 + 64 {
        name.push_str(&"a".repeat(62));
        name.push('.');
    }
    name.push_str(&"b".repeat(length - name.len() - 4));
    name + ".net"
}

#[test]
fn a_mail_domain_is_held_in_lower_case_without_the_last_dot() {
    for input in ["mail.iana.org", "MAIL.Iana.ORG", "mail.iana.org.", "mail.iana.org。", "ｍａｉｌ.iana.org"] {
        assert_eq!(strict(input).unwrap().as_str(), "mail.iana.org", "{input}");
    }
}

#[test]
fn rfc5891_u_labels_are_held_as_a_labels_and_shown_as_u_labels() {
    let domain = allowing_example("BÜCHER.example").unwrap();
    assert_eq!(domain.as_str(), "xn--bcher-kva.example");
    assert_eq!(domain.unicode(), "bücher.example");
    assert_eq!(allowing_example("XN--BCHER-KVA.example").unwrap(), domain);
    // Decomposed: u and a combining diaeresis.
    assert_eq!(allowing_example("bu\u{308}cher.example").unwrap(), domain);
    // Not transitional: two different domains.
    assert_eq!(strict("straße.de").unwrap().as_str(), "xn--strae-oqa.de");
    assert_eq!(strict("例え.jp").unwrap().unicode(), "例え.jp");
}

#[test]
fn a_name_that_idna_refuses_is_refused() {
    for input in ["xn--a.com", "xn--bcher-kvaaaa999999999999.com", "\u{308}a.com", "a\u{200d}b.com", "אa.com", "-ü.com"]
    {
        assert_eq!(strict(input), Err(NameError::Idna), "{input}");
    }
}

#[test]
fn text_that_turns_into_a_forbidden_character_is_refused() {
    // U+2100 and U+FF3F decompose into `a/c` and `_`.
    assert_eq!(strict("\u{2100}.com"), Err(NameError::Character { character: '/' }));
    assert_eq!(strict("\u{ff3f}mta.com"), Err(NameError::Character { character: '_' }));
}

#[test]
fn what_is_no_name_is_refused_with_the_reason() {
    let character = |character| NameError::Character { character };
    let hyphen = |label: &str| NameError::Hyphen { label: label.to_owned() };
    for (input, error) in [
        ("", NameError::Empty),
        (".", NameError::Empty),
        ("..", NameError::EmptyLabel),
        ("iana..org", NameError::EmptyLabel),
        (".iana.org", NameError::EmptyLabel),
        ("iana.org..", NameError::EmptyLabel),
        ("-iana.org", hyphen("-iana")),
        ("iana-.org", hyphen("iana-")),
        ("a.-.org", hyphen("-")),
        ("_dmarc.iana.org", character('_')),
        ("_mta-sts.iana.org", character('_')),
        ("a_b.iana.org", character('_')),
        ("somebody@iana.org", character('@')),
        ("https://iana.org/", character(':')),
        ("iana.org:25", character(':')),
        (" iana.org", character(' ')),
        ("iana.org\n", character('\n')),
        ("ia\0na.org", character('\0')),
        ("*.iana.org", character('*')),
        ("mta-sts.iana.org", NameError::PolicyHost),
        ("MTA-STS.iana.org.", NameError::PolicyHost),
        ("mta-sts.mail.iana.org", NameError::PolicyHost),
    ] {
        assert_eq!(strict(input), Err(error), "{input:?}");
    }
    assert!(strict("my-mta-sts.iana.org").is_ok());
    assert!(strict("ab--cd.iana.org").is_ok());
}

#[test]
fn ip_addresses_and_what_looks_like_one_are_refused() {
    for input in [
        "192.0.2.1",
        "192.0.2.1.",
        "[192.0.2.1]",
        "[IPv6:2001:db8::1]",
        "2001:db8::1",
        "::",
        "1.2.3",
        "iana.25",
        "0x7f.1",
        "iana.0x7F",
        "iana.0x",
    ] {
        assert_eq!(strict(input), Err(NameError::IpAddress), "{input}");
        assert!(HostName::parse(input).is_err(), "{input}");
    }
    assert!(strict("163.com").is_ok());
}

#[test]
fn public_suffixes_are_refused_and_names_under_them_are_not() {
    for suffix in
        ["com", "co.uk", "github.io", "CO.UK.", "公司.cn", "xn--55qx5d.cn", "xn--p1ai", "anything.ck", "nosuchsuffix"]
    {
        assert!(matches!(strict(suffix), Err(NameError::PublicSuffix { .. })), "{suffix}: {:?}", strict(suffix));
    }
    for domain in
        ["iana.com", "bbc.co.uk", "rust-lang.github.io", "食狮.公司.cn", "пример.xn--p1ai", "a.anything.ck", "www.ck"]
    {
        assert!(strict(domain).is_ok(), "{domain}: {:?}", strict(domain));
    }
}

#[test]
fn rfc6761_reserved_names_are_refused() {
    for (input, suffix) in [
        ("customer.test", "test"),
        ("test", "test"),
        ("localhost", "localhost"),
        ("a.localhost", "localhost"),
        ("a.invalid", "invalid"),
        ("a.example", "example"),
        ("example.com", "example.com"),
        ("mail.EXAMPLE.net", "example.net"),
        ("example.org.", "example.org"),
        ("printer.local", "local"),
        ("a.onion", "onion"),
        ("a.alt", "alt"),
        ("mail.corp.internal", "internal"),
        ("router.home.arpa", "home.arpa"),
        ("2.0.192.in-addr.arpa", "arpa"),
    ] {
        assert_eq!(strict(input), Err(NameError::Reserved { suffix }), "{input}");
    }
    assert!(strict("myexample.com").is_ok());
    assert!(strict("contest.org").is_ok());
}

#[test]
fn rules_allow_the_listed_reserved_suffixes_and_nothing_else() {
    let rules = NameRules::allowing(["Test.", "home.arpa", "example.com", ""]);
    for input in ["customer.test", "a.b.test", "mail.home.arpa", "example.com", "mail.example.com"] {
        assert!(MailDomain::parse(input, &rules).is_ok(), "{input}");
    }
    for input in ["customer.local", "example.net", "1.in-addr.arpa", "a.example"] {
        assert!(matches!(MailDomain::parse(input, &rules), Err(NameError::Reserved { .. })), "{input}");
    }
    assert!(matches!(MailDomain::parse("test", &rules), Err(NameError::PublicSuffix { .. })));
    assert!(matches!(MailDomain::parse("co.uk", &NameRules::allowing(["co.uk"])), Err(NameError::PublicSuffix { .. })));
}

#[test]
fn rfc1035_a_label_has_at_most_63_octets() {
    assert!(strict(&format!("{}.net", "a".repeat(63))).is_ok());
    assert_eq!(strict(&format!("{}.net", "a".repeat(64))), Err(NameError::LabelTooLong { octets: 64 }));
    // Few letters, many octets of Punycode.
    let letters: String = ('\u{4e00}'..'\u{9000}').step_by(400).collect();
    let refused = strict(&format!("{letters}.net"));
    assert!(letters.chars().count() < 63 && matches!(refused, Err(NameError::LabelTooLong { .. })), "{refused:?}");
}

#[test]
fn rfc1035_a_mail_domain_leaves_room_for_its_longest_prefix() {
    let longest = strict(&name_of(229)).unwrap();
    assert_eq!(longest.acme_challenge_name().len(), 253);
    assert_eq!(strict(&name_of(230)), Err(NameError::TooLong { octets: 230, limit: 229 }));
    assert!(strict(&(name_of(229) + ".")).is_ok());
    assert_eq!(MailDomain::from_stored(&name_of(230)), Err(NameError::TooLong { octets: 230, limit: 229 }));
    assert!(HostName::parse(&name_of(253)).is_ok());
    assert!(HostName::parse(&(name_of(253) + ".")).is_ok());
    assert!(HostName::parse(&name_of(254)).is_err());
}

#[test]
fn an_endless_input_is_refused_before_it_is_looked_at() {
    assert!(matches!(strict(&"ü.".repeat(100_000)), Err(NameError::TooLong { .. })));
}

#[test]
fn rfc8461_3_names_are_formed_from_the_domain() {
    let domain = strict("bbc.co.uk").unwrap();
    assert_eq!(domain.policy_host().as_str(), "mta-sts.bbc.co.uk");
    assert_eq!(domain.sts_record_name(), "_mta-sts.bbc.co.uk");
    assert_eq!(domain.tls_rpt_record_name(), "_smtp._tls.bbc.co.uk");
    assert_eq!(domain.acme_challenge_name(), "_acme-challenge.mta-sts.bbc.co.uk");
}

#[test]
fn a_stored_name_is_checked_for_syntax_and_spelling_only() {
    for text in ["example.com", "co.uk", "customer.test", "xn--bcher-kva.example"] {
        assert_eq!(MailDomain::from_stored(text).unwrap().as_str(), text);
    }
    assert_eq!(MailDomain::from_stored("Example.com"), Err(NameError::UpperCase));
    assert_eq!(MailDomain::from_stored("example.com."), Err(NameError::EmptyLabel));
    assert_eq!(MailDomain::from_stored("bücher.example"), Err(NameError::NotAscii { character: 'ü' }));
}

#[test]
fn a_host_name_is_read_in_any_case_and_only_as_a_labels() {
    assert_eq!(HostName::parse("MX1.Example.COM.").unwrap().as_str(), "mx1.example.com");
    assert_eq!(HostName::parse("localhost").unwrap().as_str(), "localhost");
    assert_eq!(HostName::parse("mx.bücher.example"), Err(NameError::NotAscii { character: 'ü' }));
    assert_eq!(HostName::parse("mx_1.example.com"), Err(NameError::Character { character: '_' }));
    assert_eq!(HostName::parse("."), Err(NameError::Empty));
}

#[test]
fn a_name_of_punycode_that_does_not_decode_is_shown_as_it_is() {
    assert_eq!(MailDomain::from_stored("xn--a.com").unwrap().unicode(), "xn--a.com");
}

#[test]
fn names_are_text_in_json_and_read_by_parsing() {
    let json = |text: &str| serde_json::from_str::<MailDomain>(text);
    let domain = json("\"example.com\"").unwrap();
    assert_eq!(serde_json::to_string(&domain).unwrap(), "\"example.com\"");
    assert!(json("\"exa mple.com\"").is_err());
    assert!(json("\"Example.com\"").is_err());
    assert_eq!(serde_json::from_str::<HostName>("\"MX.example.com\"").unwrap().as_str(), "mx.example.com");
    assert!(serde_json::from_str::<HostName>("\"192.0.2.1\"").is_err());
}

#[test]
fn every_reason_says_what_to_do_and_has_a_code_of_its_own() {
    let errors = [
        NameError::Empty,
        NameError::TooLong { octets: 300, limit: 229 },
        NameError::EmptyLabel,
        NameError::LabelTooLong { octets: 64 },
        NameError::Hyphen { label: "-a".to_owned() },
        NameError::Character { character: '\u{7}' },
        NameError::NotAscii { character: 'ü' },
        NameError::UpperCase,
        NameError::Idna,
        NameError::IpAddress,
        NameError::PublicSuffix { suffix: "com".to_owned() },
        NameError::Reserved { suffix: "test" },
        NameError::PolicyHost,
    ];
    let codes: std::collections::HashSet<_> = errors.iter().map(NameError::code).collect();
    assert_eq!(codes.len(), errors.len());
    assert!(errors.iter().all(|error| !error.to_string().contains(char::is_control)));
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_canonical_and_short_enough(input in "(\\PC{1,12}\\.){1,3}(com|de|рф|co\\.uk)") {
        if let Ok(domain) = strict(&input) {
            prop_assert_eq!(MailDomain::from_stored(domain.as_str()).unwrap(), domain.clone());
            prop_assert_eq!(strict(domain.as_str()).unwrap(), domain.clone());
            prop_assert_eq!(strict(&domain.unicode()).unwrap(), domain.clone());
            prop_assert!(domain.acme_challenge_name().len() <= 253);
            prop_assert_eq!(HostName::parse(domain.as_str()).unwrap().to_string(), domain.to_string());
        }
    }

    #[test]
    fn no_input_makes_the_parser_panic(input in any::<String>()) {
        let _ = strict(&input);
        let _ = HostName::parse(&input);
        let _ = MailDomain::from_stored(&input);
    }

    #[test]
    fn plain_names_are_accepted_in_any_case(name in "[a-z0-9]([a-z0-9]{0,20}[a-z0-9])?(\\.[a-z][a-z0-9]{0,9}){0,3}\\.(org|de)") {
        prop_assume!(!name.starts_with("mta-sts.") && strict(&name).is_ok());
        let shouted = strict(&name.to_uppercase()).unwrap();
        prop_assert_eq!(shouted.as_str(), name);
    }
}
