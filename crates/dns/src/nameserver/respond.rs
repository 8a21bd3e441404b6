//! From a packet to its answer: no I/O, no waiting, and no panic for any bytes.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, RecordType},
};

use super::{
    counters::Counters,
    zone::{Outcome, Zone},
};
use crate::exchange::UDP_PAYLOAD;

/// How the question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Answers packets for one zone.
pub(super) struct Responder {
    pub(super) zone: Zone,
    pub(super) counters: Counters,
}

impl Responder {
    /// The answer, or `None` for what must not be answered (too short for a header, or an answer itself).
    pub(super) fn respond(&self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let (&[id_high, id_low, flags, _], _) = packet.split_first_chunk::<4>()?;
        if packet.len() < 12 || flags & 0x80 != 0 {
            self.counters.dropped();
            return None;
        }
        let id = u16::from_be_bytes([id_high, id_low]);
        let op_code = OpCode::from_u8((flags >> 3) & 0x0f);
        let mut limit = usize::from(match transport {
            Transport::Udp => 512,
            Transport::Tcp => u16::MAX,
        });
        let (answer, record_type) = match (op_code, Message::from_vec(packet)) {
            (OpCode::Query, Ok(request)) => {
                if let (Transport::Udp, Some(edns)) = (transport, &request.edns) {
                    limit = usize::from(edns.max_payload().clamp(512, UDP_PAYLOAD));
                }
                (self.answer(&request), request.queries.first().map(Query::query_type))
            }
            (OpCode::Query, Err(_)) => (Message::error_msg(id, op_code, ResponseCode::FormErr), None),
            // Updates, notifies and whatever else; what follows the header may not even be readable.
            (op_code, _) => (Message::error_msg(id, op_code, ResponseCode::NotImp), None),
        };
        self.counters.answered(record_type, answer.metadata.response_code, transport);
        self.encode(answer, limit)
    }

    fn answer(&self, request: &Message) -> Message {
        let mut answer = Message::new(request.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_desired = request.metadata.recursion_desired;
        answer.metadata.checking_disabled = request.metadata.checking_disabled;
        // As it came, with its case: resolvers check it (0x20).
        answer.queries.clone_from(&request.queries);
        if let Some(edns) = &request.edns {
            let mut ours = Edns::new();
            ours.set_max_payload(UDP_PAYLOAD).set_version(0);
            // RFC 3225 §3: copied, though the zone is not signed.
            ours.set_dnssec_ok(edns.flags().dnssec_ok);
            answer.set_edns(ours);
            if edns.version() > 0 {
                answer.metadata.response_code = ResponseCode::BADVERS;
                return answer;
            }
        }
        // RFC 9619: exactly one question.
        let [query] = request.queries.as_slice() else {
            answer.metadata.response_code = ResponseCode::FormErr;
            return answer;
        };
        let transfer = matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
        // Other classes hold `version.bind` and the like.
        if transfer || query.query_class() != DNSClass::IN {
            answer.metadata.response_code = ResponseCode::Refused;
            return answer;
        }
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
        answer
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
