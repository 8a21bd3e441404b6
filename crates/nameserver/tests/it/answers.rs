//! What the zone answers.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, RecordType},
};
use mtasts_nameserver::{BindError, NameServer, StaticRecord};

use crate::support::{Running, TestFeed, ask, config, plain_question, question};

fn types(answer: &Message) -> Vec<RecordType> {
    answer.answers.iter().map(hickory_proto::rr::Record::record_type).collect()
}

fn soa_ttl(answer: &Message) -> Option<(u32, u32)> {
    answer.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some((record.ttl, soa.minimum)),
        _ => None,
    })
}

#[track_caller]
fn assert_negative(answer: &Message, code: ResponseCode) {
    assert_eq!(answer.metadata.response_code, code);
    assert!(answer.answers.is_empty() && answer.metadata.authoritative);
    // RFC 2308 §5: the SOA's TTL is the smaller of its own and its minimum.
    assert_eq!(soa_ttl(answer), Some((60, 60)));
}

#[tokio::test]
async fn a_record_of_the_feed_is_answered_with_authority() {
    let (server, _) = Running::serving(&[("abc._mta-sts.sts.example", "v=STSv1; id=1;")]).await;
    let answer = server.ask("abc._mta-sts.sts.example", RecordType::TXT).await;
    assert!(answer.metadata.authoritative && !answer.metadata.recursion_available);
    assert_eq!(answer.answers[0].ttl, 60);
    assert_eq!(server.texts("ABC._mta-STS.sts.example").await, ["v=STSv1; id=1;"]);
}

#[tokio::test]
async fn the_wildcard_serves_every_label_beneath_edge() {
    let (server, _) = Running::serving(&[]).await;
    for name in ["abc.edge.sts.example", "other.edge.sts.example", "*.edge.sts.example"] {
        let v4 = server.ask(name, RecordType::A).await;
        assert_eq!(v4.answers.iter().map(|r| r.data.to_string()).collect::<Vec<_>>(), ["192.0.2.10"], "{name}");
        assert_eq!(v4.answers[0].name, v4.queries[0].name);
        assert_eq!(types(&server.ask(name, RecordType::AAAA).await), [RecordType::AAAA]);
        let caa = server.ask(name, RecordType::CAA).await;
        assert_eq!(caa.answers[0].data.to_string(), "128 issue \"ca.example\"");
    }
}

#[tokio::test]
async fn a_type_that_the_wildcard_lacks_is_no_data() {
    let (server, _) = Running::serving(&[]).await;
    for record_type in [RecordType::TXT, RecordType::MX, RecordType::CNAME, RecordType::NS] {
        assert_negative(&server.ask("abc.edge.sts.example", record_type).await, ResponseCode::NoError);
    }
}

#[tokio::test]
async fn the_wildcard_covers_one_label_and_not_its_parent() {
    let (server, _) = Running::serving(&[]).await;
    assert_negative(&server.ask("edge.sts.example", RecordType::A).await, ResponseCode::NoError);
    assert_negative(&server.ask("a.b.edge.sts.example", RecordType::A).await, ResponseCode::NXDomain);
    assert_negative(&server.ask("abc.sts.example", RecordType::A).await, ResponseCode::NXDomain);
}

#[tokio::test]
async fn a_name_with_something_beneath_it_is_not_covered_by_the_wildcard() {
    let (server, _) = Running::serving(&[("x.abc.edge.sts.example", "t"), ("own.edge.sts.example", "t")]).await;
    assert_negative(&server.ask("abc.edge.sts.example", RecordType::A).await, ResponseCode::NoError);
    assert_negative(&server.ask("own.edge.sts.example", RecordType::A).await, ResponseCode::NoError);
    assert_eq!(types(&server.ask("abd.edge.sts.example", RecordType::A).await), [RecordType::A]);
}

