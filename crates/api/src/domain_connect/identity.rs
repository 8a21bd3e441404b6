//! Who we are to DNS providers, and the key that proves it.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use data_encoding::BASE64;
use mtasts_model::HostName;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// RS256 with less is not safe (RFC 7518 §3.3).
const MIN_BITS: usize = 2048;
/// Characters of the key in one TXT record: with what stands before it they fit into one character-string.
const KEY_CHUNK: usize = 200;
const MAX_NAME: usize = 200;

/// What an operator says of the service.
#[derive(Debug, Clone)]
pub struct DomainConnectSettings {
    /// A domain of the service provider's, such as `example.net`. Also where the public key is published.
    pub provider_id: String,
    /// The service provider, for people.
    pub provider_name: String,
    /// The template's id: letters, digits, `-`, `_` and `.`.
    pub service_id: String,
    /// The service, for people.
    pub service_name: String,
    /// A logo to show.
    pub logo_url: Option<Url>,
    /// The label beneath `provider_id` where the public key is published, such as `_dck1`.
    pub key_host: String,
    /// The RSA key that links are signed with: PEM, PKCS #8 or PKCS #1, at least 2048 bits.
    pub private_key: SecretString,
}

/// Why Domain Connect cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum DomainConnectError {
    /// The provider's id is no domain name.
    #[error("the provider's id must be a domain name of yours, such as `example.net`")]
    ProviderId,
    /// The service's id cannot stand in a URL.
    #[error("the service's id must have 1 to 200 letters, digits, `-`, `_` and `.`")]
    ServiceId,
    /// A name is empty, too long, or has control characters.
    #[error("the names for people must have 1 to 200 characters, and no control characters")]
    Name,
    /// The key's label is none.
    #[error("the key's host must be one label such as `_dck1`")]
    KeyHost,
    /// A logo that browsers would not load.
    #[error("the logo's URL must begin with `https://`")]
    Logo,
    /// The key is no PEM, or not of RSA.
    #[error("the private key must be an RSA key in PEM, as `openssl genrsa 2048` prints")]
    Key,
    /// The key is too short.
    #[error("the private key must have at least {MIN_BITS} bits")]
    ShortKey,
}

/// Who we are to DNS providers.
pub struct DomainConnectIdentity {
    pub(super) provider_id: HostName,
    pub(super) provider_name: String,
    pub(super) service_id: String,
    pub(super) service_name: String,
    pub(super) logo_url: Option<Url>,
    key_host: String,
    key: KeyPair,
}

impl DomainConnectIdentity {
    /// Reads the settings.
    pub fn new(settings: DomainConnectSettings) -> Result<Self, DomainConnectError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let provider_id = HostName::parse(&settings.provider_id).map_err(|_| DomainConnectError::ProviderId)?;
        let service_id = settings.service_id;
        if !(1..=MAX_NAME).contains(&service_id.len()) || !service_id.bytes().all(|byte| plain(byte) || byte == b'.') {
            return Err(DomainConnectError::ServiceId);
        }
        for name in [&settings.provider_name, &settings.service_name] {
            if !(1..=MAX_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
                return Err(DomainConnectError::Name);
            }
        }
        if !(1..=63).contains(&settings.key_host.len()) || !settings.key_host.bytes().all(plain) {
            return Err(DomainConnectError::KeyHost);
        }
        if settings.logo_url.as_ref().is_some_and(|url| url.scheme() != "https") {
            return Err(DomainConnectError::Logo);
        }
        Ok(Self {
            provider_id,
            provider_name: settings.provider_name,
            service_id,
            service_name: settings.service_name,
            logo_url: settings.logo_url,
            key_host: settings.key_host,
            key: read_key(&settings.private_key)?,
        })
    }

    /// The TXT records that DNS providers find our public key by, as lines of a zone file: to be published by the
    /// operator in the zone of the provider's id.
    pub fn key_records(&self) -> Result<String, DomainConnectError> {
        let public =
            AsDer::<PublicKeyX509Der<'_>>::as_der(self.key.public_key()).map_err(|_| DomainConnectError::Key)?;
        let encoded = BASE64.encode(public.as_ref());
        let owner = format!("{}.{}.", self.key_host, self.provider_id);
        let chunks = encoded.as_bytes().chunks(KEY_CHUNK).map(String::from_utf8_lossy).enumerate();
        let line = |(index, chunk)| format!("{owner} 3600 IN TXT \"p={},a=RS256,d={chunk}\"\n", index + 1);
        Ok(chunks.map(line).collect())
    }

    /// The name of the file under which templates are published.
    pub fn template_file_name(&self) -> String {
        format!("{}.{}.json", self.provider_id, self.service_id).to_ascii_lowercase()
    }

    /// The query with its signature: RSA-SHA256 over the query as it stands, the signature and the key's host behind
    /// it (specification, "Digitally Sign Requests").
    pub(super) fn sign(&self, query: &str) -> Result<String, DomainConnectError> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), query.as_bytes(), &mut signature)
            .map_err(|_| DomainConnectError::Key)?;
        let mut signed = url::form_urlencoded::Serializer::for_suffix(format!("{query}&"), query.len() + 1);
        signed.append_pair("sig", &BASE64.encode(&signature)).append_pair("key", &self.key_host);
        Ok(signed.finish())
    }
}

fn read_key(pem: &SecretString) -> Result<KeyPair, DomainConnectError> {
    let der = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).map_err(|_| DomainConnectError::Key)?;
    let key = match &der {
        PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(DomainConnectError::Key),
    };
    let key = key.map_err(|_| DomainConnectError::Key)?;
    if key.public_modulus_len() * 8 < MIN_BITS {
        return Err(DomainConnectError::ShortKey);
    }
    Ok(key)
}

impl fmt::Debug for DomainConnectIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainConnectIdentity")
            .field("provider_id", &self.provider_id)
            .field("service_id", &self.service_id)
            .finish_non_exhaustive()
    }
}
