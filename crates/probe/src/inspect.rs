//! The inspector: looks at any domain exactly as a sending MTA does, and tells what it found, what to do, and what
//! senders say when they meet it. docs/inspector.md.
//!
//! Nothing of what strangers serve is trusted: addresses are filtered after resolution, every octet and count is
//! capped, every wait ends at one deadline, hosts are paced, and texts are escaped before they are kept.

mod aliases;
mod catalogue;
mod certificate;
mod finding;
mod mx;
mod pace;
mod policy_host;
mod policy_text;
mod record;
pub mod seen;
mod smtp_host;
pub(crate) mod text;
mod tls_rpt;
mod verdict;
mod witness;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use mtasts_dns::Resolver;
use mtasts_model::{HostName, MailDomain, Mode, Policy, Timestamp};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

pub use catalogue::Code;
pub use finding::{Finding, Group, SenderWords, Severity};
pub use pace::{NoRoom, Pacer, SharedPace};
pub(crate) use policy_text::read as read_policy;
pub use verdict::{Delivery, HostVerdict, Safety, Verdict};

use self::{
    policy_host::{Fetched, millis},
    record::Looked,
    seen::{MxSeen, PolicyHostSeen, PolicySeen, RecordSeen},
    witness::Witness,
};
use crate::ProbeConfig;

/// MX hosts of one domain that are looked at, the most preferred first.
pub const MAX_MX: usize = 32;
/// Addresses of one host that are looked at.
pub const MAX_ADDRESSES: usize = 8;

/// Looks at domains. Clones share their pacing.
#[derive(Clone)]
pub struct Inspector {
    config: ProbeConfig,
    resolver: Resolver,
    pacer: Arc<Pacer>,
    https: Witness,
    smtp: Witness,
}

/// How one look is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InspectOptions {
    /// For the whole look.
    pub deadline: Duration,
    /// Of it, how long to wait for room at one MX host, see [`Pacer`].
    pub patience: Duration,
    /// Whether MX hosts are connected to. Without it they are named and held against the policy.
    pub mx_hosts: bool,
}

impl Default for InspectOptions {
    /// A minute, of which fifteen seconds may be waiting for room.
    fn default() -> Self {
        Self { deadline: Duration::from_mins(1), patience: Duration::from_secs(15), mx_hosts: true }
    }
}

/// How long a look at one MX host may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    /// The whole look's.
    pub(crate) deadline: Instant,
    /// For waiting for room.
    pub(crate) patience: Duration,
}

/// What a look brought. Its JSON is documented in docs/inspector.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The mail domain, as A-labels.
    pub domain: String,
    /// The same for people.
    pub unicode: String,
    /// When.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether DNS answered anything at all. Without that nothing here says anything about the domain.
    pub looked: bool,
    /// What it comes to.
    pub verdict: Verdict,
    /// What was found, by group; within a group in the order of the look.
    pub findings: Vec<Finding>,
    /// The record at `_mta-sts`.
    pub record: RecordSeen,
    /// The record at `_smtp._tls`.
    pub tls_rpt: RecordSeen,
    /// The policy host.
    pub policy_host: PolicyHostSeen,
    /// The policy, where one was served.
    pub policy: Option<PolicySeen>,
    /// Its octets as they came, of the first address that served one.
    #[serde(skip)]
    pub served: Option<Bytes>,
    /// The MX hosts.
    pub mx: MxSeen,
}

impl Inspector {
    /// Asks `resolver`, and waits for room at hosts with `pacer`: one for a whole process.
    pub fn new(config: ProbeConfig, resolver: Resolver, pacer: Arc<Pacer>) -> Self {
        let https = Witness::new(&config, &[b"http/1.1"]);
        let smtp = Witness::new(&config, &[]);
        Self { config, resolver, pacer, https, smtp }
    }

    /// Looks at `domain`, everything at the same time. Never fails: what could not be seen is a finding.
    pub async fn inspect(&self, domain: &MailDomain, options: InspectOptions, now: Timestamp) -> Inspection {
        let started = Instant::now();
        // A little is left for putting it all together.
        let deadline = started + options.deadline.mul_f64(0.95);
        let (record, tls_rpt, fetched, mx) = tokio::join!(
            timeout_at(deadline, Box::pin(record::look(&self.resolver, domain))),
            timeout_at(deadline, Box::pin(tls_rpt::look(&self.resolver, domain))),
            timeout_at(deadline, Box::pin(policy_host::look(self, domain, deadline))),
            Box::pin(self.look_at_mx(domain, Until { deadline, patience: options.patience }, options.mx_hosts)),
        );
        let late = |what: &str| Finding::new(Code::OutOfTime, what, format!("{what} was not seen in time"));
        let record = record.unwrap_or_else(|_| nothing(&domain.sts_record_name(), late));
        let tls_rpt = tls_rpt.unwrap_or_else(|_| nothing(&domain.tls_rpt_record_name(), late));
        let fetched = fetched.unwrap_or_else(|_| {
            let host = PolicyHostSeen { host: domain.policy_host().to_string(), ..PolicyHostSeen::default() };
            let findings = vec![late(&host.host)];
            Looked { seen: Fetched { host, text: None }, findings, answered: false }
        });
        let looked = record.answered || tls_rpt.answered || fetched.answered || mx.answered;
        let inspection = assemble(domain, now, record, tls_rpt, fetched, mx);
        let took = started.elapsed();
        metrics::histogram!("mtasts_inspect_seconds").record(took.as_secs_f64());
        let worst = inspection.verdict.severity.as_str();
        metrics::counter!("mtasts_inspections_total", "severity" => worst).increment(1);
        Inspection { took_ms: millis(took), looked, ..inspection }
    }

