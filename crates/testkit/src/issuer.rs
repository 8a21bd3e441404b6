//! An OpenID Connect issuer on loopback, with keys that its tests draw, and the moods that an issuer may be in.

#![expect(clippy::expect_used, reason = "a test has no better use for an error")]

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RsaEncoding, RsaKeyPair,
    },
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How an issuer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerMood {
    /// As it should.
    Well,
    /// With 503.
    Failing,
    /// Not at all.
    Silent,
    /// With a redirect to where the true answer is.
    Redirecting,
    /// With a set of keys of a megabyte.
    Verbose,
    /// With the metadata of another issuer.
    Impersonating,
    /// With a place for its keys that anybody on the way could answer for.
    Careless,
}

/// The issuer. Ends when it is dropped.
#[derive(Debug)]
pub struct TestIssuer {
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    state: Mutex<(IssuerMood, Vec<Value>)>,
    asked: AtomicUsize,
}

impl TestIssuer {
    /// An issuer that publishes these keys.
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let url = format!("http://{}/realms/test", listener.local_addr().expect("an address"));
        let state = Mutex::new((IssuerMood::Well, Vec::new()));
        let shared = Arc::new(Shared { url: url.clone(), state, asked: AtomicUsize::new(0) });
        let of_server = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&of_server).answer(stream));
            }
        });
        let issuer = Self { url, shared, serving };
        issuer.publish(keys);
        issuer
    }

    /// What its tokens have in `iss`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Publishes these keys and no others from now on.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.shared.state().1 = keys.iter().map(|key| key.jwk()).collect();
    }

    /// Answers so from now on.
    pub fn be(&self, mood: IssuerMood) {
        self.shared.state().0 = mood;
    }

    /// How often it was asked for its metadata.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, (IssuerMood, Vec<Value>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut buffer = [0; 2048];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                _ => return,
            }
        }
        let request = String::from_utf8_lossy(&request);
        let path = request.split(' ').nth(1).unwrap_or_default();
        if path.ends_with("/.well-known/openid-configuration") {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        let (mood, keys) = self.state().clone();
        if mood == IssuerMood::Silent {
            tokio::time::sleep(Duration::from_mins(1)).await;
            return;
        }
        let (status, body) = self.page(mood, &keys, path);
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // Whoever asked may have gone.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body.as_bytes()).await;
    }

    fn page(&self, mood: IssuerMood, keys: &[Value], path: &str) -> (String, String) {
        let (place, elsewhere) = (&self.url, path.strip_prefix("/elsewhere"));
        let is_metadata = path.ends_with("/.well-known/openid-configuration");
        match mood {
            IssuerMood::Failing => ("503 Service Unavailable".to_owned(), String::new()),
            IssuerMood::Redirecting if elsewhere.is_none() => {
                (format!("302 Found\r\nLocation: /elsewhere{path}"), String::new())
            }
            IssuerMood::Impersonating if is_metadata => {
                let body = json!({"issuer": format!("{place}/other"), "jwks_uri": format!("{place}/keys")});
                ("200 OK".to_owned(), body.to_string())
            }
            IssuerMood::Careless if is_metadata => {
                let body = json!({"issuer": place, "jwks_uri": "http://192.0.2.1/keys"});
                ("200 OK".to_owned(), body.to_string())
            }
            _ if is_metadata => {
                let body = json!({"issuer": place, "jwks_uri": format!("{place}/keys"), "more": [1, 2, 3]});
                ("200 OK".to_owned(), body.to_string())
            }
            _ if path.ends_with("/keys") => {
                let padding = if mood == IssuerMood::Verbose { "x".repeat(1 << 20) } else { String::new() };
                ("200 OK".to_owned(), json!({"padding": padding, "keys": keys}).to_string())
            }
            _ => ("404 Not Found".to_owned(), String::new()),
        }
    }
}

/// A key that an issuer signs with.
pub struct SigningKey {
    id: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// RSA with 2048 bits: `RS256` to `PS512`.
    pub fn rsa(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")) }
    }

    /// On the curve P-256: `ES256`.
    pub fn p256(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { id: id.to_owned(), pair: Pair::P256(pair) }
    }

    /// On the curve P-384: `ES384`.
    pub fn p384(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
        Self { id: id.to_owned(), pair: Pair::P384(pair) }
    }

    /// `EdDSA`.
    pub fn ed25519(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Ed25519(Ed25519KeyPair::generate().expect("a key")) }
    }

    /// The public half, as a set of keys has it (RFC 7517).
    pub fn jwk(&self) -> Value {
        let text = |octets: &[u8]| BASE64URL_NOPAD.encode(octets);
        let on_curve = |curve: &str, point: &[u8]| {
            // Uncompressed (SEC 1 §2.3.3): 4, x, y.
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
        };
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({
                    "kty": "RSA",
                    "n": text(n.big_endian_without_leading_zero()),
                    "e": text(e.big_endian_without_leading_zero()),
                })
            }
            Pair::P256(pair) => on_curve("P-256", pair.public_key().as_ref()),
            Pair::P384(pair) => on_curve("P-384", pair.public_key().as_ref()),
            Pair::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())}),
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token with these claims, by the usual algorithm for the key.
    pub fn token(&self, claims: &Value) -> String {
        let algorithm = match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
        };
        self.token_by(algorithm, claims)
    }

    /// A token that says to be signed so, and is.
    pub fn token_by(&self, algorithm: &str, claims: &Value) -> String {
        self.token_with(&json!({"typ": "JWT", "alg": algorithm, "kid": self.id}), claims)
    }

    /// A token with this header, signed as its `alg` says: `HS256` with the public key's modulus as the secret, `none`
    /// not at all.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let algorithm = header["alg"].as_str().expect("the header has an `alg`");
        let signature = BASE64URL_NOPAD.encode(&self.sign(algorithm, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let by_rsa = |pair: &RsaKeyPair, encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &random, message, &mut signature).expect("a signature");
            signature
        };
        match (&self.pair, algorithm) {
            (_, "none") => Vec::new(),
            (Pair::Rsa(pair), "HS256") => {
                let secret = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message).as_ref().to_vec()
            }
            (Pair::Rsa(pair), "RS256") => by_rsa(pair, &signature::RSA_PKCS1_SHA256),
            (Pair::Rsa(pair), "RS384") => by_rsa(pair, &signature::RSA_PKCS1_SHA384),
            (Pair::Rsa(pair), "RS512") => by_rsa(pair, &signature::RSA_PKCS1_SHA512),
            (Pair::Rsa(pair), "PS256") => by_rsa(pair, &signature::RSA_PSS_SHA256),
            (Pair::Rsa(pair), "PS384") => by_rsa(pair, &signature::RSA_PSS_SHA384),
            (Pair::Rsa(pair), "PS512") => by_rsa(pair, &signature::RSA_PSS_SHA512),
            (Pair::P256(pair), "ES256") | (Pair::P384(pair), "ES384") => {
                pair.sign(&random, message).expect("a signature").as_ref().to_vec()
            }
            (Pair::Ed25519(pair), "EdDSA") => pair.sign(message).as_ref().to_vec(),
            (_, other) => panic!("this key does not sign by {other}"),
        }
    }
}
