//! How a trace travels with a change: from the span that makes it, by way of the database, to the spans that carry it out.
//!
//! Where no exporter is configured nothing here does anything: no span is part of a trace, and none joins one.

use std::sync::atomic::{AtomicBool, Ordering};

use mtasts_model::TraceParent;
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

static ENABLED: AtomicBool = AtomicBool::new(false);

/// From now on spans are exported. Whoever has installed an exporter says so, once.
pub fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

/// Whether spans are exported, so that it is worth to look for the trace of a change.
pub fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Where this span is in its trace, which may be one that is not exported: whoever joins it is not either. None: nothing
/// is. Its parent is settled from then on.
pub fn of(span: &Span) -> Option<TraceParent> {
    if !is_enabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    TraceParent::new(context.trace_id().to_bytes(), context.span_id().to_bytes(), context.is_sampled())
}

/// Where the span that is entered now is in its trace.
pub fn current() -> Option<TraceParent> {
    of(&Span::current())
}

/// The trace's id, for log lines of the span. None: nobody will find it.
pub fn exported_trace(span: &Span) -> Option<String> {
    of(span).filter(TraceParent::is_sampled).map(|place| place.trace())
}

/// Makes the span a part of another's trace. Must come before anybody asks where it is in its own.
pub fn join(span: &Span, parent: &TraceParent) {
    if is_enabled() {
        // Fails where nobody exports the span, or it is placed already: then it stays where it is.
        let _ = span.set_parent(Context::new().with_remote_span_context(remote(parent)));
    }
}

/// Notes that the span has to do with another trace, and leaves it in its own.
pub fn link(span: &Span, to: &TraceParent) {
    if is_enabled() {
        span.add_link(remote(to));
    }
}

/// Notes a number on the exported span, and in no log line.
pub fn note(span: &Span, key: &'static str, value: i64) {
    if is_enabled() {
        span.set_attribute(key, value);
    }
}

fn remote(parent: &TraceParent) -> SpanContext {
    let flags = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from_bytes(parent.trace_id()), SpanId::from_bytes(parent.span_id()));
    SpanContext::new(trace, span, flags, true, TraceState::default())
}
