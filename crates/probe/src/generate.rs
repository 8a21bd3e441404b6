//! Builds a policy and its records for any domain from what is there: for people who host the policy themselves too.
//! Pure; the look at the domain comes first, see [`crate::inspect`].

use mtasts_model::{
    HostName, MailDomain, MaxAge, Mode, MxPattern, Policy, PolicyId, ReportUri, StsRecord, TlsRptRecord,
    policy::PolicyError, record::TlsRptRecordError,
};
use serde::Serialize;

use crate::inspect::{Code, Finding, Group, Inspection, Severity, seen::Route};

/// What is wished for.
#[derive(Debug, Clone, Default)]
pub struct GenerateOptions {
    /// `testing` where absent: nobody starts with `enforce`.
    pub mode: Option<Mode>,
    /// A day for `testing` and `none`, so that a mistake is soon forgotten, and a week for `enforce`, where absent.
    pub max_age: Option<MaxAge>,
    /// Where reports go; `mailto:tls-reports@<domain>` where empty.
    pub rua: Vec<ReportUri>,
    /// The web server that serves the policy, for a CNAME.
    pub host: Option<HostName>,
}

/// Why there is no policy to build.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A null MX, or neither MX nor address.
    #[error("{0} takes no mail: there is nothing to protect")]
    NoMail(String),
    /// DNS said nothing conclusive.
    #[error("the MX hosts of {0} are not known: DNS gave no conclusive answer")]
    Unknown(String),
    /// Some MX records cannot be in a policy, which would then block their mail.
    #[error("of {records} MX records of {domain}, {usable} can be in a policy: mend or remove the others first")]
    Incomplete {
        /// The domain.
        domain: String,
        /// How many there are.
        records: usize,
        /// How many of them can.
        usable: usize,
    },
    /// A policy of so many hosts is none.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The addresses for reports make no record.
    #[error(transparent)]
    TlsRpt(#[from] TlsRptRecordError),
}

/// A record to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The name, without the dot at its end.
    pub name: String,
    /// `TXT` or `CNAME`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The value; of a TXT record without quotation marks.
    pub value: String,
}

/// A policy and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// The mail domain.
    pub domain: String,
    /// The body to serve, lines ended by CRLF.
    pub policy: String,
    /// Where.
    pub url: String,
    /// Its mode.
    pub mode: Mode,
    /// The records to publish.
    pub records: Vec<Record>,
    /// What to mind: of the MX hosts, and of what was wished for.
    pub findings: Vec<Finding>,
    /// Whether mail would be lost with this policy in this mode.
    pub safe: bool,
}

/// Builds it. `id` is the new policy's.
pub fn generate(
    domain: &MailDomain,
    seen: &Inspection,
    options: &GenerateOptions,
    id: PolicyId,
) -> Result<Generated, GenerateError> {
    let hosts = hosts(domain, seen)?;
    let mode = options.mode.unwrap_or(Mode::Testing);
    let max_age = match (options.max_age, mode) {
        (Some(max_age), _) => max_age,
        (None, Mode::Enforce) => MaxAge::WEEK,
        (None, Mode::Testing | Mode::None) => MaxAge::DAY,
    };
    let mx = if mode == Mode::None { Vec::new() } else { patterns(domain, &hosts) };
    let policy = Policy::new(mode, mx, max_age)?;
    let text = policy.to_text();
    let rua = if options.rua.is_empty() {
        format!("mailto:tls-reports@{domain}").parse().into_iter().collect()
    } else {
        options.rua.clone()
    };
    let mut records = vec![
        Record { name: domain.sts_record_name(), kind: "TXT", value: StsRecord::new(id).to_string() },
        Record { name: domain.tls_rpt_record_name(), kind: "TXT", value: TlsRptRecord::new(rua)?.to_string() },
    ];
    if let Some(host) = &options.host {
        records.push(Record { name: domain.policy_host().to_string(), kind: "CNAME", value: host.to_string() });
    }
    let (_, _, of_text) = crate::inspect::read_policy(domain.policy_host().as_str(), text.as_bytes());
    let of_hosts = seen.findings.iter().filter(|finding| finding.group == Group::Mx && !is_of_old_policy(finding.code));
    let findings: Vec<Finding> =
        of_hosts.cloned().chain(of_text).filter(|finding| finding.severity > Severity::Ok).collect();
    let failing =
        findings.iter().any(|finding| finding.group == Group::Mx && finding.code.severity() == Severity::Error);
    Ok(Generated {
        domain: domain.as_str().to_owned(),
        policy: text,
        url: format!("https://{}/.well-known/mta-sts.txt", domain.policy_host()),
        mode,
        records,
        findings,
        safe: mode != Mode::Enforce || !failing,
    })
}

