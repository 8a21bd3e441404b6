//! Where a webhook is delivered to.

use std::fmt;

use mtasts_model::HostName;
use url::{Host, Url};

/// The longest that is kept, in octets.
const MAX_URL: usize = 2048;

/// A URL that events may be posted to: a host by its name, never by an address, on a port that is a web server's.
///
/// What the name resolves to is judged when it is connected to, each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    url: Url,
    host: HostName,
}

/// Why a text is no [`WebhookUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// Not a URL.
    #[error("must be an absolute URL such as `https://hooks.example.com/mtasts`")]
    Malformed,
    /// Too long.
    #[error("must have at most {MAX_URL} characters")]
    TooLong,
    /// Neither `https` nor, where that is allowed, `http`.
    #[error("must begin with `https://`")]
    Scheme,
    /// User or password.
    #[error("must have no user name and no password: verify the signature instead")]
    Credentials,
    /// A fragment is never sent.
    #[error("must have no fragment (`#…`)")]
    Fragment,
    /// An IP address in any spelling, or no host name.
    #[error("must name the host by its DNS name, not by an IP address")]
    Host,
    /// A port of another service than the web.
    #[error("the port must be 443, or one above 1023")]
    Port,
}

impl WebhookUrlError {
    /// A stable word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "url-malformed",
            Self::TooLong => "url-too-long",
            Self::Scheme => "url-scheme",
            Self::Credentials => "url-credentials",
            Self::Fragment => "url-fragment",
            Self::Host => "url-host",
            Self::Port => "url-port",
        }
    }
}

impl WebhookUrl {
    /// Reads a URL. `allow_http` is for private networks and tests: nobody else may listen in there.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, WebhookUrlError> {
        if text.len() > MAX_URL {
            return Err(WebhookUrlError::TooLong);
        }
        // What the URL standard would silently take out or mend is a mistake here.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(WebhookUrlError::Malformed);
        }
        // Reads numbers as addresses, in decimal, octal and hexadecimal, as `connect` of many libraries does.
        let url = Url::parse(text).map_err(|_| WebhookUrlError::Malformed)?;
        if url.scheme() != "https" && !(allow_http && url.scheme() == "http") {
            return Err(WebhookUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WebhookUrlError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(WebhookUrlError::Fragment);
        }
        let Some(Host::Domain(host)) = url.host() else { return Err(WebhookUrlError::Host) };
        let host = HostName::parse(host).map_err(|_| WebhookUrlError::Host)?;
        let is_web = match url.port() {
            None | Some(443 | 1024..) => true,
            Some(_) => false,
        };
        if url.as_str().len() > MAX_URL {
            return Err(WebhookUrlError::TooLong);
        }
        if is_web { Ok(Self { url, host }) } else { Err(WebhookUrlError::Port) }
    }

    /// The host.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// Whether it is `https`.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Host and, if it is not the scheme's own, port: what the `Host` header says.
    pub fn authority(&self) -> String {
        self.url.port().map_or_else(|| self.host.to_string(), |port| format!("{}:{port}", self.host))
    }

    /// Path and query: what the request line says.
    pub fn target(&self) -> String {
        self.url.query().map_or_else(|| self.url.path().to_owned(), |query| format!("{}?{query}", self.url.path()))
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Option<WebhookUrlError> {
        WebhookUrl::parse(text, false).err()
    }

    #[test]
    fn a_web_servers_url_is_taken_apart() {
        let url = WebhookUrl::parse("https://Hooks.Example.com/a/b?c=d", false).unwrap();
        assert_eq!((url.host().as_str(), url.port(), url.is_tls()), ("hooks.example.com", 443, true));
        assert_eq!((url.authority().as_str(), url.target().as_str()), ("hooks.example.com", "/a/b?c=d"));
        let url = WebhookUrl::parse("https://hooks.example.com:8443", false).unwrap();
        assert_eq!((url.authority().as_str(), url.target().as_str()), ("hooks.example.com:8443", "/"));
        let url = WebhookUrl::parse("http://hooks.example.com", true).unwrap();
        assert_eq!((url.port(), url.is_tls()), (80, false));
    }

    #[test]
    fn addresses_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "169.254.169.254",
            "%31%32%37.0.0.1",
        ] {
            assert_eq!(refused(&format!("https://{host}/")), Some(WebhookUrlError::Host), "{host}");
        }
    }

    #[test]
    fn what_is_no_public_web_server_is_refused() {
        for (text, expected) in [
            ("hooks.example.com", WebhookUrlError::Malformed),
            ("https://hooks.example.com/a b", WebhookUrlError::Malformed),
            ("https:\\\\hooks.example.com", WebhookUrlError::Malformed),
            ("https://hooks.example.com/\u{e9}", WebhookUrlError::Malformed),
            ("http://hooks.example.com", WebhookUrlError::Scheme),
            ("ftp://hooks.example.com", WebhookUrlError::Scheme),
            ("file:///etc/passwd", WebhookUrlError::Scheme),
            ("https://user@hooks.example.com", WebhookUrlError::Credentials),
            ("https://:word@hooks.example.com", WebhookUrlError::Credentials),
            ("https://hooks.example.com/#x", WebhookUrlError::Fragment),
            ("https://hooks_x.example.com", WebhookUrlError::Host),
            ("https://hooks.example.com:25", WebhookUrlError::Port),
            ("https://hooks.example.com:22", WebhookUrlError::Port),
            ("https://hooks.example.com:80", WebhookUrlError::Port),
        ] {
            assert_eq!(refused(text), Some(expected), "{text}");
        }
        let long = format!("https://hooks.example.com/{}", "a".repeat(MAX_URL));
        assert_eq!(refused(&long), Some(WebhookUrlError::TooLong));
    }
}