#[tokio::test]
async fn names_between_are_no_data_and_others_do_not_exist() {
    let (server, feed) = Running::serving(&[("a.b._mta-sts.sts.example", "t")]).await;
    for name in ["_mta-sts", "_smtp-tls", "acme", "b._mta-sts", "mail", "edge"] {
        let answer = server.ask(&format!("{name}.sts.example"), RecordType::TXT).await;
        assert_negative(&answer, ResponseCode::NoError);
    }
    for name in ["a._mta-sts", "c.b._mta-sts", "x.a.b._mta-sts", "mails", "other.mail"] {
        let answer = server.ask(&format!("{name}.sts.example"), RecordType::TXT).await;
        assert_negative(&answer, ResponseCode::NXDomain);
    }
    let position = feed.offer("a.b._mta-sts.sts.example", None);
    crate::support::until("the removal is served", || server.nameserver.position().number() == position).await;
    assert_negative(&server.ask("b._mta-sts.sts.example", RecordType::TXT).await, ResponseCode::NXDomain);
    assert_negative(&server.ask("_mta-sts.sts.example", RecordType::TXT).await, ResponseCode::NoError);
}

#[tokio::test]
async fn the_apex_has_soa_and_ns_with_glue_and_the_serial_follows_the_revision() {
    let (server, feed) = Running::serving(&[("a._mta-sts.sts.example", "t")]).await;
    let ns = server.ask("sts.example", RecordType::NS).await;
    assert_eq!(types(&ns), [RecordType::NS, RecordType::NS]);
    let glue: Vec<_> = ns.additionals.iter().map(|r| format!("{} {}", r.name, r.data)).collect();
    assert_eq!(glue, ["ns1.sts.example. 192.0.2.53"]);
    assert_eq!(types(&server.ask("ns1.sts.example", RecordType::A).await), [RecordType::A]);

    let serial = |answer: &Message| match &answer.answers[0].data {
        RData::SOA(soa) => u64::from(soa.serial),
        other => panic!("{other}"),
    };
    assert_eq!(serial(&server.ask("sts.example", RecordType::SOA).await), 1);
    let position = feed.offer("b._mta-sts.sts.example", Some(&["t"]));
    crate::support::until("it is served", || server.nameserver.position().number() == position).await;
    assert_eq!(serial(&server.ask("sts.example", RecordType::SOA).await), position);
}

#[tokio::test]
async fn static_records_are_served() {
    let (server, _) = Running::serving(&[]).await;
    assert_eq!(types(&server.ask("reports.mail.sts.example", RecordType::MX).await), [RecordType::MX]);
    assert_eq!(server.texts("sts.example").await, ["v=spf1 -all"]);
}

#[tokio::test]
async fn a_static_wildcard_stands_for_the_names_beneath_it_that_do_not_exist() {
    let mut config = config();
    config.static_records.push(StaticRecord {
        name: "*._report._dmarc.reports.mail.sts.example".to_owned(),
        record_type: "TXT".to_owned(),
        value: "v=DMARC1;".to_owned(),
        ttl: None,
    });
    let server = Running::start(config, TestFeed::with(&[])).await;
    crate::support::until("the feed has been read", || server.nameserver.ready()).await;
    for domain in ["example.com", "a.b.example.org"] {
        let name = format!("{domain}._report._dmarc.reports.mail.sts.example");
        assert_eq!(server.texts(&name).await, ["v=DMARC1;"]);
        assert_negative(&server.ask(&name, RecordType::A).await, ResponseCode::NoError);
    }
    for existing in ["_report._dmarc", "_dmarc"] {
        let name = format!("{existing}.reports.mail.sts.example");
        assert_negative(&server.ask(&name, RecordType::TXT).await, ResponseCode::NoError);
    }
    for beside in ["x.reports.mail.sts.example", "x._dmarc.reports.mail.sts.example", "_report._dmarc.sts.example"] {
        assert_negative(&server.ask(beside, RecordType::TXT).await, ResponseCode::NXDomain);
    }
}

