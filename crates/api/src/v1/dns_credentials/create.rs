//! `POST /v1/dns-credentials`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use data_encoding::BASE64;
use mtasts_model::{DnsCredentialId, HostName};
use mtasts_store::{CustomerProvider, DNS_CREDENTIALS_PER_TENANT, NewDnsCredential, TsigAlgorithm};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de::Error as _};
use tokio::time::Instant;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::DnsCredentialBody;
use crate::{
    auth::TenantScope,
    customer_dns::{ZoneAccess, seal, within},
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::fields::{Faults, name},
};

const MAX_TOKEN: usize = 512;
/// A key of less can be guessed; RFC 8945 §8 asks for the length of the hash, which not all key generators heed.
const TSIG_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// A new DNS credential.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "our zone at Cloudflare",
    "provider": {"type": "cloudflare", "token": "0123456789abcdefghijABCDEFGHIJ0123456789"},
}))]
pub(crate) struct CreateDnsCredential {
    /// Its name, for people: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Where it is for, with the secret.
    #[serde(deserialize_with = "provider")]
    provider: ProviderSecret,
}

/// Where a credential is for, with its secret.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum ProviderSecret {
    /// Cloudflare.
    Cloudflare {
        /// An API token with the rights `Zone: Read` and `DNS: Edit`, for the one zone.
        #[schema(value_type = String, format = Password, write_only, min_length = 1, max_length = 512)]
        token: SecretString,
        /// The zone: the token is then checked against it at once.
        #[serde(default)]
        #[schema(max_length = 1012, example = "example.com")]
        zone: Option<String>,
    },
    /// Any server that takes dynamic updates (RFC 2136) signed with TSIG (RFC 8945), such as BIND, Knot or PowerDNS.
    Rfc2136 {
        /// The primary server: `host:port`, `[IPv6 address]:port`, or a host alone for port 53. The port is 53 or above
        /// 1023, the addresses are public ones.
        #[schema(max_length = 1012, example = "ns1.example.com:53")]
        server: String,
        /// The zone.
        #[schema(max_length = 1012, example = "example.com")]
        zone: String,
        /// The name of the key, as the server has it.
        #[schema(max_length = 254, example = "mtasts-key")]
        key_name: String,
        /// What the key is for.
        #[schema(value_type = AlgorithmSchema)]
        algorithm: String,
        /// The key in base64.
        #[schema(value_type = String, format = Password, write_only)]
        secret: SecretString,
    },
}

/// What a TSIG key is for.
#[derive(ToSchema)]
#[schema(as = TsigAlgorithm, rename_all = "kebab-case")]
#[expect(dead_code, reason = "the schema of `TsigAlgorithm`, which knows no OpenAPI")]
enum AlgorithmSchema {
    HmacSha256,
    HmacSha512,
}

/// Reads the provider, and repeats nothing of a value that does not fit: it may be the secret in the wrong place.
fn provider<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ProviderSecret, D::Error> {
    ProviderSecret::deserialize(deserializer).map_err(|error| {
        let message = error.to_string();
        let harmless = ["missing field", "duplicate field"].iter().any(|words| message.starts_with(words));
        // As serde_json ends its messages.
        let message = message.split(" at line ").next().unwrap_or_default();
        D::Error::custom(match message {
            message if harmless => message,
            message if message.starts_with("unknown variant") => {
                "unknown variant: `type` must be `cloudflare` or `rfc2136`"
            }
            message if message.starts_with("unknown field") => {
                "invalid value: there is a member that this type of provider does not have"
            }
            _ => "invalid type: must be an object with `type` and the texts that go with that type",
        })
    })
}

/// A [`CreateDnsCredential`] without faults.
struct Wanted {
    name: String,
    access: ZoneAccess,
}

impl CreateDnsCredential {
    fn parse(self) -> Result<Wanted, Problem> {
        let mut faults = Faults::default();
        let name = faults.keep(name("/name", &self.name));
        let access = match self.provider {
            ProviderSecret::Cloudflare { token, zone } => {
                let zone = match zone {
                    Some(zone) => faults.keep(zone_name(&zone)).map(Some),
                    None => Some(None),
                };
                let secret = faults.keep(cloudflare_token(token));
                zone.zip(secret).map(|(zone, secret)| ZoneAccess {
                    provider: CustomerProvider::Cloudflare,
                    zone,
                    secret,
                })
            }
            ProviderSecret::Rfc2136 { server, zone, key_name, algorithm, secret } => {
                let at = |member: &str, error: &dyn std::error::Error| {
                    FieldError::at(format!("/provider/{member}"), "invalid-value", error.to_string())
                };
                let server = faults.keep(server.parse().map_err(|error| at("server", &error)));
                let zone = faults.keep(zone_name(&zone));
                let key_name = faults.keep(key_name.parse().map_err(|error| at("key_name", &error)));
                let algorithm = faults.keep(tsig_algorithm(&algorithm));
                let secret = faults.keep(tsig_secret(secret));
                match (server, zone, key_name, algorithm, secret) {
                    (Some(server), Some(zone), Some(key_name), Some(algorithm), Some(secret)) => Some(ZoneAccess {
                        provider: CustomerProvider::Rfc2136 { server, key_name, algorithm },
                        zone: Some(zone),
                        secret,
                    }),
                    _ => None,
                }
            }
        };
        match (name, access) {
            (Some(name), Some(access)) => Ok(Wanted { name, access }),
            _ => Err(faults.into_problem()),
        }
    }
}

