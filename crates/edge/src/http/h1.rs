//! HTTP/1.1 on one connection.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    answer::{Answer, Problem, head_of_text},
    head::{self, MAX_HEAD, Method},
    site::Site,
};
use crate::serve::Worker;

/// After so many requests the connection ends, so that a long-lived one does not hold up a rolling restart.
pub(crate) const MAX_REQUESTS: u32 = 100;

/// A byte stream under HTTP/1.1.
pub(crate) trait Transport: Send {
    /// Appends what has come. 0 is the end.
    fn read(&mut self, into: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> + Send;

    /// Writes all of it. The first call into the kernel comes before the first wait. With `last` the stream is closed
    /// for writing after it.
    fn write(&mut self, parts: &[&[u8]], last: bool) -> impl Future<Output = io::Result<()>> + Send;

    /// After the last answer to a request that was not read whole: takes what is still coming, for a short time, because
    /// closing with unread bytes resets the connection and the answer with it.
    fn linger(&mut self) -> impl Future<Output = ()> + Send;
}

/// Answers requests until the connection ends.
pub(crate) async fn serve(mut transport: impl Transport, mut site: Site, worker: &Arc<Worker>) {
    let config = &worker.shared.config;
    let mut bytes = Vec::with_capacity(512);
    for number in 1..=MAX_REQUESTS {
        // Between requests a connection may wait a little; a drain does not wait for those.
        if number > 1 && bytes.is_empty() {
            let read = tokio::select! {
                read = timeout(config.idle_deadline, transport.read(&mut bytes)) => read,
                () = worker.drain.cancelled() => return end(&mut transport).await,
            };
            match read {
                Ok(Ok(1..)) => {}
                Ok(_) => return,
                Err(_) => return end(&mut transport).await,
            }
        }
        let began = Instant::now();
        let read = timeout_at(began + config.header_deadline, read_head(&mut transport, &mut bytes)).await;
        let answered_by = began + config.request_deadline;
        let answered = match read {
            Ok(Ok(Some(()))) => {
                let answer = answer(&mut transport, &mut site, worker, &mut bytes, number == MAX_REQUESTS);
                timeout_at(answered_by, answer).await
            }
            Ok(Ok(None)) => {
                let refusal = head::read(&bytes).err().map_or_else(Problem::timed_out, Problem::from);
                let answer = refuse(&mut transport, worker, &refusal);
                timeout_at(answered_by, answer).await
            }
            // The peer went away, or sent what is no TLS.
            Ok(Err(_)) => return,
            Err(_) if bytes.is_empty() => return end(&mut transport).await,
            Err(_) => timeout_at(answered_by, refuse(&mut transport, worker, &Problem::timed_out())).await,
        };
        if !matches!(answered, Ok(Ok(Next::Request))) {
            return;
        }
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Request,
    End,
}

/// Reads until a header section is whole (`Some`) or refused (`None`).
async fn read_head(transport: &mut impl Transport, bytes: &mut Vec<u8>) -> io::Result<Option<()>> {
    loop {
        match head::read(bytes) {
            Ok(Some(_)) => return Ok(Some(())),
            Ok(None) => {}
            Err(_) => return Ok(None),
        }
        bytes.reserve(MAX_HEAD.min(bytes.len().max(512)));
        if transport.read(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn answer(
    transport: &mut impl Transport,
    site: &mut Site,
    worker: &Arc<Worker>,
    bytes: &mut Vec<u8>,
    last_request: bool,
) -> io::Result<Next> {
    let Ok(Some(head)) = head::read(bytes) else { return Ok(Next::End) };
    let shared = &worker.shared;
    let keep_alive = head.keep_alive && !last_request && !worker.drain.is_cancelled();
    let with_body = head.asked.method != Method::Head;
    let length = head.length;
    let answer = site.answer(&head.asked, shared).await;
    let now = shared.clock.now();
    let keep_alive = match answer {
        Answer::Policy(entry) => {
            let common = worker.lines.for_policy(now, keep_alive);
            let tail = if with_body { entry.tail() } else { entry.tail_without_body() };
            // Before the answer leaves: what a sender may hold is in the ledger, whatever becomes of the connection.
            shared.ledger.record(worker.index, &entry, now);
            transport.write(&[&common, tail], !keep_alive).await?;
            shared.counters.request(200);
            keep_alive
        }
        Answer::KeyAuthorization(text) => {
            let head = head_of_text(200, "OK", None, text.len(), &worker.lines.date(now), keep_alive);
            let body = if with_body { text.as_bytes() } else { &[] };
            transport.write(&[head.as_bytes(), body], !keep_alive).await?;
            shared.counters.request(200);
            keep_alive
        }
        Answer::Problem(problem) => {
            let keep_alive = keep_alive && !problem.last;
            write_problem(transport, worker, &problem, with_body, keep_alive).await?;
            keep_alive
        }
    };
    bytes.drain(..length);
    Ok(if keep_alive { Next::Request } else { Next::End })
}

async fn refuse(transport: &mut impl Transport, worker: &Arc<Worker>, problem: &Problem) -> io::Result<Next> {
    write_problem(transport, worker, problem, true, false).await?;
    transport.linger().await;
    Ok(Next::End)
}

async fn write_problem(
    transport: &mut impl Transport,
    worker: &Arc<Worker>,
    problem: &Problem,
    with_body: bool,
    keep_alive: bool,
) -> io::Result<()> {
    worker.shared.counters.request(problem.status);
    let date = worker.lines.date(worker.shared.clock.now());
    let body = format!("{}\n", problem.sentence);
    let head = head_of_text(problem.status, problem.reason, problem.allow(), body.len(), &date, keep_alive);
    transport.write(&[head.as_bytes(), if with_body { body.as_bytes() } else { &[] }], !keep_alive).await
}

/// Says goodbye to an idle peer.
async fn end(transport: &mut impl Transport) {
    let _ = timeout(Duration::from_secs(1), transport.write(&[], true)).await;
}
