//! From whatever arrives to the documents in it, and on to the reports.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtasts_reports::{Limits, open, read};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated: 1 << 20, ..Limits::default() };
    let opened = open(bytes, &limits);
    assert!(!opened.found.is_empty());
    assert!(opened.spent.inflated <= limits.inflated);
    assert!(opened.spent.parts <= limits.parts && opened.spent.entries <= limits.entries);
    drop(opened);
    for reading in read(bytes, &limits) {
        if let Ok((report, identity)) = reading.outcome {
            assert!(serde_json::to_vec(&(report, identity)).is_ok());
        }
    }
});
