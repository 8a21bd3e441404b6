//! A tenant's credentials for its own DNS: handed over once, sealed, and never shown again.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod read;

use chrono::{DateTime, Utc};
use mtasts_store::{CustomerProvider, DnsCredential};
use serde::Serialize;
use utoipa::ToSchema;

/// A DNS credential, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DnsCredential)]
pub(crate) struct DnsCredentialBody {
    /// Its id.
    #[schema(example = "dns_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// Its name, for people.
    #[schema(example = "our zone at Cloudflare")]
    name: String,
    /// Where it is for.
    provider: ProviderBody,
    /// The zone that it is for; null: any that it opens.
    #[schema(required, example = "example.com")]
    zone: Option<String>,
    /// Since when.
    created_at: DateTime<Utc>,
    /// When it was last used for a plan or its application.
    #[schema(required)]
    last_used_at: Option<DateTime<Utc>>,
}

/// Where a credential is for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DnsProvider)]
pub(crate) struct ProviderBody {
    /// `cloudflare` or `rfc2136`.
    #[schema(example = "cloudflare")]
    r#type: &'static str,
    /// `rfc2136`: the primary server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ns1.example.com:53")]
    server: Option<String>,
    /// `rfc2136`: the name of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "mtasts-key")]
    key_name: Option<String>,
    /// `rfc2136`: what the key is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "hmac-sha256")]
    algorithm: Option<&'static str>,
}

impl From<&CustomerProvider> for ProviderBody {
    fn from(provider: &CustomerProvider) -> Self {
        let r#type = provider.as_str();
        match provider {
            CustomerProvider::Cloudflare => Self { r#type, server: None, key_name: None, algorithm: None },
            CustomerProvider::Rfc2136 { server, key_name, algorithm } => Self {
                r#type,
                server: Some(server.to_string()),
                key_name: Some(key_name.as_str().to_owned()),
                algorithm: Some(algorithm.as_str()),
            },
        }
    }
}

impl From<DnsCredential> for DnsCredentialBody {
    fn from(credential: DnsCredential) -> Self {
        Self {
            id: credential.id.to_string(),
            name: credential.name,
            provider: ProviderBody::from(&credential.provider),
            zone: credential.zone.map(|zone| zone.to_string()),
            created_at: credential.created_at,
            last_used_at: credential.last_used_at,
        }
    }
}
