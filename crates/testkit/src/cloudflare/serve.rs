//! HTTP: from a request to the operation, and from its answer to the response, with the faults between.

use std::{future::pending, io, pin::Pin, sync::Arc, task};

use http_body_util::{BodyExt, Either, Full};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Fault, Refusal, SeenRequest, Shared, routes::Call};

type Answer = Response<Either<Full<Bytes>, Endless>>;

pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| handle(Arc::clone(&shared), request));
            // A client that goes away is no concern of the server.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// An error closes the connection.
async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Answer> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path().strip_prefix("/client/v4/").unwrap_or_default().to_owned();
    let (method, query) = (head.method.as_str(), head.uri.query().unwrap_or_default());
    let (fault, latency) = {
        let mut state = shared.state();
        let seen = SeenRequest { method: method.to_owned(), path: path.clone(), query: query.to_owned() };
        state.requests.push(seen);
        (state.faults.next(method), state.latency)
    };
    tokio::time::sleep(latency).await;
    match &fault {
        Some(Fault::RateLimited(wait)) => {
            let refusal = Refusal::new(429, 971, "Please wait and consider throttling your request speed");
            let mut answer = answer(429, &refusal.json());
            if let Some(wait) = wait.as_ref().and_then(|wait| wait.parse().ok()) {
                answer.headers_mut().insert(RETRY_AFTER, wait);
            }
            return Ok(answer);
        }
        Some(Fault::Status(status)) => {
            return Ok(answer(*status, &Refusal::new(*status, 10001, "Internal error").json()));
        }
        Some(Fault::Html(status)) => {
            let page = format!("<!DOCTYPE html><title>{status}</title><h1>Error {status}</h1>");
            return Ok(response(*status, "text/html", Either::Left(page.into())));
        }
        Some(Fault::SilentBefore) => return pending().await,
        Some(Fault::Endless) => return Ok(response(200, "application/json", Either::Right(Endless))),
        Some(Fault::Slow(wait)) => tokio::time::sleep(*wait).await,
        Some(Fault::SilentAfter | Fault::CutAfter | Fault::HalfDone) | None => {}
    }
    let header = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let call = Call {
        method,
        path: &path,
        query,
        authorization: header(AUTHORIZATION),
        content_type: header(CONTENT_TYPE),
        body: &body,
        is_half_done: fault == Some(Fault::HalfDone),
    };
    let (status, json) = carry_out(&shared, &call);
    match fault {
        Some(Fault::SilentAfter) => pending().await,
        Some(Fault::CutAfter) => Err(io::Error::other("cut")),
        _ => Ok(answer(status, &json)),
    }
}

fn carry_out(shared: &Shared, call: &Call<'_>) -> (u16, Value) {
    let mut state = shared.state();
    match state.answer(call) {
        Ok((result, info)) => {
            let mut json = json!({"success": true, "errors": [], "messages": [], "result": result});
            if let Some(info) = info {
                json["result_info"] = info;
            }
            (200, json)
        }
        Err(refusal) => {
            if refusal.is_complaint {
                state.complaints.push(format!("{} {}?{}: {}", call.method, call.path, call.query, refusal.message));
            }
            (refusal.status, refusal.json())
        }
    }
}

fn answer(status: u16, json: &Value) -> Answer {
    response(status, "application/json", Either::Left(json.to_string().into()))
}

fn response(status: u16, content_type: &str, body: Either<Full<Bytes>, Endless>) -> Answer {
    let response = Response::builder().status(status).header(CONTENT_TYPE, content_type).body(body);
    response.unwrap_or_else(|error| panic!("a response of status {status}: {error}"))
}

/// Blanks for ever, which JSON may begin with.
#[derive(Debug)]
pub(super) struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        static BLANKS: [u8; 1 << 16] = [b' '; 1 << 16];
        task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BLANKS)))))
    }
}
