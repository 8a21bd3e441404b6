//! Metrics, registered once, so that a query costs one atomic addition.

use hickory_proto::{op::ResponseCode, rr::RecordType};
use metrics::{Counter, Gauge, counter, gauge};

use super::{
    rate_limit::{Category, Verdict},
    respond::Transport,
};

/// Types with a label of their own; strangers must not be able to make up labels.
const TYPES: [(RecordType, &str); 10] = [
    (RecordType::A, "A"),
    (RecordType::AAAA, "AAAA"),
    (RecordType::TXT, "TXT"),
    (RecordType::CAA, "CAA"),
    (RecordType::NS, "NS"),
    (RecordType::SOA, "SOA"),
    (RecordType::CNAME, "CNAME"),
    (RecordType::ANY, "ANY"),
    (RecordType::AXFR, "AXFR"),
    (RecordType::IXFR, "IXFR"),
];

const CODES: [(ResponseCode, &str); 8] = [
    (ResponseCode::NoError, "NOERROR"),
    (ResponseCode::NXDomain, "NXDOMAIN"),
    (ResponseCode::ServFail, "SERVFAIL"),
    (ResponseCode::FormErr, "FORMERR"),
    (ResponseCode::NotImp, "NOTIMP"),
    (ResponseCode::Refused, "REFUSED"),
    (ResponseCode::NotAuth, "NOTAUTH"),
    (ResponseCode::BADVERS, "BADVERS"),
];

/// How a notification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notified {
    Acknowledged,
    Unanswered,
    Refused,
    Failed,
}

/// The nameserver's metrics.
pub(super) struct Counters {
    /// By transport, type, code.
    queries: Vec<Counter>,
    dropped: Counter,
    truncated: Counter,
    tcp_refused: Counter,
    /// Over UDP, then TCP.
    headers_refused: [Counter; 2],
    feed_errors: Counter,
    records_refused: Counter,
    /// By category; dropped, then truncated.
    limited: [[Counter; 2]; 3],
    /// In the order of [`Notified`].
    notified: [Counter; 4],
    /// AXFR, then IXFR; completed, then broken off.
    transfers: [[Counter; 2]; 2],
    pub(super) transfers_open: Gauge,
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
            headers_refused: ["udp", "tcp"]
                .map(|transport| counter!("mtasts_nameserver_proxy_headers_refused_total", "transport" => transport)),
            feed_errors: counter!("mtasts_nameserver_feed_errors_total"),
            records_refused: counter!("mtasts_nameserver_feed_records_refused_total"),
            limited: Category::ALL.map(|category| {
                ["dropped", "truncated"].map(|verdict| {
                    counter!("mtasts_nameserver_rate_limited_answers_total",
                        "category" => category.word(), "verdict" => verdict)
                })
            }),
            notified: ["acknowledged", "unanswered", "refused", "failed"]
                .map(|outcome| counter!("mtasts_nameserver_notifications_total", "outcome" => outcome)),
            transfers: ["AXFR", "IXFR"].map(|kind| {
                ["completed", "broken_off"]
                    .map(|outcome| counter!("mtasts_nameserver_transfers_total", "type" => kind, "outcome" => outcome))
            }),
            transfers_open: gauge!("mtasts_nameserver_transfers"),
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

    /// An answer that was not sent as it was.
    pub(super) fn limited(&self, category: Category, verdict: Verdict) {
        let category = Category::ALL.iter().position(|known| *known == category).unwrap_or(0);
        self.limited[category][usize::from(verdict == Verdict::Truncate)].increment(1);
    }

    pub(super) fn notified(&self, outcome: Notified) {
        let place = match outcome {
            Notified::Acknowledged => 0,
            Notified::Unanswered => 1,
            Notified::Refused => 2,
            Notified::Failed => 3,
        };
        self.notified[place].increment(1);
    }

    /// A transfer over TCP has ended.
    pub(super) fn transferred(&self, is_whole: bool, is_complete: bool) {
        self.transfers[usize::from(!is_whole)][usize::from(!is_complete)].increment(1);
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

    /// A packet or a connection that does not begin as load balancers' do.
    pub(super) fn header_refused(&self, transport: Transport) {
        self.headers_refused[usize::from(transport == Transport::Tcp)].increment(1);
    }

    pub(super) fn feed_error(&self) {
        self.feed_errors.increment(1);
    }

    pub(super) fn record_refused(&self) {
        self.records_refused.increment(1);
    }
}
