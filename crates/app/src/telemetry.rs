//! Spans to a collector: OTLP over HTTP, with bodies in protobuf.
//!
//! Spans wait in a queue of fixed size for a thread of the exporter's own. When it is full, because the collector is slow
//! or away, new spans are dropped: nothing waits for a collector, and nothing grows.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Tracer},
};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use secrecy::ExposeSecret;
use tokio::{runtime::Handle, time::timeout};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

use crate::{config::ExportConfig, logging::Origin};

/// Spans that wait, at most: some 2 MiB.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(2);
/// For one batch. As long as it is under way the queue fills.
const DEADLINE: Duration = Duration::from_secs(5);
/// What is not handed over so soon after the end is lost.
const STOP_DEADLINE: Duration = Duration::from_secs(3);
/// A collector has nothing to say that is longer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why no spans can be exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    #[error("spans cannot be exported: TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    #[error("spans cannot be exported to telemetry.otlp_endpoint")]
    Exporter(#[source] ExporterBuildError),
}

/// Exports the spans of the process until it is stopped.
pub(crate) struct Exporter {
    provider: SdkTracerProvider,
}

impl Exporter {
    /// Begins to export. `runtime` carries the calls of the collector.
    pub(crate) fn start(config: ExportConfig, origin: &Origin, runtime: Handle) -> Result<Self, TelemetryError> {
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(TelemetryError::Tls)?
            .with_root_certificates(config.roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(connector);
        let headers = config.authorization.map(|value| ("authorization".to_owned(), value.expose_secret().to_owned()));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector { client, runtime, is_away: AtomicBool::new(false) })
            .with_headers(headers.into_iter().collect::<HashMap<_, _>>())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(config.endpoint)
            .with_timeout(DEADLINE)
            .build()
            .map_err(TelemetryError::Exporter)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let resource = Resource::builder_empty()
            .with_service_name(format!("mtasts-{}", origin.role))
            .with_attributes([
                KeyValue::new("service.namespace", "mtasts"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", origin.instance.clone()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// What takes spans from `tracing`.
    pub(crate) fn layer<S>(&self) -> OpenTelemetryLayer<S, Tracer>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("mtasts"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            // Ours are made in many tasks; a context per thread would follow the wrong one across an await.
            .with_context_activation(false)
    }

    /// Hands over what waits, for as long as [`STOP_DEADLINE`]. Blocks, so not within the runtime.
    pub(crate) fn stop(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(STOP_DEADLINE) {
            tracing::debug!(%error, "the last spans were not handed over");
        }
    }
}

/// The collector. The exporter's thread has no runtime, so calls are carried by ours.
#[derive(Debug)]
struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    is_away: AtomicBool,
}

impl Collector {
    /// One log line when it goes and one when it is back.
    fn note(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let why = match outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(crate::startup::causes(&**error)),
        };
        let word = if why.is_none() { "taken" } else { "lost" };
        metrics::counter!("mtasts_telemetry_batches_total", "outcome" => word).increment(1);
        let was_away = self.is_away.swap(why.is_some(), Ordering::Relaxed);
        match why {
            Some(why) if !was_away => tracing::warn!(why, "the collector takes no spans: they are lost until it does"),
            None if was_away => tracing::info!("the collector takes spans again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let call = async move {
            let response = client.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        let answered = self.runtime.spawn(async move { timeout(DEADLINE, call).await }).await;
        let outcome = match answered {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(late)) => Err(late.into()),
            Err(stopped) => Err(stopped.into()),
        };
        self.note(&outcome);
        outcome
    }
}

#[cfg(test)]
mod tests;
