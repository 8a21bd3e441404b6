//! Printing, reading and selecting.

use proptest::prelude::*;

use super::{RecordSyntaxError as Syntax, *};
use crate::{
    name::NameError,
    policy_id::{PolicyId, PolicyIdError},
};

fn id(text: &str) -> PolicyId {
    text.parse().unwrap()
}

fn uri(text: &str) -> ReportUri {
    text.parse().unwrap()
}

fn select(records: &[&str]) -> Result<StsRecord, StsRecordError> {
    StsRecord::select(&records.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
}

#[test]
fn rfc8461_3_1_a_record_prints_without_a_space_before_semicolons() {
    assert_eq!(StsRecord::new(id("20160831085700Z")).to_string(), "v=STSv1; id=20160831085700Z;");
}

#[test]
fn rfc8461_3_1_the_grammar_of_the_record_is_read() {
    for text in [
        "v=STSv1; id=20160831085700Z;",
        "v=STSv1;id=20160831085700Z",
        "v=STSv1 ; id=20160831085700Z ; ",
        "v=STSv1;\tid=20160831085700Z\t;",
        "v=STSv1; foo.bar-baz_1=a:b!c/d; id=20160831085700Z; x=1",
    ] {
        assert_eq!(StsRecord::parse(text).as_ref().map(StsRecord::id), Ok(&id("20160831085700Z")), "{text}");
    }
}

#[test]
fn rfc8461_3_1_what_is_not_in_the_grammar_is_refused() {
    let version = Syntax::Version { version: "v=STSv1" };
    let missing = Syntax::MissingField { name: "id" };
    for (text, error) in [
        ("", version.clone()),
        ("v=STSv2; id=1;", version.clone()),
        ("V=STSv1; id=1;", version.clone()),
        (" v=STSv1; id=1;", version.clone()),
        ("v=STSv1 id=1;", version.clone()),
        ("v=STSv11; id=1;", version.clone()),
        ("id=1; v=STSv1;", version.clone()),
        ("v=STSv1", version),
        ("v=STSv1;", missing.clone()),
        ("v=STSv1; ;", missing.clone()),
        ("v=STSv1; x=y;", missing.clone()),
        ("v=STSv1; ID=1;", missing),
        ("v=STSv1; id=1; id=1;", Syntax::RepeatedField { name: "id" }),
        ("v=STSv1;; id=1;", Syntax::Field { number: 1 }),
        ("v=STSv1; id=1;;", Syntax::Field { number: 2 }),
        ("v=STSv1; id=1; rubbish", Syntax::Field { number: 2 }),
        ("v=STSv1; id=1; x=", Syntax::Field { number: 2 }),
        ("v=STSv1; id=1; x=a b", Syntax::Field { number: 2 }),
        ("v=STSv1; id=1; x=a=b", Syntax::Field { number: 2 }),
        ("v=STSv1; id=1; x=é", Syntax::Field { number: 2 }),
        ("v=STSv1; id=1; _x=1", Syntax::Field { number: 2 }),
        ("v=STSv1; id=1; =1", Syntax::Field { number: 2 }),
        ("v=STSv1; id =1;", Syntax::Field { number: 1 }),
        ("v=STSv1; id= 1;", Syntax::PolicyId(PolicyIdError::Character)),
        ("v=STSv1; id=;", Syntax::PolicyId(PolicyIdError::Length { length: 0 })),
        ("v=STSv1; id=2016-08-31;", Syntax::PolicyId(PolicyIdError::Character)),
        ("v=STSv1; id=123456789012345678901234567890123", Syntax::PolicyId(PolicyIdError::Length { length: 33 })),
    ] {
        assert_eq!(StsRecord::parse(text), Err(error), "{text:?}");
    }
    assert!(StsRecord::parse(&format!("v=STSv1; id=1; {}=1", "x".repeat(32))).is_ok());
    assert!(StsRecord::parse(&format!("v=STSv1; id=1; {}=1", "x".repeat(33))).is_err());
}

#[test]
fn rfc8461_3_1_other_records_at_the_name_are_discarded() {
    assert_eq!(select(&["v=spf1 -all", "v=STSv1; id=1;", "v=STSv2; id=9;"]).unwrap().id(), &id("1"));
    assert_eq!(select(&[]), Err(StsRecordError::None));
    assert_eq!(select(&["v=spf1 -all", "", "v=STSv10; id=1;"]), Err(StsRecordError::None));
}

#[test]
fn errata6285_a_space_before_the_first_semicolon_hides_the_record_among_others_and_not_alone() {
    assert_eq!(select(&["v=STSv1 ; id=1;"]).unwrap().id(), &id("1"));
    assert_eq!(select(&["v=STSv1 ; id=1;", "v=spf1 -all"]), Err(StsRecordError::None));
    assert_eq!(select(&["v=STSv1 ; id=1;", "v=STSv1; id=2;"]).unwrap().id(), &id("2"));
    assert_eq!(select(&["v=STSv1 id=1;"]), Err(StsRecordError::None));
}

#[test]
fn rfc8461_3_1_more_than_one_record_counts_as_none() {
    assert_eq!(select(&["v=STSv1; id=1;", "v=STSv1; id=2;"]), Err(StsRecordError::Several));
    assert_eq!(select(&["v=STSv1; id=1;", "v=STSv1; id=1;"]), Err(StsRecordError::Several));
    assert_eq!(select(&["v=STSv1; rubbish", "v=STSv1; id=1;"]), Err(StsRecordError::Several));
}

#[test]
fn rfc8461_3_1_a_malformed_record_counts_as_none_and_says_why() {
    let malformed = select(&["v=STSv1; id=a-b;"]);
    assert_eq!(malformed, Err(StsRecordError::Malformed(Syntax::PolicyId(PolicyIdError::Character))));
    assert_eq!(malformed.unwrap_err().code(), "policy-id-character");
}

#[test]
fn rfc8460_3_addresses_are_read_and_their_separators_encoded() {
    for (text, held) in [
        ("mailto:reports@example.com", "mailto:reports@example.com"),
        ("MAILTO:Reports@example.com", "mailto:Reports@example.com"),
        ("mailto:a!b@example.com", "mailto:a%21b@example.com"),
        ("mailto:r@example.com?subject=a,b;c", "mailto:r@example.com?subject=a%2Cb%3Bc"),
        ("https://reports.example.com/v1/tlsrpt?a=1;b=2", "https://reports.example.com/v1/tlsrpt?a=1%3Bb=2"),
        ("HTTPS://reports.example.com:8443", "https://reports.example.com:8443"),
        ("https://reports.example.com/a%20b", "https://reports.example.com/a%20b"),
        ("https://reports.example.com/a%2Cb", "https://reports.example.com/a%2Cb"),
    ] {
        let uri = uri(text);
        assert_eq!(uri.as_str(), held);
        assert_eq!(held.parse(), Ok(uri), "{held}");
    }
}

#[test]
fn what_is_no_address_for_reports_is_refused() {
    use ReportUriError as Error;
    for (text, error) in [
        ("", Error::Scheme),
        ("reports@example.com", Error::Scheme),
        ("http://example.com/", Error::Scheme),
        ("https:example.com", Error::Scheme),
        ("https:/example.com", Error::Scheme),
        ("mailto:", Error::Mailbox),
        ("mailto:example.com", Error::Mailbox),
        ("mailto:@example.com", Error::Mailbox),
        ("mailto:a@b@example.com", Error::Mailbox),
        ("mailto:a@example.com,b@example.com", Error::Mailbox),
        ("mailto:a@", Error::Host(NameError::Empty)),
        ("mailto:a@192.0.2.1", Error::Host(NameError::IpAddress)),
        ("mailto:a@exa_mple.com", Error::Host(NameError::Character { character: '_' })),
        ("https://", Error::Host(NameError::Empty)),
        ("https:///path", Error::Host(NameError::Empty)),
        ("https://192.0.2.1/", Error::Host(NameError::IpAddress)),
        ("https://example.com:/", Error::Port),
        ("https://example.com:0/", Error::Port),
        ("https://example.com:65536/", Error::Port),
        ("https://example.com:+1/", Error::Port),
        ("https://user:secret@example.com/", Error::UserInfo),
        ("https://example.com/#a", Error::Fragment),
        ("https://example.com/%2", Error::PercentEncoding),
        ("https://example.com/%zz", Error::PercentEncoding),
        ("mailto:%@example.com", Error::PercentEncoding),
        ("https://example.com/a b", Error::Character { character: ' ' }),
        ("https://example.com/\"", Error::Character { character: '"' }),
        ("mailto:jürgen@example.com", Error::Character { character: 'ü' }),
    ] {
        assert_eq!(text.parse::<ReportUri>(), Err(error), "{text}");
    }
    assert!("mailto:".parse::<ReportUri>().is_err());
    let long = format!("https://example.com/{}", ",".repeat(400));
    assert!(matches!(long.parse::<ReportUri>(), Err(Error::TooLong { .. })));
    let long_local = format!("mailto:{}@example.com", "a".repeat(65));
    assert_eq!(long_local.parse::<ReportUri>(), Err(Error::Mailbox));
}

#[test]
fn rfc8460_3_a_record_names_one_or_more_addresses() {
    let (mail, web) = (uri("mailto:reports@example.com"), uri("https://reporting.example.com/v1/tlsrpt"));
    let one = TlsRptRecord::new(vec![mail.clone()]).unwrap();
    assert_eq!(one.to_string(), "v=TLSRPTv1; rua=mailto:reports@example.com;");
    let two = TlsRptRecord::new(vec![mail, web]).unwrap();
    let text = "v=TLSRPTv1; rua=mailto:reports@example.com,https://reporting.example.com/v1/tlsrpt;";
    assert_eq!(two.to_string(), text);
    assert_eq!(TlsRptRecord::parse(text), Ok(two.clone()));
    let spaced = "v=TLSRPTv1 ;rua=mailto:reports@example.com ,\thttps://reporting.example.com/v1/tlsrpt ; x=1";
    assert_eq!(TlsRptRecord::parse(spaced), Ok(two));
    assert_eq!(TlsRptRecord::new(vec![]), Err(TlsRptRecordError::NoReportUri));
}

#[test]
fn a_record_that_would_not_fit_into_an_answer_is_refused() {
    let long = uri(&format!("https://example.com/{}", "a".repeat(300)));
    assert!(TlsRptRecord::new(vec![long.clone(); 2]).is_ok());
    assert!(matches!(TlsRptRecord::new(vec![long; 3]), Err(TlsRptRecordError::TooLong { .. })));
}

#[test]
fn rfc8460_3_what_is_not_in_the_grammar_is_refused() {
    let scheme = Syntax::ReportUri(ReportUriError::Scheme);
    for (text, error) in [
        ("v=TLSRPTv2; rua=mailto:a@example.com", Syntax::Version { version: "v=TLSRPTv1" }),
        ("v=TLSRPTv1", Syntax::Version { version: "v=TLSRPTv1" }),
        ("v=TLSRPTv1;", Syntax::MissingField { name: "rua" }),
        ("v=TLSRPTv1; ruf=mailto:a", Syntax::MissingField { name: "rua" }),
        ("v=TLSRPTv1; rua=", scheme.clone()),
        ("v=TLSRPTv1; rua=a@example.com", scheme.clone()),
        ("v=TLSRPTv1; rua=ftp://example.com", scheme),
        ("v=TLSRPTv1; rua=mailto:a@example.com; rua=mailto:b@example.com", Syntax::RepeatedField { name: "rua" }),
        ("v=TLSRPTv1; rua=mailto:a@example.com!10m", Syntax::ReportUri(ReportUriError::Character { character: '!' })),
        ("v=TLSRPTv1; rua=mailto:a", Syntax::ReportUri(ReportUriError::Mailbox)),
    ] {
        assert_eq!(TlsRptRecord::parse(text), Err(error), "{text}");
    }
}

#[test]
fn addresses_of_other_schemes_are_ignored_where_one_is_left() {
    let record = TlsRptRecord::parse("v=TLSRPTv1; rua=ftp://example.com,mailto:a@example.com").unwrap();
    assert_eq!(record.rua(), [uri("mailto:a@example.com")]);
}

#[test]
fn records_are_text_in_json() {
    let record = StsRecord::new(id("1"));
    assert_eq!(serde_json::to_string(&record).unwrap(), "\"v=STSv1; id=1;\"");
    assert_eq!(serde_json::from_str::<StsRecord>("\"v=STSv1;id=1\"").unwrap(), record);
    assert!(serde_json::from_str::<StsRecord>("\"v=STSv1\"").is_err());
    let text = "\"v=TLSRPTv1; rua=mailto:a@example.com;\"";
    let record: TlsRptRecord = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&record).unwrap(), text);
    assert!(serde_json::from_str::<ReportUri>("\"ftp:x\"").is_err());
}

