//! Answers the CA's validation as an edge does.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use mtasts_model::feed::Challenge;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

type Published = Arc<Mutex<Option<Challenge>>>;

/// An HTTP and a TLS listener that give the one answer that is published.
pub(crate) struct Validation {
    pub(crate) http: SocketAddr,
    pub(crate) tls: SocketAddr,
    published: Published,
}

impl Validation {
    pub(crate) async fn start() -> Self {
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let tls = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let published = Published::default();
        let validation =
            Self { http: http.local_addr().unwrap(), tls: tls.local_addr().unwrap(), published: published.clone() };
        let for_http = published.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = http.accept().await {
                tokio::spawn(answer_http(stream, current(&for_http)));
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = tls.accept().await {
                tokio::spawn(answer_tls(stream, current(&published)));
            }
        });
        validation
    }

    pub(crate) fn publish(&self, challenge: Challenge) {
        *self.published.lock().unwrap() = Some(challenge);
    }
}

fn current(published: &Published) -> Option<Challenge> {
    published.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn answer_http(mut stream: TcpStream, challenge: Option<Challenge>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let answer = match challenge {
        Some(Challenge::Http01 { token, key_authorization })
            if head.starts_with(format!("GET /.well-known/acme-challenge/{token} ").as_bytes()) =>
        {
            format!("HTTP/1.0 200 OK\r\n\r\n{key_authorization}")
        }
        _ => "HTTP/1.0 404 Not Found\r\n\r\n".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn answer_tls(stream: TcpStream, challenge: Option<Challenge>) -> std::io::Result<()> {
    let Some(Challenge::TlsAlpn01 { certificate, key }) = challenge else { return Ok(()) };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let key = provider.key_provider.load_private_key(key).unwrap();
    // `with_single_cert` would parse the certificate, and not know its critical extension.
    let certified = CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    TlsAcceptor::from(Arc::new(config)).accept(stream).await?.shutdown().await
}
