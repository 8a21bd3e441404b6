//! An issuer's public keys, and what each may verify.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// Further keys are passed over: no issuer signs with so many at once.
const MAX_KEYS: usize = 100;

/// A JWK set (RFC 7517 §5), as it comes. Each key is read by itself, so that one of a kind that nobody knows here does
/// not take the others with it.
#[derive(Deserialize)]
pub(crate) struct Set {
    keys: Vec<Value>,
}

/// The keys of an issuer with which signatures are verified.
pub(crate) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    public: DecodingKey,
}

/// What a token's header leads to.
pub(crate) enum Found<'a> {
    Key(&'a DecodingKey),
    /// Keys of this id there are, but none that signs so; or no id was given, and more than one key could have signed.
    Unfit,
    /// The issuer may have begun to sign with it since.
    Unknown,
}

impl KeySet {
    /// Those of the set that can be used.
    pub(crate) fn read(set: Set) -> Self {
        Self(set.keys.into_iter().take(MAX_KEYS).filter_map(Key::read).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key with this id, if it signs by this algorithm. Without an id: the one key that does.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let mut fit = self.0.iter().filter(|key| key.algorithms.contains(&algorithm));
        if id.is_none() {
            return match (fit.next(), fit.next()) {
                (Some(only), None) => Found::Key(&only.public),
                (Some(_), Some(_)) => Found::Unfit,
                (None, _) => Found::Unknown,
            };
        }
        match fit.find(|key| key.id.as_deref() == id) {
            Some(key) => Found::Key(&key.public),
            None if self.0.iter().any(|key| key.id.as_deref() == id) => Found::Unfit,
            None => Found::Unknown,
        }
    }
}

impl Key {
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let signs = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
            (None | Some(PublicKeyUse::Signature), None) => true,
            (None | Some(PublicKeyUse::Signature), Some(operations)) => operations.contains(&KeyOperations::Verify),
            (Some(_), _) => false,
        };
        let mut algorithms = algorithms(&jwk.algorithm);
        if let Some(only) = jwk.common.key_algorithm {
            // One for encryption, or that nobody knows here, leaves none.
            let only = Algorithm::try_from(only).ok();
            algorithms.retain(|algorithm| Some(*algorithm) == only);
        }
        if !signs || algorithms.is_empty() {
            return None;
        }
        let public = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithms, public })
    }
}

/// How a key of this kind may sign: never with a secret, whatever the token says (RFC 8725 §3.1).
fn algorithms(parameters: &AlgorithmParameters) -> Vec<Algorithm> {
    match parameters {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 8037 §A.2.
    const ED25519: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn set(keys: &Value) -> KeySet {
        KeySet::read(serde_json::from_value(json!({ "keys": keys })).unwrap())
    }

    fn found(set: &KeySet, id: Option<&str>, algorithm: Algorithm) -> &'static str {
        match set.find(id, algorithm) {
            Found::Key(_) => "key",
            Found::Unfit => "unfit",
            Found::Unknown => "unknown",
        }
    }

    #[test]
    fn only_keys_for_signatures_that_are_known_here_are_kept() {
        let of = |more: &Value| {
            let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519, "kid": "a"});
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            set(&json!([key])).0.len()
        };
        for good in [json!({}), json!({"use": "sig"}), json!({"alg": "EdDSA"}), json!({"key_ops": ["verify"]})] {
            assert_eq!(of(&good), 1, "{good}");
        }
        for bad in [
            json!({"use": "enc"}),
            json!({"key_ops": ["encrypt"]}),
            json!({"alg": "RSA-OAEP"}),
            json!({"alg": "ES256"}),
            json!({"crv": "X25519"}),
            json!({"x": "*"}),
            json!({"kty": "new"}),
        ] {
            assert_eq!(of(&bad), 0, "{bad}");
        }
        let secret = json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "s"});
        assert_eq!(set(&json!([secret, 7, null, {"kty": "RSA"}])).0.len(), 0);
        let many = vec![json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519}); 2 * MAX_KEYS];
        assert_eq!(set(&json!(many)).0.len(), MAX_KEYS);
    }

    #[test]
    fn a_key_is_found_by_its_id_and_its_algorithm() {
        let key = |id: &str| json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519, "kid": id});
        let one = set(&json!([key("a")]));
        assert_eq!(found(&one, Some("a"), Algorithm::EdDSA), "key");
        assert_eq!(found(&one, Some("a"), Algorithm::RS256), "unfit");
        assert_eq!(found(&one, Some("a"), Algorithm::HS256), "unfit");
        assert_eq!(found(&one, Some("b"), Algorithm::EdDSA), "unknown");
        assert_eq!(found(&one, None, Algorithm::EdDSA), "key");
        assert_eq!(found(&one, None, Algorithm::ES256), "unknown");
        assert_eq!(found(&set(&json!([key("a"), key("b")])), None, Algorithm::EdDSA), "unfit");
    }
}
