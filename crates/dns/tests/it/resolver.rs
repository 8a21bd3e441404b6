//! The resolver against our nameserver, and against a server that answers from a table, also badly.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CAA, CNAME, MX, NS, SOA, TXT},
    },
};
use mtasts_dns::{CnameAnswer, Lookup, MxSet, Negative, ResolveError, Resolver, ResolverConfig};
use mtasts_model::feed::RecordType as OurType;
use tokio::{net::UdpSocket, task::AbortHandle};

const ALIAS: RecordType = RecordType::CNAME;
const AAAA: RecordType = RecordType::AAAA;

#[derive(Clone)]
enum Reply {
    Silence,
    Code(ResponseCode),
    Records(Vec<RData>),
    /// An alias, and what the server adds about its target.
    Alias(&'static str, Vec<(&'static str, RData)>),
    NxDomain,
    NoData,
    /// NXDOMAIN from somebody who knows nothing.
    LameNxDomain,
    Referral,
    OtherId,
}

/// Answers what its table holds, and REFUSED where it holds nothing.
struct Fake {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    async fn with(table: Vec<(&'static str, RecordType, Reply)>) -> Self {
        let table: HashMap<_, _> = table.into_iter().map(|(name, t, reply)| ((fqdn(name), t), reply)).collect();
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let query = &question.queries[0];
                let reply = table.get(&(query.name.to_lowercase(), query.query_type));
                if let Some(answer) = reply_to(&question, reply.unwrap_or(&Reply::Code(ResponseCode::Refused))) {
                    socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                }
            }
        });
        Self { address, task: task.abort_handle() }
    }
}

fn reply_to(question: &Message, reply: &Reply) -> Option<Message> {
    let owner = question.queries[0].name.clone();
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.queries.clone_from(&question.queries);
    answer.metadata.recursion_available = true;
    let soa = || Record::from_rdata(fqdn("example"), 60, RData::SOA(SOA::new(fqdn("a"), fqdn("b"), 1, 1, 1, 1, 1)));
    match reply {
        Reply::Silence => return None,
        Reply::Code(code) => answer.metadata.response_code = *code,
        Reply::Records(records) => {
            answer.answers.extend(records.iter().map(|data| Record::from_rdata(owner.clone(), 60, data.clone())));
        }
        Reply::Alias(target, more) => {
            answer.answers.push(Record::from_rdata(owner, 60, RData::CNAME(CNAME(fqdn(target)))));
            let more = more.iter().map(|(name, data)| Record::from_rdata(fqdn(name), 60, data.clone()));
            answer.answers.extend(more);
        }
        Reply::NxDomain => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            answer.authorities.push(soa());
        }
        Reply::NoData => answer.authorities.push(soa()),
        Reply::LameNxDomain => {
            answer.metadata.recursion_available = false;
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        Reply::Referral => {
            answer.authorities.push(Record::from_rdata(fqdn("example"), 60, RData::NS(NS(fqdn("ns.example")))));
        }
        Reply::OtherId => answer.metadata.id ^= 1,
    }
    Some(answer)
}

fn fqdn(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    name
}

fn a(address: &str) -> RData {
    RData::A(A(address.parse().unwrap()))
}

fn alias(target: &str) -> RData {
    RData::CNAME(CNAME(fqdn(target)))
}

fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, fqdn(host)))
}

fn asking(upstreams: &[SocketAddr]) -> Resolver {
    Resolver::new(ResolverConfig { upstreams: upstreams.to_vec(), timeout: Duration::from_millis(300), attempts: 2 })
        .unwrap()
}

async fn table(rows: Vec<(&'static str, RecordType, Reply)>) -> (Resolver, Fake) {
    let fake = Fake::with(rows).await;
    (asking(&[fake.address]), fake)
}

#[tokio::test]
async fn failures_never_look_like_absence() {
    let replies = [
        Reply::Silence,
        Reply::OtherId,
        Reply::Code(ResponseCode::ServFail),
        Reply::Code(ResponseCode::Refused),
        Reply::Code(ResponseCode::FormErr),
        Reply::Code(ResponseCode::NotImp),
        Reply::LameNxDomain,
        Reply::Referral,
    ];
    for reply in replies {
        let name = "mta-sts.customer.example";
        let types = [ALIAS, RecordType::A, AAAA, RecordType::MX, RecordType::TXT, RecordType::CAA];
        let (resolver, _fake) = table(types.map(|t| (name, t, reply.clone())).to_vec()).await;
        let (step, chain, mx, txt, caa, addresses) = tokio::join!(
            resolver.cname(name),
            resolver.cname_chain(name),
            resolver.mx(name),
            resolver.txt(name),
            resolver.caa(name),
            resolver.addresses(name),
        );
        assert!(step.is_err() && chain.is_err() && mx.is_err());
        assert!(txt.is_err() && caa.is_err() && addresses.is_err());
    }
}

#[tokio::test]
async fn a_closed_port_and_silence_have_their_own_errors() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = asking(&[closed]).txt("a.example").await.unwrap_err();
    assert!(matches!(error, ResolveError::Network { server, .. } if server == closed), "{error}");
    let (resolver, _fake) = table(vec![("a.example", RecordType::TXT, Reply::Silence)]).await;
    assert!(matches!(resolver.txt("a.example").await, Err(ResolveError::Timeout { .. })));
}

