//! Byte streams under HTTP/1.1, and a cap on what a peer may send before the handshake is done.

use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use crate::http::h1::Transport;

/// A ClientHello with post-quantum key shares has about 2 KB; rustls alone would take 64 KB from anybody.
const HANDSHAKE_BYTES: usize = 16 * 1_024;
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1_024;

/// A TCP stream with a limit on what is read.
pub(super) struct Capped {
    stream: TcpStream,
    left: usize,
}

impl Capped {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, left: HANDSHAKE_BYTES }
    }

    /// The handshake is done.
    pub(super) fn lift(&mut self) {
        self.left = usize::MAX;
    }
}

impl AsyncRead for Capped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too many bytes before the handshake")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Capped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// HTTPS.
pub(super) struct Tls(pub(super) TlsStream<Capped>);

impl Transport for Tls {
    async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        self.0.read_buf(into).await
    }

    /// The parts and the close_notify leave in one record each and one call.
    async fn write(&mut self, parts: &[&[u8]], last: bool) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut done = 0;
        while done < length {
            done += {
                let slices: Vec<IoSlice<'_>> = rest_of(parts, done).collect();
                self.0.get_mut().1.writer().write_vectored(&slices)?
            };
            if done < length {
                self.0.flush().await?; // more than rustls buffers
            }
        }
        if last {
            self.0.get_mut().1.send_close_notify();
        }
        self.0.flush().await
    }

    async fn linger(&mut self) {
        discard(&mut self.0.get_mut().0.stream).await;
    }
}

/// The plain port.
pub(super) struct Plain(pub(super) TcpStream);

impl Transport for Plain {
    async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        self.0.read_buf(into).await
    }

    async fn write(&mut self, parts: &[&[u8]], last: bool) -> io::Result<()> {
        self.0.write_all(&parts.concat()).await?;
        if last { self.0.shutdown().await } else { Ok(()) }
    }

    async fn linger(&mut self) {
        discard(&mut self.0).await;
    }
}

/// The parts without the first `done` bytes.
fn rest_of<'a>(parts: &'a [&'a [u8]], mut done: usize) -> impl Iterator<Item = IoSlice<'a>> {
    parts.iter().filter_map(move |part| {
        let skip = done.min(part.len());
        done -= skip;
        (skip < part.len()).then(|| IoSlice::new(&part[skip..]))
    })
}

async fn discard(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut sink = [0; 4_096];
    let mut left = LINGER_BYTES;
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut sink).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(LINGER, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_parts_begins_where_writing_stopped() {
        let parts: [&[u8]; 2] = [b"head", b"body"];
        let rest = |done| rest_of(&parts, done).map(|slice| slice.to_vec()).collect::<Vec<_>>().concat();
        assert_eq!(rest(0), b"headbody");
        assert_eq!(rest(3), b"dbody");
        assert_eq!(rest(4), b"body");
        assert_eq!(rest(8), b"");
    }
}
