//! The operator's relay, to which all mail goes (RFC 6409).

use std::{sync::Arc, time::Duration};

use lettre::{
    Address,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::ClientId,
    },
};
use mtasts_model::{EmailAddress, HostName};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 300;

/// How the connection is kept from others' eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayTls {
    /// STARTTLS, without which nothing is sent (RFC 3207).
    StartTls,
    /// TLS from the first octet (RFC 8314 §3.3).
    Implicit,
    /// None: for a relay on loopback alone.
    None,
}

/// Where mail goes.
#[derive(Clone)]
pub struct RelayConfig {
    /// The relay's name, for which its certificate has to be, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: RelayTls,
    /// Name and password, if it wants any.
    pub credentials: Option<(String, SecretString)>,
    /// Who the sender is.
    pub from: EmailAddress,
    /// What EHLO says.
    pub helo_name: HostName,
    /// Roots to trust besides the public ones (PEM).
    pub extra_roots: Option<Vec<u8>>,
    /// How long one mail may take, from the connection to the answer.
    pub deadline: Duration,
}

impl std::fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayConfig").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// What is wrong with the configuration of a relay.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Roots that cannot be read, for one.
    #[error("TLS to the relay cannot be set up")]
    Tls(#[source] SmtpError),
}

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The relay will never take anything for this address.
    Recipient(String),
    /// It will never take this mail.
    Content(String),
    /// It may take it later.
    Later(String),
}

/// The way to a relay.
#[derive(Clone)]
pub struct Relay {
    config: Arc<RelayConfig>,
    tls: Option<TlsParameters>,
}

impl Relay {
    /// Prepares the way; nothing is connected.
    pub fn new(config: RelayConfig) -> Result<Self, RelayError> {
        let tls = match config.tls {
            RelayTls::None => None,
            RelayTls::StartTls | RelayTls::Implicit => {
                let mut builder =
                    TlsParameters::builder(config.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
                if let Some(pem) = &config.extra_roots {
                    builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(RelayError::Tls)?);
                }
                Some(builder.build_rustls().map_err(RelayError::Tls)?)
            }
        };
        Ok(Self { config: Arc::new(config), tls })
    }

    /// Who the sender is.
    pub(super) fn from(&self) -> &EmailAddress {
        &self.config.from
    }

    /// Hands over a mail. The relay has it once this returns.
    pub(super) async fn send(&self, to: &str, message: &[u8]) -> Result<(), NotTaken> {
        match timeout(self.config.deadline, self.hand_over(to, message)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(NotTaken::Later("the relay took too long".to_owned())),
        }
    }

    async fn hand_over(&self, to: &str, message: &[u8]) -> Result<(), NotTaken> {
        let later = |error: SmtpError| NotTaken::Later(reason(&error));
        let address = |text: &str| text.parse::<Address>().map_err(|error| NotTaken::Content(error.to_string()));
        let (from, to) = (address(self.config.from.as_str())?, address(to)?);
        let hello = ClientId::Domain(self.config.helo_name.as_str().to_owned());
        let at_once = self.tls.clone().filter(|_| self.config.tls == RelayTls::Implicit);
        let server = (self.config.host.as_str(), self.config.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.config.deadline), &hello, at_once, None)
                .await
                .map_err(later)?;
        if let Some(tls) = self.tls.clone().filter(|_| self.config.tls == RelayTls::StartTls) {
            connection.starttls(tls, &hello).await.map_err(later)?;
        }
        if let Some((user, password)) = &self.config.credentials {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(later)?;
        }
        // Step by step, since it matters at which one the relay says no: a sender that it does not take is the operator's
        // fault and not the recipient's.
        connection.command(Mail::new(Some(from), Vec::new())).await.map_err(later)?;
        connection.command(Rcpt::new(to, Vec::new())).await.map_err(|error| refused(&error, NotTaken::Recipient))?;
        connection.command(Data).await.map_err(later)?;
        connection.message(message).await.map_err(|error| refused(&error, NotTaken::Content))?;
        // It has the mail; how it says goodbye does not matter.
        drop(connection.quit().await);
        Ok(())
    }
}

fn refused(error: &SmtpError, for_ever: fn(String) -> NotTaken) -> NotTaken {
    if error.is_permanent() { for_ever(reason(error)) } else { NotTaken::Later(reason(error)) }
}

/// What went wrong, on one line: the relay's text is a stranger's.
fn reason(error: &SmtpError) -> String {
    let text = mtasts_model::causes(error);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_REASON).collect()
}
