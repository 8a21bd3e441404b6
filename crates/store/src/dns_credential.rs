//! Credentials for the customers' own DNS. The secret itself is sealed before it comes to the store.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use mtasts_model::{DnsCredentialId, HostName, Timestamp};
use serde::{Deserialize, Serialize};

/// How many a tenant may have.
pub const DNS_CREDENTIALS_PER_TENANT: u32 = 100;

/// Where a customer's zone is kept, and all that is needed to write there but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerProvider {
    /// Cloudflare's API; the secret is a token.
    Cloudflare,
    /// Dynamic updates (RFC 2136); the secret is a TSIG key (RFC 8945).
    Rfc2136 {
        /// The primary server.
        server: ServerAddress,
        /// The name of the key.
        key_name: TsigKeyName,
        /// What the key is for.
        algorithm: TsigAlgorithm,
    },
}

impl CustomerProvider {
    /// The word that the API and the store use.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cloudflare => "cloudflare",
            Self::Rfc2136 { .. } => "rfc2136",
        }
    }
}

/// A server by name or address, and its port: `host:port`, `[address]:port`, or a host alone for port 53.
///
/// The port is 53 or one above 1023, so that nobody makes us talk to a mail server or a web server of a stranger's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// A host name in lower case, or an IP address.
    host: String,
    port: u16,
}

/// Why a text is no [`ServerAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerAddressError {
    /// Neither a host name nor an address.
    #[error("must be `host:port`, with a host name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// Not a port that is asked.
    #[error("the port must be 53 or 1024 to 65535")]
    Port,
}

impl ServerAddress {
    /// The name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(ServerAddressError::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| ServerAddressError::Host)?;
            (address.to_string(), port.strip_prefix(':').map_or(if port.is_empty() { "53" } else { "" }, |port| port))
        } else {
            let (host, port) = text.split_once(':').unwrap_or((text, "53"));
            let host = match host.parse::<std::net::Ipv4Addr>() {
                Ok(address) => address.to_string(),
                Err(_) => HostName::parse(host).map_err(|_| ServerAddressError::Host)?.as_str().to_owned(),
            };
            (host, port)
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(ServerAddressError::Port)?;
        if port != 53 && port < 1024 {
            return Err(ServerAddressError::Port);
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The name of a TSIG key (RFC 8945 §4.2): a domain name, in lower case without the trailing dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsigKeyName(String);

/// Why a text is no [`TsigKeyName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a domain name of letters, digits, `-`, `_` and dots, as the server's configuration has it")]
pub struct TsigKeyNameError;

impl TsigKeyName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TsigKeyName {
    type Err = TsigKeyNameError;

    fn from_str(text: &str) -> Result<Self, TsigKeyNameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if name.len() > 253 || !name.split('.').all(fits) {
            return Err(TsigKeyNameError);
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

/// What a TSIG key is for (RFC 8945 §6). The shorter and broken ones are left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TsigAlgorithm {
    /// `hmac-sha256`
    HmacSha256,
    /// `hmac-sha512`
    HmacSha512,
}

impl TsigAlgorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::HmacSha256, Self::HmacSha512];

    /// Its name on the wire, without the trailing dot.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

/// What a new credential is made from.
#[derive(Clone)]
pub struct NewDnsCredential {
    /// Drawn by the caller.
    pub id: DnsCredentialId,
    /// 1 to 200 characters.
    pub name: String,
    /// Where it is for.
    pub provider: CustomerProvider,
    /// The one zone that it opens; None: several.
    pub zone: Option<HostName>,
    /// The sealed secret.
    pub sealed: Vec<u8>,
}

/// A credential, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCredential {
    /// Its id.
    pub id: DnsCredentialId,
    /// Its name, for people.
    pub name: String,
    /// Where it is for.
    pub provider: CustomerProvider,
    /// The one zone that it opens; None: several.
    pub zone: Option<HostName>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used for a plan or its application.
    pub last_used_at: Option<Timestamp>,
}

/// A credential about to be used.
#[derive(Clone)]
pub struct SealedDnsCredential {
    /// All but the secret.
    pub credential: DnsCredential,
    /// The sealed secret.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for NewDnsCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewDnsCredential").field("id", &self.id).field("zone", &self.zone).finish_non_exhaustive()
    }
}

impl fmt::Debug for SealedDnsCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedDnsCredential").field("credential", &self.credential).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_or_an_address_with_a_harmless_port() {
        for (text, shown) in [
            ("NS1.Example.net", "ns1.example.net:53"),
            ("ns1.example.net:5353", "ns1.example.net:5353"),
            ("192.0.2.1:53", "192.0.2.1:53"),
            ("[2001:DB8::1]", "[2001:db8::1]:53"),
            ("[2001:db8::1]:1024", "[2001:db8::1]:1024"),
        ] {
            let server: ServerAddress = text.parse().unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(shown.parse::<ServerAddress>().unwrap(), server);
        }
        for text in
            ["a.test:25", "a.test:0", "a.test:65536", "a.test:", "a.test:+53", "a.test:53:53", "[::1]x", "[::1]:"]
        {
            assert_eq!(text.parse::<ServerAddress>(), Err(ServerAddressError::Port), "{text}");
        }
        for text in ["", ":53", "2001:db8::1", "[::1", "a b:53", "1.2.3:53", "http://a.test:53", "a.test/x:53"] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_keys_name_is_a_domain_name() {
        assert_eq!("Mta_sts-Key.Example.".parse::<TsigKeyName>().unwrap().as_str(), "mta_sts-key.example");
        for text in ["", ".", "a..b", "a b", "a;b", "\"a\"", &"a".repeat(64)] {
            assert!(text.parse::<TsigKeyName>().is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_sealed_is_shown() {
        let new = NewDnsCredential {
            id: DnsCredentialId::from_uuid(uuid::Uuid::nil()),
            name: "n".to_owned(),
            provider: CustomerProvider::Cloudflare,
            zone: None,
            sealed: vec![77, 77, 77],
        };
        assert!(!format!("{new:?}").contains("77"));
    }
}
