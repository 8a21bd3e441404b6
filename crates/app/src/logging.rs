//! Logs on standard error: one JSON object a line for machines, or plain lines for people.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

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

pub(crate) fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(level).map_err(|source| LoggingError::Level { level: level.to_owned(), source })
}

pub(crate) fn start(config: &LogConfig) -> Result<(), LoggingError> {
    let registry = tracing_subscriber::registry().with(filter(&config.level)?);
    let started = match config.format {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Human => registry
            .with(fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr))
            .try_init(),
    };
    started.map_err(LoggingError::Installed)
}
