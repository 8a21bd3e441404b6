//! Metrics, registered once so that counting is one atomic addition.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// How a TLS connection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    Full,
    Resumed,
    Validation,
    UnknownName,
    Failed,
    TimedOut,
    Internal,
}

/// The statuses that an edge answers with.
const STATUSES: [u16; 9] = [200, 400, 404, 405, 408, 413, 421, 431, 503];

macro_rules! handles {
    ($($(#[$doc:meta])* $field:ident: $kind:ident = $name:literal $(, $label:literal => $value:literal)*;)+) => {
        /// All handles.
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $field: handles!(@type $kind),)+
            requests: [Counter; STATUSES.len()],
        }

        impl Counters {
            pub(crate) fn register() -> Self {
                Self {
                    $($field: $kind!($name $(, $label => $value)*),)+
                    requests: STATUSES.map(|status| counter!("mtasts_edge_requests_total", "status" => status.to_string())),
                }
            }
        }
    };
    (@type counter) => { Counter };
    (@type gauge) => { Gauge };
    (@type histogram) => { Histogram };
}

handles! {
    handshakes_full: counter = "mtasts_edge_handshakes_total", "outcome" => "full";
    handshakes_resumed: counter = "mtasts_edge_handshakes_total", "outcome" => "resumed";
    handshakes_validation: counter = "mtasts_edge_handshakes_total", "outcome" => "acme-tls-alpn";
    handshakes_unknown: counter = "mtasts_edge_handshakes_total", "outcome" => "unknown-name";
    handshakes_failed: counter = "mtasts_edge_handshakes_total", "outcome" => "failed";
    handshakes_timed_out: counter = "mtasts_edge_handshakes_total", "outcome" => "timed-out";
    handshakes_internal: counter = "mtasts_edge_handshakes_total", "outcome" => "internal-error";
    handshake_seconds: histogram = "mtasts_edge_handshake_seconds";
    refused_full: counter = "mtasts_edge_connections_refused_total", "reason" => "full";
    refused_address: counter = "mtasts_edge_connections_refused_total", "reason" => "address";
    refused_proxy: counter = "mtasts_edge_connections_refused_total", "reason" => "proxy-header";
    accept_errors: counter = "mtasts_edge_accept_errors_total";
    connections: gauge = "mtasts_edge_connections";
    cache_hits: counter = "mtasts_edge_cache_lookups_total", "result" => "hit";
    cache_misses: counter = "mtasts_edge_cache_lookups_total", "result" => "miss";
    cache_entries: gauge = "mtasts_edge_cache_entries";
    load_failures: counter = "mtasts_edge_host_load_failures_total";
    key_open_failures: counter = "mtasts_edge_key_open_failures_total";
    feed_position: gauge = "mtasts_edge_feed_position";
    feed_lag: gauge = "mtasts_edge_feed_lag_seconds";
    feed_errors: counter = "mtasts_edge_feed_errors_total";
    replica_entries: gauge = "mtasts_edge_replica_entries";
    replica_writable: gauge = "mtasts_edge_replica_writable";
    replica_failures: counter = "mtasts_edge_replica_failures_total";
    unsaved_entries: gauge = "mtasts_edge_unsaved_entries";
    ledger_pending: gauge = "mtasts_edge_ledger_pending_lines";
    ledger_errors: counter = "mtasts_edge_ledger_flush_errors_total";
}

impl Counters {
    pub(crate) fn handshake(&self, outcome: Handshake) {
        match outcome {
            Handshake::Full => &self.handshakes_full,
            Handshake::Resumed => &self.handshakes_resumed,
            Handshake::Validation => &self.handshakes_validation,
            Handshake::UnknownName => &self.handshakes_unknown,
            Handshake::Failed => &self.handshakes_failed,
            Handshake::TimedOut => &self.handshakes_timed_out,
            Handshake::Internal => &self.handshakes_internal,
        }
        .increment(1);
    }

    pub(crate) fn request(&self, status: u16) {
        if let Some(index) = STATUSES.iter().position(|known| *known == status) {
            self.requests[index].increment(1);
        }
    }
}
