//! Which CA is asked, and as whom.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::challenge::ChallengeKind;

/// Which CA, and as whom.
#[derive(Debug, Clone)]
pub struct AcmeConfig {
    /// Our name for the account; part of [`crate::Issuer::key`].
    pub name: String,
    /// The directory (RFC 8555 §7.1.1): https.
    pub directory: Url,
    /// Roots to trust instead of the public ones, for a private CA: PEM.
    pub roots_pem: Option<Vec<u8>>,
    /// `mailto:` addresses for a new account.
    pub contacts: Vec<String>,
    /// Whether the operator agrees to the CA's terms of service; most CAs give no account without.
    pub terms_of_service_agreed: bool,
    /// Binding to an account that the CA keeps elsewhere (RFC 8555 §7.3.4).
    pub external_account: Option<ExternalAccount>,
    /// A profile to ask for in each order; None leaves it to the CA.
    pub profile: Option<String>,
    /// The challenges to use, best first.
    pub challenge_kinds: Vec<ChallengeKind>,
    /// Issuer domain names of the CA in CAA records; empty takes those in its directory (`caaIdentities`).
    pub caa_identities: Vec<String>,
    /// For one HTTP request with its answer.
    pub request_timeout: Duration,
    /// For one call of [`crate::Issuer`], all its requests together.
    pub call_timeout: Duration,
}

impl AcmeConfig {
    /// An account called `name` at this directory: public roots, http-01 before tls-alpn-01 before dns-01, no contact,
    /// terms not agreed to, 10 s for a request and 30 s for a call.
    pub fn new(name: impl Into<String>, directory: Url) -> Self {
        Self {
            name: name.into(),
            directory,
            roots_pem: None,
            contacts: Vec::new(),
            terms_of_service_agreed: false,
            external_account: None,
            profile: None,
            challenge_kinds: vec![ChallengeKind::Http01, ChallengeKind::TlsAlpn01, ChallengeKind::Dns01],
            caa_identities: Vec::new(),
            request_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
        }
    }
}

/// Credentials for an external account binding.
#[derive(Debug, Clone)]
pub struct ExternalAccount {
    /// The key identifier.
    pub key_id: String,
    /// The MAC key in base64url, as CAs hand it out.
    pub hmac_key: SecretString,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AcmeConfigError {
    /// Account keys and challenges must not be left to whoever sits in between (RFC 8555 §6.1).
    #[error("the directory must be an https URL")]
    NotHttps,
    /// The list of challenges is empty.
    #[error("at least one kind of challenge is needed")]
    NoChallengeKind,
    /// The private roots cannot be read.
    #[error("the CA's roots are not certificates in PEM")]
    Roots(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The MAC key is not base64url.
    #[error("the external account's HMAC key is not base64url")]
    HmacKey,
    /// The TLS client could not be set up.
    #[error("no TLS client")]
    Tls(#[source] rustls::Error),
}