proptest! {
    #[test]
    fn rfc8461_3_1_a_printed_record_reads_back_and_is_selected(id in "[a-zA-Z0-9]{1,32}") {
        let record = StsRecord::new(id.parse().unwrap());
        let text = record.to_string();
        prop_assert_eq!(StsRecord::parse(&text).unwrap(), record.clone());
        prop_assert_eq!(select(&["v=spf1 -all", &text]).unwrap(), record);
    }

    #[test]
    fn rfc8460_3_a_printed_record_reads_back_whatever_the_address_has(
        local in "[a-z0-9,!;+=?&/*'$-]{1,20}",
        path in "[a-zA-Z0-9,!;:@&=+$/?-]{0,30}",
    ) {
        let texts = [format!("mailto:{local}@example.com"), format!("https://example.com/{path}")];
        let rua: Vec<ReportUri> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        prop_assume!(!rua.is_empty());
        let record = TlsRptRecord::new(rua).unwrap();
        prop_assert_eq!(TlsRptRecord::parse(&record.to_string()).unwrap(), record.clone());
        prop_assert_eq!(record.to_string().matches(';').count(), 2);
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        let _ = StsRecord::parse(&text);
        let _ = StsRecord::parse(&format!("v=STSv1;{text}"));
        let _ = TlsRptRecord::parse(&format!("v=TLSRPTv1; rua={text}"));
        let _ = text.parse::<ReportUri>();
        let _ = format!("mailto:{text}").parse::<ReportUri>();
        let _ = format!("https://{text}").parse::<ReportUri>();
    }
}