#[tokio::test]
async fn static_records_that_cannot_be_served_are_refused_at_start() {
    let cases = [
        ("a.edge.sts.example", "A", "192.0.2.1"),
        ("_mta-sts.sts.example", "TXT", "x"),
        ("elsewhere.example", "A", "192.0.2.1"),
        ("*.sts.example", "A", "192.0.2.1"),
        ("a.sts.example", "A", "2001:db8::1"),
        ("a.sts.example", "CNAME", "b.example"),
        ("a.sts.example", "MX", "ten b.example"),
        ("a.sts.example", "CAA", "1 issue x"),
    ];
    for (name, record_type, value) in cases {
        let mut config = config();
        let (name, record_type, value) = (name.to_owned(), record_type.to_owned(), value.to_owned());
        config.static_records = vec![StaticRecord { name, record_type, value, ttl: None }];
        let refused = Running::try_start(config, TestFeed::with(&[])).await.err();
        assert!(matches!(refused, Some(BindError::Record { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn name_servers_without_needed_glue_are_refused_at_start() {
    let with = |servers: &[(&str, &[&str])]| {
        let mut config = config();
        config.name_servers = servers
            .iter()
            .map(|(name, addresses)| NameServer {
                name: (*name).to_owned(),
                addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            })
            .collect();
        config
    };
    let start = |config| Running::try_start(config, TestFeed::with(&[]));
    assert!(matches!(start(with(&[])).await.err(), Some(BindError::NoNameServers)));
    let missing = start(with(&[("ns1.sts.example", &[])])).await.err();
    assert!(matches!(missing, Some(BindError::GlueMissing { .. })));
    let outside = start(with(&[("ns1.other.example", &["192.0.2.1"])])).await.err();
    assert!(matches!(outside, Some(BindError::GlueOutside { .. })));
    let name = start(with(&[("n s", &[])])).await.err();
    assert!(matches!(name, Some(BindError::Name { .. })));
}

#[tokio::test]
async fn any_is_answered_minimally() {
    let (server, _) = Running::serving(&[("a._mta-sts.sts.example", "t")]).await;
    for name in ["sts.example", "a._mta-sts.sts.example", "x.edge.sts.example"] {
        assert_eq!(types(&server.ask(name, RecordType::ANY).await), [RecordType::HINFO], "{name}");
    }
    assert_negative(&server.ask("x.sts.example", RecordType::ANY).await, ResponseCode::NXDomain);
}

#[tokio::test]
async fn other_zones_transfers_and_version_are_refused() {
    let (server, _) = Running::serving(&[]).await;
    let refused = async |question: Message| {
        let answer = ask(server.address(), &question).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
        assert!(!answer.metadata.authoritative && answer.answers.is_empty());
    };
    for name in ["example.", "other.example", "xsts.example", "."] {
        refused(plain_question(name, RecordType::A)).await;
    }
    refused(question("sts.example", RecordType::AXFR)).await;
    refused(question("sts.example", RecordType::IXFR)).await;
    for name in ["version.bind", "sts.example"] {
        let mut chaos = plain_question(name, RecordType::TXT);
        chaos.queries[0].set_query_class(hickory_proto::rr::DNSClass::CH);
        refused(chaos).await;
    }
}

#[tokio::test]
async fn the_question_comes_back_with_its_case() {
    let (server, _) = Running::serving(&[("abc._mta-sts.sts.example", "t")]).await;
    let answer = server.ask("aBc._MTA-sts.StS.eXample", RecordType::TXT).await;
    assert_eq!(answer.queries[0].name.to_ascii(), "aBc._MTA-sts.StS.eXample.");
    assert_eq!(answer.answers[0].name.to_ascii(), "aBc._MTA-sts.StS.eXample.");
}

#[tokio::test]
async fn several_sockets_share_an_address() {
    let mut config = config();
    config.limits.udp_sockets = 4;
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "t")]);
    let server = Running::start(config, feed).await;
    crate::support::until("the feed has been read", || server.nameserver.ready()).await;
    // Each question comes from another port, so that the kernel spreads them.
    for _ in 0..32 {
        assert_eq!(server.texts("a._mta-sts.sts.example").await, ["t"]);
    }
}
