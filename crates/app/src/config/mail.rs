//! `[mail]`: the relay to which the service hands what it writes to people.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use mtasts_model::{EmailAddress, HostName};
use mtasts_worker::{RelayConfig, RelayTls};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Config, ConfigError, serving::seconds};

/// `[mail]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MailSection {
    /// None: no mail is sent.
    pub(crate) relay: Option<String>,
    pub(crate) port: u16,
    /// `starttls`, `tls`, or `none` for a relay on loopback.
    pub(crate) tls: MailTls,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<SecretString>,
    pub(crate) password_file: Option<PathBuf>,
    /// The sender.
    pub(crate) from: Option<String>,
    /// Roots to trust besides the public ones (PEM).
    pub(crate) ca_file: Option<PathBuf>,
    /// How long one mail may take.
    pub(crate) timeout_seconds: u64,
    /// Mails to the recipients of one tenant in a day.
    pub(crate) per_tenant_a_day: u32,
}

/// How the connection to the relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MailTls {
    Starttls,
    Tls,
    None,
}

impl Default for MailSection {
    fn default() -> Self {
        Self {
            relay: None,
            port: 587,
            tls: MailTls::Starttls,
            username: None,
            password: None,
            password_file: None,
            from: None,
            ca_file: None,
            timeout_seconds: 60,
            per_tenant_a_day: 100,
        }
    }
}

impl Config {
    /// Where mail goes; None: nowhere.
    pub(crate) fn mail_relay(&self) -> Result<Option<RelayConfig>, ConfigError> {
        let mail = &self.mail;
        let Some(host) = &mail.relay else { return Ok(None) };
        let tls = match mail.tls {
            MailTls::Starttls => RelayTls::StartTls,
            MailTls::Tls => RelayTls::Implicit,
            MailTls::None if is_loopback(host) => RelayTls::None,
            MailTls::None => {
                let problem = "without TLS only a relay on loopback is possible: say starttls or tls";
                return Err(ConfigError::value("mail.tls", problem));
            }
        };
        if mail.per_tenant_a_day == 0 {
            return Err(ConfigError::value("mail.per_tenant_a_day", "must be above 0"));
        }
        let from = mail.from.as_deref().ok_or_else(|| ConfigError::value("mail.from", "must be set for mail.relay"))?;
        let from: EmailAddress = from.parse().map_err(|error| ConfigError::value("mail.from", error))?;
        let helo_name = from.as_str().rsplit_once('@').map_or("localhost", |(_, host)| host);
        let read = |key, path: &PathBuf| {
            std::fs::read(path).map_err(|source| ConfigError::File { key, path: path.clone(), source })
        };
        Ok(Some(RelayConfig {
            host: host.clone(),
            port: mail.port,
            tls,
            credentials: self.mail_credentials()?,
            helo_name: HostName::parse(helo_name).map_err(|error| ConfigError::value("mail.from", error))?,
            from,
            extra_roots: mail.ca_file.as_ref().map(|path| read("mail.ca_file", path)).transpose()?,
            deadline: self.mail_deadline()?,
        }))
    }

    /// Well within the time for which a worker has a batch of mails.
    fn mail_deadline(&self) -> Result<Duration, ConfigError> {
        const LONGEST: u64 = 300;
        if self.mail.timeout_seconds > LONGEST {
            return Err(ConfigError::value("mail.timeout_seconds", format!("must be at most {LONGEST}")));
        }
        seconds("mail.timeout_seconds", self.mail.timeout_seconds)
    }

    fn mail_credentials(&self) -> Result<Option<(String, SecretString)>, ConfigError> {
        let mail = &self.mail;
        let from_file = |path: &PathBuf| {
            let refused = |source| ConfigError::File { key: "mail.password_file", path: path.clone(), source };
            Ok(SecretString::from(std::fs::read_to_string(path).map_err(refused)?.trim().to_owned()))
        };
        let password = match (&mail.password, &mail.password_file) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::value("mail.password", "set this or mail.password_file, not both"));
            }
            (Some(password), None) => Some(password.clone()),
            (None, path) => path.as_ref().map(from_file).transpose()?,
        };
        match (&mail.username, password) {
            (None, None) => Ok(None),
            (Some(user), Some(password)) if !password.expose_secret().is_empty() => Ok(Some((user.clone(), password))),
            _ => Err(ConfigError::value("mail.username", "a user name and a password go together")),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut MailSection)) -> Config {
        let mut config = Config::default();
        config.mail.relay = Some("relay.example.net".to_owned());
        config.mail.from = Some("reports@example.net".to_owned());
        change(&mut config.mail);
        config
    }

    #[test]
    fn a_relay_is_reached_by_tls_unless_it_is_on_loopback() {
        assert!(Config::default().mail_relay().unwrap().is_none());
        let made = config(|_| {}).mail_relay().unwrap().unwrap();
        assert_eq!((made.port, made.tls, made.helo_name.as_str()), (587, RelayTls::StartTls, "example.net"));
        let local = config(|mail| {
            mail.tls = MailTls::None;
            mail.relay = Some("127.0.0.1".to_owned());
        });
        assert_eq!(local.mail_relay().unwrap().unwrap().tls, RelayTls::None);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_with_their_key() {
        type Change = fn(&mut MailSection);
        let wrong: [(&str, Change); 7] = [
            ("mail.tls", |mail| mail.tls = MailTls::None),
            ("mail.from", |mail| mail.from = None),
            ("mail.from", |mail| mail.from = Some("a@b.example\r\nBcc: c@d.example".to_owned())),
            ("mail.username", |mail| mail.username = Some("u".to_owned())),
            ("mail.username", |mail| mail.password = Some("p".to_owned().into())),
            ("mail.per_tenant_a_day", |mail| mail.per_tenant_a_day = 0),
            ("mail.timeout_seconds", |mail| mail.timeout_seconds = 301),
        ];
        for (key, change) in wrong {
            let error = config(change).mail_relay().unwrap_err();
            assert!(error.to_string().contains(key), "{key}: {error}");
        }
    }
}
