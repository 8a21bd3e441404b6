//! From a packet to its answer: no I/O, no waiting, and no panic for any bytes.

use std::{net::IpAddr, sync::Arc};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, RecordType},
};
use mtasts_dns::{
    UDP_PAYLOAD,
    tsig::{AnswerSigner, verify_request},
};
use mtasts_model::Clock;
use mtasts_proxy::ProxyProtocol;
use tokio::time::Instant;

use super::{
    counters::Counters,
    dnssec::Asked,
    journal::Journal,
    rate_limit::{Category, RateLimiter, Verdict},
    transfer::{Decision, Request, Transfer, Transfers},
    zone::{Outcome, Zone},
};

/// How the question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What is sent back.
pub(super) enum Reply {
    Message(Vec<u8>),
    /// Many messages; only over TCP.
    Transfer(Box<Transfer>),
}

/// Answers packets for one zone.
pub(super) struct Responder {
    pub(super) zone: Zone,
    pub(super) counters: Counters,
    pub(super) journal: Journal,
    pub(super) transfers: Transfers,
    /// `None`: not limited.
    pub(super) limiter: Option<RateLimiter>,
    pub(super) clock: Arc<dyn Clock>,
    /// What must stand before packets and connections. Whoever reads them finds it out.
    pub(super) proxy_protocol: ProxyProtocol,
}

/// A client, and how long an answer it takes.
struct Client {
    transport: Transport,
    from: IpAddr,
    limit: usize,
}

impl Responder {
    /// The answer, or `None` for what must not be answered (too short for a header, or an answer itself) and for what
    /// is too much for the client's network.
    pub(super) fn respond(&self, packet: &[u8], transport: Transport, from: IpAddr) -> Option<Reply> {
        let (&[id_high, id_low, flags, _], _) = packet.split_first_chunk::<4>()?;
        if packet.len() < 12 || flags & 0x80 != 0 {
            self.counters.dropped();
            return None;
        }
        let id = u16::from_be_bytes([id_high, id_low]);
        let op_code = OpCode::from_u8((flags >> 3) & 0x0f);
        let mut client = Client { transport, from, limit: 512 };
        let parsed = is_plausible(packet).then(|| Message::from_vec(packet).ok()).flatten();
        let code = match (op_code, parsed) {
            (OpCode::Query, Some(request)) => {
                client.limit = match (transport, &request.edns) {
                    (Transport::Tcp, _) => usize::from(u16::MAX),
                    (Transport::Udp, Some(edns)) => usize::from(edns.max_payload().clamp(512, UDP_PAYLOAD)),
                    (Transport::Udp, None) => 512,
                };
                return self.query(packet, &request, &client);
            }
            (OpCode::Query, None) => ResponseCode::FormErr,
            // Updates, notifies and whatever else; what follows the header may not even be readable.
            _ => ResponseCode::NotImp,
        };
        let answer = self.limited(Message::error_msg(id, op_code, code), &client)?;
        self.counters.answered(None, code, transport);
        self.encode(answer, client.limit).map(Reply::Message)
    }

