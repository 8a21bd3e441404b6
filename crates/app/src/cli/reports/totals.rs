//! Sums over all files.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Write},
};

use mtasts_reports::{Identity, Report, ReportKey, tls_rpt::ResultType};
use serde::Serialize;

use super::table::fit;

/// Sums over all files. A report that came several times counts once, and what is said of report hosts not at all.
#[derive(Debug, Serialize)]
pub(super) struct Totals {
    kind: &'static str,
    pub(super) files: u64,
    pub(super) without_a_report: u64,
    pub(super) unreadable: u64,
    tls_reports: u64,
    dmarc_reports: u64,
    repeated: u64,
    sessions: Sessions,
    messages: Messages,
    /// By kind too: the two have ids of their own.
    #[serde(skip)]
    seen: HashSet<(bool, ReportKey)>,
}

#[derive(Debug, Default, Serialize)]
struct Sessions {
    successful: u64,
    failed: u64,
    failed_by_result: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Serialize)]
struct Messages {
    all: u64,
    passing: u64,
    failing: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            kind: "totals",
            files: 0,
            without_a_report: 0,
            unreadable: 0,
            tls_reports: 0,
            dmarc_reports: 0,
            repeated: 0,
            sessions: Sessions::default(),
            messages: Messages::default(),
            seen: HashSet::new(),
        }
    }
}

impl Totals {
    /// Adds a report, unless it was added before: then true.
    pub(super) fn add(&mut self, report: &Report, identity: &Identity) -> bool {
        let mut is_new = identity.keys.is_empty();
        for key in &identity.keys {
            is_new |= self.seen.insert((matches!(report, Report::TlsRpt(_)), key.clone()));
        }
        if !is_new {
            self.repeated += 1;
            return true;
        }
        match report {
            Report::TlsRpt(report) => {
                self.tls_reports += 1;
                for policy in report.policies.iter().filter(|policy| !policy.about_report_host) {
                    add(&mut self.sessions.successful, policy.successful_sessions.unwrap_or(0));
                    add(&mut self.sessions.failed, policy.failed());
                    for failure in &policy.failures {
                        let by_result = &mut self.sessions.failed_by_result;
                        add(
                            by_result.entry(word(&failure.result).to_owned()).or_default(),
                            failure.sessions.unwrap_or(1),
                        );
                    }
                }
            }
            Report::Dmarc(report) => {
                self.dmarc_reports += 1;
                for record in &report.records {
                    let count = record.messages.unwrap_or(0);
                    add(&mut self.messages.all, count);
                    let part = if record.passes() { &mut self.messages.passing } else { &mut self.messages.failing };
                    add(part, count);
                }
            }
        }
        false
    }

    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "TOTAL")?;
        let Self { files, tls_reports, dmarc_reports, unreadable, repeated, without_a_report, .. } = self;
        writeln!(out, "  files: {files}, of which {without_a_report} without a report")?;
        writeln!(
            out,
            "  reports: {tls_reports} TLS, {dmarc_reports} DMARC, {repeated} repeated, {unreadable} unreadable"
        )?;
        if self.tls_reports > 0 {
            writeln!(out, "  sessions: {} good, {} failed", self.sessions.successful, self.sessions.failed)?;
            for (result, count) in &self.sessions.failed_by_result {
                writeln!(out, "  {count:>10}  {}", fit(result))?;
            }
        }
        if self.dmarc_reports > 0 {
            let Messages { all, passing, failing } = self.messages;
            writeln!(out, "  messages: {all}, of which {passing} pass DMARC and {failing} fail")?;
        }
        Ok(())
    }
}

fn add(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

/// A word for each result, also for the one that has none.
pub(super) fn word(result: &ResultType) -> &str {
    match result.as_str() {
        "" => "(no result type)",
        word => word,
    }
}
