//! `[oidc.<name>]`: identity providers whose tokens open the API.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use mtasts_model::{Clock, Role};
use mtasts_oidc::{IssuerConfig, Verifier};
use serde::Deserialize;

use super::ConfigError;
use crate::startup::StartupError;

/// More than this is no clock that is off, but one that is wrong.
const MOST_LEEWAY: u64 = 300;
/// The longest audience and value of a role claim, in octets.
const MAX_TEXT: usize = 500;

/// `[oidc.<name>]`: one issuer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OidcIssuer {
    /// As its tokens have it in `iss`.
    pub(crate) issuer: String,
    /// What `aud` must name.
    pub(crate) audience: String,
    pub(crate) tenant_claim: String,
    pub(crate) role_claim: String,
    pub(crate) leeway_seconds: u64,
    /// Values of the role claim that mean this role. None for any role: the roles' own names.
    pub(crate) owner: Vec<String>,
    pub(crate) admin: Vec<String>,
    pub(crate) editor: Vec<String>,
    pub(crate) viewer: Vec<String>,
}

impl Default for OidcIssuer {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            tenant_claim: "tenant".to_owned(),
            role_claim: "role".to_owned(),
            leeway_seconds: 60,
            owner: Vec::new(),
            admin: Vec::new(),
            editor: Vec::new(),
            viewer: Vec::new(),
        }
    }
}

impl OidcIssuer {
    fn config(&self, name: &str) -> Result<IssuerConfig, ConfigError> {
        let wrong =
            |key| move |error: &dyn std::fmt::Display| ConfigError::value(key, format!("for {name:?}: {error}"));
        if !(1..=MAX_TEXT).contains(&self.audience.len()) {
            let needed = "is the id under which the issuer knows this service, of 1 to 500 characters; without it a token \
                          for anybody would do";
            return Err(wrong("oidc.<name>.audience")(&needed));
        }
        if self.leeway_seconds > MOST_LEEWAY {
            return Err(wrong("oidc.<name>.leeway_seconds")(&format!("must be at most {MOST_LEEWAY}")));
        }
        Ok(IssuerConfig {
            name: name.to_owned(),
            issuer: self.issuer.parse().map_err(|error| wrong("oidc.<name>.issuer")(&error))?,
            audience: self.audience.clone(),
            tenant_claim: self.tenant_claim.parse().map_err(|error| wrong("oidc.<name>.tenant_claim")(&error))?,
            role_claim: self.role_claim.parse().map_err(|error| wrong("oidc.<name>.role_claim")(&error))?,
            leeway: TimeDelta::seconds(i64::try_from(self.leeway_seconds).unwrap_or(i64::MAX)),
            roles: self.roles(name)?,
        })
    }

    fn roles(&self, name: &str) -> Result<BTreeMap<String, Role>, ConfigError> {
        let mut roles = BTreeMap::new();
        for (role, values, key) in [
            (Role::Owner, &self.owner, "oidc.<name>.owner"),
            (Role::Admin, &self.admin, "oidc.<name>.admin"),
            (Role::Editor, &self.editor, "oidc.<name>.editor"),
            (Role::Viewer, &self.viewer, "oidc.<name>.viewer"),
        ] {
            for value in values {
                let wrong = |problem: &str| ConfigError::value(key, format!("for {name:?}: {value:?} {problem}"));
                if !(1..=MAX_TEXT).contains(&value.len()) {
                    return Err(wrong("must have 1 to 500 characters"));
                }
                if roles.insert(value.clone(), role).is_some() {
                    return Err(wrong("is there more than once"));
                }
            }
        }
        Ok(roles)
    }
}

/// What the API verifies tokens with; None where no issuer is configured.
pub(crate) fn verifier(
    issuers: &BTreeMap<String, OidcIssuer>,
    clock: Arc<dyn Clock>,
) -> Result<Option<Verifier>, StartupError> {
    let configs = configs(issuers)?;
    if configs.is_empty() {
        return Ok(None);
    }
    Ok(Some(Verifier::new(configs, clock)?))
}

/// Each issuer, checked.
pub(super) fn configs(issuers: &BTreeMap<String, OidcIssuer>) -> Result<Vec<IssuerConfig>, ConfigError> {
    let mut configs: Vec<IssuerConfig> = Vec::new();
    for (name, issuer) in issuers {
        let config = issuer.config(name)?;
        if let Some(other) = configs.iter().find(|other| other.issuer == config.issuer) {
            let problem = format!("{:?} and {name:?} are the same issuer", other.name);
            return Err(ConfigError::value("oidc.<name>.issuer", problem));
        }
        configs.push(config);
    }
    Ok(configs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str) -> OidcIssuer {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_issuer_needs_its_url_and_an_audience_and_the_rest_has_defaults() {
        let sound = "issuer = \"https://id.example/realms/acme\"\naudience = \"mtasts\"\n";
        let config = issuer(sound).config("main").unwrap();
        assert_eq!((config.tenant_claim.as_str(), config.role_claim.as_str()), ("tenant", "role"));
        assert_eq!((config.leeway, config.roles.len()), (TimeDelta::seconds(60), 0));
        let mapped = issuer(&format!("{sound}admin = [\"Lead\", \"Boss\"]\nviewer = [\"Staff\"]\n"));
        let roles = mapped.config("main").unwrap().roles;
        assert_eq!((roles["Lead"], roles["Boss"], roles["Staff"]), (Role::Admin, Role::Admin, Role::Viewer));
        for (text, key) in [
            ("issuer = \"https://id.example\"\n".to_owned(), "oidc.<name>.audience"),
            ("audience = \"mtasts\"\n".to_owned(), "oidc.<name>.issuer"),
            ("issuer = \"http://id.example\"\naudience = \"mtasts\"\n".to_owned(), "oidc.<name>.issuer"),
            (format!("{sound}tenant_claim = \"\"\n"), "oidc.<name>.tenant_claim"),
            (format!("{sound}role_claim = \"\"\n"), "oidc.<name>.role_claim"),
            (format!("{sound}leeway_seconds = 301\n"), "oidc.<name>.leeway_seconds"),
            (format!("{sound}owner = [\"a\"]\neditor = [\"a\"]\n"), "oidc.<name>.editor"),
            (format!("{sound}viewer = [\"\"]\n"), "oidc.<name>.viewer"),
        ] {
            let error = issuer(&text).config("main").unwrap_err().to_string();
            assert!(error.starts_with(key) && error.contains("\"main\""), "{key}: {error}");
        }
        let one = issuer(sound);
        let twice = BTreeMap::from([("a".to_owned(), one.clone()), ("b".to_owned(), one)]);
        assert!(configs(&twice).unwrap_err().to_string().contains("same issuer"));
    }
}
