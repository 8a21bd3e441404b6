//! Stands between the issuer and Pebble, and makes the faults that Pebble does not.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::pebble::Pebble;

/// What happens to a request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It does not reach the CA; this comes back: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// It does not reach the CA, and nothing ever comes back.
    Hang,
    /// It takes effect at the CA, but the connection closes without an answer.
    DropAnswer,
    /// The CA's answer comes back with another body.
    Rewrite(fn(&str, SocketAddr) -> String),
}

#[derive(Clone)]
struct Rule {
    method: Option<Method>,
    path: String,
    times: usize,
    fault: Fault,
}

/// The paths that came, in order, with the bodies.
type Seen = Arc<Mutex<Vec<(String, Bytes)>>>;

pub(crate) struct AcmeProxy {
    pub(crate) address: SocketAddr,
    rules: Arc<Mutex<VecDeque<Rule>>>,
    seen: Seen,
}

#[derive(Clone)]
struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    ca: SocketAddr,
    own: SocketAddr,
    rules: Arc<Mutex<VecDeque<Rule>>>,
    seen: Seen,
}

impl AcmeProxy {
    pub(crate) async fn start(pebble: &Pebble) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = CertificateDer::from_pem_slice(pebble.listener_pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(client).https_only().enable_http1().build();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pebble.listener_key.clone()));
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let (rules, seen) = (Arc::default(), Seen::default());
        let upstream = Upstream {
            client: Client::builder(TokioExecutor::new()).build(connector),
            ca: pebble.address,
            own: address,
            rules: Arc::clone(&rules),
            seen: seen.clone(),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| upstream.clone().pass(request));
                    // An error is a client that went away, or the fault that was asked for.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, rules, seen }
    }

    /// The next `times` requests whose path begins so meet this fault.
    pub(crate) fn inject(&self, path: &str, times: usize, fault: Fault) {
        self.rules.lock().unwrap().push_back(Rule { method: None, path: path.to_owned(), times, fault });
    }

    /// As [`Self::inject`], for GETs only.
    pub(crate) fn inject_get(&self, path: &str, times: usize, fault: Fault) {
        let method = Some(Method::GET);
        self.rules.lock().unwrap().push_back(Rule { method, path: path.to_owned(), times, fault });
    }

    /// How many requests had a path that begins so.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|(seen, _)| seen.starts_with(path)).count()
    }

    /// What was signed and sent to paths that begin so (RFC 7515 §7.2.2).
    pub(crate) fn payloads(&self, path: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        let bodies = seen.iter().filter(|(seen, _)| seen.starts_with(path)).map(|(_, body)| body);
        bodies
            .map(|body| {
                let signed: Value = serde_json::from_slice(body).unwrap();
                let payload = BASE64_URL_SAFE_NO_PAD.decode(signed["payload"].as_str().unwrap()).unwrap();
                serde_json::from_slice(&payload).unwrap()
            })
            .collect()
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed as asked for")]
struct Closed;

impl Upstream {
    async fn pass(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Closed> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let fault = self.fault(&head.method, &path);
        let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
        self.seen.lock().unwrap().push((path, body.clone()));
        match &fault {
            Some(Fault::Answer(status, headers, body)) => {
                let mut answer = Response::builder().status(StatusCode::from_u16(*status).unwrap());
                for (name, value) in headers {
                    answer = answer.header(*name, value);
                }
                return Ok(answer.body(Full::from(body.clone())).unwrap());
            }
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::DropAnswer | Fault::Rewrite(_)) | None => {}
        }
        // The host is kept: Pebble makes its URLs from it, and checks those in signatures against it.
        assert!(head.headers.contains_key(HOST));
        head.uri = format!("https://{}{}", self.ca, head.uri.path()).parse().unwrap();
        let answer = self.client.request(Request::from_parts(head, Full::new(body))).await.map_err(|_| Closed)?;
        let (mut head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
        match fault {
            Some(Fault::DropAnswer) => Err(Closed),
            Some(Fault::Rewrite(rewrite)) => {
                head.headers.remove(http::header::CONTENT_LENGTH);
                let body = rewrite(&String::from_utf8_lossy(&body), self.own);
                Ok(Response::from_parts(head, Full::from(body)))
            }
            _ => Ok(Response::from_parts(head, Full::new(body))),
        }
    }

    fn fault(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| {
            rule.times > 0 && path.starts_with(&rule.path) && rule.method.as_ref().is_none_or(|wanted| wanted == method)
        })?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}