fn zone_name(text: &str) -> Result<HostName, FieldError> {
    HostName::parse(text).map_err(|error| FieldError::at("/provider/zone", error.code(), error.to_string()))
}

fn cloudflare_token(token: SecretString) -> Result<SecretString, FieldError> {
    let text = token.expose_secret();
    if (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token);
    }
    let message = format!("must have 1 to {MAX_TOKEN} visible ASCII characters, as Cloudflare showed it");
    Err(FieldError::at("/provider/token", "invalid-value", message))
}

fn tsig_algorithm(text: &str) -> Result<TsigAlgorithm, FieldError> {
    let known = TsigAlgorithm::ALL.into_iter().find(|known| known.as_str() == text);
    known.ok_or_else(|| {
        let message = format!("must be one of {}", TsigAlgorithm::ALL.map(TsigAlgorithm::as_str).join(", "));
        FieldError::at("/provider/algorithm", "unknown-value", message)
    })
}

fn tsig_secret(secret: SecretString) -> Result<SecretString, FieldError> {
    let key = BASE64.decode(secret.expose_secret().as_bytes()).map(zeroize::Zeroizing::new);
    if key.is_ok_and(|key| TSIG_BYTES.contains(&key.len())) {
        return Ok(secret);
    }
    let message =
        format!("must be base64 of {} to {} octets, as `tsig-keygen` prints", TSIG_BYTES.start(), TSIG_BYTES.end());
    Err(FieldError::at("/provider/secret", "invalid-value", message))
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::DnsCredentialQuota, ProblemKind::DnsZoneNotCovered];
        documented(&[groups::CALL, groups::BODY, groups::ONCE, groups::CUSTOMER_DNS, own])
    }
}

/// Hand over a DNS credential
///
/// A credential for your own DNS, with which `delegation:plan` and `delegation:apply` set the CNAMEs for you. It is
/// checked with the provider at once, kept sealed, and never shown again. Scope it to the one zone.
#[utoipa::path(
    tag = "dns-credentials",
    operation_id = "create_dns_credential",
    params(IdempotencyHeader),
    request_body = CreateDnsCredential,
    responses(
        (status = 201, description = "The credential, without its secret.", body = DnsCredentialBody,
            headers(("Location" = String, description = "Where it is."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/dns-credentials")]
pub(crate) async fn create_dns_credential(
    scope: TenantScope,
    key: IdempotencyKey,
    body: Json<CreateDnsCredential>,
) -> Result<HttpResponse, Problem> {
    let (now, hash, tenant) = (scope.now(), body.hash, scope.tenant_id());
    let Wanted { name, access } = body.value.parse()?;
    let once = Once::new(&key, hash, now);
    if let Some(answer) = once.peek(scope.begin().await?).await? {
        return Ok(answer.respond());
    }
    let state = scope.state();
    let dns = state.customer_dns()?;
    let place = state.places.take(scope.home())?;
    within(Instant::now() + state.config.customer_dns_deadline, "check", dns.check(&access)).await?;
    drop(place);
    let id = DnsCredentialId::draw(now, &*state.entropy);
    let sealed = seal(dns, tenant, id, &access.secret);
    let new = NewDnsCredential { id, name, provider: access.provider, zone: access.zone, sealed };
    let answer = once
        .run(scope.begin().await?, async |tx| {
            let made = tx.create_dns_credential(new, &scope.actor(), now).await?.ok_or_else(quota)?;
            let location = format!("/v1/dns-credentials/{}", made.id);
            Ok(Answer::new(StatusCode::CREATED, &DnsCredentialBody::from(made))?.location(location))
        })
        .await?;
    Ok(answer.respond())
}

fn quota() -> Problem {
    let detail = format!("There are {DNS_CREDENTIALS_PER_TENANT} DNS credentials already: delete one first");
    Problem::new(ProblemKind::DnsCredentialQuota, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_without_repeating_it() {
        for text in [
            r#"{"name": "n", "provider": "canary"}"#,
            r#"{"name": "n", "provider": ["canary"]}"#,
            r#"{"name": "n", "provider": {"type": "canary"}}"#,
            r#"{"name": "n", "provider": {"type": "cloudflare", "token": 7777}}"#,
            r#"{"name": "n", "provider": {"type": "cloudflare", "token": "t", "canary": 1}}"#,
            r#"{"name": "n", "provider": {"type": "cloudflare", "token": ["canary"]}}"#,
        ] {
            let error = serde_json::from_str::<CreateDnsCredential>(text).err().unwrap().to_string();
            assert!(!error.contains("canary") && !error.contains("7777"), "{error}");
        }
    }

    #[test]
    fn keys_are_base64_of_a_fair_length() {
        assert!(tsig_secret("MDEyMzQ1Njc4OWFiY2RlZg==".into()).is_ok());
        for bad in ["", "MDEy", "not base64", &BASE64.encode(&[0; 257])] {
            let fault = tsig_secret((*bad).into()).err().unwrap();
            assert!(bad.is_empty() || !format!("{fault:?}").contains(bad));
        }
    }
}
