//! What every command that asks the API has: the API, the output, and domains by name.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::FalseyValueParser};
use mtasts_model::TenantId;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use url::Host;

use super::{
    error::ClientError,
    http::{Answer, Api, Call},
    output::Out,
    settings::{ApiUrl, Given},
    views::{Domain, DomainSummary, Page},
};

/// The most that the API gives on one page.
pub(super) const PAGE: u32 = 100;

const HEADING: &str = "Connection";

/// Options of every command that asks the API.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Where the API is; outranks what `mtasts login` has kept
    #[arg(long, global = true, env = "MTASTS_API_URL", value_name = "URL", help_heading = HEADING)]
    api: Option<ApiUrl>,
    /// A file with the API key; outranks `MTASTS_API_KEY`, and what `mtasts login` has kept
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    key_file: Option<PathBuf>,
    /// Send the key unencrypted, to an API at http:// on another machine
    #[arg(long, global = true, env = "MTASTS_API_ALLOW_HTTP", value_parser = FalseyValueParser::new(), help_heading = HEADING)]
    allow_http: bool,
    /// Act within this tenant, which is beneath the key's own; the key needs the scope `customers:act`
    #[arg(long, global = true, env = "MTASTS_TENANT", value_name = "TEN_ID", help_heading = HEADING)]
    tenant: Option<TenantId>,
    /// How long a call is tried again while the service is away or limits us, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, help_heading = HEADING)]
    retry_for: u16,
    /// Print the API's JSON, unchanged
    #[arg(long, global = true, help_heading = HEADING)]
    pub(super) json: bool,
}

impl Connection {
    pub(super) fn open(&self) -> Result<Session, ClientError> {
        let given = Given { api: self.api.as_ref(), key_file: self.key_file.as_deref(), allow_http: self.allow_http };
        let api = Api::new(&given.credentials()?, Duration::from_secs(self.retry_for.into()))?.within(self.tenant);
        Ok(Session { api, out: Out::new(self.json) })
    }
}

/// The API, and where to say what it answered.
pub(super) struct Session {
    pub(super) api: Api,
    pub(super) out: Out,
}

impl Session {
    /// The id of a domain that was named by its id or its name.
    pub(super) async fn domain_id(&self, text: &str) -> Result<String, ClientError> {
        if text.starts_with("dom_") {
            return Ok(text.to_owned());
        }
        let name = a_labels(text)?;
        // Ordered by name, so what has exactly this name comes first.
        let call = Call::get(&["v1", "domains"]).query("name_prefix", Some(&name)).query("limit", Some(1));
        let page: Page<DomainSummary> = self.api.send(call).await?.parse()?;
        let found = page.data.into_iter().find(|domain| domain.name.as_str() == name);
        found
            .map(|domain| domain.id.as_str().to_owned())
            .ok_or_else(|| ClientError::NotFound(format!("{name} is not registered here")))
    }

    pub(super) async fn has_policy(&self, id: &str) -> Result<bool, ClientError> {
        #[derive(Deserialize)]
        struct PolicyOf {
            policy: Option<IgnoredAny>,
        }

        let answer = self.api.send(Call::get(&["v1", "domains", id])).await?;
        Ok(answer.parse::<PolicyOf>()?.policy.is_some())
    }

    pub(super) async fn domain(&self, id: &str) -> Result<(Answer, Domain), ClientError> {
        let answer = self.api.send(Call::get(&["v1", "domains", id])).await?;
        let domain = answer.parse()?;
        Ok((answer, domain))
    }

    /// All of a list that is short by nature.
    pub(super) async fn all<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>, ClientError> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let call = Call::get(path).query("limit", Some(PAGE)).query("cursor", cursor);
            let page: Page<T> = self.api.send(call).await?.parse()?;
            all.extend(page.data);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }
}

/// A mail domain as the API's filters take it.
fn a_labels(text: &str) -> Result<String, ClientError> {
    match Host::parse(text.trim_end_matches('.')) {
        Ok(Host::Domain(name)) => Ok(name),
        _ => Err(ClientError::Usage(format!("{text:?} is neither the name nor the id of a domain"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_as_a_labels() {
        assert_eq!(a_labels("Bücher.example.").unwrap(), "xn--bcher-kva.example");
        for text in ["", "127.0.0.1", "a b", "a/b"] {
            assert!(a_labels(text).is_err(), "{text}");
        }
    }
}
