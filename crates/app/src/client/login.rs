//! `mtasts login`

use std::time::Duration;

use clap::{Args, builder::FalseyValueParser};
use secrecy::ExposeSecret;

use super::{
    error::ClientError,
    http::{Api, Call},
    output::Out,
    prompt,
    settings::{self, ApiUrl, Credentials, Given},
    views::Tenant,
};

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Where the API is
    #[arg(long, env = "MTASTS_API_URL", value_name = "URL")]
    api: ApiUrl,
    /// Send the key unencrypted, to an API at http:// on another machine
    #[arg(long, env = "MTASTS_API_ALLOW_HTTP", value_parser = FalseyValueParser::new())]
    allow_http: bool,
    /// Print the API's JSON, unchanged
    #[arg(long)]
    pub(super) json: bool,
}

/// Asks the API whose key it is, and keeps it only then.
pub(super) async fn login(args: &LoginArgs) -> Result<(), ClientError> {
    Given { allow_http: args.allow_http, ..Given::default() }.check(&args.api)?;
    let key = prompt::secret(&format!("API key for {}", args.api))?;
    let credentials = Credentials { api: args.api.clone(), key: settings::parse_key(key.expose_secret())? };
    let api = Api::new(&credentials, Duration::ZERO)?;
    let answer = api.send(Call::get(&["v1", "tenant"])).await?;
    let tenant: Tenant = answer.parse()?;
    let path = settings::keep(&credentials)?;
    let out = Out::new(args.json);
    if out.json {
        return out.line(&answer.text);
    }
    out.line(format_args!("Logged in to {} as {} ({})", args.api, tenant.name, tenant.id))?;
    out.line(format_args!("The key is kept in {}, which you alone can read", path.display()))
}
