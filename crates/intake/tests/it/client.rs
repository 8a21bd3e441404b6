//! A mail client that says what it is told to, and a small one of HTTP.

use std::{net::SocketAddr, time::Duration};

use mtasts_testkit::Anybody;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::harness::HOST;

/// Nothing here takes longer, on a busy machine either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Smtp<S = TcpStream> {
    pub(crate) stream: S,
    read: Vec<u8>,
}

impl Smtp {
    /// Connected and greeted.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::greeted(TcpStream::connect(address).await.unwrap()).await
    }

    /// Greeted on a connection that was made before.
    pub(crate) async fn greeted(stream: TcpStream) -> Self {
        let mut client = Self { stream, read: Vec::new() };
        client.expect(220).await;
        client
    }

    /// Connected, and with a sender and recipients.
    pub(crate) async fn with_mail(address: SocketAddr, recipients: &[String]) -> Self {
        let mut client = Self::connect(address).await;
        client.ask("EHLO mx.sender.example", 250).await;
        client.envelope(recipients).await;
        client
    }

    /// Without looking whether there is anything in the way.
    pub(crate) async fn start_tls(self) -> Smtp<TlsStream<TcpStream>> {
        let name = ServerName::try_from(HOST).unwrap();
        let stream = Anybody::connector().connect(name, self.stream).await.unwrap();
        Smtp { stream, read: Vec::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Smtp<S> {
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next reply, all of its lines; None when the connection has ended.
    pub(crate) async fn reply(&mut self) -> Option<String> {
        loop {
            let mut end = 0;
            for line in self.read.split_inclusive(|octet| *octet == b'\n') {
                end += line.len();
                if line.ends_with(b"\r\n") && line.get(3) == Some(&b' ') {
                    let reply: Vec<u8> = self.read.drain(..end).collect();
                    return Some(String::from_utf8(reply).unwrap());
                }
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("an answer in time");
            if !matches!(read, Ok(1..)) {
                return None;
            }
        }
    }

    pub(crate) async fn expect(&mut self, code: u16) -> String {
        let reply = self.reply().await.unwrap_or_else(|| panic!("{code} expected, and the connection has ended"));
        assert!(reply.starts_with(&code.to_string()), "{code} expected: {reply}");
        reply
    }

    pub(crate) async fn ask(&mut self, command: &str, code: u16) -> String {
        self.send(format!("{command}\r\n")).await;
        let reply = self.reply().await.unwrap_or_else(|| panic!("{command}: the connection has ended"));
        assert!(reply.starts_with(&code.to_string()), "{command}: {code} expected: {reply}");
        reply
    }

    pub(crate) async fn envelope(&mut self, recipients: &[String]) {
        self.ask("MAIL FROM:<reports@sender.example>", 250).await;
        for recipient in recipients {
            self.ask(&format!("RCPT TO:<{recipient}>"), 250).await;
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while matches!(timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("an end in time"), Ok(1..))
        {
        }
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// Nothing is left to be read, and the connection has ended.
    pub(crate) async fn is_over(&mut self) -> bool {
        self.rest().await.is_empty()
    }
}

/// Sends a request as it is, closes nothing, and gives the status and all of the answer.
pub(crate) async fn http<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> (u16, String) {
    // A server that has heard enough may close while we write.
    let _ = stream.write_all(request).await;
    answer(stream).await
}

/// The next answer of a connection.
pub(crate) async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> (u16, String) {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_ascii_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ").map(|length| length.parse::<usize>().unwrap()));
            if body.len() >= length.unwrap_or(0) {
                return (head[9..12].parse().unwrap(), text);
            }
        }
        match timeout(PATIENCE, stream.read_buf(&mut read)).await.expect("an answer in time") {
            Ok(1..) => {}
            ended => panic!("the connection has ended ({ended:?}): {text}"),
        }
    }
}

/// A POST of a report.
pub(crate) fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: sender/1.0\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}
