//! The policy host: its addresses, and what each serves (RFC 8461 §3.3).

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use mtasts_dns::Lookup;
use mtasts_model::{HostName, MailDomain, causes};
use tokio::time::{Instant, timeout_at};

use super::{
    Code, Finding, Inspector, MAX_ADDRESSES, Severity, aliases, certificate,
    record::Looked,
    seen::{FetchSeen, PolicyHostSeen},
    text::{shown, shown_bytes},
};
use crate::{
    FetchError, MAX_POLICY_BYTES, TlsFailure,
    connect::{ConnectFailure, connect},
    http_get,
};

/// How long the most impatient of the known senders waits for a policy: postfix-mta-sts-resolver, unless told otherwise.
/// RFC 8461 §3.3 suggests a minute.
const IMPATIENCE: Duration = Duration::from_secs(4);

/// What the host was like, and the text of the first address that served one.
pub(crate) struct Fetched {
    pub(crate) host: PolicyHostSeen,
    pub(crate) text: Option<Bytes>,
}

pub(crate) async fn look(inspector: &Inspector, domain: &MailDomain, deadline: Instant) -> Looked<Fetched> {
    let host = domain.policy_host();
    let name = host.as_str();
    let resolver = &inspector.resolver;
    let ((chain, mut findings), answer) = tokio::join!(aliases::look(resolver, name), resolver.addresses(name));
    for finding in &mut findings {
        finding.group = super::Group::Policy;
    }
    let mut seen = PolicyHostSeen { host: name.to_owned(), aliases: chain, addresses: Vec::new() };
    let addresses = match answer {
        Ok(Lookup::Found(addresses)) => addresses,
        Ok(Lookup::NoData | Lookup::NxDomain) => {
            if !seen.aliases.is_empty() {
                let sentence = format!("{name} leads to {}, which has no address", seen.aliases.join(" → "));
                let mut finding = Finding::new(Code::AliasDangling, name, sentence);
                finding.group = super::Group::Policy;
                findings.push(finding);
            }
            findings.push(Finding::new(Code::PolicyHostMissing, name, format!("{name} has no address")));
            return Looked { seen: Fetched { host: seen, text: None }, findings, answered: true };
        }
        Err(error) => {
            let answered = aliases::is_answer(&error);
            let sentence = format!("the addresses could not be resolved: {}", causes(&error));
            findings.push(Finding::new(Code::PolicyHostUnresolvable, name, sentence));
            return Looked { seen: Fetched { host: seen, text: None }, findings, answered };
        }
    };
    if addresses.len() > MAX_ADDRESSES {
        let sentence = format!("{} addresses, of which {MAX_ADDRESSES} are looked at", addresses.len());
        let mut finding = Finding::new(Code::MxTooMany, name, sentence).at_most(Severity::Note);
        finding.group = super::Group::Policy;
        findings.push(finding);
    }
    let port = inspector.config.policy_port;
    let looks = addresses
        .into_iter()
        .take(MAX_ADDRESSES)
        .map(|ip| fetch(inspector, &host, SocketAddr::new(ip, port), deadline));
    let looks = join_all(looks).await;
    let served: Vec<&Bytes> = looks.iter().filter_map(|look| look.text.as_ref()).collect();
    let text = served.first().map(|text| (*text).clone());
    if served.iter().any(|other| Some(*other) != text.as_ref()) {
        let sentence = format!("{} addresses of {name} serve a policy, and not all the same one", served.len());
        findings.push(Finding::new(Code::PolicyDiffers, name, sentence));
    }
    for look in looks {
        // One address that serves it is enough for a sender, but a sender may pick the other.
        let some_serve = text.is_some() && look.text.is_none();
        for finding in look.findings {
            let severe = finding.severity == Severity::Error;
            findings.push(if some_serve { finding.at_most(Severity::Warning) } else { finding });
            if some_serve && severe {
                let sentence = format!("{} does not serve the policy that other addresses serve", look.seen.address);
                findings.push(Finding::new(Code::PolicyHostPartly, &look.seen.address, sentence));
            }
        }
        seen.addresses.push(look.seen);
    }
    let good = seen.addresses.iter().find(|address| address.tls.as_ref().is_some_and(|tls| tls.verified));
    if let Some(tls) = good.and_then(|address| address.tls.as_ref()) {
        let until = tls.chain.first().and_then(|leaf| leaf.not_after);
        let until = until.map_or_else(String::new, |until| format!(", until {}", until.format("%Y-%m-%d")));
        let issuer = tls.chain.first().map_or("?", |leaf| leaf.issuer.as_str());
        let matched = tls.matched.as_deref().unwrap_or(name);
        let sentence = format!("{}, certificate for {matched} by {issuer}{until}", tls.version);
        findings.push(Finding::new(Code::HostCertificateGood, name, sentence));
    }
    Looked { seen: Fetched { host: seen, text }, findings, answered: true }
}

