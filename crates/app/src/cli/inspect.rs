//! `mtasts check DOMAIN…`: what a sending MTA meets. No configuration, no database: docs/inspector.md.

mod explain;
mod generate;
mod print;

use std::{
    io::{self, BufWriter, ErrorKind, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use futures_util::{StreamExt, stream};
use mtasts_dns::{Resolver, ResolverConfig};
use mtasts_model::{Clock, HostName, MailDomain, NameRules, SystemClock, causes};
use mtasts_probe::{
    ProbeConfig,
    inspect::{InspectOptions, Inspection, Inspector, Pacer, Severity},
    roots,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

pub(super) use self::explain::{ExplainArgs, explain};
pub(crate) use self::generate::{GenerateArgs, generate};
use super::{Outcome, runtime};
use crate::client::Told;

/// Exit codes, besides 0.
const WRONG: u8 = 1;
const USAGE: u8 = 2;
const NOT_SEEN: u8 = 3;

/// Domains that are looked at at the same time.
const PARALLEL: usize = 4;

/// How to look.
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    /// Ask this resolver in place of the system's; may be given several times
    #[arg(long, value_name = "ADDR[:PORT]")]
    resolver: Vec<ResolverAddress>,
    /// Trust the certificates of this file too (PEM); may be given several times
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// Where MX hosts listen
    #[arg(long, value_name = "PORT", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..))]
    mx_port: u16,
    /// Where policy hosts listen
    #[arg(long, value_name = "PORT", default_value_t = 443, value_parser = clap::value_parser!(u16).range(1..))]
    policy_port: u16,
    /// Connect to loopback and private addresses too
    #[arg(long)]
    allow_private: bool,
    /// For the whole look at one domain, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=600))]
    timeout: u16,
    /// The name that is said in EHLO; this machine's where absent
    #[arg(long, value_name = "NAME", value_parser = HostName::parse)]
    helo: Option<HostName>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Mail domains
    #[arg(required = true, value_name = "DOMAIN")]
    domains: Vec<String>,
    #[command(flatten)]
    look: LookArgs,
    /// Print one JSON object a line, for each domain
    #[arg(long)]
    json: bool,
    /// Exit with 1 on warnings too
    #[arg(long)]
    strict: bool,
}

/// An address, with port 53 where none is given.
#[derive(Debug, Clone, Copy)]
struct ResolverAddress(SocketAddr);

impl FromStr for ResolverAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        text.parse().or(alone).map(Self).map_err(|_| "give an IP address, with or without a port (`[::1]:53`)")
    }
}

/// Told on standard error; what is left is the exit code.
fn unusable(what: &str) -> Told {
    eprintln!("mtasts: {what}");
    Told::new(USAGE)
}

fn mail_domain(text: &str) -> Result<MailDomain, Told> {
    MailDomain::parse(text, &NameRules::any()).map_err(|error| unusable(&format!("{text:?}: {error}")))
}

/// This machine's name, as far as it can be said in EHLO.
fn own_name() -> Result<HostName, Told> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let parsed = HostName::parse(name.trim()).or_else(|_| HostName::parse("localhost"));
    parsed.map_err(|error| unusable(&error.to_string()))
}

impl LookArgs {
    fn inspector(&self) -> Result<Inspector, Told> {
        let mut extra = Vec::new();
        for path in &self.ca_file {
            let told = |error: &dyn std::error::Error| unusable(&format!("{}: {}", path.display(), causes(error)));
            let pem = std::fs::read(path).map_err(|error| told(&error))?;
            let before = extra.len();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                extra.push(certificate.map_err(|error| told(&error))?);
            }
            if extra.len() == before {
                return Err(unusable(&format!("{}: there is no certificate in it", path.display())));
            }
        }
        let roots = roots(&extra).map_err(|error| unusable(&causes(&error)))?;
        let upstreams = self.resolver.iter().map(|address| address.0).collect();
        let resolver = Resolver::new(ResolverConfig { upstreams, ..ResolverConfig::default() }).map_err(|error| {
            eprintln!("mtasts: {}", causes(&error));
            Told::new(NOT_SEEN)
        })?;
        let helo = self.helo.clone().map_or_else(own_name, Ok)?;
        let config = ProbeConfig {
            policy_port: self.policy_port,
            smtp_port: self.mx_port,
            roots: Arc::new(roots),
            allow_private_addresses: self.allow_private,
            ..ProbeConfig::new(helo, Arc::new(SystemClock))
        };
        Ok(Inspector::new(config, resolver, Arc::new(Pacer::default())))
    }

    fn options(&self) -> InspectOptions {
        let deadline = Duration::from_secs(self.timeout.into());
        InspectOptions { deadline, ..InspectOptions::default() }
    }
}

pub(super) fn check(args: &CheckArgs) -> Outcome {
    let domains = args.domains.iter().map(|text| mail_domain(text)).collect::<Result<Vec<_>, _>>()?;
    let inspector = args.look.inspector()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let looks = domains.iter().map(|domain| inspector.inspect(domain, args.look.options(), SystemClock.now()));
    let told = runtime()?.block_on(async {
        let mut looks = stream::iter(looks).buffered(PARALLEL);
        let (mut exit, mut first) = (0, true);
        while let Some(inspection) = looks.next().await {
            if args.json {
                serde_json::to_writer(&mut out, &inspection)?;
                writeln!(out)?;
            } else {
                if !std::mem::take(&mut first) {
                    writeln!(out)?;
                }
                print::inspection(&mut out, &inspection)?;
            }
            out.flush()?;
            exit = exit.max(code_of(&inspection, args.strict));
        }
        io::Result::Ok(exit)
    });
    match told {
        Ok(0) => Ok(()),
        Ok(code) => Err(Told::new(code).into()),
        // Whoever reads has seen enough, such as `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn code_of(inspection: &Inspection, strict: bool) -> u8 {
    let bar = if strict { Severity::Warning } else { Severity::Error };
    if !inspection.looked {
        NOT_SEEN
    } else if inspection.verdict.severity >= bar {
        WRONG
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_an_address_with_or_without_a_port() {
        let address = |text: &str| text.parse::<ResolverAddress>().map(|address| address.0.to_string());
        assert_eq!(address("192.0.2.1").unwrap(), "192.0.2.1:53");
        assert_eq!(address("::1").unwrap(), "[::1]:53");
        assert_eq!(address("127.0.0.1:5353").unwrap(), "127.0.0.1:5353");
        assert_eq!(address("[::1]:5353").unwrap(), "[::1]:5353");
        assert!(address("resolver.test").is_err());
    }
}
