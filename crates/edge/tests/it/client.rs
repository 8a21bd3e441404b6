//! A sender: rustls with verification, HTTP/1.1 by hand, so that wrong requests can be sent too.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{authority::Authority, harness::PATH};

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    pub(crate) config: ClientConfig,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.root.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { address, config }
    }

    pub(crate) async fn connect(&self, domain: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        self.shake(stream, &format!("mta-sts.{domain}")).await
    }

    pub(crate) async fn shake(&self, stream: TcpStream, host: &str) -> io::Result<Connection> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(self.config.clone())).connect(name, stream).await?;
        Ok(Connection { stream, bytes: Vec::new() })
    }

    /// One connection, one GET of the policy.
    pub(crate) async fn policy(&self, domain: &str) -> io::Result<Answer> {
        self.connect(domain).await?.get(&format!("mta-sts.{domain}"), PATH).await
    }
}

pub(crate) struct Connection {
    pub(crate) stream: TlsStream<TcpStream>,
    bytes: Vec<u8>,
}

impl Connection {
    pub(crate) async fn get(&mut self, host: &str, path: &str) -> io::Result<Answer> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    }

    pub(crate) async fn ask(&mut self, request: &str) -> io::Result<Answer> {
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        self.answer(!request.starts_with("HEAD")).await
    }

    pub(crate) async fn answer(&mut self, with_body: bool) -> io::Result<Answer> {
        answer(&mut self.stream, &mut self.bytes, with_body).await
    }

    /// Whether the edge has ended the connection, with a close_notify.
    pub(crate) async fn is_ended(&mut self) -> bool {
        matches!(self.stream.read_u8().await, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof)
    }
}

/// Reads one answer; what follows stays in `bytes`.
pub(crate) async fn answer(
    stream: &mut (impl AsyncReadExt + Unpin),
    bytes: &mut Vec<u8>,
    with_body: bool,
) -> io::Result<Answer> {
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: String::new() };
    let length: usize = if with_body { answer.header("content-length").unwrap().parse().unwrap() } else { 0 };
    while bytes.len() < end + length {
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    answer.body = String::from_utf8(bytes[end..end + length].to_vec()).unwrap();
    bytes.drain(..end + length);
    Ok(answer)
}
