//! Where the mail goes (RFC 5321 §5.1).

use mtasts_dns::{Lookup, Mx, Resolver};
use mtasts_model::{HostName, MailDomain, causes};

use super::{
    Code, Finding, MAX_MX,
    seen::{MxSeen, Route},
    text::shown,
};

/// The hosts to look at, with what there is to say about the records.
pub(crate) struct Records {
    pub(crate) seen: MxSeen,
    pub(crate) hosts: Vec<(u16, HostName)>,
    pub(crate) findings: Vec<Finding>,
    /// DNS answered something.
    pub(crate) answered: bool,
}

pub(crate) async fn look(resolver: &Resolver, domain: &MailDomain) -> Records {
    let name = domain.as_str();
    let mut found = Records { seen: MxSeen::default(), hosts: Vec::new(), findings: Vec::new(), answered: true };
    match resolver.mx_records(name).await {
        Ok(Lookup::Found(records)) => found.read(domain, &records),
        Ok(Lookup::NxDomain) => found.absent(domain),
        Ok(Lookup::NoData) => match (resolver.addresses(name).await, HostName::parse(name)) {
            (Ok(Lookup::Found(_)), Ok(host)) => {
                found.seen.route = Route::Implicit;
                let sentence = format!("{name} has no MX record, and mail goes to its own address");
                found.findings.push(Finding::new(Code::MxImplicit, name, sentence));
                found.hosts.push((0, host));
            }
            (Err(error), _) => found.unresolvable(domain, &causes(&error)),
            _ => found.absent(domain),
        },
        Err(error) => {
            found.answered = super::aliases::is_answer(&error);
            found.unresolvable(domain, &causes(&error));
        }
    }
    found
}

impl Records {
    fn absent(&mut self, domain: &MailDomain) {
        self.seen.route = Route::Absent;
        let sentence = format!("{domain} has neither an MX record nor an address");
        self.findings.push(Finding::new(Code::MxAbsent, domain.as_str(), sentence));
    }

    fn unresolvable(&mut self, domain: &MailDomain, why: &str) {
        let sentence = format!("the MX records could not be resolved: {why}");
        self.findings.push(Finding::new(Code::MxUnresolvable, domain.as_str(), sentence));
    }

    fn say(&mut self, code: Code, subject: &str, sentence: String) {
        self.findings.push(Finding::new(code, subject, sentence));
    }

    fn read(&mut self, domain: &MailDomain, records: &[Mx]) {
        let name = domain.as_str();
        self.seen.records = records.len();
        let nulls = records.iter().filter(|record| record.host.is_empty()).count();
        if nulls == records.len() {
            self.seen.route = Route::Null;
            return self.say(Code::MxNull, name, format!("{name} takes no mail, says its null MX"));
        }
        if nulls > 0 {
            self.say(Code::MxNullBesideOthers, name, "a null MX (`.`) stands beside other MX records".to_owned());
        }
        self.seen.route = Route::Hosts;
        for record in records.iter().filter(|record| !record.host.is_empty()) {
            let (preference, target) = (record.preference, shown(&record.host, 260));
            match HostName::parse(&record.host) {
                Ok(host) if self.hosts.iter().any(|(_, known)| *known == host) => {
                    self.say(Code::MxRepeated, &target, format!("{target} is named by more than one MX record"));
                }
                Ok(host) => self.hosts.push((preference, host)),
                Err(_) if is_address(&record.host) => {
                    let sentence = format!("the MX record `{preference} {target}` names an address");
                    self.say(Code::MxAddressLiteral, &target, sentence);
                }
                Err(error) => {
                    let sentence = format!("the MX record `{preference} {target}` names no host: {error}");
                    self.say(Code::MxNotAHost, &target, sentence);
                }
            }
        }
        if self.hosts.len() > MAX_MX {
            let sentence = format!("{} MX hosts, of which the {MAX_MX} most preferred are looked at", self.hosts.len());
            self.say(Code::MxTooMany, name, sentence);
            self.hosts.truncate(MAX_MX);
        }
        if !self.hosts.is_empty() {
            let hosts: Vec<String> =
                self.hosts.iter().map(|(preference, host)| format!("{preference} {host}")).collect();
            self.say(Code::MxFound, name, hosts.join(", "));
        }
    }
}

/// An address in text, which some write with dots as if it were a name, and some with brackets.
fn is_address(text: &str) -> bool {
    let bare = text.trim_matches(['[', ']']);
    bare.parse::<std::net::IpAddr>().is_ok()
}