struct Look {
    seen: FetchSeen,
    text: Option<Bytes>,
    findings: Vec<Finding>,
}

async fn fetch(inspector: &Inspector, host: &HostName, addr: SocketAddr, deadline: Instant) -> Look {
    let started = Instant::now();
    let mut look = Look {
        seen: FetchSeen { address: addr.to_string(), ..FetchSeen::default() },
        text: None,
        findings: Vec::new(),
    };
    // The deadline is the whole look's; one of this address alone keeps a slow one from eating up the rest.
    let until = deadline.min(started + inspector.config.timeouts.fetch);
    let outcome = timeout_at(until, fetch_into(inspector, host, addr, &mut look)).await;
    let took = started.elapsed();
    if let Err(error) = outcome.unwrap_or_else(|_| Err(FetchError::Deadline(until - started))) {
        look.failed(&error);
    } else if look.text.is_some() && took > IMPATIENCE {
        let sentence =
            format!("the policy took {} s: some senders wait for {} s", took.as_secs(), IMPATIENCE.as_secs());
        look.findings.push(Finding::new(Code::PolicyHostSlow, &look.seen.address, sentence).at_most(Severity::Warning));
    }
    look.seen.took_ms = millis(took);
    look
}

async fn fetch_into(
    inspector: &Inspector,
    host: &HostName,
    addr: SocketAddr,
    look: &mut Look,
) -> Result<(), FetchError> {
    let tcp = connect(&inspector.config, addr).await.map_err(|failure| match failure {
        ConnectFailure::Refused(refusal) => FetchError::AddressRefused(refusal),
        ConnectFailure::Deadline => FetchError::Deadline(inspector.config.timeouts.connect),
        ConnectFailure::NoRoute(error) => FetchError::NoRoute(error),
        ConnectFailure::Failed(error) => FetchError::Connect(error),
    })?;
    let (stream, tls) = inspector.https.open(host, tcp).await?;
    let verified = tls.verified;
    look.findings.extend(certificate::findings(&certificate::POLICY_HOST, &look.seen.address, &tls));
    look.seen.tls = Some(tls);
    if !verified {
        // A sender asks nothing of a host that has not proved its name, and neither do we.
        look.seen.failure = Some("the certificate is not verified".to_owned());
        return Ok(());
    }
    let answer = http_get::policy(stream, host, MAX_POLICY_BYTES).await?;
    look.seen.status = Some(200);
    look.seen.content_type = Some(shown(&answer.content_type, 120));
    look.seen.octets = Some(answer.body.len());
    look.text = Some(answer.body);
    Ok(())
}

impl Look {
    fn failed(&mut self, error: &FetchError) {
        let seen = &mut self.seen;
        let code = match error {
            FetchError::AddressRefused(_) => Code::PolicyHostForbidden,
            FetchError::NoRoute(_) => Code::PolicyHostNoRoute,
            FetchError::Connect(_) => Code::PolicyHostUnreachable,
            FetchError::Deadline(_) | FetchError::Tls(TlsFailure::Deadline(_)) => Code::PolicyHostSlow,
            FetchError::Tls(_) => Code::PolicyHostTls,
            FetchError::Http(_) => Code::PolicyHttp,
            FetchError::Redirect { status, location } => {
                seen.status = Some(*status);
                seen.location = location.as_deref().map(|location| shown(location, 260));
                Code::PolicyRedirect
            }
            FetchError::Status(status) => {
                seen.status = Some(*status);
                Code::PolicyStatus
            }
            FetchError::ContentType(media_type) => {
                seen.status = Some(200);
                seen.content_type = media_type.as_deref().map(|media_type| shown(media_type, 120));
                Code::PolicyContentType
            }
            FetchError::TooLarge => {
                seen.status = Some(200);
                Code::PolicyTooLarge
            }
        };
        let mut sentence = shown_bytes(error.to_string().as_bytes(), 300);
        if let Some(location) = &seen.location {
            sentence = format!("{sentence}: it leads to {location}");
        }
        seen.failure = Some(sentence.clone());
        self.findings.push(Finding::new(code, &seen.address, sentence));
    }
}

/// Whole milliseconds; what does not fit is forever.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
