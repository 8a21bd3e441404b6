//! Vault's transit engine as its API is documented (developer.hashicorp.com/vault/api-docs/secret/transit), over TLS: it
//! refuses what the documentation does not allow.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use mtasts_model::{Entropy, SystemEntropy};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

pub(super) const TOKEN: &str = "hvs.canary-token-0123456789";
pub(super) const NAMESPACE: &str = "team/mail";
/// Where the engine is mounted, and its key.
const MOUNT: &str = "/v1/kms/transit/";
const KEY: &str = "ring";

/// How it answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    Well,
    TokenExpired,
    Sealed,
    /// So many requests, and then no longer.
    SealedFor(usize),
    Silent,
    /// With more than anybody should read.
    Verbose,
    Babbling,
    Redirecting,
}

struct State {
    mood: Mutex<Mood>,
    /// What it has wrapped.
    wrapped: Mutex<HashMap<String, String>>,
    asked: AtomicUsize,
}

pub(super) struct FakeVault {
    address: SocketAddr,
    ca_pem: String,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl Drop for FakeVault {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

impl FakeVault {
    pub(super) async fn start() -> Self {
        let (issuer, ca_pem) = authority();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            mood: Mutex::new(Mood::Well),
            wrapped: Mutex::new(HashMap::new()),
            asked: AtomicUsize::new(0),
        });
        let of_server = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&of_server));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, ca_pem, state, serving }
    }

    pub(super) fn address(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(super) fn other_ca() -> String {
        authority().1
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// Requests that were answered well.
    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// The key (base64) within what it has wrapped.
    pub(super) fn plaintext(&self, wrapped: &str) -> String {
        self.state.wrapped.lock().unwrap()[wrapped].clone()
    }
}

fn errors(status: u16, errors: &[&str]) -> Response<Full<Bytes>> {
    let body = json!({ "errors": errors }).to_string();
    Response::builder().status(status).body(Full::from(body)).unwrap()
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mood = *state.mood.lock().unwrap();
    match mood {
        Mood::Silent => std::future::pending().await,
        Mood::Sealed => return Ok(errors(503, &["Vault is sealed"])),
        Mood::SealedFor(left) => {
            *state.mood.lock().unwrap() = if left > 1 { Mood::SealedFor(left - 1) } else { Mood::Well };
            return Ok(errors(503, &["Vault is sealed"]));
        }
        Mood::Verbose => return Ok(Response::new(Full::from(vec![b' '; 1 << 20]))),
        Mood::Babbling => return Ok(Response::new(Full::from("<html></html>"))),
        Mood::Redirecting => {
            let to = Response::builder().status(307).header("Location", "https://other.example/v1/");
            return Ok(to.body(Full::default()).unwrap());
        }
        Mood::Well | Mood::TokenExpired => {}
    }
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    // A token belongs to its namespace: elsewhere it is worth nothing.
    let known = header("X-Vault-Token") == Some(TOKEN) && header("X-Vault-Namespace") == Some(NAMESPACE);
    if !known || matches!(mood, Mood::TokenExpired) {
        return Ok(errors(403, &["permission denied"]));
    }
    let Some(path) = head.uri.path().strip_prefix(MOUNT) else { return Ok(errors(404, &["no handler for route"])) };
    if head.method != "POST" && head.method != "PUT" {
        return Ok(errors(405, &["unsupported operation"]));
    }
    let body = body.collect().await.unwrap().to_bytes();
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&body) else {
        return Ok(errors(400, &["failed to parse JSON input"]));
    };
    let data = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["decrypt", KEY] => decrypt(&state, body.get("ciphertext")),
        ["datakey", "wrapped", KEY] => wrap(&state, body.get("bits")),
        ["decrypt" | "datakey", ..] => Err((400, "encryption key not found")),
        _ => Err((404, "no handler for route")),
    };
    Ok(data.map_or_else(
        |(status, said)| errors(status, &[said]),
        |data| {
            state.asked.fetch_add(1, Ordering::SeqCst);
            let body = json!({
                "request_id": "0b1c7b5d-5a4f-9f0b-d4c4-3f8b7d6ad0f1", "lease_id": "", "renewable": false,
                "lease_duration": 0, "data": data, "wrap_info": null, "warnings": null, "auth": null,
            });
            Response::builder().header("Content-Type", "application/json").body(Full::from(body.to_string())).unwrap()
        },
    ))
}

/// Status and what is said.
type Refusal = (u16, &'static str);

fn decrypt(state: &State, ciphertext: Option<&Value>) -> Result<Value, Refusal> {
    let missing = || (400, "missing ciphertext to decrypt");
    let ciphertext = ciphertext.and_then(Value::as_str).ok_or_else(missing)?;
    if !ciphertext.starts_with("vault:v") {
        return Err((400, "invalid ciphertext: no prefix"));
    }
    let wrapped = state.wrapped.lock().unwrap();
    let plaintext = wrapped.get(ciphertext).ok_or((400, "cipher: message authentication failed"))?;
    Ok(json!({ "plaintext": plaintext }))
}

fn wrap(state: &State, bits: Option<&Value>) -> Result<Value, Refusal> {
    let octets = match bits.map_or(Some(256), Value::as_u64) {
        Some(bits @ (128 | 256 | 512)) => usize::try_from(bits / 8).unwrap(),
        _ => return Err((400, "invalid bit length")),
    };
    let (mut plaintext, mut ciphertext) = (vec![0; octets], vec![0; octets + 28]);
    SystemEntropy.fill(&mut plaintext);
    SystemEntropy.fill(&mut ciphertext);
    let ciphertext = format!("vault:v1:{}", BASE64.encode(&ciphertext));
    state.wrapped.lock().unwrap().insert(ciphertext.clone(), BASE64.encode(&plaintext));
    Ok(json!({ "ciphertext": ciphertext, "key_version": 1 }))
}
