//! One MX host on each of its addresses, as a sender that enforces a policy meets it (RFC 8461 §4.2).

use std::net::SocketAddr;

use futures_util::future::join_all;
use mtasts_dns::Lookup;
use mtasts_model::{HostName, causes};
use tokio::time::{Instant, timeout_at};

use super::{
    Code, Finding, Inspector, MAX_ADDRESSES, Until, certificate,
    policy_host::millis,
    seen::{MxHostSeen, SmtpOutcome, SmtpSeen, TlsSeen},
    text::shown,
};
use crate::{
    TlsFailure,
    connect::{ConnectFailure, connect},
    smtp::{Conversation, Heard, SmtpFailure},
};

/// TLSA records that are shown.
const MAX_TLSA: usize = 16;
/// Characters of a banner that are shown.
const MAX_BANNER: usize = 200;

pub(crate) async fn look(
    inspector: &Inspector,
    preference: u16,
    host: &HostName,
    until: Until,
) -> (MxHostSeen, Vec<Finding>) {
    let name = host.as_str();
    let resolver = &inspector.resolver;
    let mut seen = MxHostSeen { host: name.to_owned(), preference, ..MxHostSeen::default() };
    let mut findings = Vec::new();
    let questions = async {
        let tlsa = format!("_25._tcp.{name}");
        tokio::join!(resolver.addresses(name), resolver.cname_chain(name), resolver.tlsa(&tlsa))
    };
    let Ok((addresses, chain, tlsa)) = timeout_at(until.deadline, questions).await else {
        findings.push(Finding::new(Code::OutOfTime, name, format!("{name} was not resolved in time")));
        return (seen, findings);
    };
    if let Ok(chain) = chain
        && !chain.is_empty()
    {
        let chain: Vec<String> = chain.iter().map(|target| shown(target, 260)).collect();
        findings.push(Finding::new(Code::MxAlias, name, format!("{name} is an alias of {}", chain.join(" → "))));
        seen.aliases = chain;
    }
    if let Ok(Lookup::Found(tlsa)) = tlsa {
        let (code, how) = if tlsa.authenticated {
            (Code::DaneFound, "validated by DNSSEC")
        } else {
            (Code::DaneNotValidated, "not validated by DNSSEC")
        };
        findings.push(Finding::new(code, name, format!("{} TLSA records, {how}", tlsa.records.len())));
        seen.tlsa = tlsa.records.iter().take(MAX_TLSA).map(|record| shown(record, 300)).collect();
        seen.tlsa_validated = Some(tlsa.authenticated);
    }
    let addresses = match addresses {
        Ok(Lookup::Found(addresses)) => addresses,
        Ok(Lookup::NoData | Lookup::NxDomain) => {
            findings.push(Finding::new(Code::MxNoAddress, name, format!("{name} has no address")));
            return (seen, findings);
        }
        Err(error) => {
            let sentence = format!("the addresses could not be resolved: {}", causes(&error));
            findings.push(Finding::new(Code::MxHostUnresolvable, name, sentence));
            return (seen, findings);
        }
    };
    if addresses.len() > MAX_ADDRESSES {
        let sentence = format!("{} addresses, of which {MAX_ADDRESSES} are looked at", addresses.len());
        findings.push(Finding::new(Code::MxTooMany, name, sentence));
    }
    let port = inspector.config.smtp_port;
    let looks = addresses.into_iter().take(MAX_ADDRESSES).map(|ip| async move {
        let mut look = Look::new(host, SocketAddr::new(ip, port));
        look.at_address(inspector, host, until).await;
        look
    });
    for look in join_all(looks).await {
        seen.addresses.push(look.seen);
        findings.extend(look.findings);
    }
    let verified = seen.addresses.iter().filter(|address| address.outcome == SmtpOutcome::Verified).count();
    let known = seen.addresses.iter().filter(|address| address.outcome != SmtpOutcome::Unknown).count();
    if verified > 0 && verified == known {
        findings.push(Finding::new(Code::MxGood, name, good(&seen, verified)));
    }
    (seen, findings)
}

fn good(seen: &MxHostSeen, verified: usize) -> String {
    let sessions = seen.addresses.iter().filter_map(|address| address.tls.as_ref());
    let days = sessions.clone().filter_map(|tls| tls.days_left).min();
    let versions: std::collections::BTreeSet<&str> = sessions.map(|tls| tls.version.as_str()).collect();
    let versions: Vec<&str> = versions.into_iter().collect();
    let days = days.map_or_else(String::new, |days| format!(", {days} days left"));
    let addresses = if verified == 1 { "1 address".to_owned() } else { format!("{verified} addresses") };
    format!("verified STARTTLS at {addresses}, {}{days}", versions.join(" and "))
}

struct Look {
    /// For findings: the host and the address.
    subject: String,
    seen: SmtpSeen,
    findings: Vec<Finding>,
}

impl Look {
    fn new(host: &HostName, addr: SocketAddr) -> Self {
        Self {
            subject: format!("{host} ({addr})"),
            seen: SmtpSeen { address: addr.to_string(), ..SmtpSeen::default() },
            findings: Vec::new(),
        }
    }

    fn say(&mut self, code: Code, sentence: &str, outcome: SmtpOutcome) {
        self.findings.push(Finding::new(code, &self.subject, sentence));
        self.seen.outcome = outcome;
    }

