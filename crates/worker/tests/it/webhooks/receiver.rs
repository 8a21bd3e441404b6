//! A web server that takes webhooks, over TLS, and does as it is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A private CA.
pub(super) struct Pki(CertifiedIssuer<'static, KeyPair>);

impl Pki {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        Arc::new(config).into()
    }
}

/// What was posted.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) line: String,
    /// By their names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// As docs/webhooks.md tells receivers to, with nothing of the sender's code: HMAC by RFC 2104 §2.
    pub(super) fn is_signed_with(&self, secret: &[u8; 32]) -> bool {
        let pad = |octet: u8| -> Vec<u8> {
            (0..64).map(|index| secret.get(index).copied().unwrap_or_default() ^ octet).collect()
        };
        let inner = Sha256::new()
            .chain_update(pad(0x36))
            .chain_update(self.header("webhook-id"))
            .chain_update(".")
            .chain_update(self.header("webhook-timestamp"))
            .chain_update(".")
            .chain_update(&self.body)
            .finalize();
        let expected = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
        let signatures = self.header("webhook-signature").split(' ').map(|one| one.strip_prefix("v1,").unwrap());
        signatures.into_iter().any(|one| data_encoding::BASE64.decode(one.as_bytes()).unwrap()[..] == expected[..])
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Status(u16),
    /// With further header lines and a body.
    Full(u16, &'static str, String),
    /// The head of an answer whose body never ends.
    Endless(u16),
    /// Nothing is ever said.
    Silence,
}

pub(super) struct Receiver {
    pub(super) port: u16,
    reply: Arc<Mutex<Reply>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// For this name.
    pub(super) async fn start(pki: &Pki, name: &str) -> Self {
        Self::listen(Some(pki.acceptor(name))).await
    }

    /// Without TLS.
    pub(super) async fn start_plain() -> Self {
        Self::listen(None).await
    }

    async fn listen(acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let reply = Arc::new(Mutex::new(Reply::Status(204)));
        let received = Arc::new(Mutex::new(Vec::new()));
        let (replies, log) = (Arc::clone(&reply), Arc::clone(&received));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, replies, log) = (acceptor.clone(), Arc::clone(&replies), Arc::clone(&log));
                tokio::spawn(async move {
                    let _ = match acceptor {
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, &replies, &log).await,
                            Err(error) => Err(error),
                        },
                        None => serve(stream, &replies, &log).await,
                    };
                });
            }
        });
        Self { port, reply, received }
    }

    pub(super) fn replies(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: &Mutex<Reply>,
    log: &Mutex<Vec<Received>>,
) -> std::io::Result<()> {
    let mut octets = Vec::new();
    let request = loop {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk).await?;
        octets.extend_from_slice(&chunk[..length]);
        if let Some(request) = parse(&octets) {
            break request;
        }
        if length == 0 {
            return Ok(());
        }
    };
    log.lock().unwrap().push(request);
    let reply = reply.lock().unwrap().clone();
    let (status, headers, body) = match reply {
        Reply::Status(status) => (status, "", String::new()),
        Reply::Full(status, headers, body) => (status, headers, body),
        Reply::Endless(status) => {
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 1000000\r\n\r\nbeginning");
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            std::future::pending().await
        }
        Reply::Silence => std::future::pending().await,
    };
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// A whole request, if it is there.
fn parse(octets: &[u8]) -> Option<Received> {
    let end = octets.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(octets[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: BTreeMap<_, _> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").unwrap().parse().unwrap();
    let body = octets.get(end + 4..end + 4 + length)?.to_vec();
    Some(Received { line, headers, body })
}
