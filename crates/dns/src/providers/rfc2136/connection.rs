//! Questions and updates to the primary server: over TCP, signed, within a deadline.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::{
    ProtoError,
    op::{Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{Name, RecordType as WireType},
    serialize::binary::DecodeError,
};
use mtasts_model::clock::Clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::page::Page;
use crate::{
    provider::Pace,
    tsig::{AnswerVerifier, Trust, TsigError, TsigKey},
};

/// How many questions are on the way at once (RFC 7766 §6.2.1.1). BIND stops reading at 23.
const BURST: usize = 16;

/// A connection that was idle for longer is not used again: the server may just be closing it, and then nobody could
/// tell whether an update has arrived.
const IDLE: Duration = Duration::from_secs(2);

/// A zone at its primary server, and how to get there.
#[derive(Clone)]
pub(super) struct Primary {
    pub(super) zone: Name,
    pub(super) server: SocketAddr,
    pub(super) key: Option<TsigKey>,
    pub(super) pace: Arc<Pace>,
    pub(super) clock: Arc<dyn Clock>,
    /// For a connection, and for each exchange on it.
    pub(super) timeout: Duration,
}

/// Why no answer came that can be trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeFailure {
    #[error("no answer in time")]
    Timeout,
    #[error("network error")]
    Io(#[from] io::Error),
    #[error("the message cannot be written")]
    Encode(#[source] ProtoError),
    #[error("the answer cannot be read")]
    Decode(#[from] DecodeError),
    #[error("the answer is to another message")]
    OtherQuestion,
    /// With the code of an answer that is not signed.
    #[error("the transaction's signature failed")]
    Tsig(#[source] TsigError, Option<ResponseCode>),
}

impl ExchangeFailure {
    /// As the label of a metric.
    fn word(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Io(_) => "network",
            Self::Encode(_) | Self::Decode(_) | Self::OtherQuestion => "garbled",
            Self::Tsig(..) => "tsig",
        }
    }

    pub(super) fn cut_short() -> Self {
        Self::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
    }
}

/// A question for the records themselves, as the zone has them.
pub(super) fn question(name: &Name, kind: WireType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(name.clone(), kind));
    message
}

/// A message that was sent, and what its answer must satisfy.
pub(super) struct Sent {
    id: u16,
    op_code: OpCode,
    queries: Vec<Query>,
    verifier: Option<AnswerVerifier>,
}

impl Sent {
    /// Reads the answer, which is one message.
    fn receive(mut self, octets: &[u8], clock: &dyn Clock) -> Result<Message, ExchangeFailure> {
        let answer = Message::from_vec(octets)?;
        match self.trust(octets, &answer.metadata, &answer.queries, clock)? {
            Trust::Verified => Ok(answer),
            Trust::Pending => Err(ExchangeFailure::Tsig(TsigError::Unsigned, None)),
        }
    }

    /// Reads the next message of a transfer.
    pub(super) fn receive_page(&mut self, octets: &[u8], clock: &dyn Clock) -> Result<(Page, Trust), ExchangeFailure> {
        let page = Page::read(octets)?;
        let trust = self.trust(octets, &page.metadata, &page.queries, clock)?;
        Ok((page, trust))
    }

    fn trust(
        &mut self,
        octets: &[u8],
        metadata: &Metadata,
        queries: &[Query],
        clock: &dyn Clock,
    ) -> Result<Trust, ExchangeFailure> {
        let fits = metadata.id == self.id
            && metadata.message_type == MessageType::Response
            && metadata.op_code == self.op_code
            // Updates and the later messages of a transfer need not repeat it (RFC 2136 §3.8, RFC 5936 §2.2.1).
            && (queries.is_empty() || queries == self.queries);
        if !fits {
            return Err(ExchangeFailure::OtherQuestion);
        }
        let Some(verifier) = &mut self.verifier else { return Ok(Trust::Verified) };
        verifier.verify(octets, clock.now()).map_err(|error| {
            let code = matches!(error, TsigError::Unsigned).then_some(metadata.response_code);
            ExchangeFailure::Tsig(error, code)
        })
    }
}

/// One connection at a time to the primary server; opened when it is needed.
pub(super) struct Connection<'a> {
    primary: &'a Primary,
    open: Option<(TcpStream, Instant)>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(primary: &'a Primary) -> Self {
        Self { primary, open: None }
    }

    /// Sends one message and waits for its answer.
    pub(super) async fn ask(&mut self, message: Message) -> Result<Message, ExchangeFailure> {
        let mut answers = self.burst(vec![message]).await?;
        answers.pop().ok_or_else(ExchangeFailure::cut_short)
    }

    /// Asks several questions; the answers are in their order.
    pub(super) async fn ask_all(&mut self, questions: Vec<Message>) -> Result<Vec<Message>, ExchangeFailure> {
        let (mut answers, mut questions) = (Vec::with_capacity(questions.len()), questions.into_iter().peekable());
        while questions.peek().is_some() {
            answers.extend(self.burst(questions.by_ref().take(BURST).collect()).await?);
        }
        Ok(answers)
    }

    /// Some messages at once; a burst counts as one request for the pace.
    async fn burst(&mut self, messages: Vec<Message>) -> Result<Vec<Message>, ExchangeFailure> {
        self.primary.pace.take().await;
        if self.open.as_ref().is_some_and(|(_, used_at)| used_at.elapsed() > IDLE) {
            self.open = None;
        }
        let deadline = self.primary.timeout;
        let started = Instant::now();
        let exchange = async {
            let Some((stream, _)) = self.open.take() else { return self.fresh(&messages).await };
            match self.exchange(stream, &messages).await {
                // Servers may close a connection after any answer (RFC 7766 §6.2.3). Nothing is written twice: what
                // did arrive fails the prerequisites of its repetition.
                Err(ExchangeFailure::Io(_)) => self.fresh(&messages).await,
                outcome => outcome,
            }
        };
        let outcome = timeout(deadline, exchange).await.unwrap_or(Err(ExchangeFailure::Timeout));
        let word = outcome.as_ref().map_or_else(ExchangeFailure::word, |_| "ok");
        metrics::counter!("mtasts_dns_provider_requests_total", "provider" => "rfc2136", "outcome" => word)
            .increment(1);
        metrics::histogram!("mtasts_dns_provider_request_seconds", "provider" => "rfc2136")
            .record(started.elapsed().as_secs_f64());
        outcome
    }

    async fn fresh(&mut self, messages: &[Message]) -> Result<Vec<Message>, ExchangeFailure> {
        let stream = TcpStream::connect(self.primary.server).await?;
        self.exchange(stream, messages).await
    }

    /// Keeps the connection for the next exchange only if nothing failed, and nobody gave up, on it.
    async fn exchange(&mut self, mut stream: TcpStream, messages: &[Message]) -> Result<Vec<Message>, ExchangeFailure> {
        let (mut octets, mut waiting) = (Vec::new(), HashMap::with_capacity(messages.len()));
        for (number, message) in messages.iter().enumerate() {
            let mut message = message.clone();
            while waiting.contains_key(&message.metadata.id) {
                message.metadata.id = message.metadata.id.wrapping_add(1);
            }
            waiting.insert(message.metadata.id, (number, self.primary.frame(&message, &mut octets)?));
        }
        stream.write_all(&octets).await?;
        let mut answers = vec![None; messages.len()];
        while !waiting.is_empty() {
            // Servers may answer in another order (RFC 7766 §7).
            let octets = read_message(&mut stream).await?;
            let id = octets.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
            let (number, sent): (_, Sent) = waiting.remove(&id).ok_or(ExchangeFailure::OtherQuestion)?;
            let answer = sent.receive(&octets, &*self.primary.clock)?;
            if let Some(place) = answers.get_mut(number) {
                *place = Some(answer);
            }
        }
        self.open = Some((stream, Instant::now()));
        Ok(answers.into_iter().flatten().collect())
    }
}

