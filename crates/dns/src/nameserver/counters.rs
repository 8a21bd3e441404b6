//! Metrics, registered once, so that a query costs one atomic addition.

use hickory_proto::{op::ResponseCode, rr::RecordType};
use metrics::{Counter, Gauge, counter, gauge};

use super::respond::Transport;

/// Types with a label of their own; strangers must not be able to make up labels.
const TYPES: [(RecordType, &str); 8] = [
    (RecordType::A, "A"),
    (RecordType::AAAA, "AAAA"),
    (RecordType::TXT, "TXT"),
    (RecordType::CAA, "CAA"),
    (RecordType::NS, "NS"),
    (RecordType::SOA, "SOA"),
    (RecordType::CNAME, "CNAME"),
    (RecordType::ANY, "ANY"),
];

const CODES: [(ResponseCode, &str); 7] = [
    (ResponseCode::NoError, "NOERROR"),
    (ResponseCode::NXDomain, "NXDOMAIN"),
    (ResponseCode::ServFail, "SERVFAIL"),
    (ResponseCode::FormErr, "FORMERR"),
    (ResponseCode::NotImp, "NOTIMP"),
    (ResponseCode::Refused, "REFUSED"),
    (ResponseCode::BADVERS, "BADVERS"),
];

/// The nameserver's metrics.
pub(super) struct Counters {
    /// By transport, type, code.
    queries: Vec<Counter>,
    dropped: Counter,
    truncated: Counter,
    tcp_refused: Counter,
    feed_errors: Counter,
    records_refused: Counter,
    pub(super) tcp_open: Gauge,
    pub(super) feed_position: Gauge,
    pub(super) feed_lag: Gauge,
    pub(super) records: Gauge,
    pub(super) replica_in_step: Gauge,
}

impl Counters {
    pub(super) fn new() -> Self {
        let types = || TYPES.iter().map(|(_, label)| *label).chain(["other"]);
        let mut queries = Vec::new();
        for transport in ["udp", "tcp"] {
            for record_type in types() {
                for (_, code) in CODES {
                    queries.push(counter!("mtasts_nameserver_queries_total",
                        "transport" => transport, "type" => record_type, "rcode" => code));
                }
            }
        }
        Self {
            queries,
            dropped: counter!("mtasts_nameserver_dropped_packets_total"),
            truncated: counter!("mtasts_nameserver_truncated_answers_total"),
            tcp_refused: counter!("mtasts_nameserver_tcp_connections_refused_total"),
            feed_errors: counter!("mtasts_nameserver_feed_errors_total"),
            records_refused: counter!("mtasts_nameserver_feed_records_refused_total"),
            tcp_open: gauge!("mtasts_nameserver_tcp_connections"),
            feed_position: gauge!("mtasts_nameserver_feed_position"),
            feed_lag: gauge!("mtasts_nameserver_feed_lag_seconds"),
            records: gauge!("mtasts_nameserver_record_sets"),
            replica_in_step: gauge!("mtasts_nameserver_replica_in_step"),
        }
    }

    pub(super) fn answered(&self, record_type: Option<RecordType>, code: ResponseCode, transport: Transport) {
        let record_type = TYPES.iter().position(|(known, _)| Some(*known) == record_type).unwrap_or(TYPES.len());
        let Some(code) = CODES.iter().position(|(known, _)| *known == code) else { return };
        let transport = usize::from(transport == Transport::Tcp);
        if let Some(counter) = self.queries.get((transport * (TYPES.len() + 1) + record_type) * CODES.len() + code) {
            counter.increment(1);
        }
    }

    pub(super) fn dropped(&self) {
        self.dropped.increment(1);
    }

    pub(super) fn truncated(&self) {
        self.truncated.increment(1);
    }

    pub(super) fn tcp_refused(&self) {
        self.tcp_refused.increment(1);
    }

    pub(super) fn feed_error(&self) {
        self.feed_errors.increment(1);
    }

    pub(super) fn record_refused(&self) {
        self.records_refused.increment(1);
    }
}
