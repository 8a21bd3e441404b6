//! What the roles export to Prometheus: one list of all metrics, which describes them at the start of a process, is
//! printed by `mtasts metrics`, and is held to the code and to `docs/metrics.md` by the tests below.

mod catalogue;

use std::fmt::Write;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use self::catalogue::CATALOGUE;

/// Upper bounds in seconds for histograms of durations: 100 µs to a minute.
const DURATIONS: [f64; 17] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Upper bounds in seconds for what a change of policy takes: the targets are among them, and an hour is the last.
const CHANGES: [f64; 13] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// How a metric is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy)]
struct Metric {
    kind: Kind,
    name: &'static str,
    unit: Unit,
    /// Each has few values, whatever tenants and strangers do: no domain, no tenant, no address.
    labels: &'static [&'static str],
    help: &'static str,
}

/// The metrics of one part of the service.
#[derive(Debug)]
struct Part {
    title: &'static str,
    /// Which role shows them.
    role: &'static str,
    metrics: &'static [Metric],
}

/// Installs the recorder that all metrics of the process go to, and describes them.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATIONS)?
        .set_buckets_for_metric(Matcher::Prefix("mtasts_worker_policy_".to_owned()), &CHANGES)?
        .install_recorder()?;
    for metric in CATALOGUE.iter().flat_map(|part| part.metrics) {
        let Metric { name, unit, help, .. } = *metric;
        match metric.kind {
            Kind::Counter => describe_counter!(name, unit, help),
            Kind::Gauge => describe_gauge!(name, unit, help),
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
    }
    Ok(handle)
}

/// The list, as Markdown.
pub(crate) fn document() -> String {
    let mut text = String::from(HEAD);
    for part in CATALOGUE {
        // Writing to a string does not fail.
        let _ = write!(text, "\n## {}\n\nShown by: {}.\n\n{TABLE}", part.title, part.role);
        for Metric { kind, name, unit, labels, help } in part.metrics {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(
                text,
                "| `{name}` | {} | {} | {} | {help} |",
                kind.word(),
                unit_word(*unit),
                if labels.is_empty() { "–".to_owned() } else { labels.join(", ") },
            );
        }
    }
    text
}

const HEAD: &str = "\
# Metrics

Every role serves `/metrics` for Prometheus at `admin.listen`, without a login: keep it to your own network. This page is
printed by `mtasts metrics` and held to the code by a test; alerts over these metrics are in `helm/mtasts/rules`, each with
a page in [runbooks](runbooks/), dashboards in `helm/mtasts/dashboards`, and what is promised in [slo.md](slo.md).

No label has a domain, a tenant, an address or any other word of a stranger: each has a handful of values. A counter begins
with its first event, so that one which is not there says as much as zero. Names end in their unit. In `mtasts all` one
process shows the metrics of all roles.
";

const TABLE: &str = "| name | type | unit | labels | what it says |\n| --- | --- | --- | --- | --- |\n";

fn unit_word(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        _ => "count",
    }
}

#[cfg(test)]
mod tests;
