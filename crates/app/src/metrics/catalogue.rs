//! The list. In alphabetical order within each part.

use metrics::Unit;

use super::{
    Kind::{Counter, Gauge, Histogram},
    Metric, Part,
};

type Labels = &'static [&'static str];

const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { kind: Counter, name, unit: Unit::Count, labels, help }
}

const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { kind: Gauge, name, unit: Unit::Count, labels, help }
}

const fn seconds(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { kind: Histogram, name, unit: Unit::Seconds, labels, help }
}

/// Seconds that are not distributed over anything, such as an age.
const fn age(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { kind: Gauge, name, unit: Unit::Seconds, labels, help }
}

const fn bytes(metric: Metric) -> Metric {
    Metric { unit: Unit::Bytes, ..metric }
}

pub(super) const CATALOGUE: &[Part] = &[
    Part {
        title: "Process",
        role: "every role",
        metrics: &[
            gauge("mtasts_build_info", &["version", "rust_version"], "Always 1; which version runs"),
            gauge(
                "mtasts_database_connections",
                &["role", "state"],
                "Connections of the role's pool, `used` or `idle`",
            ),
            gauge("mtasts_database_connections_max", &["role"], "How many connections the role's pool may open"),
            gauge(
                "mtasts_database_nudges_up",
                &[],
                "1 while notifications of Postgres are listened to; 0: polls find what is new",
            ),
            seconds(
                "mtasts_database_ping_seconds",
                &["role"],
                "What a statement that does nothing took, the wait for a connection included",
            ),
            gauge(
                "mtasts_database_up",
                &["role"],
                "1 if the database answered the role within 3 s when it was last asked",
            ),
            gauge(
                "mtasts_redis_up",
                &["use"],
                "1 while Redis is connected, for `limits` or `nudges`; not there where none is configured",
            ),
            gauge("mtasts_role_ready", &["role"], "1 if work may be sent to the role, as `/readyz` says"),
            counter(
                "mtasts_store_unreadable_rows_total",
                &["table"],
                "Rows of a feed that could not be read and were left out: a defect",
            ),
            counter(
                "mtasts_telemetry_batches_total",
                &["outcome"],
                "Batches of spans: `taken` by the collector or `lost`",
            ),
        ],
    },
    Part {
        title: "API",
        role: "api",
        metrics: &[
            counter(
                "mtasts_api_customer_dns_calls_total",
                &["call", "outcome"],
                "Calls of customers' DNS providers and name servers",
            ),
            counter(
                "mtasts_api_limit_decisions_total",
                &["by"],
                "Calls that were held to their limits, by `redis` (shared) or by the `process` alone",
            ),
            counter(
                "mtasts_api_operation_chunk_failures_total",
                &[],
                "Chunks of bulk operations that could not be committed and are tried again",
            ),
            counter("mtasts_api_operation_lines_total", &["outcome"], "Lines of bulk operations that were carried out"),
            counter(
                "mtasts_api_rate_limited_total",
                &["policy"],
                "Calls that were refused with 429, by whose bucket was empty",
            ),
            seconds(
                "mtasts_api_request_duration_seconds",
                &["route", "method"],
                "From the head of a request to its answer, by the pattern of its route",
            ),
            counter(
                "mtasts_api_requests_total",
                &["route", "method", "status"],
                "Answers, by the pattern of the route; `unmatched` where there is none",
            ),
            gauge("mtasts_api_requests_in_flight", &[], "Requests that are being answered"),
            counter(
                "mtasts_oidc_fetches_total",
                &["issuer", "outcome"],
                "Fetches of the keys of an identity provider, by the operator's name for it",
            ),
        ],
    },
    Part {
        title: "Edge",
        role: "edge",
        metrics: &[
            counter("mtasts_edge_accept_errors_total", &[], "accept() failures, such as too many open files"),
            gauge("mtasts_edge_cache_entries", &[], "Hosts with an opened key in memory"),
            counter("mtasts_edge_cache_lookups_total", &["result"], "Lookups of known hosts in the key cache"),
            gauge("mtasts_edge_connections", &[], "Open connections"),
            counter(
                "mtasts_edge_connections_refused_total",
                &["reason"],
                "Connections closed unread: `full`, `address` (too many of one) or `proxy-header`",
            ),
            counter("mtasts_edge_feed_errors_total", &[], "Calls of the feed that failed"),
            age("mtasts_edge_feed_lag_seconds", &[], "Seconds since the feed was last read to its end"),
            gauge("mtasts_edge_feed_position", &[], "Revision up to which this edge serves"),
            seconds(
                "mtasts_edge_handshake_seconds",
                &[],
                "From accept to the end of a handshake that succeeded, the client's round trips included",
            ),
            counter(
                "mtasts_edge_handshakes_total",
                &["outcome"],
                "TLS connections by how they began; only `internal-error` is a fault of ours",
            ),
            counter("mtasts_edge_host_load_failures_total", &[], "Hosts whose row, key or chain could not be used"),
            counter(
                "mtasts_edge_key_open_failures_total",
                &[],
                "Sealed keys that did not open, such as with a wrong key ring",
            ),
            counter("mtasts_edge_ledger_flush_errors_total", &[], "Hand-overs of the served ledger that failed"),
            gauge("mtasts_edge_ledger_pending_lines", &[], "Lines of the served ledger not yet handed over"),
            gauge("mtasts_edge_replica_entries", &[], "Hosts in the replica"),
            counter("mtasts_edge_replica_failures_total", &[], "Failed writes and corruptions of the replica"),
            gauge("mtasts_edge_replica_writable", &[], "1 while changes reach the disk"),
            counter("mtasts_edge_requests_total", &["status"], "Answers by HTTP status, both ports"),
            gauge("mtasts_edge_unsaved_entries", &[], "Hosts served from memory because the disk refused them"),
        ],
    },
    Part {
        title: "Nameserver",
        role: "nameserver",
        metrics: &[
            counter(
                "mtasts_nameserver_dropped_packets_total",
                &[],
                "Packets that were not answered because they cannot be read",
            ),
            counter("mtasts_nameserver_feed_errors_total", &[], "Calls of the feed that failed"),
            age("mtasts_nameserver_feed_lag_seconds", &[], "Seconds since the feed was last read to its end"),
            gauge("mtasts_nameserver_feed_position", &[], "Revision up to which this nameserver answers"),
            counter(
                "mtasts_nameserver_feed_records_refused_total",
                &[],
                "Record sets of the feed that cannot be served: a defect",
            ),
            counter("mtasts_nameserver_notifications_total", &["outcome"], "NOTIFY messages to secondaries"),
            counter(
                "mtasts_nameserver_proxy_headers_refused_total",
                &["transport"],
                "Packets dropped and connections closed, because they are of no load balancer or lack its PROXY header",
            ),
            counter(
                "mtasts_nameserver_queries_total",
                &["transport", "type", "rcode"],
                "Answers; types that nobody needs are `other`",
            ),
            counter(
                "mtasts_nameserver_rate_limited_answers_total",
                &["category", "verdict"],
                "Answers that the rate limit dropped or truncated",
            ),
            gauge("mtasts_nameserver_record_sets", &[], "Record sets that are answered"),
            gauge("mtasts_nameserver_replica_in_step", &[], "1 while what is answered is what is on disk"),
            counter(
                "mtasts_nameserver_signatures_total",
                &["source"],
                "RRSIGs that were `made`, or `kept` from before",
            ),
            gauge("mtasts_nameserver_tcp_connections", &[], "Open TCP connections"),
            counter(
                "mtasts_nameserver_tcp_connections_refused_total",
                &[],
                "TCP connections closed unread, because there are too many",
            ),
            gauge("mtasts_nameserver_transfers", &[], "Zone transfers under way"),
            counter("mtasts_nameserver_transfers_total", &["type", "outcome"], "Zone transfers that ended"),
            counter("mtasts_nameserver_truncated_answers_total", &[], "Answers over UDP that were too long"),
        ],
    },
    Part {
        title: "Worker",
        role: "worker",
        metrics: &[
            counter("mtasts_worker_claims_total", &[], "Domains that were claimed"),
            gauge("mtasts_worker_domains_in_work", &[], "Domains that this worker has claimed"),
            counter(
                "mtasts_worker_mx_looks_total",
                &["outcome"],
                "Looks at MX hosts that domains wanted: `connected`, `shared` with domains on the same host, `put_off` for want of room",
            ),
            counter(
                "mtasts_worker_orders_deferred_total",
                &["budget"],
                "Certificate orders that wait for the budget of the `ca` or of a `tenant`",
            ),
            seconds(
                "mtasts_worker_policy_published_seconds",
                &["change"],
                "From a new policy version until its id was read back from DNS; `first` of a domain waits for its owner, `later` does not",
            ),
            seconds(
                "mtasts_worker_policy_served_seconds",
                &["change"],
                "From a new policy version until every edge served it; `first` or `later` as above",
            ),
            counter("mtasts_worker_probes_deferred_total", &[], "Looks at MX hosts that found no free place"),
            age(
                "mtasts_worker_queue_age_seconds",
                &[],
                "How late the domain is that has been due the longest, as this worker saw when it last claimed",
            ),
            seconds("mtasts_worker_step_seconds", &["step"], "Steps of the planner, those that failed included"),
            counter(
                "mtasts_worker_steps_total",
                &["step", "outcome"],
                "Steps of the planner: `done`, `waiting`, `put_off` (no room at an MX host), `closed` (an order without a certificate), `failed`, `refused`",
            ),
            counter(
                "mtasts_worker_store_unavailable_total",
                &[],
                "Times that the database was away when something was to be claimed or recorded",
            ),
        ],
    },
    Part {
        title: "The whole installation",
        role: "worker; every worker shows the same figures, taken every 30 seconds by one of them, from indexes, and none beyond 10,000",
        metrics: &[
            gauge(
                "mtasts_certificates_expiring",
                &["within_days"],
                "Served certificates whose renewal is due and that end within so many days; 0: have ended",
            ),
            gauge("mtasts_certificates_renewal_due", &[], "Served certificates whose renewal is due"),
            gauge(
                "mtasts_feed_head_revision",
                &["kind"],
                "Newest revision of the feed that `edge` or `nameserver` follow",
            ),
            gauge("mtasts_feed_lag_revisions", &["kind"], "How far the last of the live nodes is behind the head"),
            age("mtasts_fleet_figures_age_seconds", &[], "How old these figures are"),
            gauge(
                "mtasts_nodes",
                &["kind", "state"],
                "Edges and nameservers that have not retired: `alive`, or `silent` and waited for",
            ),
            age("mtasts_queue_age_seconds", &["queue"], "How late that is which has been due the longest"),
            gauge(
                "mtasts_queue_depth",
                &["queue"],
                "What is due in `domains`, `reports`, `alerts`, `digests`, `webhooks`, `operations`",
            ),
            gauge(
                "mtasts_report_arrivals_in_quarantine",
                &[],
                "Reports that could not be read and are kept for a look",
            ),
            gauge(
                "mtasts_zone_writes_refused",
                &["hosting"],
                "Record sets that a DNS provider refused and that are tried again",
            ),
        ],
    },
    Part {
        title: "Certificates, DNS providers, zones",
        role: "worker",
        metrics: &[
            seconds("mtasts_acme_request_seconds", &[], "Calls of the CA, those without an answer included"),
            counter("mtasts_acme_requests_total", &["status"], "Calls of the CA by HTTP status; `none`: no answer"),
            seconds(
                "mtasts_dns_provider_request_seconds",
                &["provider"],
                "Calls of a DNS provider, those that failed included",
            ),
            counter(
                "mtasts_dns_provider_requests_total",
                &["provider", "outcome"],
                "Calls of a DNS provider; `ok` or why not",
            ),
            seconds("mtasts_zone_batch_seconds", &["hosting"], "Batches of changes at a DNS provider"),
            counter(
                "mtasts_zone_provider_failures_total",
                &["hosting", "reason"],
                "Times that a provider took nothing at all",
            ),
            gauge(
                "mtasts_zone_provider_up",
                &["hosting"],
                "0 while a provider takes nothing at all; shown by the worker that writes to it",
            ),
            counter(
                "mtasts_zone_repairs_total",
                &["hosting"],
                "Record sets that had drifted from what is wanted and were repaired",
            ),
            age(
                "mtasts_zone_sweep_age_seconds",
                &["hosting"],
                "Seconds since all of a zone was last compared with what is wanted",
            ),
            counter("mtasts_zone_sweep_failures_total", &["hosting"], "Comparisons that were broken off"),
            gauge(
                "mtasts_zone_sweep_records",
                &["hosting", "state"],
                "What the last comparison found: `observed`, `desired`, and the drift: `missing`, `different`, `surplus`, `foreign`, `failed`",
            ),
            seconds("mtasts_zone_sweep_seconds", &["hosting"], "Comparisons that came to their end"),
            counter(
                "mtasts_zone_writes_total",
                &["hosting", "outcome"],
                "Record sets that were handed to a DNS provider; `done` or why not",
            ),
        ],
    },
    Part {
        title: "Looks at customers' domains",
        role: "worker",
        metrics: &[
            seconds("mtasts_inspect_seconds", &[], "Inspections of a domain as a sender sees it"),
            counter("mtasts_inspections_total", &["severity"], "Inspections by their worst finding"),
            seconds("mtasts_probe_mx_host_seconds", &[], "Looks at one MX host"),
            counter(
                "mtasts_probe_mx_hosts_total",
                &["outcome"],
                "Looks at one MX host: `good`, or a code of RFC 8460 §4.3",
            ),
            seconds(
                "mtasts_probe_policy_fetch_seconds",
                &[],
                "Fetches of a policy from one address, as a sender makes them",
            ),
        ],
    },
    Part {
        title: "Report intake",
        role: "intake",
        metrics: &[
            gauge("mtasts_intake_connections", &["via"], "Open connections"),
            counter(
                "mtasts_intake_connections_refused_total",
                &["via", "reason"],
                "Connections closed unread: `full`, `address` (too many of one) or `proxy-header`",
            ),
            bytes(gauge("mtasts_intake_held_bytes", &[], "Reports in memory")),
            counter("mtasts_intake_lookups_total", &["source"], "Looks for recipients, by where the answer came from"),
            counter(
                "mtasts_intake_reports_total",
                &["via", "outcome"],
                "Deliveries to one address; `accepted` and `duplicate` are good, `not-stored` and `no-room` are faults of ours",
            ),
            counter("mtasts_intake_smtp_errors_total", &["reply"], "Commands that were refused, by reply code"),
            counter("mtasts_intake_smtp_sessions_total", &["tls"], "Mail sessions, by whether they used TLS"),
            seconds("mtasts_intake_store_seconds", &[], "From the last octet of a report to its commit"),
            bytes(counter("mtasts_intake_stored_bytes_total", &["via"], "Reports that were stored")),
        ],
    },
    Part {
        title: "Checks, reports, alerts, mails, webhooks",
        role: "worker",
        metrics: &[
            counter("mtasts_alert_looks_total", &["outcome"], "Looks at domains whose reports have changed"),
            counter("mtasts_alerts_told_total", &["type"], "Events that such looks have written, by type"),
            age(
                "mtasts_alerts_waiting_seconds",
                &[],
                "How late the look is that has been due the longest, as this worker saw",
            ),
            counter(
                "mtasts_checks_total",
                &["kind", "result"],
                "Checks that tenants asked for and that ended: `done`, or why not",
            ),
            gauge("mtasts_checks_under_way", &[], "Checks that this worker carries out now"),
            counter(
                "mtasts_digest_mails_total",
                &["purpose", "outcome"],
                "Attempts to send a digest, or the question whether one is wanted",
            ),
            counter(
                "mtasts_report_arrivals_quarantined_total",
                &["kind", "reason"],
                "Arrivals that could not be read, by what was sent to: `tls-rpt` or `dmarc`",
            ),
            counter("mtasts_report_arrivals_read_total", &[], "Arrivals that were read and put in"),
            counter("mtasts_reports_deferred_total", &[], "Arrivals put off, because DNS did not say who sent them"),
            age(
                "mtasts_reports_queue_age_seconds",
                &[],
                "How late the arrival is that has been due the longest, as this worker saw",
            ),
            counter(
                "mtasts_reports_read_total",
                &["kind", "grade"],
                "Reports that were read, by how well it is known who made them",
            ),
            counter("mtasts_reports_repeated_total", &[], "Reports that were known already"),
            seconds("mtasts_webhook_attempt_seconds", &[], "Attempts to deliver an event"),
            gauge("mtasts_webhook_attempts_in_flight", &[], "Attempts under way"),
            counter(
                "mtasts_webhook_attempts_total",
                &["outcome"],
                "Attempts: `delivered`, `retry`, `failed` (the last one), `gone` (410: switched off)",
            ),
        ],
    },
];
