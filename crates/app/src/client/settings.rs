//! Which API, and with which key: options, then the environment, then the file that `mtasts login` keeps.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    io::{ErrorKind, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};

use data_encoding::HEXLOWER;
use mtasts_model::{Entropy, SystemEntropy};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::error::ClientError;

/// The key, where neither `--key-file` is given nor a file kept.
const KEY_VARIABLE: &str = "MTASTS_API_KEY";
/// Longer than any key or file of ours.
const MAX_FILE: u64 = 16 << 10;

/// In octets. Keys are far shorter; a token of an identity provider may have as many (docs/identity.md).
const MAX_KEY: usize = 8 << 10;

/// Where an API is: `http` or `https`, without credentials, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiUrl(Url);

/// Why a text is no address of an API.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiUrlError {
    #[error("is not a URL: {0}")]
    Url(#[from] url::ParseError),
    #[error("must begin with https:// (or http://)")]
    Scheme,
    #[error("must have neither a user, a query nor a fragment")]
    Parts,
}

impl ApiUrl {
    pub(super) fn as_url(&self) -> &Url {
        &self.0
    }

    /// Whether what is sent there cannot be read on the way.
    fn is_private(&self) -> bool {
        let loopback = match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        self.0.scheme() == "https" || loopback
    }
}

impl FromStr for ApiUrl {
    type Err = ApiUrlError;

    fn from_str(text: &str) -> Result<Self, ApiUrlError> {
        let url: Url = text.trim().parse()?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ApiUrlError::Scheme);
        }
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(ApiUrlError::Parts);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An API and the key for it.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) api: ApiUrl,
    pub(super) key: SecretString,
}

/// What was typed.
#[derive(Debug, Default)]
pub(super) struct Given<'a> {
    /// `--api` or `MTASTS_API_URL`.
    pub(super) api: Option<&'a ApiUrl>,
    pub(super) key_file: Option<&'a Path>,
    pub(super) allow_http: bool,
}

impl Given<'_> {
    /// The API and the key that are in force.
    pub(super) fn credentials(&self) -> Result<Credentials, ClientError> {
        let key = match self.key_file {
            Some(path) => Some(parse_key(&read(path)?)?),
            None => match env::var(KEY_VARIABLE) {
                Ok(text) if !text.is_empty() => Some(parse_key(&text)?),
                _ => None,
            },
        };
        let credentials = match (self.api.cloned(), key) {
            (Some(api), Some(key)) => Credentials { api, key },
            (api, key) => {
                let kept = kept()?.ok_or_else(|| {
                    ClientError::Credential("there is no API key here yet: run `mtasts login --api URL`".to_owned())
                })?;
                match (api, key) {
                    // A key is for one service: another one must not get to know it.
                    (Some(api), None) if api != kept.api => {
                        return Err(ClientError::Credential(format!(
                            "the key that is kept is for {}, not for {api}: give one by {KEY_VARIABLE} or --key-file",
                            kept.api
                        )));
                    }
                    (api, key) => Credentials { api: api.unwrap_or(kept.api), key: key.unwrap_or(kept.key) },
                }
            }
        };
        self.check(&credentials.api)?;
        Ok(credentials)
    }

    /// Refuses to send a key where it can be read on the way.
    pub(super) fn check(&self, api: &ApiUrl) -> Result<(), ClientError> {
        if self.allow_http || api.is_private() {
            return Ok(());
        }
        Err(ClientError::Usage(format!(
            "{api} is not encrypted, and the key could be read on the way: use https, or --allow-http"
        )))
    }
}

/// A key as it stands in a file or a variable: one line of visible ASCII.
pub(super) fn parse_key(text: &str) -> Result<SecretString, ClientError> {
    let key = text.trim();
    if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ClientError::Credential("that is no API key: it is one word, such as mts_live_…".to_owned()));
    }
    Ok(key.to_owned().into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    api: String,
    key: SecretString,
}

#[derive(Serialize)]
struct ToKeep<'a> {
    api: &'a str,
    key: &'a str,
}

/// `$XDG_CONFIG_HOME/mtasts/client.toml`, by the XDG Base Directory Specification.
pub(super) fn path() -> Result<PathBuf, ClientError> {
    let set = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    // A relative path is to be ignored, says the specification.
    let base = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute()).or_else(|| Some(set("HOME")?.join(".config")));
    let base = base.ok_or_else(|| ClientError::Usage("neither XDG_CONFIG_HOME nor HOME is set".to_owned()))?;
    Ok(base.join("mtasts").join("client.toml"))
}

/// What `mtasts login` has kept.
fn kept() -> Result<Option<Credentials>, ClientError> {
    let path = path()?;
    let wrong = |what: String| ClientError::Usage(format!("{}: {what}; run `mtasts login --api URL`", path.display()));
    let text = match read(&path) {
        Ok(text) => text,
        Err(ClientError::File { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mode =
        fs::metadata(&path).map_err(|source| ClientError::File { path: path.clone(), source })?.permissions().mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(ClientError::Usage(format!("{path} can be read by others than you: chmod 600 {path}")));
    }
    // Neither the parser's message nor its excerpt: the excerpt may be the key.
    let kept: Kept = toml::from_str(&text).map_err(|_| wrong("is not what login keeps".to_owned()))?;
    let api = kept.api.parse().map_err(|error| wrong(format!("`api` {error}")))?;
    Ok(Some(Credentials { api, key: parse_key(kept.key.expose_secret())? }))
}

/// Keeps them, readable by their owner alone; a reader sees the old file or the new one.
pub(super) fn keep(credentials: &Credentials) -> Result<PathBuf, ClientError> {
    let path = path()?;
    let file_error = |source| ClientError::File { path: path.clone(), source };
    let text = toml::to_string(&ToKeep { api: credentials.api.0.as_str(), key: credentials.key.expose_secret() })
        .map_err(|_| ClientError::Usage("the key cannot be written as TOML".to_owned()))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(file_error)?;
    }
    let mut suffix = [0; 8];
    SystemEntropy.fill(&mut suffix);
    let draft = path.with_extension(format!("toml.{}", HEXLOWER.encode(&suffix)));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, &path));
    if let Err(source) = written {
        // Nothing more can be done about a draft that cannot be removed either.
        let _ = fs::remove_file(&draft);
        return Err(file_error(source));
    }
    Ok(path)
}

fn read(path: &Path) -> Result<String, ClientError> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
        .map_err(|source| ClientError::File { path: path.to_owned(), source })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_plain_http_url() {
        for text in ["ftp://x.test", "https://u:p@x.test", "https://x.test?a=1", "https://x.test#a", "x.test", ""] {
            assert!(text.parse::<ApiUrl>().is_err(), "{text}");
        }
        assert!("https://x.test/base/".parse::<ApiUrl>().is_ok());
    }

    #[test]
    fn a_key_goes_unencrypted_to_this_machine_alone() {
        let check = |text: &str, allow_http| Given { allow_http, ..Given::default() }.check(&text.parse().unwrap());
        assert!(check("http://x.test", false).is_err());
        assert!(check("http://x.test", true).is_ok());
        for text in ["https://x.test", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert!(check(text, false).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_key_is_one_word() {
        assert!(["", " ", "a b", "a\nb", "schlüssel"].iter().all(|text| parse_key(text).is_err()));
        assert_eq!(parse_key(" mts_live_x\n").unwrap().expose_secret(), "mts_live_x");
    }
}
