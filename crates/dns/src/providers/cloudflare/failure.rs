//! What can go wrong with a call, and what it means.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use mtasts_model::ZoneName;
use reqwest012::StatusCode;
use serde::Deserialize;

use crate::provider::{BoxError, ProviderError};

/// Longest text of the API that is passed on, in characters.
const MAX_MESSAGE: usize = 300;

/// One entry of an answer's `errors`. The crate's type for it ends at 65535, and DNS errors begin at 81000.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    pub(super) code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error_chain: Vec<ApiError>,
}

/// Codes of the API.
mod code {
    /// The token is missing, malformed, unknown, or lacks the permission.
    pub(super) const CREDENTIAL: [i64; 10] = [1000, 6003, 6100, 6103, 6111, 9103, 9106, 9109, 10000, 10001];
    /// The path names no zone.
    pub(super) const ZONE: [i64; 3] = [1001, 7000, 7003];
    /// More than 1200 requests in five minutes.
    pub(super) const PACE: [i64; 2] = [971, 10429];
    /// Something stands there: A, AAAA or CNAME; CNAME; another CNAME; NS; such a record; the same record.
    pub(super) const EXISTS: [i64; 6] = [81053, 81054, 81055, 81056, 81057, 81058];
    /// There is no record of this id.
    pub(super) const GONE: i64 = 81044;
    /// The zone has as many records as its plan allows.
    pub(super) const QUOTA: i64 = 81045;
}

impl ApiError {
    fn any(&self, codes: &[i64]) -> bool {
        codes.contains(&self.code) || self.error_chain.iter().any(|error| error.any(codes))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message: String = self.message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect();
        write!(f, "{message} ({})", self.code)?;
        // The reason of `DNS Validation Error` stands there.
        self.error_chain.first().map_or(Ok(()), |error| write!(f, ": {error}"))
    }
}

/// What the API had to say against a request.
#[derive(Debug, Clone)]
pub(super) struct Refusal(Vec<ApiError>);

impl Refusal {
    /// Something stands in the way of a new record.
    pub(super) fn exists(&self) -> bool {
        self.any(&code::EXISTS)
    }

    /// A record that was to be changed is not there.
    pub(super) fn is_gone(&self) -> bool {
        self.any(&[code::GONE])
    }

    /// The zone is full.
    pub(super) fn is_full(&self) -> bool {
        self.any(&[code::QUOTA])
    }

    fn any(&self, codes: &[i64]) -> bool {
        self.0.iter().any(|error| error.any(codes))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<_> = self.0.iter().take(3).map(ToString::to_string).collect();
        f.write_str(&if told.is_empty() { "no reason was given".to_owned() } else { told.join("; ") })
    }
}

/// What kept a call from its answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the request failed")]
    Request(#[from] reqwest012::Error),
    #[error("the answer has more than {limit} bytes")]
    TooLong { limit: usize },
    #[error("HTTP {status} with something that is no answer of the API")]
    NotTheApi { status: StatusCode },
    #[error("HTTP {status}: {told}")]
    Server { status: StatusCode, told: Refusal },
    #[error("an answer of the API could not be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("the request could not be written")]
    Unwritable,
    #[error("{0}")]
    Other(&'static str),
}

/// Why a call failed. It can be told of each change that depended on the call, so it can be cloned.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Whether it took effect is not known.
    Unavailable {
        retry_after: Option<Duration>,
        source: Arc<CallError>,
    },
    RateLimited {
        retry_after: Option<Duration>,
    },
    Unauthorized {
        told: String,
    },
    ZoneNotFound,
    /// The request was understood, and nothing of it was done.
    Refused(Refusal),
    /// To repeat it does not help.
    Broken(Arc<CallError>),
}

impl Failure {
    pub(super) fn unavailable(source: impl Into<CallError>) -> Self {
        Self::Unavailable { retry_after: None, source: Arc::new(source.into()) }
    }

    pub(super) fn broken(source: CallError) -> Self {
        Self::Broken(Arc::new(source))
    }

    /// What an unsuccessful answer of the API means.
    pub(super) fn of(status: StatusCode, retry_after: Option<Duration>, errors: Vec<ApiError>) -> Self {
        let told = Refusal(errors);
        if status == StatusCode::TOO_MANY_REQUESTS || told.any(&code::PACE) {
            return Self::RateLimited { retry_after };
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return Self::Unavailable { retry_after, source: Arc::new(CallError::Server { status, told }) };
        }
        let refused_us = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if refused_us || told.any(&code::CREDENTIAL) {
            return Self::Unauthorized { told: told.to_string() };
        }
        if told.any(&code::ZONE) {
            return Self::ZoneNotFound;
        }
        Self::Refused(told)
    }

