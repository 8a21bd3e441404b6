//! One question to one server: UDP first, TCP when the answer is truncated (RFC 7766 §5).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    ProtoError,
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{DNSClass, Name, RecordType},
    serialize::binary::DecodeError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// What fits through nearly every path without fragments (DNS flag day 2020).
pub const UDP_PAYLOAD: u16 = 1232;

/// Why no usable answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no answer in time")]
    Timeout,
    #[error("network error")]
    Io(#[from] io::Error),
    #[error("the question cannot be written")]
    Encode(#[from] ProtoError),
    #[error("the answer cannot be read")]
    Decode(#[from] DecodeError),
    #[error("the answer is to another question")]
    OtherQuestion,
}

/// A question with EDNS and a random id.
pub(crate) fn question(name: &Name, record_type: RecordType, recursion_desired: bool) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = recursion_desired;
    // Asks a resolver to say whether it validated the answer (RFC 6840 §5.7). Nothing to ask an authoritative server.
    message.metadata.authentic_data = recursion_desired;
    message.add_query(Query::query(name.clone(), record_type));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD).set_version(0);
    message.set_edns(edns);
    message
}

/// Asks once; `deadline` is for UDP and TCP together.
pub(crate) async fn exchange(
    server: SocketAddr,
    question: &Message,
    deadline: Duration,
) -> Result<Message, ExchangeError> {
    timeout(deadline, async {
        let bytes = question.to_vec()?;
        let answer = over_udp(server, question, &bytes).await?;
        if answer.metadata.truncation { over_tcp(server, question, &bytes).await } else { Ok(answer) }
    })
    .await
    .unwrap_or(Err(ExchangeError::Timeout))
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, ExchangeError> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A fresh socket for each question: the kernel draws the port, which together with the id keeps off blind
    // spoofing (RFC 5452 §9). Connected, so that other senders are ignored and a closed port fails at once.
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Whatever is not the answer may be a forgery: keep listening until the deadline (RFC 5452 §9.3).
        if let Some(packet) = buffer.get(..length)
            && let Ok(answer) = Message::from_vec(packet)
            && answers(&answer, question)
        {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, ExchangeError> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(|_| io::Error::other("the question is too long"))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer)?;
    if answers(&answer, question) { Ok(answer) } else { Err(ExchangeError::OtherQuestion) }
}

fn answers(answer: &Message, question: &Message) -> bool {
    let same_question = match (answer.queries.as_slice(), question.queries.as_slice()) {
        ([theirs], [ours]) => {
            theirs.name == ours.name && theirs.query_type == ours.query_type && theirs.query_class == DNSClass::IN
        }
        // Some servers leave the question out of an error.
        ([], [_]) => answer.metadata.response_code != hickory_proto::op::ResponseCode::NoError,
        _ => false,
    };
    same_question
        && answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Query
}