#[tokio::test]
async fn both_kinds_of_absence_are_told() {
    let (resolver, _fake) = table(vec![
        ("no.example", ALIAS, Reply::NxDomain),
        ("yes.example", ALIAS, Reply::NoData),
        ("no.example", RecordType::TXT, Reply::NxDomain),
        ("yes.example", RecordType::TXT, Reply::NoData),
    ])
    .await;
    assert_eq!(resolver.cname("no.example").await.unwrap(), CnameAnswer::None(Negative::NxDomain));
    assert_eq!(resolver.cname("yes.example").await.unwrap(), CnameAnswer::None(Negative::NoData));
    assert_eq!(resolver.txt("no.example").await.unwrap(), Lookup::NxDomain);
    assert_eq!(resolver.txt("yes.example").await.unwrap(), Lookup::NoData);
}

#[tokio::test]
async fn another_upstream_is_asked_when_one_fails() {
    let failing = Fake::with(vec![("a.example", ALIAS, Reply::Code(ResponseCode::ServFail))]).await;
    let good = Fake::with(vec![("a.example", ALIAS, Reply::Records(vec![alias("b.example")]))]).await;
    let answer = asking(&[failing.address, good.address]).cname("a.example").await.unwrap();
    assert_eq!(answer, CnameAnswer::Target("b.example".into()));
}

#[tokio::test]
async fn a_chain_is_walked_in_order_up_to_its_end() {
    let (resolver, _fake) = table(vec![
        ("a.example", ALIAS, Reply::Records(vec![alias("B.example")])),
        ("b.example", ALIAS, Reply::Records(vec![alias("c.example")])),
        ("c.example", ALIAS, Reply::NxDomain),
    ])
    .await;
    assert_eq!(resolver.cname_chain("A.example.").await.unwrap(), ["b.example", "c.example"]);
    assert!(resolver.cname_chain("c.example").await.unwrap().is_empty());
}

#[tokio::test]
async fn circles_and_endless_chains_are_errors() {
    const NAMES: [&str; 10] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"];
    let mut rows = vec![
        ("a.example", ALIAS, Reply::Records(vec![alias("b.example")])),
        ("b.example", ALIAS, Reply::Records(vec![alias("A.example")])),
        ("self.example", ALIAS, Reply::Records(vec![alias("self.example")])),
        ("a.example", RecordType::TXT, Reply::Alias("b.example", vec![("b.example", alias("a.example"))])),
    ];
    rows.extend(NAMES.windows(2).map(|pair| (pair[0], ALIAS, Reply::Records(vec![alias(pair[1])]))));
    rows.push(("n9", ALIAS, Reply::NoData));
    let (resolver, _fake) = table(rows).await;
    for name in ["a.example", "self.example"] {
        let error = resolver.cname_chain(name).await.unwrap_err();
        assert!(matches!(error, ResolveError::CnameLoop { .. }), "{error}");
    }
    assert!(matches!(resolver.txt("a.example").await, Err(ResolveError::CnameLoop { .. })));
    assert!(matches!(resolver.cname_chain("n0").await, Err(ResolveError::CnameChainTooLong { .. })));
    assert_eq!(resolver.cname_chain("n1").await.unwrap().len(), 8);
}

#[tokio::test]
async fn aliases_are_followed_within_an_answer_and_beyond_it() {
    let (resolver, _fake) = table(vec![
        ("whole.example", RecordType::A, Reply::Alias("t.example", vec![("t.example", a("192.0.2.1"))])),
        ("whole.example", AAAA, Reply::Alias("t.example", vec![])),
        ("t.example", AAAA, Reply::NoData),
        ("half.example", RecordType::A, Reply::Alias("t.example", vec![])),
        ("half.example", AAAA, Reply::Alias("t.example", vec![])),
        ("t.example", RecordType::A, Reply::Records(vec![a("192.0.2.2")])),
    ])
    .await;
    let one = |address: &str| Lookup::Found(vec![address.parse::<IpAddr>().unwrap()]);
    assert_eq!(resolver.addresses("whole.example").await.unwrap(), one("192.0.2.1"));
    assert_eq!(resolver.addresses("half.example").await.unwrap(), one("192.0.2.2"));
}