    async fn look_at_mx(&self, domain: &MailDomain, until: Until, connect: bool) -> Looked<MxSeen> {
        let Ok(records) = timeout_at(until.deadline, mx::look(&self.resolver, domain)).await else {
            let sentence = format!("the MX records of {domain} were not seen in time");
            let findings = vec![Finding::new(Code::OutOfTime, domain.as_str(), sentence)];
            return Looked { seen: MxSeen::default(), findings, answered: false };
        };
        let mx::Records { mut seen, hosts, mut findings, answered } = records;
        if !connect {
            let named = |(preference, host): (u16, HostName)| seen::MxHostSeen {
                host: host.to_string(),
                preference,
                not_looked_at: true,
                ..seen::MxHostSeen::default()
            };
            seen.hosts.extend(hosts.into_iter().map(named));
            return Looked { seen, findings, answered };
        }
        let looks = hosts.iter().map(|(preference, host)| smtp_host::look(self, *preference, host, until));
        for (host, of_host) in join_all(looks).await {
            seen.hosts.push(host);
            findings.extend(of_host);
        }
        Looked { seen, findings, answered }
    }
}

fn nothing(name: &str, late: impl Fn(&str) -> Finding) -> Looked<RecordSeen> {
    let seen = RecordSeen { name: name.to_owned(), ..RecordSeen::default() };
    Looked { seen, findings: vec![late(name)], answered: false }
}

fn assemble(
    domain: &MailDomain,
    at: Timestamp,
    record: Looked<RecordSeen>,
    tls_rpt: Looked<RecordSeen>,
    fetched: Looked<Fetched>,
    mx: Looked<MxSeen>,
) -> Inspection {
    let Fetched { host: policy_host, text } = fetched.seen;
    let mut findings = record.findings;
    findings.extend(fetched.findings);
    let (mut seen_policy, mut policy) = (None, None::<Policy>);
    if let Some(text) = &text {
        let (seen, read, of_text) = policy_text::read(&policy_host.host, text);
        (seen_policy, policy) = (Some(seen), read);
        findings.extend(of_text);
    }
    let mut mx_seen = mx.seen;
    findings.extend(mx.findings);
    if let Some(policy) = &policy {
        findings.extend(verdict::compare(policy, &mut mx_seen, mx.answered));
    }
    findings.extend(tls_rpt.findings);
    // Where nothing is enforced and a policy is only being tried or withdrawn, failures of MX hosts cost no mail.
    if policy.as_ref().is_some_and(|policy| policy.mode() == Mode::None) {
        for finding in findings.iter_mut().filter(|finding| finding.group == Group::Mx && is_about_tls(finding.code)) {
            finding.severity = finding.severity.min(Severity::Warning);
        }
    }
    findings.sort_by_key(|finding| finding.group);
    let refused = findings.iter().any(|finding| refuses_the_policy(finding.code));
    let published = record.seen.id.is_some() && policy.is_some() && !refused;
    let verdict = verdict::judge(published, policy.as_ref(), &mx_seen, &findings);
    Inspection {
        domain: domain.as_str().to_owned(),
        unicode: text::shown(&domain.unicode(), 260),
        at,
        took_ms: 0,
        looked: true,
        verdict,
        findings,
        record: record.seen,
        tls_rpt: tls_rpt.seen,
        policy_host,
        policy: seen_policy,
        served: text,
        mx: mx_seen,
    }
}

/// Whether senders take the text for no policy, and we read on to tell what else there is.
fn refuses_the_policy(code: Code) -> bool {
    matches!(code, Code::PolicyByteOrderMark | Code::PolicyMaxAgeLong)
}

/// Whether only senders that verify TLS meet it.
fn is_about_tls(code: Code) -> bool {
    code.rfc().starts_with("RFC 8461") || code.rfc().starts_with("RFC 3207")
}
