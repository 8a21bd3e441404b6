//! Reports from the real world, where they lie beside the project.

use std::{fs, path::PathBuf};

use mtasts_reports::{Limits, Report, read, tls_rpt::PolicyReport};

#[test]
fn every_sample_from_the_real_world_is_read() {
    let samples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    let mut totals = Vec::new();
    for folder in ["tlsrpt", "dmarc"] {
        let Ok(entries) = fs::read_dir(samples.join(folder)) else { return };
        for entry in entries {
            let entry = entry.unwrap();
            for reading in read(&fs::read(entry.path()).unwrap(), &Limits::default()) {
                let name = entry.file_name().into_string().unwrap();
                let (report, identity) = reading.outcome.unwrap_or_else(|why| panic!("{name}: {why}"));
                assert!(!identity.keys.is_empty(), "{name}");
                totals.push(match report {
                    Report::TlsRpt(report) => {
                        let good = report.policies.iter().map(|policy| policy.successful_sessions.unwrap_or(0)).sum();
                        (name, good, report.policies.iter().map(PolicyReport::failed).sum::<u64>())
                    }
                    Report::Dmarc(report) => (name, report.messages(), 0),
                });
            }
        }
    }
    totals.sort();
    assert_eq!(totals.len(), 12, "{totals:?}");
    assert!(totals.contains(&("rfc8460.json".to_owned(), 5326, 303)), "{totals:?}");
}
