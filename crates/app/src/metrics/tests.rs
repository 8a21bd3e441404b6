//! The list against the code and against its page.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{CATALOGUE, Kind, Metric, document};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Kind and labels by name.
type Known = BTreeMap<String, (Kind, BTreeSet<String>)>;

fn listed() -> impl Iterator<Item = &'static Metric> {
    CATALOGUE.iter().flat_map(|part| part.metrics)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What stands between quotes after `start`, at once.
fn literal(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix('"')?.split('"').next()
}

/// The labels of a macro's arguments, up to the bracket or semicolon that ends them.
fn labels(arguments: &str) -> BTreeSet<String> {
    let mut depth = 0_i32;
    let end = arguments.find(|character| {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth < 0 || (depth == 0 && character == ';')
    });
    let mut parts: Vec<_> = arguments[..end.unwrap()].split("=>").collect();
    parts.pop();
    // A label is the last thing between quotes before its arrow.
    parts.iter().map(|part| part.trim_end().trim_end_matches('"').rsplit('"').next().unwrap().to_owned()).collect()
}

/// What the code counts. A name that is not written out where it is counted cannot be found by anybody.
fn counted() -> Known {
    let mut files = Vec::new();
    for crate_folder in fs::read_dir(Path::new(ROOT).join("crates")).unwrap() {
        sources(&crate_folder.unwrap().path().join("src"), &mut files);
    }
    let mut known = Known::new();
    for file in files.iter().filter(|file| !file.ends_with("metrics/tests.rs")) {
        let text = fs::read_to_string(file).unwrap();
        for (kind, word) in [(Kind::Counter, "counter"), (Kind::Gauge, "gauge"), (Kind::Histogram, "histogram")] {
            // The macros, and the table of handles of the edge.
            for opening in [format!("{word}!("), format!(": {word} = ")] {
                for (at, _) in text.match_indices(&opening) {
                    let arguments = &text[at + opening.len()..];
                    let described = text[..at].ends_with("describe_");
                    let Some(name) = literal(arguments).filter(|_| !described) else { continue };
                    let labels = labels(arguments);
                    let entry = known.entry(name.to_owned()).or_insert_with(|| (kind, labels.clone()));
                    assert_eq!(*entry, (kind, labels), "{name} is counted in two ways, once in {}", file.display());
                }
            }
        }
    }
    known
}

#[test]
fn every_metric_in_the_code_is_listed_with_its_kind_and_labels_and_the_other_way_round() {
    let counted = counted();
    assert!(counted.len() > 80, "the search has lost its way: {counted:?}");
    let listed: Known = listed()
        .map(|metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            (metric.name.to_owned(), (metric.kind, labels))
        })
        .collect();
    for (name, found) in &counted {
        assert_eq!(listed.get(name), Some(found), "{name}, as it is counted, is not in metrics/catalogue.rs");
    }
    for name in listed.keys() {
        assert!(counted.contains_key(name), "{name} is listed and counted nowhere");
    }
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    let mut names = BTreeSet::new();
    for Metric { kind, name, unit, labels, help } in listed() {
        assert!(names.insert(name), "{name} is listed twice");
        assert!(name.starts_with("mtasts_"), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let base = name.trim_end_matches("_total");
        assert_eq!(*unit == metrics::Unit::Seconds, base.ends_with("_seconds"), "{name}");
        assert_eq!(*unit == metrics::Unit::Bytes, base.ends_with("_bytes"), "{name}");
        assert!(*kind != Kind::Histogram || base.ends_with("_seconds"), "{name} has no buckets");
        assert!(!help.is_empty() && !help.ends_with('.') && !help.contains('|'), "{name}: {help}");
        for label in *labels {
            let stranger =
                ["domain", "tenant", "name", "label", "address", "host", "url", "path", "id"].contains(label);
            assert!(!stranger, "{name} has as many series as there are strangers: {label}");
        }
    }
}

#[test]
fn the_page_is_what_mtasts_metrics_prints() {
    let page = Path::new(ROOT).join("docs/metrics.md");
    let found = fs::read_to_string(&page).unwrap_or_default();
    assert!(found == document(), "docs/metrics.md is not up to date: run `mtasts metrics > docs/metrics.md`");
}
