//! One POST to a stranger's web server, for webhooks: the addresses are filtered after resolution and at the very
//! connection, redirects are answers like others, every byte that is read is capped, and there is one deadline for all.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mtasts_dns::{ResolveError, Resolver};
use mtasts_model::HostName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::{
    ProbeConfig, TlsFailure,
    address::Refusal,
    connect::{ConnectFailure, connect},
    tls::Verifier,
};

/// So much of an answer's body is read, in octets.
pub const MAX_POST_EXCERPT: usize = 1024;
/// Bound of the status line and all headers.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// So many addresses of one host are tried, one after the other.
const MAX_ADDRESSES: usize = 4;
/// For TCP, and for TLS, at one address: so that one that is dead leaves time for another.
const STEP: Duration = Duration::from_secs(5);
/// The status decides; a body that trickles is not waited for.
const EXCERPT_PATIENCE: Duration = Duration::from_secs(1);

/// Where to.
#[derive(Debug, Clone, Copy)]
pub struct PostTarget<'a> {
    /// Whose addresses are connected to, and whom the certificate must name.
    pub host: &'a HostName,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The `Host` header.
    pub authority: &'a str,
    /// The request target: path and query.
    pub target: &'a str,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The status.
    pub status: u16,
    /// The `Retry-After` header as it came, if it can be read.
    pub retry_after: Option<String>,
    /// The beginning of the body, at most [`MAX_POST_EXCERPT`] octets.
    pub excerpt: Bytes,
}

/// Why nothing was answered. Texts are for the webhook's owner.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The addresses could not be resolved.
    #[error("The addresses of {host} could not be resolved")]
    Unresolvable {
        /// Whose.
        host: String,
        /// What the resolver met.
        #[source]
        source: ResolveError,
    },
    /// There are none.
    #[error("{0} has no address")]
    NoAddress(String),
    /// No address may be connected to.
    #[error("An address of the host {0}: events are not sent there")]
    AddressRefused(Refusal),
    /// This machine has no route there.
    #[error("This service has no route to the host")]
    NoRoute(#[source] io::Error),
    /// No TCP connection.
    #[error("The connection failed: {0}")]
    Connect(#[source] io::Error),
    /// No verified TLS session.
    #[error("No verified TLS session: {0}")]
    Tls(#[source] TlsFailure),
    /// The answer is not HTTP, or broke off.
    #[error("The answer cannot be read as HTTP: {0}")]
    Http(#[source] hyper::Error),
    /// The request could not be put together.
    #[error("The request cannot be made: {0}")]
    Request(#[source] http::Error),
    /// Not done in time.
    #[error("There was no answer within {} s", .0.as_secs_f32())]
    Deadline(Duration),
}

/// Posts.
#[derive(Clone)]
pub struct Poster {
    config: ProbeConfig,
    resolver: Resolver,
    verifier: Verifier,
}

impl Poster {
    /// A poster that asks `resolver` for addresses. Of the configuration it heeds roots, clock, and which addresses may be
    /// connected to.
    ///
    /// # Errors
    /// Only when the TLS provider does not know TLS 1.2 or 1.3.
    pub fn new(mut config: ProbeConfig, resolver: Resolver) -> Result<Self, rustls::Error> {
        config.timeouts.connect = STEP.min(config.timeouts.connect);
        config.timeouts.handshake = STEP.min(config.timeouts.handshake);
        let verifier = Verifier::new(&config, &[b"http/1.1"])?;
        Ok(Self { config, resolver, verifier })
    }

    /// Posts `body` with these headers, and reads the answer.
    ///
    /// # Errors
    /// When there is no answer within `deadline`. The receiver may have read the request all the same.
    pub async fn post(
        &self,
        target: PostTarget<'_>,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<Posted, PostError> {
        let exchange = self.exchange(target, headers, body);
        timeout(deadline, exchange).await.unwrap_or(Err(PostError::Deadline(deadline)))
    }

    async fn exchange(
        &self,
        target: PostTarget<'_>,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Posted, PostError> {
        let request = request(target, headers, body).map_err(PostError::Request)?;
        let tcp_or_tls = self.open(target).await?;
        match tcp_or_tls {
            Open::Plain(stream) => send(stream, request).await,
            Open::Tls(stream) => send(*stream, request).await,
        }
    }

    /// A connection to the first address that gives one. What was resolved is what is filtered and connected to.
    async fn open(&self, target: PostTarget<'_>) -> Result<Open, PostError> {
        let host = target.host;
        let found = self.resolver.addresses(host.as_str()).await;
        let found = found.map_err(|source| PostError::Unresolvable { host: host.to_string(), source })?;
        let mut failure = PostError::NoAddress(host.to_string());
        for ip in found.found().unwrap_or_default().into_iter().take(MAX_ADDRESSES) {
            match self.open_at(target, SocketAddr::new(ip, target.port)).await {
                Ok(open) => return Ok(open),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn open_at(&self, target: PostTarget<'_>, addr: SocketAddr) -> Result<Open, PostError> {
        let tcp = connect(&self.config, addr).await.map_err(|failure| match failure {
            ConnectFailure::Refused(refusal) => PostError::AddressRefused(refusal),
            ConnectFailure::Deadline => PostError::Deadline(self.config.timeouts.connect),
            ConnectFailure::NoRoute(error) => PostError::NoRoute(error),
            ConnectFailure::Failed(error) => PostError::Connect(error),
        })?;
        if !target.tls {
            return Ok(Open::Plain(tcp));
        }
        let (stream, _) = self.verifier.open(target.host, tcp).await.map_err(PostError::Tls)?;
        Ok(Open::Tls(Box::new(stream)))
    }
}

enum Open {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

fn request(
    target: PostTarget<'_>,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::post(target.target)
        .header(header::HOST, target.authority)
        .header(header::USER_AGENT, HeaderValue::from_static("mtasts"))
        .header(header::ACCEPT, HeaderValue::from_static("*/*"))
        .header(header::CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(Full::new(body.into()))
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Posted, PostError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(PostError::Http)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(PostError::Http)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut excerpt = Vec::new();
        let read = timeout(EXCERPT_PATIENCE, read(response.into_body(), &mut excerpt));
        // What has come of it will do.
        let _ = read.await;
        Ok(Posted { status, retry_after, excerpt: excerpt.into() })
    };
    // The connection must be driven for the exchange to move; what it says after the answer is of no interest.
    let (mut connection, mut exchange) = (std::pin::pin!(connection), std::pin::pin!(exchange));
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

async fn read(mut body: hyper::body::Incoming, excerpt: &mut Vec<u8>) {
    while excerpt.len() < MAX_POST_EXCERPT {
        let Some(Ok(frame)) = body.frame().await else { return };
        if let Some(data) = frame.data_ref() {
            let room = MAX_POST_EXCERPT - excerpt.len();
            excerpt.extend_from_slice(data.get(..room).unwrap_or(data));
        }
    }
}
