//! What workers make of reports, put into the database as they do: see migrations/0014_reports.sql.

use mtasts_model::{ArrivalId, Clock, ReportId, SystemEntropy};

use crate::service::{Service, Tenant};

/// Reports on one domain.
pub(crate) struct Reports<'a> {
    pub(crate) service: &'a Service,
    tenant: String,
    domain: String,
}

/// A report; the default is a signed one of yesterday without failures.
pub(crate) struct Report<'a> {
    pub(crate) kind: &'a str,
    pub(crate) organization: &'a str,
    pub(crate) grade: &'a str,
    pub(crate) day: &'a str,
    pub(crate) good: u64,
    pub(crate) bad: u64,
    pub(crate) shared: bool,
    pub(crate) body: &'a str,
}

impl Default for Report<'_> {
    fn default() -> Self {
        Self {
            kind: "tls-rpt",
            organization: "Sender",
            grade: "verified",
            day: "2025-12-31",
            good: 10,
            bad: 0,
            shared: false,
            body: r#"{"organization": "Sender"}"#,
        }
    }
}

pub(crate) fn uuid(id: &str) -> String {
    id.split('_').nth(1).unwrap().to_owned()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl<'a> Reports<'a> {
    /// Of a domain; makes the partitions of the tests' time.
    pub(crate) async fn on(tenant: &Tenant<'a>, domain: &str) -> Self {
        let partitions = "SELECT make_report_partitions('2025-11-01', '2026-03-01')";
        tenant.service.database.psql(partitions).await;
        Self { service: tenant.service, tenant: uuid(&tenant.id), domain: uuid(domain) }
    }

    async fn sql(&self, statement: &str) {
        self.service.database.psql(statement).await;
    }

    /// In a state, with octets, and how many reports were in it.
    pub(crate) async fn arrival(&self, state: &str, raw: Option<&[u8]>, reports: u32) -> String {
        // Each is of a later millisecond, so that their order is known.
        self.service.clock.advance(chrono::TimeDelta::milliseconds(1));
        let id = ArrivalId::draw(self.service.clock.now(), &SystemEntropy);
        let octets = raw.map_or("NULL".to_owned(), |raw| format!("'\\x{}'", data_encoding::HEXLOWER.encode(raw)));
        let (due, reason) = match state {
            "waiting" => ("now()", "NULL, NULL"),
            "quarantined" => ("NULL", "'not-json', 'it is not JSON, at line 1, column 1: expected value'"),
            _ => ("NULL", "NULL, NULL"),
        };
        self.sql(&format!(
            "INSERT INTO report_arrivals (id, tenant_id, domain_id, kind, via, received_at, peer, client_name, octets, digest,
                raw, state, due_at, reason, problem, reports, repeated)
            VALUES ('{}', '{}', '{}', 'tls-rpt', 'smtp', '2026-01-01', '192.0.2.1', 'mx.sender.test', {}, sha256(''), {octets},
                '{state}', {due}, {reason}, {reports}, 0)",
            id.as_uuid(),
            self.tenant,
            self.domain,
            raw.map_or(0, <[u8]>::len)
        ))
        .await;
        id.to_string()
    }

    /// In an arrival of its own.
    pub(crate) async fn report(&self, report: Report<'_>) -> String {
        let arrival = self.arrival("read", Some(b"as it came"), 1).await;
        self.report_in(&arrival, report).await
    }

    pub(crate) async fn report_in(&self, arrival: &str, report: Report<'_>) -> String {
        self.service.clock.advance(chrono::TimeDelta::milliseconds(1));
        let id = ReportId::draw(self.service.clock.now(), &SystemEntropy);
        let Report { kind, organization, grade, day, good, bad, shared, body } = report;
        self.sql(&format!(
            "INSERT INTO reports (id, tenant_id, domain_id, arrival_id, document, kind, via, received_at, grade, signer,
                grade_reason, organization, contact, report_id, begins_at, ends_at, day, good, bad, counts, complete, shared,
                deviations, body)
            VALUES ('{}', '{}', '{}', '{}', 0, '{kind}', 'smtp', '2026-01-01', '{grade}', NULL, 'dkim-pass', {}, NULL, 'r1',
                '{day}', '{day}', '{day}', {good}, {bad}, true, true, {shared}, 0, {})",
            id.as_uuid(),
            self.tenant,
            self.domain,
            uuid(arrival),
            quoted(organization),
            quoted(body)
        ))
        .await;
        id.to_string()
    }

    /// A failure of a report.
    pub(crate) async fn tls_result(&self, report: &str, seq: u32, day: &str, result: &str, mx: &str, sessions: u64) {
        self.sql(&format!(
            "INSERT INTO tls_results (report_id, seq, tenant_id, domain_id, day, organization, grade, counts, result,
                sessions, receiving_mx, sending_ip, reason, policy_type)
            VALUES ('{}', {seq}, '{}', '{}', '{day}', 'Sender', 'verified', true, {}, {sessions}, {}, '198.51.100.7',
                '=cmd()', 'sts')",
            uuid(report),
            self.tenant,
            self.domain,
            quoted(result),
            quoted(mx)
        ))
        .await;
    }

    /// A record of a report.
    pub(crate) async fn dmarc_result(&self, report: &str, seq: u32, day: &str, ip: &str, passed: bool) {
        let (word, disposition) = if passed { ("pass", "none") } else { ("fail", "reject") };
        self.sql(&format!(
            "INSERT INTO dmarc_results (report_id, seq, tenant_id, domain_id, day, organization, grade, source_ip, messages,
                disposition, dkim, spf, passed, header_from, details)
            VALUES ('{}', {seq}, '{}', '{}', '{day}', 'Sender', 'verified', '{ip}', 3, '{disposition}', '{word}', 'fail',
                {passed}, 'a.test', '{{}}')",
            uuid(report),
            self.tenant,
            self.domain
        ))
        .await;
    }

    /// A row of the sums: `tls-rpt` or `dmarc`, dimension, day, value, grade; good and bad. Of the domain and over all.
    pub(crate) async fn sum(&self, of: [&str; 5], good: u64, bad: u64) {
        let [kind, dimension, day, value, grade] = of;
        let nil = "00000000-0000-0000-0000-000000000000";
        let domains = if dimension == "domain" { vec![nil] } else { vec![nil, self.domain.as_str()] };
        for domain in domains {
            self.sql(&format!(
                "INSERT INTO report_days VALUES ('{}', '{domain}', '{kind}', '{dimension}', '{day}', {}, '{grade}', 1,
                    {good}, {bad})
                ON CONFLICT (tenant_id, domain_id, kind, dimension, day, value, grade) DO UPDATE
                    SET reports = report_days.reports + 1, good = report_days.good + {good}, bad = report_days.bad + {bad}",
                self.tenant,
                quoted(value)
            ))
            .await;
        }
    }

    /// Since when a kind of failure is known.
    pub(crate) async fn failure_kind(&self, result: &str, mx: &str, first_day: &str, first_seen_at: &str) {
        self.sql(&format!(
            "INSERT INTO failure_kinds VALUES ('{}', '{}', {}, {}, '{first_day}', '2025-12-31', '{first_seen_at}',
                '2026-01-01', 5, true)",
            self.tenant,
            self.domain,
            quoted(result),
            quoted(mx)
        ))
        .await;
    }
}