    /// A stable word for metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unauthorized { .. } => "unauthorized",
            Self::ZoneNotFound => "zone_not_found",
            Self::Refused(_) => "refused",
            Self::Broken(_) => "broken",
        }
    }

    /// The error for whoever asked for a change in this zone.
    pub(super) fn of_zone(&self, zone: &str) -> ProviderError {
        match self {
            Self::Unavailable { retry_after, source } => {
                ProviderError::Unavailable { retry_after: *retry_after, source: shared(source) }
            }
            Self::RateLimited { retry_after } => ProviderError::RateLimited { retry_after: *retry_after },
            Self::Unauthorized { told } => ProviderError::Unauthorized {
                reason: format!(
                    "Cloudflare says {told}. Create an API token with the permissions Zone:Read and DNS:Edit for the \
                     zone {zone}, and see that it has not expired and may be used from our addresses"
                ),
            },
            Self::ZoneNotFound => ProviderError::ZoneNotFound { zone: zone.to_owned() },
            Self::Refused(refusal) => ProviderError::Refused { reason: format!("Cloudflare says {refusal}") },
            Self::Broken(source) => ProviderError::Other(shared(source)),
        }
    }

    /// The error for whoever asked for a change in a zone of the service.
    pub(super) fn into_error(self, zone: &ZoneName) -> ProviderError {
        self.of_zone(zone.as_str())
    }
}

/// A cause that several errors have.
#[derive(Debug)]
struct Shared(Arc<CallError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

fn shared(source: &Arc<CallError>) -> BoxError {
    Box::new(Shared(Arc::clone(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(json: &str) -> Vec<ApiError> {
        serde_json::from_str(json).unwrap()
    }

    fn reason(status: u16, json: &str) -> &'static str {
        let status = StatusCode::from_u16(status).unwrap();
        Failure::of(status, None, errors(json)).of_zone("sts.test").reason()
    }

    #[test]
    fn the_errors_of_the_api_are_told_apart() {
        for (status, json, expected) in [
            (403, r#"[{"code":9109,"message":"Invalid access token"}]"#, "DnsProviderUnauthorized"),
            (403, r#"[{"code":10000,"message":"Authentication error"}]"#, "DnsProviderUnauthorized"),
            (401, "[]", "DnsProviderUnauthorized"),
            (
                400,
                r#"[{"code":6003,"message":"Invalid request headers","error_chain":[{"code":6111,"message":"x"}]}]"#,
                "DnsProviderUnauthorized",
            ),
            (404, r#"[{"code":7003,"message":"Could not route to /zones/x"}]"#, "DnsZoneNotFound"),
            (400, r#"[{"code":1001,"message":"Invalid zone identifier"}]"#, "DnsZoneNotFound"),
            (429, "[]", "DnsProviderRateLimited"),
            (400, r#"[{"code":971,"message":"Please wait"}]"#, "DnsProviderRateLimited"),
            (503, "[]", "DnsProviderUnavailable"),
            (400, r#"[{"code":81045,"message":"Record quota exceeded."}]"#, "DnsChangeRefused"),
            (400, r#"[{"code":9005,"message":"Content for A record is invalid."}]"#, "DnsChangeRefused"),
            (404, r#"[{"code":81044,"message":"Record does not exist."}]"#, "DnsChangeRefused"),
        ] {
            assert_eq!(reason(status, json), expected, "{status} {json}");
        }
    }

    #[test]
    fn codes_above_65535_and_those_in_a_chain_are_read() {
        let chain = errors(r#"[{"code":1004,"message":"DNS Validation Error","error_chain":[{"code":81058}]}]"#);
        assert!(Refusal(chain).exists());
        assert!(Refusal(errors(r#"[{"code":81044,"message":"Record does not exist."}]"#)).is_gone());
        assert!(Refusal(errors(r#"[{"code":81045}]"#)).is_full());
    }

    #[test]
    fn what_the_api_says_is_cut_short_and_has_no_controls() {
        let long = errors(&format!(r#"[{{"code":1,"message":"a\u0007{}"}}]"#, "x".repeat(5000)));
        let told = Refusal(long).to_string();
        assert!(told.len() < 400 && !told.contains('\u{7}'), "{told}");
    }
}
