//! How DNS providers that offer Domain Connect are asked: TXT records name their servers, so nothing of what is asked is
//! to be trusted, and no address that is not public is connected to.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mtasts_api::{BoxError, DomainConnectWeb, WebAnswer};
use mtasts_dns::Resolver;
use mtasts_probe::{ProbeConfig, address::refusal};
use rustls::{ClientConfig, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    time::{timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::{Host, Url};

/// The longest body that is read. Settings have one or two KiB.
const MAX_BODY: usize = 64 * 1024;
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// For one GET, from the lookup to the last byte.
const DEADLINE: Duration = Duration::from_secs(8);
/// For TCP and TLS at one address.
const CONNECT: Duration = Duration::from_secs(3);
const MAX_ADDRESSES: usize = 3;
/// What a stranger's zone can make us look at.
const MAX_TXT: usize = 20;
const MAX_TXT_LENGTH: usize = 512;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum WebError {
    #[error("this is no URL that is asked")]
    Url,
    #[error("{host} has no public address")]
    NoAddress { host: String },
    #[error("there was no whole answer in time")]
    Deadline,
}

/// The way to DNS providers' web servers.
pub(crate) struct ProvidersWeb {
    resolver: Resolver,
    tls: TlsConnector,
    allow_private_addresses: bool,
}

impl ProvidersWeb {
    /// With the roots of a probe, and what it says of private addresses. Fails only when the TLS provider does not know
    /// TLS 1.2 or 1.3.
    pub(crate) fn new(probe: &ProbeConfig, resolver: Resolver) -> Result<Self, rustls::Error> {
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(Arc::clone(&probe.roots))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = TlsConnector::from(Arc::new(tls));
        Ok(Self { resolver, tls, allow_private_addresses: probe.allow_private_addresses })
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, BoxError> {
        let found = self.resolver.addresses(host).await?.found().unwrap_or_default();
        let allowed = found.into_iter().filter(|address| refusal(*address, self.allow_private_addresses).is_none());
        Ok(allowed.take(MAX_ADDRESSES).collect())
    }

    /// A session at the first address that gives one.
    async fn open(&self, host: &str, port: u16) -> Result<TlsStream<TcpStream>, BoxError> {
        let name = ServerName::try_from(host.to_owned())?;
        let mut failure: BoxError = WebError::NoAddress { host: host.to_owned() }.into();
        for address in self.addresses(host).await? {
            let session = async {
                let tcp = TcpStream::connect(SocketAddr::new(address, port)).await?;
                self.tls.connect(name.clone(), tcp).await
            };
            match timeout(CONNECT, session).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) => failure = error.into(),
                Err(_) => failure = WebError::Deadline.into(),
            }
        }
        Err(failure)
    }

    async fn exchange(&self, url: &Url) -> Result<WebAnswer, BoxError> {
        let (Some(Host::Domain(host)), "https", Some(port)) = (url.host(), url.scheme(), url.port_or_known_default())
        else {
            return Err(WebError::Url.into());
        };
        let stream = self.open(host, port).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = url.path().parse()?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_str(host)?);
        headers.insert(header::USER_AGENT, HeaderValue::from_static("mtasts"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await?.to_bytes().to_vec();
            Ok(WebAnswer { status, body })
        };
        // The connection must be driven for the exchange to move; what it says after the answer is of no interest.
        let (mut connection, mut answer) = (std::pin::pin!(connection), std::pin::pin!(answer));
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    }
}

#[async_trait]
impl DomainConnectWeb for ProvidersWeb {
    async fn txt(&self, name: &str) -> Result<Vec<String>, BoxError> {
        let values = self.resolver.txt(name).await?.found().unwrap_or_default();
        Ok(values.into_iter().filter(|value| value.len() <= MAX_TXT_LENGTH).take(MAX_TXT).collect())
    }

    /// Redirects are answers like others: none is followed.
    async fn get(&self, url: &Url) -> Result<WebAnswer, BoxError> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        timeout_at(deadline, self.exchange(url)).await.map_err(|_| WebError::Deadline)?
    }
}

#[cfg(test)]
mod tests {
    use mtasts_dns::ResolverConfig;
    use mtasts_model::{HostName, SystemClock};
    use mtasts_testkit::Bind;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::{
        RootCertStore, ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A web server for `dc.dns.test` that says the same to everybody, and what was asked of it.
    async fn server(answer: Vec<u8>) -> (u16, Arc<RootCertStore>, tokio::task::JoinHandle<String>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["dc.dns.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            // A client that has seen enough hangs up.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            String::from_utf8(asked).unwrap()
        });
        (port, Arc::new(roots), serving)
    }

    fn web(bind: &Bind, roots: Arc<RootCertStore>, allow_private_addresses: bool) -> ProvidersWeb {
        let mut probe = ProbeConfig::new(HostName::parse("probe.sts.test").unwrap(), Arc::new(SystemClock));
        probe.roots = roots;
        probe.allow_private_addresses = allow_private_addresses;
        let resolver = ResolverConfig { upstreams: vec![bind.address()], ..ResolverConfig::default() };
        ProvidersWeb::new(&probe, Resolver::new(resolver).unwrap()).unwrap()
    }

    async fn dns() -> Bind {
        let bind = Bind::start(&["dns.test"], &[]).await;
        let lines = [
            "add dc.dns.test 1 A 127.0.0.1",
            "add other.dns.test 1 A 127.0.0.1",
            "add _domainconnect.customer.dns.test 1 TXT \"dc.dns.test\"",
        ];
        bind.update("dns.test", &lines).await;
        bind
    }

    fn url(host: &str, port: u16) -> Url {
        format!("https://{host}:{port}/v2/customer.dns.test/settings").parse().unwrap()
    }

    #[tokio::test]
    async fn records_and_answers_are_read_over_verified_tls_and_redirects_are_not_followed() {
        let bind = dns().await;
        let redirect = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 2\r\n\r\n{}";
        let (port, roots, serving) = server(redirect.to_vec()).await;
        let web = web(&bind, roots, true);
        assert_eq!(web.txt("_domainconnect.customer.dns.test").await.unwrap(), ["dc.dns.test"]);
        assert!(web.txt("_domainconnect.other.dns.test").await.unwrap().is_empty());
        let answer = web.get(&url("dc.dns.test", port)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (302, b"{}".as_slice()));
        let asked = serving.await.unwrap();
        assert!(asked.starts_with("GET /v2/customer.dns.test/settings HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: dc.dns.test\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_certificate_for_another_host_and_a_private_address_are_refused() {
        let bind = dns().await;
        let (port, roots, _serving) = server(Vec::new()).await;
        assert!(web(&bind, Arc::clone(&roots), true).get(&url("other.dns.test", port)).await.is_err());
        let refused = web(&bind, roots, false).get(&url("dc.dns.test", port)).await.unwrap_err();
        assert!(refused.to_string().contains("no public address"), "{refused}");
        for bad in ["http://dc.dns.test/", "https://127.0.0.1/", "file:///etc/passwd"] {
            let bad = bad.parse().unwrap();
            assert!(web(&bind, Arc::new(RootCertStore::empty()), true).get(&bad).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_given_up() {
        let bind = dns().await;
        let mut endless = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".to_vec();
        endless.resize(MAX_BODY * 4, b' ');
        let (port, roots, _serving) = server(endless).await;
        assert!(web(&bind, roots, true).get(&url("dc.dns.test", port)).await.is_err());
    }
}
