//! Lines and octets of one connection. It does not matter how the network cut them.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Duration, Instant, timeout_at},
};

use super::{
    dots::{Dots, Fed},
    reply::Reply,
};

/// A command and its end. RFC 5321 §4.5.3.1.4 asks for 512, extensions for a little more.
const MAX_LINE: usize = 2_048;
/// Octets of an endless line that are thrown away before the connection is.
const MAX_DROPPED: usize = 64 << 10;
/// Read at once.
const READ: usize = 16 << 10;
/// For a client that does not read what it is told.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The client has gone.
    Closed,
    /// The client is silent.
    Silent,
    /// A CR without an LF, or an LF without a CR.
    BareLineEnd,
    /// Far more than one may send.
    Flood,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(BytesMut),
    TooLong,
}

pub(super) struct Wire<S> {
    stream: S,
    input: BytesMut,
    output: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), output: Vec::new() }
    }

    /// Says something before the next wait: answers to commands that came together go together (RFC 2920 §3.2).
    pub(super) fn say(&mut self, reply: &Reply) {
        reply.write(&mut self.output);
    }

    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        if self.output.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        timeout_at(Instant::now() + WRITE_DEADLINE, written).await.map_err(|_| Broken::Silent)??;
        self.output.clear();
        Ok(())
    }

    /// Whether the client has sent more than was read.
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Waits for at least one octet.
    async fn fill(&mut self, until: Instant) -> Result<(), Broken> {
        self.flush().await?;
        self.input.reserve(READ);
        let read = timeout_at(until, self.stream.read_buf(&mut self.input)).await.map_err(|_| Broken::Silent)??;
        if read == 0 { Err(Broken::Closed) } else { Ok(()) }
    }

    /// The next line, without its end. Safe to drop and call again, as long as no line was too long.
    pub(super) async fn line(&mut self, until: Instant) -> Result<Line, Broken> {
        let (mut seen, mut dropped) = (0, 0);
        loop {
            let end = self.input[seen..].iter().position(|octet| matches!(octet, b'\r' | b'\n')).map(|at| seen + at);
            match end.map(|at| (at, self.input[at], self.input.get(at + 1))) {
                Some((at, b'\r', Some(b'\n'))) => {
                    let line = self.input.split_to(at);
                    self.input.advance(2);
                    let is_short = dropped == 0 && line.len() + 2 <= MAX_LINE;
                    return Ok(if is_short { Line::Text(line) } else { Line::TooLong });
                }
                // The LF may be on its way.
                Some((at, b'\r', None)) => seen = at,
                Some(_) => return Err(Broken::BareLineEnd),
                None => seen = self.input.len(),
            }
            if seen > MAX_LINE {
                dropped += seen;
                self.input.advance(seen);
                seen = 0;
                if dropped > MAX_DROPPED {
                    return Err(Broken::Flood);
                }
            }
            self.fill(until).await?;
        }
    }

    /// A mail up to the dot at its end. `text` says whether to go on. `step` is how long the next octets may take.
    pub(super) async fn mail(
        &mut self,
        step: Duration,
        until: Instant,
        mut text: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Broken> {
        let mut dots = Dots::new();
        let mut goes_on = true;
        loop {
            match dots.feed(&self.input, |more| goes_on &= text(more)) {
                Fed::End(used) => {
                    self.input.advance(used);
                    return Ok(());
                }
                Fed::BareLineEnd => return Err(Broken::BareLineEnd),
                Fed::More if !goes_on => return Err(Broken::Flood),
                Fed::More => self.input.clear(),
            }
            self.fill(until.min(Instant::now() + step)).await?;
        }
    }

    /// Exactly so many octets.
    pub(super) async fn octets(
        &mut self,
        mut count: u64,
        step: Duration,
        until: Instant,
        mut text: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Broken> {
        loop {
            let here = usize::try_from(count).unwrap_or(usize::MAX).min(self.input.len());
            let goes_on = text(&self.input[..here]);
            self.input.advance(here);
            count = count.saturating_sub(here as u64);
            if count == 0 {
                return Ok(());
            }
            if !goes_on {
                return Err(Broken::Flood);
            }
            self.fill(until.min(Instant::now() + step)).await?;
        }
    }
}