#[tokio::test]
async fn records_of_other_names_in_an_answer_are_not_believed() {
    let (resolver, _fake) =
        table(vec![("a.example", RecordType::A, Reply::Alias("b.example", vec![("evil.example", a("192.0.2.66"))]))])
            .await;
    assert!(resolver.addresses("a.example").await.is_err());
}

#[tokio::test]
async fn one_family_of_addresses_is_enough_and_failure_of_both_is_an_error() {
    let (resolver, _fake) = table(vec![
        ("a.example", RecordType::A, Reply::Records(vec![a("192.0.2.1")])),
        ("a.example", AAAA, Reply::Code(ResponseCode::ServFail)),
        ("b.example", RecordType::A, Reply::NoData),
        ("b.example", AAAA, Reply::Code(ResponseCode::ServFail)),
    ])
    .await;
    assert!(matches!(resolver.addresses("a.example").await, Ok(Lookup::Found(_))));
    assert!(resolver.addresses("b.example").await.is_err());
}

#[tokio::test]
async fn mx_hosts_come_by_preference_and_a_null_mx_is_told() {
    let (resolver, _fake) = table(vec![
        ("two.example", RecordType::MX, Reply::Records(vec![mx(20, "b.example"), mx(10, "A.example")])),
        ("null.example", RecordType::MX, Reply::Records(vec![mx(0, ".")])),
        ("none.example", RecordType::MX, Reply::NoData),
    ])
    .await;
    let Lookup::Found(MxSet::Hosts(hosts)) = resolver.mx("two.example").await.unwrap() else { panic!() };
    let hosts: Vec<_> = hosts.iter().map(|mx| (mx.preference, mx.host.as_str())).collect();
    assert_eq!(hosts, [(10, "a.example"), (20, "b.example")]);
    assert_eq!(resolver.mx("null.example").await.unwrap(), Lookup::Found(MxSet::Null));
    assert_eq!(resolver.mx("none.example").await.unwrap(), Lookup::NoData);
}

#[tokio::test]
async fn the_strings_of_a_txt_record_are_joined_without_blanks() {
    let txt = RData::TXT(TXT::new(vec!["v=STSv1; ".into(), "id=1;".into()]));
    let (resolver, _fake) = table(vec![("a.example", RecordType::TXT, Reply::Records(vec![txt]))]).await;
    assert_eq!(resolver.txt("a.example").await.unwrap(), Lookup::Found(vec!["v=STSv1; id=1;".into()]));
}

#[tokio::test]
async fn caa_is_the_nearest_ancestors_and_a_failure_on_the_way_is_an_error() {
    let mut issue = CAA::new_issue(true, None, vec![]);
    issue.value = b"ca.example; x=y".to_vec();
    let (resolver, _fake) = table(vec![
        ("mta-sts.a.example", RecordType::CAA, Reply::NxDomain),
        ("a.example", RecordType::CAA, Reply::Records(vec![RData::CAA(issue)])),
        ("b.example", RecordType::CAA, Reply::NoData),
        ("example", RecordType::CAA, Reply::NoData),
        ("x.c.example", RecordType::CAA, Reply::NoData),
        ("c.example", RecordType::CAA, Reply::Code(ResponseCode::ServFail)),
    ])
    .await;
    let found = resolver.caa("mta-sts.a.example").await.unwrap().unwrap();
    assert_eq!(found.owner, "a.example");
    assert_eq!((found.records[0].critical, found.records[0].tag.as_str()), (true, "issue"));
    assert_eq!(found.records[0].value, "ca.example; x=y");
    assert_eq!(resolver.caa("b.example").await.unwrap(), None);
    assert!(resolver.caa("x.c.example").await.is_err());
}

#[tokio::test]
async fn names_of_strangers_are_errors_and_not_panics() {
    let (resolver, _fake) = table(vec![]).await;
    for name in ["", ".", "a..b", "a b", &"x".repeat(300), "\u{0}", "a\\", "\\256", "ü.example", "*..", "\"'"] {
        assert!(matches!(resolver.cname(name).await, Err(ResolveError::InvalidName(_))), "{name:?}");
    }
}

#[tokio::test]
async fn an_answer_from_a_cache_is_not_taken_for_authoritative() {
    let txt = RData::TXT(TXT::new(vec!["x".into()]));
    let (resolver, fake) = table(vec![
        ("a.example", RecordType::TXT, Reply::Records(vec![txt])),
        ("b.example", RecordType::TXT, Reply::NxDomain),
    ])
    .await;
    for name in ["a.example", "b.example"] {
        let answer = resolver.query_at(fake.address, name, OurType::Txt).await;
        assert!(matches!(answer, Err(ResolveError::NotAuthoritative { .. })), "{answer:?}");
    }
}