/// About the policy that stands there now.
fn is_of_old_policy(code: Code) -> bool {
    matches!(code, Code::MxNotCovered | Code::MxBelowWildcard)
}

fn hosts(domain: &MailDomain, seen: &Inspection) -> Result<Vec<HostName>, GenerateError> {
    match seen.mx.route {
        Route::Null | Route::Absent => return Err(GenerateError::NoMail(domain.to_string())),
        Route::Unknown => return Err(GenerateError::Unknown(domain.to_string())),
        Route::Hosts | Route::Implicit => {}
    }
    let hosts: Vec<HostName> = seen.mx.hosts.iter().filter_map(|seen| HostName::parse(&seen.host).ok()).collect();
    // Records that repeat a host, and a null MX beside others, leave nothing out.
    let harmless =
        seen.findings.iter().filter(|f| matches!(f.code, Code::MxRepeated | Code::MxNullBesideOthers)).count();
    if hosts.is_empty() || hosts.len() + harmless < seen.mx.records {
        let records = seen.mx.records;
        return Err(GenerateError::Incomplete { domain: domain.to_string(), records, usable: hosts.len() });
    }
    Ok(hosts)
}

/// Hosts by name, and a wildcard where several hosts of one provider stand directly under the same name: providers
/// add hosts there without asking. Never for the domain's own hosts, nor above a public suffix.
fn patterns(domain: &MailDomain, hosts: &[HostName]) -> Vec<MxPattern> {
    let mut patterns: Vec<MxPattern> = Vec::new();
    for host in hosts {
        let pattern = shared_suffix(domain, host, hosts).unwrap_or_else(|| MxPattern::from(host));
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    patterns
}

fn shared_suffix(domain: &MailDomain, host: &HostName, hosts: &[HostName]) -> Option<MxPattern> {
    let (_, parent) = host.as_str().split_once('.')?;
    let own = |name: &str| {
        let domain = domain.as_str();
        name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    };
    let pattern: MxPattern = format!("*.{parent}").parse().ok()?;
    let several = hosts.iter().filter(|other| pattern.matches(other)).count() > 1;
    (several && !own(parent) && !pattern.is_wide()).then_some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hosts: &[&str]) -> Vec<String> {
        let hosts: Vec<HostName> = hosts.iter().map(|host| HostName::parse(host).unwrap()).collect();
        let domain = MailDomain::from_stored("example.com").unwrap();
        patterns(&domain, &hosts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hosts_are_named_and_those_of_one_provider_share_a_wildcard() {
        assert_eq!(of(&["mx1.example.com", "mx2.example.com"]), ["mx1.example.com", "mx2.example.com"]);
        assert_eq!(
            of(&["aspmx.l.google.com", "alt1.aspmx.l.google.com", "alt2.aspmx.l.google.com"]),
            ["aspmx.l.google.com", "*.aspmx.l.google.com"]
        );
        assert_eq!(of(&["example-com.mail.protection.outlook.com"]), ["example-com.mail.protection.outlook.com"]);
        assert_eq!(of(&["a.provider.net", "b.provider.net", "mx.example.com"]), ["*.provider.net", "mx.example.com"]);
        assert_eq!(of(&["a.co.uk", "b.co.uk"]), ["a.co.uk", "b.co.uk"], "strangers register there");
        assert_eq!(of(&["a.x.provider.net", "b.y.provider.net"]), ["a.x.provider.net", "b.y.provider.net"]);
    }
}
