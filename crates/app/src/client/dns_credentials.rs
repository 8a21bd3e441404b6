//! `mtasts dns credentials list|add|rm`, and which credential a plan is made with.

use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{error::ClientError, http::Call, prompt, session::Session, text::Text, views::DnsCredential};

const PATH: [&str; 2] = ["v1", "dns-credentials"];

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialsCommand {
    /// List them; their secrets are never shown
    List,
    /// Hand one over; the secret is read from standard input or a prompt
    Add(AddArgs),
    /// Delete one
    Rm {
        /// Its id or name
        credential: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// A name, for people
    name: String,
    /// Where it is for
    #[arg(long, value_enum)]
    provider: Provider,
    /// The zone; for Cloudflare it may be left out
    #[arg(long, required_if_eq("provider", "rfc2136"))]
    zone: Option<String>,
    /// RFC 2136: the primary server, host:port
    #[arg(long, required_if_eq("provider", "rfc2136"))]
    server: Option<String>,
    /// RFC 2136: the name of the TSIG key
    #[arg(long, required_if_eq("provider", "rfc2136"))]
    key_name: Option<String>,
    /// RFC 2136: what the key is for
    #[arg(long, default_value = "hmac-sha256")]
    algorithm: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Provider {
    Cloudflare,
    Rfc2136,
}

pub(super) async fn run(session: &Session, command: CredentialsCommand) -> Result<(), ClientError> {
    match command {
        CredentialsCommand::List => list(session).await,
        CredentialsCommand::Add(args) => add(session, &args).await,
        CredentialsCommand::Rm { credential } => remove(session, &credential).await,
    }
}

async fn list(session: &Session) -> Result<(), ClientError> {
    let out = &session.out;
    if out.json {
        let all: Vec<Value> = session.all(&PATH).await?;
        return out.line(json!({"data": all, "next_cursor": null}));
    }
    let all: Vec<DnsCredential> = session.all(&PATH).await?;
    let rows: Vec<_> = all
        .into_iter()
        .map(|credential| {
            let zone = credential.zone.unwrap_or_else(|| Text::new("any"));
            [credential.name, credential.provider.kind, zone, credential.id].map(|text| text.to_string())
        })
        .collect();
    out.table(0, ["NAME", "PROVIDER", "ZONE", "ID"], &rows)
}

async fn add(session: &Session, args: &AddArgs) -> Result<(), ClientError> {
    let secret = prompt::secret(match args.provider {
        Provider::Cloudflare => "API token",
        Provider::Rfc2136 => "TSIG key in base64",
    })?;
    let provider = match args.provider {
        Provider::Cloudflare => match &args.zone {
            Some(zone) => json!({"type": "cloudflare", "token": secret.expose_secret(), "zone": zone}),
            None => json!({"type": "cloudflare", "token": secret.expose_secret()}),
        },
        Provider::Rfc2136 => json!({
            "type": "rfc2136",
            "server": args.server,
            "zone": args.zone,
            "key_name": args.key_name,
            "algorithm": args.algorithm,
            "secret": secret.expose_secret(),
        }),
    };
    let answer = session.api.send(Call::post(&PATH, json!({"name": args.name, "provider": provider}))).await?;
    if session.out.json {
        return session.out.line(&answer.text);
    }
    let credential: DnsCredential = answer.parse()?;
    session.out.line(format_args!("The service keeps {} sealed ({})", credential.name, credential.id))
}

async fn remove(session: &Session, credential: &str) -> Result<(), ClientError> {
    let id = match named(credential) {
        Named::Id(id) => id.to_owned(),
        Named::Name(name) => one(session.all(&PATH).await?, |found| found.name.as_str() == name)?,
    };
    let answer = session.api.send(Call::delete(&[PATH[0], PATH[1], &id])).await?;
    if session.out.json {
        return session.out.line(&answer.text);
    }
    session.out.line(format_args!("Deleted {credential}"))
}

/// The id of the credential that was named, or else of the only one that may open the domain's zone.
pub(super) async fn choose(session: &Session, domain: &Text, wanted: Option<&str>) -> Result<String, ClientError> {
    match wanted.map(named) {
        Some(Named::Id(id)) => Ok(id.to_owned()),
        Some(Named::Name(name)) => one(session.all(&PATH).await?, |found| found.name.as_str() == name),
        None => one(session.all(&PATH).await?, |found| found.may_open(domain.as_str())),
    }
}

enum Named<'a> {
    Id(&'a str),
    Name(&'a str),
}

fn named(text: &str) -> Named<'_> {
    if text.starts_with("dns_") { Named::Id(text) } else { Named::Name(text) }
}

impl DnsCredential {
    fn may_open(&self, domain: &str) -> bool {
        let Some(zone) = &self.zone else { return true };
        domain.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// The one that fits. Of several none is guessed.
fn one(all: Vec<DnsCredential>, fits: impl Fn(&DnsCredential) -> bool) -> Result<String, ClientError> {
    let mut found = all.into_iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.id.as_str().to_owned()),
        (None, _) => {
            Err(ClientError::NotFound("there is no such DNS credential: mtasts dns credentials add".to_owned()))
        }
        (Some(_), Some(_)) => {
            Err(ClientError::Usage("several DNS credentials fit: name one by its id with --credential".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(id: &str, zone: Option<&str>) -> DnsCredential {
        serde_json::from_value(json!({"id": id, "name": id, "zone": zone, "provider": {"type": "cloudflare"}})).unwrap()
    }

    #[test]
    fn a_credential_is_for_its_zone_and_what_is_beneath() {
        let zone = credential("dns_1", Some("example.com"));
        assert!(zone.may_open("example.com") && zone.may_open("mail.example.com"));
        assert!(!zone.may_open("notexample.com") && !zone.may_open("example.net"));
        assert!(credential("dns_1", None).may_open("example.net"));
    }

    #[test]
    fn of_several_credentials_none_is_guessed() {
        let all = || vec![credential("dns_1", Some("a.test")), credential("dns_2", None)];
        assert_eq!(one(all(), |found| found.may_open("b.test")).unwrap(), "dns_2");
        assert!(matches!(one(all(), |found| found.may_open("a.test")), Err(ClientError::Usage(_))));
        assert!(matches!(one(Vec::new(), |_| true), Err(ClientError::NotFound(_))));
    }
}