    fn query(&self, packet: &[u8], request: &Message, client: &Client) -> Option<Reply> {
        let record_type = request.queries.first().map(Query::query_type);
        let mut answer = begin(request);
        let mut signer = None;
        if request.signature.is_some() {
            match verify_request(self.transfers.peers.keys(), packet, self.clock.now()) {
                Ok(verified) => signer = verified,
                Err(rejection) => {
                    // RFC 8945 §5.2: FORMERR where there is no code for the TSIG record.
                    let code = rejection.code();
                    tracing::debug!(from = %client.from, ?code, "a request with a bad signature");
                    answer.metadata.response_code =
                        if code.is_some() { ResponseCode::NotAuth } else { ResponseCode::FormErr };
                    let answer = self.limited(answer, client)?;
                    self.counters.answered(record_type, answer.metadata.response_code, client.transport);
                    let mut octets = self.encode(answer, client.limit)?;
                    rejection.sign(&mut octets, self.clock.now()).ok()?;
                    return Some(Reply::Message(octets));
                }
            }
        }
        let mut is_found = false;
        match checked(request) {
            Err(code) => answer.metadata.response_code = code,
            Ok(query) if matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) => {
                match self.transfer(request, query.query_type(), client, &mut signer) {
                    Decision::Refuse(code) => answer.metadata.response_code = code,
                    Decision::Stream(transfer) => {
                        self.counters.answered(record_type, ResponseCode::NoError, client.transport);
                        return Some(Reply::Transfer(transfer));
                    }
                    Decision::Message { octets, is_signed } => {
                        let answer = if is_signed { answer } else { self.limited(answer, client)? };
                        self.counters.answered(record_type, ResponseCode::NoError, client.transport);
                        if answer.metadata.truncation {
                            return self.encode(answer, client.limit).map(Reply::Message);
                        }
                        return Some(Reply::Message(octets));
                    }
                }
            }
            Ok(query) => {
                self.look_up(query, &mut answer);
                is_found = true;
            }
        }
        // Who signs has proved where it is.
        if signer.is_none() {
            answer = self.limited(answer, client)?;
        }
        if let Some(signing) = self.zone.signing()
            && is_found
            && !answer.metadata.truncation
        {
            signing.complete(&self.zone, &mut answer, Asked::of(request));
        }
        self.counters.answered(record_type, answer.metadata.response_code, client.transport);
        self.finish(answer, client.limit, signer).map(Reply::Message)
    }

    fn look_up(&self, query: &Query, answer: &mut Message) {
        match self.zone.look_up(query.name(), query.query_type()) {
            Outcome::Answer { records, additional } => {
                answer.metadata.authoritative = true;
                answer.answers = records;
                answer.additionals = additional;
            }
            Outcome::NoData => {
                answer.metadata.authoritative = true;
                answer.authorities.push(self.zone.negative_soa());
            }
            Outcome::NxDomain => {
                answer.metadata.authoritative = true;
                answer.metadata.response_code = ResponseCode::NXDomain;
                answer.authorities.push(self.zone.negative_soa());
            }
            Outcome::Outside => answer.metadata.response_code = ResponseCode::Refused,
            Outcome::NotLoaded => answer.metadata.response_code = ResponseCode::ServFail,
        }
    }

    fn transfer(
        &self,
        request: &Message,
        record_type: RecordType,
        client: &Client,
        signer: &mut Option<AnswerSigner>,
    ) -> Decision {
        let request = Request {
            message: request,
            record_type,
            transport: client.transport,
            from: client.from,
            limit: client.limit,
            now: self.clock.now(),
        };
        self.transfers.decide(&request, signer, &self.zone, &self.journal)
    }

    /// The answer as far as the client's network may have it.
    fn limited(&self, answer: Message, client: &Client) -> Option<Message> {
        let (Some(limiter), Transport::Udp) = (&self.limiter, client.transport) else { return Some(answer) };
        let category = Category::of(answer.metadata.response_code);
        let verdict = limiter.judge(client.from, category, Instant::now());
        match verdict {
            Verdict::Send => return Some(answer),
            Verdict::Truncate | Verdict::Drop => self.counters.limited(category, verdict),
        }
        match verdict {
            Verdict::Drop => None,
            // A refusal has nothing that could be had over TCP.
            _ if category == Category::Error => Some(answer),
            _ => Some(answer.truncate()),
        }
    }

    fn finish(&self, answer: Message, limit: usize, signer: Option<AnswerSigner>) -> Option<Vec<u8>> {
        let Some(mut signer) = signer else { return self.encode(answer, limit) };
        let mut octets = self.encode(answer, limit.saturating_sub(signer.key().signature_length()))?;
        match signer.sign(&mut octets, self.clock.now()) {
            Ok(()) => Some(octets),
            Err(error) => {
                tracing::warn!(%error, "an answer could not be signed");
                None
            }
        }
    }

    fn encode(&self, mut answer: Message, limit: usize) -> Option<Vec<u8>> {
        let encoded = answer.to_vec();
        match encoded {
            Ok(bytes) if bytes.len() <= limit => return Some(bytes),
            Err(error) => {
                tracing::warn!(%error, "an answer could not be written");
                let failed = Message::error_msg(answer.metadata.id, OpCode::Query, ResponseCode::ServFail);
                return failed.to_vec().ok();
            }
            Ok(_) => {}
        }
        // Additional records are a courtesy, and never a reason to truncate (RFC 2181 §9).
        if !answer.additionals.is_empty() {
            answer.additionals.clear();
            if let Ok(bytes) = answer.to_vec()
                && bytes.len() <= limit
            {
                return Some(bytes);
            }
        }
        self.counters.truncated();
        answer.truncate().to_vec().ok()
    }
}

/// Whether the packet is long enough for what its header counts: the library makes room for all questions before it
/// reads the first, which would be megabytes for twelve octets.
fn is_plausible(packet: &[u8]) -> bool {
    let count = |at: usize| match packet.get(at..at + 2) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    };
    // The root's name, type and class; and for a record TTL and length, too.
    let least = 12 + 5 * count(4) + 11 * (count(6) + count(8) + count(10));
    packet.len() >= least
}

/// An answer without records.
fn begin(request: &Message) -> Message {
    let mut answer = Message::new(request.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = request.metadata.recursion_desired;
    answer.metadata.checking_disabled = request.metadata.checking_disabled;
    // As it came, with its case: resolvers check it (0x20).
    answer.queries.clone_from(&request.queries);
    if let Some(edns) = &request.edns {
        let mut ours = Edns::new();
        ours.set_max_payload(UDP_PAYLOAD).set_version(0);
        // RFC 3225 §3: copied, also where the zone is not signed.
        ours.set_dnssec_ok(edns.flags().dnssec_ok);
        answer.set_edns(ours);
    }
    answer
}

/// The one question of the request, if it is of a kind that can be answered.
fn checked(request: &Message) -> Result<&Query, ResponseCode> {
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    match request.queries.as_slice() {
        // Other classes hold `version.bind` and the like.
        [query] if query.query_class() == DNSClass::IN => Ok(query),
        [_] => Err(ResponseCode::Refused),
        // RFC 9619: exactly one.
        _ => Err(ResponseCode::FormErr),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_counts_more_than_the_packet_holds_is_not_even_read() {
        let mut question = Message::query();
        question.add_query(Query::query(hickory_proto::rr::Name::root(), RecordType::NS));
        let mut packet = question.to_vec().unwrap();
        assert_eq!(packet.len(), 17);
        assert!(is_plausible(&packet));
        for count in [4, 6, 8, 10] {
            let mut more = packet.clone();
            more[count + 1] += 1;
            assert!(!is_plausible(&more), "{count}");
        }
        packet.truncate(16);
        assert!(!is_plausible(&packet));
    }
}