    async fn at_address(&mut self, inspector: &Inspector, host: &HostName, until: Until) {
        // Before any waiting: an address that may not be connected to takes no place in the queue.
        let Ok(addr) = self.seen.address.parse::<SocketAddr>() else { return };
        let allow = inspector.config.allow_private_addresses;
        let started = Instant::now();
        let permit = if crate::address::refusal(addr.ip(), allow).is_none() {
            let patience = until.deadline.min(started + until.patience);
            let Ok(permit) = inspector.pacer.enter(addr.ip(), patience).await else {
                let sentence = "too many looks at this host are under way: it was not looked at";
                return self.say(Code::Paced, sentence, SmtpOutcome::Unknown);
            };
            Some(permit)
        } else {
            None
        };
        let started = Instant::now();
        let until = until.deadline.min(started + inspector.config.timeouts.mx_host);
        if timeout_at(until, self.converse(inspector, host, addr)).await.is_err() {
            self.say(Code::MxTimeout, "the conversation took too long altogether", SmtpOutcome::Unreachable);
        }
        self.seen.took_ms = millis(started.elapsed());
        drop(permit);
    }

    async fn converse(&mut self, inspector: &Inspector, host: &HostName, addr: SocketAddr) {
        let tcp = match connect(&inspector.config, addr).await {
            Ok(tcp) => tcp,
            Err(failure) => return self.not_connected(&failure),
        };
        let mut heard = Heard::default();
        let conversation = Conversation::new(tcp, inspector.config.timeouts.reply);
        let outcome = conversation.start_tls_heard(&inspector.config.helo_name, &mut heard).await;
        self.seen.banner = heard.banner.as_deref().map(|banner| shown(banner, MAX_BANNER));
        self.seen.hello = heard.hello.as_deref().map(|hello| shown(hello, MAX_BANNER));
        self.seen.starttls = heard.start_tls;
        let plain = match outcome {
            Ok(plain) => plain,
            Err(error) => return self.not_secured(&error),
        };
        match inspector.smtp.open(host, plain).await {
            Ok((tls, seen)) => {
                self.secured(seen);
                Conversation::new(tls, inspector.config.timeouts.reply).quit().await;
            }
            Err(error @ TlsFailure::Deadline(_)) => {
                self.say(Code::MxTimeout, &error.to_string(), SmtpOutcome::Unreachable);
            }
            Err(error) => self.say(Code::MxTls, &error.to_string(), SmtpOutcome::Refused),
        }
    }

    fn not_connected(&mut self, failure: &ConnectFailure) {
        let (code, sentence, outcome) = match failure {
            ConnectFailure::Refused(refusal) => {
                (Code::MxForbidden, format!("the address {refusal}"), SmtpOutcome::Unreachable)
            }
            ConnectFailure::Deadline => (Code::MxTimeout, "no answer".to_owned(), SmtpOutcome::Unreachable),
            ConnectFailure::NoRoute(error) => {
                (Code::MxNoRoute, format!("no route from here: {error}"), SmtpOutcome::Unknown)
            }
            ConnectFailure::Failed(error) => (Code::MxUnreachable, error.to_string(), SmtpOutcome::Unreachable),
        };
        self.say(code, &sentence, outcome);
    }

    fn not_secured(&mut self, error: &SmtpFailure) {
        use SmtpOutcome::{Refused, Unknown, Unreachable};
        let (code, outcome) = match error {
            SmtpFailure::Io(_) | SmtpFailure::Closed => (Code::MxBroke, Unreachable),
            SmtpFailure::Deadline { .. } => (Code::MxTimeout, Unreachable),
            SmtpFailure::TooLong | SmtpFailure::NotSmtp(_) => (Code::MxNotSmtp, Unreachable),
            // Greylisting, or a limit: a sender comes back.
            SmtpFailure::Unwilling { code: 400..=499, .. } => (Code::MxBusy, Unknown),
            SmtpFailure::Unwilling { .. } => (Code::MxUnwilling, Unreachable),
            SmtpFailure::NoStartTls => (Code::MxNoStartTls, Refused),
            SmtpFailure::StartTlsRefused(_) => (Code::MxStartTlsRefused, Refused),
            SmtpFailure::DataBeforeTls => (Code::MxDataBeforeTls, Refused),
        };
        self.say(code, &error.to_string(), outcome);
    }

    fn secured(&mut self, tls: TlsSeen) {
        self.findings.extend(certificate::findings(&certificate::MX, &self.subject, &tls));
        self.seen.outcome = if tls.verified { SmtpOutcome::Verified } else { SmtpOutcome::Refused };
        self.seen.tls = Some(tls);
    }
}

/// What a sender that enforces meets at this host. One bad address makes a bad host: a sender may pick it.
pub(crate) fn outcome(host: &MxHostSeen, findings: &[Finding]) -> SmtpOutcome {
    if host.not_looked_at {
        return SmtpOutcome::Unknown;
    }
    if host.addresses.is_empty() {
        let late = findings.iter().any(|finding| {
            matches!(finding.code, Code::OutOfTime | Code::MxHostUnresolvable) && finding.subject == host.host
        });
        return if late { SmtpOutcome::Unknown } else { SmtpOutcome::Unreachable };
    }
    let outcomes = host.addresses.iter().map(|address| address.outcome);
    if host.addresses.iter().all(|address| address.outcome == SmtpOutcome::Unknown) {
        return SmtpOutcome::Unknown;
    }
    outcomes.filter(|outcome| *outcome != SmtpOutcome::Unknown).max().unwrap_or_default()
}
