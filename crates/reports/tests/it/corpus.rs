//! The files of `testdata`, each of which says by its name what it is.

use std::{collections::BTreeSet, fs, path::PathBuf};

use mtasts_reports::{DeviationCode, Limits, Unreadable, open, read};

/// Name and octets of each file of one folder of `testdata`.
pub(crate) fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

pub(crate) fn all_files() -> Vec<(String, Vec<u8>)> {
    ["good", "deviations", "unreadable"].into_iter().flat_map(files).collect()
}

pub(crate) fn file(folder: &str, name: &str) -> Vec<u8> {
    files(folder).into_iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name}")).1
}

fn code_of(name: &str) -> &str {
    name.split('.').next().unwrap()
}

#[test]
fn good_reports_are_read_without_a_deviation() {
    for (name, bytes) in files("good") {
        let readings: Vec<_> = read(&bytes, &Limits::default()).collect();
        for reading in readings {
            let (report, identity) = reading.outcome.unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(reading.on_the_way.list(), [], "{name}");
            assert_eq!(report.deviations().list(), [], "{name}");
            assert!(!identity.keys.is_empty(), "{name}");
        }
    }
}

#[test]
fn each_departure_is_read_and_named() {
    for (name, bytes) in files("deviations") {
        let readings: Vec<_> = read(&bytes, &Limits::default()).collect();
        let codes: BTreeSet<_> = readings
            .into_iter()
            .flat_map(|reading| {
                let (report, _) = reading.outcome.unwrap_or_else(|why| panic!("{name}: {why}"));
                let all = reading.on_the_way.list().iter().chain(report.deviations().list());
                all.map(|deviation| deviation.code.as_str()).collect::<Vec<_>>()
            })
            .collect();
        assert!(codes.contains(code_of(&name)), "{name} has {codes:?}");
    }
}

#[test]
fn there_is_a_file_for_each_code_of_a_deviation() {
    let files = files("deviations");
    let named: BTreeSet<_> = files.iter().map(|(name, _)| code_of(name)).collect();
    let known: BTreeSet<_> = DeviationCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(named, known);
}

#[test]
fn the_documentation_has_each_code() {
    let text = include_str!("../../../../docs/reports.md");
    let unreadable: BTreeSet<_> = files("unreadable").iter().map(|(name, _)| code_of(name).to_owned()).collect();
    let deviations = DeviationCode::ALL.iter().map(|code| code.as_str().to_owned());
    for code in deviations.chain(unreadable) {
        assert!(text.contains(&format!("`{code}`")), "{code}");
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    for (name, bytes) in files("unreadable") {
        let readings: Vec<_> = read(&bytes, &Limits::default()).collect();
        let codes: Vec<_> =
            readings.into_iter().map(|reading| reading.outcome.map(drop).map_err(|why| why.code())).collect();
        assert_eq!(codes, [Err(code_of(&name))], "{name}");
    }
}

#[test]
fn a_document_is_found_in_every_file_that_is_not_beyond_reading() {
    for (name, bytes) in files("good").into_iter().chain(files("deviations")) {
        let opened = open(&bytes, &Limits::default());
        assert!(opened.found.iter().all(|found| found.document.is_ok()), "{name}");
    }
}

#[test]
fn every_file_cut_off_anywhere_is_read_or_refused_and_never_panics() {
    let limits = Limits::default();
    for (name, bytes) in all_files() {
        let step = (bytes.len() / 60).max(1);
        for end in (0..bytes.len()).step_by(step) {
            for reading in read(&bytes[..end], &limits) {
                let refused = reading.outcome.err();
                assert!(!refused.is_some_and(|why| matches!(why, Unreadable::TooLarge { .. })), "{name}");
            }
        }
    }
}
