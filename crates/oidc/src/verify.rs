//! Who a token speaks for.

use std::{fmt, sync::Arc};

use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, AlgorithmFamily, Header, Validation, dangerous, decode, decode_header};
use mtasts_model::{Clock, Role, TenantId, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::{cache::Keys, config::IssuerConfig, fetch::SetupError, keys::Found};

/// In octets. What an issuer puts in that is longer does not fit into a header either.
const MAX_TOKEN: usize = 8 << 10;
/// OpenID Connect Core 1.0 §2.
const MAX_SUBJECT: usize = 255;

/// Somebody whom an issuer vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `iss`: one of those that are configured.
    pub issuer: String,
    /// `sub`: 1 to 255 characters, none of them a control character.
    pub subject: String,
    /// For which tenant; None where the token names none.
    pub tenant: Option<TenantId>,
    /// In which role; None where the token names none that is known.
    pub role: Option<Role>,
}

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no token, or not one for this service, or its time is over. Why is for the log of whoever debugs: the
    /// caller is told the same whatever it is.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// Its issuer cannot be asked for its keys.
    #[error("the issuer does not answer, and no key of it is at hand")]
    Unavailable,
}

/// Verifies the tokens of the issuers that are configured.
pub struct Verifier {
    issuers: Vec<Issuer>,
    clock: Arc<dyn Clock>,
}

struct Issuer {
    config: IssuerConfig,
    keys: Arc<Keys>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.issuers.iter().map(|issuer| &issuer.config)).finish()
    }
}

/// Whom an unverified token says to be from.
#[derive(Deserialize)]
struct Claimed {
    iss: String,
}

/// What is read of a token beside what the configuration names.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970, perhaps with a fraction (RFC 7519 §2, NumericDate).
    exp: f64,
    nbf: Option<f64>,
}

impl Verifier {
    /// Asks no issuer anything. Each `issuer` is to be there once.
    pub fn new(issuers: Vec<IssuerConfig>, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let issuers = issuers.into_iter().map(|config| {
            let keys = Keys::new(config.name.clone(), config.issuer.clone(), Arc::clone(&clock))?;
            Ok(Issuer { config, keys })
        });
        Ok(Self { issuers: issuers.collect::<Result<_, SetupError>>()?, clock })
    }

    /// Whether this could be a token: three parts of base64url.
    pub fn is_token(text: &str) -> bool {
        let mut parts = text.split('.');
        let is_part = |part: Option<&str>| {
            part.is_some_and(|part| {
                !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            })
        };
        text.len() <= MAX_TOKEN
            && is_part(parts.next())
            && is_part(parts.next())
            && is_part(parts.next())
            && parts.next().is_none()
    }

    /// Whom the token is of. Asks its issuer for keys where those at hand do not tell.
    pub async fn verify(&self, token: &str) -> Result<Identity, Refused> {
        if !Self::is_token(token) {
            return Err(Refused::Invalid("it is no token"));
        }
        let header = decode_header(token).map_err(|_| Refused::Invalid("its header cannot be read"))?;
        let algorithm = checked(&header)?;
        // Unverified, and used for nothing but to choose whose keys must verify it.
        let claimed = dangerous::insecure_decode_claims::<Claimed>(token);
        let claimed = claimed.map_err(|_| Refused::Invalid("it names no issuer"))?;
        let issuer = self.issuers.iter().find(|issuer| issuer.config.issuer.as_str() == claimed.iss);
        let issuer = issuer.ok_or(Refused::Invalid("its issuer is not configured"))?;
        let held = issuer.keys.with(header.kid.as_deref(), algorithm).await.ok_or(Refused::Unavailable)?;
        let key = match held.keys.find(header.kid.as_deref(), algorithm) {
            Found::Key(key) => key,
            Found::Unfit => return Err(Refused::Invalid("its key does not sign so")),
            Found::Unknown => return Err(Refused::Invalid("its key is unknown")),
        };
        let claims = decode::<Value>(token, key, &issuer.validation(algorithm));
        let claims = claims.map_err(|_| Refused::Invalid("its signature, issuer or audience is wrong"))?.claims;
        issuer.read(&claims, self.clock.now())
    }
}

impl Issuer {
    /// What the library checks: the signature by this algorithm, `iss` and `aud`. Times are checked here, by the clock that
    /// is given.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[self.config.issuer.as_str()]);
        validation.set_audience(&[&self.config.audience]);
        validation.validate_exp = false;
        validation
    }

    /// What verified claims say.
    fn read(&self, claims: &Value, now: Timestamp) -> Result<Identity, Refused> {
        let read = Claims::deserialize(claims).map_err(|_| Refused::Invalid("`sub`, `exp` or `nbf` cannot be read"))?;
        let leeway = seconds(self.config.leeway);
        let now = seconds(now - Timestamp::UNIX_EPOCH);
        if read.exp + leeway <= now {
            return Err(Refused::Invalid("it has expired"));
        }
        if read.nbf.is_some_and(|begin| begin - leeway > now) {
            return Err(Refused::Invalid("it is not valid yet"));
        }
        let length = read.sub.chars().count();
        if !(1..=MAX_SUBJECT).contains(&length) || read.sub.chars().any(char::is_control) {
            return Err(Refused::Invalid("`sub` is empty, too long, or has control characters"));
        }
        let tenant = self.config.tenant_claim.find(claims).and_then(|claim| claim.as_str()?.parse().ok());
        let role = self.config.role_claim.find(claims).and_then(|claim| self.config.role(claim));
        Ok(Identity { issuer: self.config.issuer.to_string(), subject: read.sub, tenant, role })
    }
}

/// The algorithm, of a header that promises nothing that is not kept here.
fn checked(header: &Header) -> Result<Algorithm, Refused> {
    if AlgorithmFamily::Hmac.algorithms().contains(&header.alg) {
        return Err(Refused::Invalid("it is signed with a secret"));
    }
    // RFC 7515 §4.1.11: who does not understand an extension that is critical refuses.
    if header.crit.is_some() {
        return Err(Refused::Invalid("it has critical extensions"));
    }
    // RFC 8725 §3.11: a token for another purpose, such as a logout token, is none for this one.
    let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
    if !matches!(kind.as_deref(), None | Some("jwt" | "at+jwt" | "application/at+jwt")) {
        return Err(Refused::Invalid("it is of another kind"));
    }
    Ok(header.alg)
}

fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64()
}
