//! A collector of spans: OTLP over HTTP, as much of it as an exporter needs. It can also be made to say nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
};
use prost::Message;

/// A span that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSpan {
    /// The `service.name` of whoever sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its trace, in hexadecimal digits.
    pub trace_id: String,
    /// Its id, in hexadecimal digits.
    pub span_id: String,
    /// Its parent's id; empty: it has none.
    pub parent_id: String,
    /// Traces that it is linked to.
    pub links: Vec<String>,
    /// Its attributes and those of its process, texts and numbers alone.
    pub attributes: Vec<(String, String)>,
}

impl SeenSpan {
    /// The value of an attribute.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Seen {
    spans: Vec<SeenSpan>,
    requests: usize,
    headers: Vec<String>,
    is_held: bool,
}

/// The collector. It lives until the process ends.
#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Collector {
    /// Begins to listen on loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let collector = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let accepting = collector.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let collector = accepting.clone();
                thread::spawn(move || while collector.answer(&stream).is_some() {});
            }
        });
        collector
    }

    /// For `telemetry.otlp_endpoint`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on requests are read and not answered; or answered again, those that wait as well.
    pub fn hold(&self, is_held: bool) {
        self.seen.0.lock().unwrap().is_held = is_held;
        self.seen.1.notify_all();
    }

    /// All spans that have come.
    pub fn spans(&self) -> Vec<SeenSpan> {
        self.seen.0.lock().unwrap().spans.clone()
    }

    /// How many requests have come, those without an answer included.
    pub fn requests(&self) -> usize {
        self.seen.0.lock().unwrap().requests
    }

    /// All header lines that have come.
    pub fn headers(&self) -> Vec<String> {
        self.seen.0.lock().unwrap().headers.clone()
    }

    /// One request. None: the connection is at its end.
    fn answer(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_ascii_lowercase());
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let is_ours = head[0].starts_with("post /v1/traces ")
            && head.iter().any(|line| line == "content-type: application/x-protobuf");
        let (lock, released) = &*self.seen;
        let mut seen = lock.lock().unwrap();
        seen.requests += 1;
        seen.headers.extend(head);
        seen = released.wait_while(seen, |seen| seen.is_held).unwrap();
        let status = match ExportTraceServiceRequest::decode(&*body) {
            Ok(request) if is_ours => {
                seen.spans.extend(spans(request));
                "200 OK"
            }
            _ => "400 Bad Request",
        };
        drop(seen);
        let answer = format!("HTTP/1.1 {status}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n");
        let mut writer = stream;
        writer.write_all(answer.as_bytes()).ok()
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<SeenSpan> {
    let mut seen = Vec::new();
    for resource in request.resource_spans {
        let process = attributes(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = process.iter().find(|(key, _)| key == "service.name");
        let service = service.map(|(_, value)| value.clone()).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let mut all = attributes(span.attributes);
            all.extend(process.clone());
            seen.push(SeenSpan {
                service: service.clone(),
                name: span.name,
                trace_id: HEXLOWER.encode(&span.trace_id),
                span_id: HEXLOWER.encode(&span.span_id),
                parent_id: HEXLOWER.encode(&span.parent_span_id),
                links: span.links.iter().map(|link| HEXLOWER.encode(&link.trace_id)).collect(),
                attributes: all,
            });
        }
    }
    seen
}

fn attributes(pairs: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |pair: KeyValue| match pair.value?.value? {
        Value::StringValue(text) => Some((pair.key, text)),
        Value::IntValue(number) => Some((pair.key, number.to_string())),
        _ => None,
    };
    pairs.into_iter().filter_map(text).collect()
}
