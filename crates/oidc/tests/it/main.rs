//! Tokens against an issuer that answers over real HTTP.

#![expect(clippy::unwrap_used, reason = "a test that lacks something may panic anywhere")]

mod issuer;
mod tokens;

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use mtasts_model::{Clock, clock::ManualClock};
use mtasts_oidc::{Identity, IssuerConfig, Refused, Verifier};
use mtasts_testkit::{SigningKey, TestIssuer};
use serde_json::{Value, json};

const TENANT: &str = "ten_0190c3a0b1c27d3e8f4051627384950a";

/// A verifier, an issuer that it knows, and the time.
struct Desk {
    issuer: TestIssuer,
    key: SigningKey,
    clock: ManualClock,
    verifier: Arc<Verifier>,
}

impl Desk {
    async fn new() -> Self {
        Self::with(SigningKey::rsa("k1"), |_| {}).await
    }

    async fn with(key: SigningKey, configure: impl FnOnce(&mut IssuerConfig)) -> Self {
        let issuer = TestIssuer::start(&[&key]).await;
        let mut config = IssuerConfig {
            name: "test".to_owned(),
            issuer: issuer.url().parse().unwrap(),
            audience: "mtasts".to_owned(),
            tenant_claim: "tenant".parse().unwrap(),
            role_claim: "role".parse().unwrap(),
            leeway: TimeDelta::seconds(60),
            roles: BTreeMap::new(),
        };
        configure(&mut config);
        let clock = ManualClock::default();
        let verifier = Verifier::new(vec![config], Arc::new(clock.clone())).unwrap();
        Self { issuer, key, clock, verifier: Arc::new(verifier) }
    }

    /// The claims of a sound token, with these changed, and those that are null left out.
    fn claims(&self, changes: &Value) -> Value {
        let now = self.clock.now().timestamp();
        let mut claims = json!({
            "iss": self.issuer.url(), "aud": "mtasts", "sub": "somebody", "iat": now, "exp": now + 300,
            "tenant": TENANT, "role": "editor",
        });
        let members = claims.as_object_mut().unwrap();
        members.extend(changes.as_object().unwrap().clone());
        members.retain(|_, value| !value.is_null());
        claims
    }

    async fn verify(&self, token: &str) -> Result<Identity, Refused> {
        self.verifier.verify(token).await
    }

    /// What becomes of a token with these claims.
    async fn of(&self, changes: Value) -> Result<Identity, Refused> {
        self.verify(&self.key.token(&self.claims(&changes))).await
    }
}
