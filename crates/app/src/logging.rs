//! Logs on standard error: one JSON object a line for machines, or plain lines for people.

use std::{
    backtrace::Backtrace,
    io::{self, IsTerminal, Write},
    panic,
    sync::Arc,
};

use tracing::{Level, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, dynamic_filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    config::{LogConfig, LogFormat},
    telemetry::Exporter,
};

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoggingError {
    #[error("log.level {level:?} is no filter: write `info`, or `info,mtasts_edge=debug`")]
    Level {
        level: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("a logger was installed before")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// Who writes: stands in every line, and on every span.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The role, `all` where one process has all of them, or `command`.
    pub(crate) role: &'static str,
    /// Which process among those of its role: the name of the host, if nothing else is configured.
    pub(crate) instance: String,
}

impl Origin {
    pub(crate) fn of(config: &LogConfig, role: &'static str) -> Self {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { role, instance: config.instance.clone().unwrap_or_else(host) }
    }
}

pub(crate) fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(level).map_err(|source| LoggingError::Level { level: level.to_owned(), source })
}

/// For a command that ends by itself.
pub(crate) fn start(config: &LogConfig) -> Result<(), LoggingError> {
    start_role(config, &Origin::of(config, "command"), None)
}

/// For a role, whose spans may go to a collector.
pub(crate) fn start_role(config: &LogConfig, origin: &Origin, exporter: Option<&Exporter>) -> Result<(), LoggingError> {
    // Whatever libraries do between our own steps is nobody's trace. How much is logged does not change what is traced.
    // Asked anew for each span: where an answer is remembered, the library takes the word of the last question on the thread,
    // and a crate that only asks whether something would be logged makes a span vanish.
    let traced = dynamic_filter_fn(|of, _| *of.level() <= Level::INFO && of.target().starts_with("mtasts"))
        .with_max_level_hint(LevelFilter::INFO);
    let registry = tracing_subscriber::registry().with(exporter.map(|exporter| exporter.layer().with_filter(traced)));
    let level = filter(&config.level)?;
    let started = match config.format {
        LogFormat::Json => {
            panic::set_hook(Box::new(log_panic));
            registry.with(json(Stamped::new(io::stderr, origin)).with_filter(level)).try_init()
        }
        LogFormat::Human => {
            let plain = fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
            registry.with(plain.with_filter(level)).try_init()
        }
    };
    started.map_err(LoggingError::Installed)
}

/// The event's own fields at the top, those of the span around it under `span`.
fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false).with_writer(writer)
}

/// Else a panic would be the one thing that is not an object in a line.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    tracing::error!(panic = info.payload_as_str().unwrap_or("no message"), place, %backtrace, "panicked");
}

/// Puts role and instance at the head of each object.
struct Stamped<M> {
    inner: M,
    head: Arc<str>,
}

impl<M> Stamped<M> {
    fn new(inner: M, origin: &Origin) -> Self {
        let word = |text: &str| serde_json::Value::from(text).to_string();
        Self {
            inner,
            head: format!("{{\"role\":{},\"instance\":{},", word(origin.role), word(&origin.instance)).into(),
        }
    }
}

impl<'writer, M: MakeWriter<'writer>> MakeWriter<'writer> for Stamped<M> {
    type Writer = StampedLine<M::Writer>;

    fn make_writer(&'writer self) -> Self::Writer {
        StampedLine { inner: self.inner.make_writer(), head: Arc::clone(&self.head) }
    }
}

/// One line.
struct StampedLine<W> {
    inner: W,
    head: Arc<str>,
}

impl<W: Write> Write for StampedLine<W> {
    /// The layer writes each line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match line.strip_prefix(b"{") {
            // At once as well, so that no two processes' lines are mixed.
            Some(rest) => self.inner.write_all(&[self.head.as_bytes(), rest].concat())?,
            None => self.inner.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_an_object_that_says_who_wrote_it() {
        let log = Log::default();
        let origin = Origin { role: "edge", instance: "pod \"a\"\n".to_owned() };
        let writer = log.clone();
        let layer = json(Stamped::new(move || writer.clone(), &origin));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("step", domain_id = "dom_1", trace_id = "abc");
            span.in_scope(|| tracing::info!(name = "line\nbreak \u{7} \"quoted\"", "done"));
            tracing::warn!("alone");
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        for line in &lines {
            assert_eq!((line["role"].as_str(), line["instance"].as_str()), (Some("edge"), Some("pod \"a\"\n")));
            assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
        }
        assert_eq!(lines[0]["span"]["domain_id"], "dom_1");
        assert_eq!(lines[0]["name"], "line\nbreak \u{7} \"quoted\"");
        assert_eq!(lines[1]["message"], "alone");
    }
}