impl Primary {
    /// Signs the message and puts it, with its length (RFC 1035 §4.2.2), behind `octets`.
    fn frame(&self, message: &Message, octets: &mut Vec<u8>) -> Result<Sent, ExchangeFailure> {
        let mut written = message.to_vec().map_err(ExchangeFailure::Encode)?;
        let verifier = match &self.key {
            Some(key) => Some(
                key.sign_request(&mut written, self.clock.now()).map_err(|error| ExchangeFailure::Tsig(error, None))?,
            ),
            None => None,
        };
        let length = u16::try_from(written.len()).map_err(|_| ExchangeFailure::Tsig(TsigError::TooLong, None))?;
        octets.extend_from_slice(&length.to_be_bytes());
        octets.extend_from_slice(&written);
        let metadata = &message.metadata;
        Ok(Sent { id: metadata.id, op_code: metadata.op_code, queries: message.queries.clone(), verifier })
    }

    /// Opens a connection of its own for a question with an answer of many messages.
    pub(super) async fn begin(&self, question: &Message) -> Result<(TcpStream, Sent), ExchangeFailure> {
        self.pace.take().await;
        let begin = async {
            let mut octets = Vec::new();
            let sent = self.frame(question, &mut octets)?;
            let mut stream = TcpStream::connect(self.server).await?;
            stream.write_all(&octets).await?;
            Ok((stream, sent))
        };
        timeout(self.timeout, begin).await.unwrap_or(Err(ExchangeFailure::Timeout))
    }

    /// The next message of such an answer.
    pub(super) async fn proceed(&self, stream: &mut TcpStream) -> Result<Vec<u8>, ExchangeFailure> {
        timeout(self.timeout, read_message(stream)).await.unwrap_or(Err(ExchangeFailure::Timeout))
    }
}

/// The length's two octets cap it at 65,535.
async fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>, ExchangeFailure> {
    let length = stream.read_u16().await?;
    let mut octets = vec![0; usize::from(length)];
    stream.read_exact(&mut octets).await?;
    Ok(octets)
}
