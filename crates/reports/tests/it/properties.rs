//! Whatever comes, nothing panics and the caps hold.

use mtasts_reports::{Document, Identity, Limits, Report, dmarc, open, read, tls_rpt};
use proptest::{prelude::*, sample::Index};

use crate::corpus::all_files;

/// Small caps, so that the inputs that proptest makes meet them.
fn tight() -> Limits {
    Limits {
        octets: 4096,
        inflated: 8192,
        ratio: 50,
        parts: 5,
        depth: 6,
        entries: 4,
        rows: 6,
        values: 200,
        deviations: 5,
    }
}

/// Reads the input with both kinds of caps, and holds what came of it to them.
fn check(bytes: &[u8]) {
    for limits in [Limits::default(), tight()] {
        let opened = open(bytes, &limits);
        assert!(!opened.found.is_empty());
        assert!(opened.spent.inflated <= limits.inflated);
        assert!(opened.spent.parts <= limits.parts);
        assert!(opened.spent.entries <= limits.entries);
        for found in &opened.found {
            assert!(found.deviations.list().len() <= limits.deviations);
            assert!(found.path.len() <= 3 * limits.depth + 2);
            let Ok(document) = &found.document else { continue };
            let (Document::Json(octets) | Document::Xml(octets)) = document;
            assert!(octets.len() <= limits.octets.max(limits.inflated));
            let Ok(report) = Report::parse(document, &limits) else { continue };
            assert!(report.deviations().list().len() <= limits.deviations);
            Identity::of(&report, found);
            let json = serde_json::to_string(&report).expect("every report can be written as JSON");
            match report {
                Report::TlsRpt(report) => {
                    let rows: usize = report.policies.iter().map(|policy| 1 + policy.failures.len()).sum();
                    assert!(rows + report.unread.len() <= limits.rows);
                }
                Report::Dmarc(report) => assert!(report.records.len() <= limits.rows),
            }
            serde_json::from_str::<serde_json::Value>(&json).expect("and read back");
        }
    }
}

/// One file of the corpus with octets changed, cut out, put in, or repeated.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<Index>(), any::<Index>(), 0..5_u8, any::<u8>()), 1..8);
    (any::<Index>(), changes).prop_map(|(file, changes)| {
        let mut files = all_files();
        let mut bytes = files.swap_remove(file.index(files.len())).1;
        for (from, to, kind, octet) in changes {
            if bytes.is_empty() {
                break;
            }
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let (from, to) = (from.min(to), from.max(to));
            match kind {
                0 => bytes[from] = octet,
                1 => drop(bytes.drain(from..to.min(from + 50))),
                2 => bytes.insert(from, octet),
                3 => {
                    let copy = bytes[from..to].to_vec();
                    bytes.splice(to..to, copy);
                }
                _ => bytes.truncate(to),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_octets_never_panic_and_stay_within_the_caps(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        check(&bytes);
    }

    #[test]
    fn arbitrary_octets_behind_a_familiar_beginning_do_neither(
        head in prop::sample::select(vec![
            &b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], b"PK\x03\x04", b"PK\x05\x06", b"{\"policies\":[", b"<feedback><record>",
            b"From: a@example.net\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", b"\xff\xfe", b"H4sI",
        ]),
        tail in prop::collection::vec(any::<u8>(), 0..500),
    ) {
        check(&[head, &tail].concat());
        let _ = tls_rpt::Report::parse(&tail, &tight());
        let _ = dmarc::Report::parse(&[b"<feedback>", &tail[..]].concat(), &tight());
    }

    #[test]
    fn mutated_reports_do_neither(bytes in mutated()) {
        check(&bytes);
    }
}

#[test]
fn the_whole_corpus_is_read_the_same_twice_and_within_tight_caps() {
    for (name, bytes) in all_files() {
        check(&bytes);
        let twice = [0, 1].map(|_| {
            let readings = read(&bytes, &Limits::default());
            readings.map(|reading| format!("{:?}", reading.outcome)).collect::<Vec<_>>()
        });
        assert_eq!(twice[0], twice[1], "{name}");
    }
}
