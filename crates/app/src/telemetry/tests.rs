//! The exporter against a collector that takes spans, and one that does not.

use std::time::{Duration, Instant};

use mtasts_testkit::Collector;
use tokio::runtime::Runtime;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

fn exporter(runtime: &Runtime, collector: &Collector, sample_ratio: f64) -> Exporter {
    let origin = Origin { role: "api", instance: "here".to_owned() };
    let config = ExportConfig {
        endpoint: format!("{}/v1/traces", collector.url()).parse().unwrap(),
        authorization: Some("Bearer canary".into()),
        roots: rustls::RootCertStore::empty(),
        sample_ratio,
    };
    Exporter::start(config, &origin, runtime.handle().clone()).unwrap()
}

fn spans(exporter: &Exporter, count: usize) {
    let subscriber = tracing_subscriber::registry().with(exporter.layer());
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..count {
            drop(tracing::info_span!("span", number).entered());
        }
    });
}

#[test]
fn spans_come_to_the_collector_with_who_made_them() {
    let (runtime, collector) = (Runtime::new().unwrap(), Collector::start());
    let exporter = exporter(&runtime, &collector, 1.0);
    spans(&exporter, 700);
    exporter.stop();
    let seen = collector.spans();
    assert_eq!(seen.len(), 700);
    assert_eq!(seen[0].service, "mtasts-api");
    assert_eq!(seen[0].attribute("service.instance.id"), Some("here"));
    assert_eq!(seen[699].attribute("number"), Some("699"));
    assert!(collector.headers().contains(&"authorization: bearer canary".to_owned()));
}

#[test]
fn a_share_of_the_traces_is_exported() {
    let (runtime, collector) = (Runtime::new().unwrap(), Collector::start());
    let none = exporter(&runtime, &collector, 0.0);
    spans(&none, 200);
    none.stop();
    assert_eq!(collector.spans().len(), 0);
    let some = exporter(&runtime, &collector, 0.25);
    spans(&some, 1_000);
    some.stop();
    let seen = collector.spans().len();
    assert!((150..350).contains(&seen), "{seen} of 1,000");
}

/// Through the database, by another role with a ratio of its own.
#[test]
fn whoever_joins_a_trace_keeps_to_what_its_first_span_has_decided() {
    mtasts_telemetry::enable();
    let (runtime, collector) = (Runtime::new().unwrap(), Collector::start());
    let (none, all) = (exporter(&runtime, &collector, 0.0), exporter(&runtime, &collector, 1.0));
    let begun_at = |exporter: &Exporter| {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(exporter.layer()), || {
            let span = tracing::info_span!("begun");
            (mtasts_telemetry::of(&span).unwrap(), mtasts_telemetry::exported_trace(&span))
        })
    };
    let joined_at = |exporter: &Exporter, parent| {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(exporter.layer()), || {
            let span = tracing::info_span!("joined");
            mtasts_telemetry::join(&span, &parent);
            mtasts_telemetry::of(&span).unwrap()
        })
    };
    let (dropped, shown) = begun_at(&none);
    assert!(!dropped.is_sampled() && shown.is_none());
    assert_eq!(joined_at(&all, dropped).trace_id(), dropped.trace_id());
    let (exported, shown) = begun_at(&all);
    assert_eq!(shown, Some(exported.trace()));
    assert!(joined_at(&none, exported).is_sampled());
    none.stop();
    all.stop();
    let seen: Vec<_> = collector.spans().into_iter().map(|span| (span.name, span.trace_id)).collect();
    let trace = exported.trace();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|(_, seen)| *seen == trace), "{seen:?}");
}

#[test]
fn a_collector_that_says_nothing_holds_up_nobody_and_what_waits_for_it_is_bounded() {
    let (runtime, collector) = (Runtime::new().unwrap(), Collector::start());
    collector.hold(true);
    let exporter = exporter(&runtime, &collector, 1.0);
    let began = Instant::now();
    spans(&exporter, 100_000);
    // One call of the collector has not come to its end by then; the spans never waited for it.
    assert!(began.elapsed() < DEADLINE * 4, "{:?}", began.elapsed());
    assert!(collector.requests() > 0);
    let began = Instant::now();
    exporter.stop();
    assert!(began.elapsed() < STOP_DEADLINE + Duration::from_secs(2), "{:?}", began.elapsed());
    collector.hold(false);
    std::thread::sleep(Duration::from_millis(500));
    let seen = collector.spans().len();
    assert!(seen <= QUEUE + 8 * BATCH, "{seen} spans were kept for a collector that takes none");
}

#[test]
fn a_collector_that_is_not_there_holds_up_nobody() {
    let runtime = Runtime::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    drop(listener);
    let origin = Origin { role: "edge", instance: "here".to_owned() };
    let config = ExportConfig {
        endpoint: endpoint.parse().unwrap(),
        authorization: None,
        roots: rustls::RootCertStore::empty(),
        sample_ratio: 1.0,
    };
    let exporter = Exporter::start(config, &origin, runtime.handle().clone()).unwrap();
    let began = Instant::now();
    spans(&exporter, 20_000);
    exporter.stop();
    assert!(began.elapsed() < DEADLINE * 4, "{:?}", began.elapsed());
}
