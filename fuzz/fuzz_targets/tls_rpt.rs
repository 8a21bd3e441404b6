//! A JSON document to a TLS report.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtasts_reports::{Limits, ReportHosts, tls_rpt::Report};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    if let Ok(mut report) = Report::parse(bytes, &limits) {
        report.mark_report_hosts(&ReportHosts::new(["example.net"]));
        for policy in &report.policies {
            assert!(policy.failures.len() <= limits.rows);
            let _ = (policy.failed(), policy.policy.sts(), policy.policy_host());
        }
        let _ = (report.policy_domains(), report.period.day());
        assert!(serde_json::to_vec(&report).is_ok());
    }
});
