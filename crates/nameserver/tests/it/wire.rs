//! Sizes, EDNS, and packets that are no questions.

use std::time::Duration;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::net::TcpStream;

use crate::support::{Running, ask, over_tcp, plain_question, question, send, send_waiting};

const BIG: &str = "big._mta-sts.sts.example";

async fn with_big_set(octets: usize) -> Running {
    Running::serving(&[(BIG, &"x".repeat(octets)), ("a._mta-sts.sts.example", "t")]).await.0
}

fn with_payload(payload: u16) -> Message {
    let mut message = plain_question(BIG, RecordType::TXT);
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

#[tokio::test]
async fn an_answer_above_the_clients_limit_is_truncated_and_whole_over_tcp() {
    let server = with_big_set(900).await;
    for (question, fits) in [
        (plain_question(BIG, RecordType::TXT), false),
        (with_payload(0), false),
        (with_payload(600), false),
        (with_payload(1100), true),
        (with_payload(4096), true),
    ] {
        let bytes = send(server.address(), &question.to_vec().unwrap()).await.unwrap();
        let answer = Message::from_vec(&bytes).unwrap();
        assert_eq!(answer.metadata.truncation, !fits);
        assert_eq!(answer.answers.len(), usize::from(fits));
        // RFC 6891 §7: OPT stays in, exactly when it was asked with.
        assert_eq!(answer.edns.is_some(), question.edns.is_some());
        let limit = question.edns.as_ref().map_or(512, |edns| usize::from(edns.max_payload().max(512)));
        assert!(bytes.len() <= limit, "{} > {limit}", bytes.len());
    }
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let question = plain_question(BIG, RecordType::TXT).to_vec().unwrap();
    let whole = Message::from_vec(&over_tcp(&mut stream, &question).await.unwrap()).unwrap();
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 1);
}

#[tokio::test]
async fn no_udp_answer_needs_fragments_however_much_the_client_would_take() {
    let server = with_big_set(3000).await;
    assert!(ask(server.address(), &with_payload(65_535)).await.metadata.truncation);
}

#[tokio::test]
async fn an_unknown_edns_version_is_answered_badvers() {
    let server = with_big_set(1).await;
    let mut question = with_payload(1232);
    question.edns.as_mut().unwrap().set_version(1);
    let answer = ask(server.address(), &question).await;
    // 16 is BADVERS here and BADSIG in a signed message; the reader's enum knows only one of them.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.unwrap().version(), 0);
}

#[tokio::test]
async fn updates_and_notifies_are_not_implemented() {
    let server = with_big_set(1).await;
    for op_code in [OpCode::Update, OpCode::Notify, OpCode::Status] {
        let mut message = Message::new(7, MessageType::Query, op_code);
        message.add_query(Query::query(Name::from_ascii("sts.example.").unwrap(), RecordType::SOA));
        let answer = ask(server.address(), &message).await;
        assert_eq!((answer.metadata.response_code, answer.metadata.id), (ResponseCode::NotImp, 7));
        assert_eq!(answer.metadata.op_code, op_code);
    }
}

#[tokio::test]
async fn a_query_needs_exactly_one_question() {
    let server = with_big_set(1).await;
    let mut two = question("sts.example", RecordType::SOA);
    two.add_query(two.queries[0].clone());
    let mut none = question("sts.example", RecordType::SOA);
    none.queries.clear();
    for message in [two, none] {
        assert_eq!(ask(server.address(), &message).await.metadata.response_code, ResponseCode::FormErr);
    }
}

#[tokio::test]
async fn malformed_packets_get_formerr_or_nothing_and_the_server_goes_on() {
    let server = with_big_set(1).await;
    let whole = question("a._mta-sts.sts.example", RecordType::TXT).to_vec().unwrap();
    for cut in 12..whole.len() {
        let bytes = send(server.address(), &whole[..cut]).await.expect("an answer to a readable header");
        let answer = Message::from_vec(&bytes).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "cut at {cut}");
        assert_eq!(bytes[..2], whole[..2]);
    }
    // A name that points at itself.
    let mut circle = whole[..12].to_vec();
    circle.extend([0xc0, 12, 0, 16, 0, 1]);
    assert_eq!(send(server.address(), &circle).await.unwrap()[3] & 0x0f, 1);
    // Not even a header, and answers: nothing, or two servers could be set upon each other.
    let mut answer = whole.clone();
    answer[2] |= 0x80;
    for silent in [&whole[..11], &[], &answer] {
        assert!(send_waiting(server.address(), silent, Duration::from_millis(100)).await.is_none());
    }
    assert_eq!(server.texts("a._mta-sts.sts.example").await, ["t"]);
}

#[tokio::test]
async fn no_flipped_octet_stops_the_server() {
    let server = with_big_set(1).await;
    let whole = question("a._mta-sts.sts.example", RecordType::TXT).to_vec().unwrap();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for at in 0..whole.len() {
        for value in [0x00, 0x01, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
            let mut packet = whole.clone();
            packet[at] = value;
            socket.send_to(&packet, server.address()).await.unwrap();
        }
        // In step with the server, so that its buffer does not drop them.
        assert_eq!(server.texts("a._mta-sts.sts.example").await, ["t"]);
    }
}
