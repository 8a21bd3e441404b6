//! `mtasts check DOMAIN`: what a sending MTA sees.

use std::{io::Write, sync::Arc};

use mtasts_dns::{Lookup, Resolver};
use mtasts_model::{MailDomain, Policy, StsRecord, SystemClock};
use mtasts_probe::{MxProber, PolicyFetcher};

use crate::{
    config::{Config, ConfigError},
    startup::{StartupError, causes},
};

/// Prints findings; true when there is nothing to mend.
pub(crate) async fn look(config: &Config, domain: &str, out: &mut impl Write) -> Result<bool, StartupError> {
    let domain =
        MailDomain::parse(domain, &config.names.rules()).map_err(|error| ConfigError::value("DOMAIN", error))?;
    let resolver = Resolver::new(config.resolver.config())?;
    let probe = config.probe(Arc::new(SystemClock))?;
    let fetcher = PolicyFetcher::new(probe.clone(), resolver.clone())?;
    let prober = MxProber::new(probe, resolver.clone())?;
    let mut report = Report { out, healthy: true };
    report.record(&resolver, &domain).await;
    let policy = report.policy(&fetcher, &domain).await;
    report.mx(&prober, &domain, policy.as_ref()).await;
    Ok(report.healthy)
}

struct Report<'a, W> {
    out: &'a mut W,
    healthy: bool,
}

impl<W: Write> Report<'_, W> {
    fn good(&mut self, text: &str) {
        // A reader who has gone away wants no more.
        let _ = writeln!(self.out, "ok    {text}");
    }

    fn bad(&mut self, text: &str) {
        self.healthy = false;
        let _ = writeln!(self.out, "FAIL  {text}");
    }

    async fn record(&mut self, resolver: &Resolver, domain: &MailDomain) {
        let name = domain.sts_record_name();
        match resolver.txt(&name).await {
            Ok(Lookup::Found(texts)) => match StsRecord::select(&texts) {
                Ok(record) => self.good(&format!("{name} TXT: id {}", record.id())),
                Err(error) => self.bad(&format!("{name} TXT: {}", causes(&error))),
            },
            Ok(_) => self.bad(&format!("{name} has no TXT record: senders do not look for a policy")),
            Err(error) => self.bad(&format!("{name} TXT: {}", causes(&error))),
        }
    }

    async fn policy(&mut self, fetcher: &PolicyFetcher, domain: &MailDomain) -> Option<Policy> {
        let host = domain.policy_host();
        let fetched = match fetcher.fetch(domain).await {
            Ok(fetched) => fetched,
            Err(error) => {
                self.bad(&format!("https://{host}/.well-known/mta-sts.txt: {}", causes(&error)));
                return None;
            }
        };
        match Policy::parse_lenient(&fetched.first.text) {
            Ok((policy, lints)) => {
                self.good(&format!("{host}: mode {}, max_age {} s", policy.mode(), policy.max_age().seconds()));
                for lint in lints {
                    self.bad(&format!("{host}, line {}: {}", lint.line, lint.message));
                }
                Some(policy)
            }
            Err(error) => {
                self.bad(&format!("{host}: {}", causes(&error)));
                None
            }
        }
    }

    async fn mx(&mut self, prober: &MxProber, domain: &MailDomain, policy: Option<&Policy>) {
        let seen = match prober.look_at_mx(domain).await {
            Ok(seen) => seen,
            Err(error) => return self.bad(&format!("MX of {domain}: {}", causes(&error))),
        };
        for host in &seen.hosts {
            match &host.failure {
                None => self.good(&format!("MX {} {}: verified STARTTLS", host.preference, host.host)),
                Some(failure) => self.bad(&format!("MX {} {}: {}", host.preference, host.host, failure.message)),
            }
            if policy.is_some_and(|policy| !policy.covers(&host.host)) {
                self.bad(&format!("MX {} is not covered by the policy", host.host));
            }
        }
        if seen.hosts.is_empty() {
            self.bad(&format!("{domain} has no MX hosts"));
        }
    }
}
