//! An XML document to a DMARC report.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtasts_reports::{Limits, dmarc::Report};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    if let Ok(report) = Report::parse(bytes, &limits) {
        assert!(report.records.len() <= limits.rows);
        let _ = (report.messages(), report.period.day());
        assert!(serde_json::to_vec(&report).is_ok());
    }
});
