//! HTTP/2 on one connection, with limits that fit one small answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    server::{Builder, Connection, SendResponse},
};
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, X_CONTENT_TYPE_OPTIONS},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};

use super::{
    answer::{self, Answer, Problem},
    h1::MAX_REQUESTS,
    head::{Asked, MAX_HEAD, Method},
    site::Site,
};
use crate::serve::Worker;

/// Streams at a time. A sender opens one.
const MAX_STREAMS: u32 = 16;
/// Streams that the peer resets before they are answered, after which the connection ends: CVE-2023-44487.
const MAX_RESETS: usize = 16;
const GOODBYE: Duration = Duration::from_secs(1);

/// Answers requests until the connection ends.
pub(crate) async fn serve<S>(stream: S, mut site: Site, worker: &Arc<Worker>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let config = &worker.shared.config;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_reset_streams(MAX_RESETS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(Some(MAX_RESETS))
        .max_send_buffer_size(64 * 1_024)
        .initial_window_size(65_535)
        .initial_connection_window_size(65_535);
    let handshake = builder.handshake::<_, Bytes>(stream);
    let Ok(Ok(mut connection)) = timeout(config.header_deadline, handshake).await else { return };

    let mut requests = 0;
    let mut patience = config.header_deadline;
    // From the first open stream to the moment when none is open: one deadline for all of them.
    let mut busy_until = Instant::now();
    loop {
        let was_idle = !connection.has_streams();
        let next = tokio::select! {
            next = timeout(patience, connection.accept()) => next,
            () = worker.drain.cancelled() => return say_goodbye(connection, worker).await,
        };
        match next {
            Ok(Some(Ok((request, mut respond)))) => {
                requests += 1;
                if was_idle {
                    busy_until = Instant::now() + config.request_deadline;
                }
                // A failure is the peer's reset of this stream.
                let _ = answer(request, &mut respond, &mut site, worker).await;
                if requests == MAX_REQUESTS {
                    return say_goodbye(connection, worker).await;
                }
            }
            Ok(Some(Err(_)) | None) => return,
            Err(_) if !connection.has_streams() => return say_goodbye(connection, worker).await,
            Err(_) if Instant::now() >= busy_until => return, // answers that the peer does not take
            Err(_) => {}
        }
        patience = config.idle_deadline.min(config.request_deadline);
    }
}

/// GOAWAY, then what is under way, then the end.
async fn say_goodbye<S>(mut connection: Connection<S, Bytes>, worker: &Worker)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let patience = if connection.has_streams() { worker.shared.config.request_deadline } else { GOODBYE };
    connection.graceful_shutdown();
    // Streams that the peer opened before it saw the GOAWAY are refused by dropping them.
    let _ = timeout(patience, async { while let Some(Ok(_)) = connection.accept().await {} }).await;
}

async fn answer(
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
    site: &mut Site,
    worker: &Arc<Worker>,
) -> Result<(), h2::Error> {
    let shared = &worker.shared;
    let method = Method::new(request.method().as_str());
    let answer = if request.body().is_end_stream() {
        match authority(&request) {
            Ok(authority) => site.answer(&Asked { method, path: request.uri().path(), authority }, shared).await,
            Err(problem) => Answer::Problem(problem),
        }
    } else {
        Answer::Problem(Problem::has_body())
    };
    let now = shared.clock.now();
    let date = HeaderValue::from_str(&worker.lines.date(now)).ok();
    match answer {
        Answer::Policy(entry) => {
            shared.ledger.record(worker.index, &entry, now);
            send(
                respond,
                StatusCode::OK,
                None,
                date,
                entry.body_len(),
                (method != Method::Head).then(|| entry.body()),
            )?;
            shared.counters.request(200);
        }
        // The plain port has no HTTP/2.
        Answer::KeyAuthorization(_) => {}
        Answer::Problem(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            let body = format!("{}\n", problem.sentence);
            shared.counters.request(problem.status);
            send(respond, status, problem.allow(), date, body.len(), (method != Method::Head).then(|| body.into()))?;
        }
    }
    Ok(())
}

fn send(
    respond: &mut SendResponse<Bytes>,
    status: StatusCode,
    allow: Option<&'static str>,
    date: Option<HeaderValue>,
    length: usize,
    body: Option<Bytes>,
) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer::TEXT));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::OK {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(answer::CACHE_CONTROL));
    }
    if let Some(date) = date {
        headers.insert(DATE, date);
    }
    if let Some(methods) = allow {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    let mut stream: SendStream<Bytes> = respond.send_response(response, body.is_none())?;
    if let Some(body) = body {
        stream.send_data(body, true)?;
    }
    Ok(())
}

/// `:authority`, or `Host` where that is missing; both must say the same (RFC 9113 §8.3.1).
fn authority(request: &Request<RecvStream>) -> Result<&str, Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    match (authority, host, hosts.next()) {
        (Some(authority), None, None) => Ok(authority),
        (None, Some(host), None) => Ok(host),
        (Some(authority), Some(host), None) if authority.eq_ignore_ascii_case(host) => Ok(authority),
        _ => Err(Problem::new(400, "Bad Request", "The request is refused: it must name one host.")),
    }
}
