//! The CNAMEs by which a customer hands us the names of a mail domain.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Label, ZoneName};
use crate::name::MailDomain;

/// What a delegated name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DelegationPurpose {
    /// `mta-sts.<domain>`, which serves the policy (RFC 8461 §3.3). A CNAME of its own, because the record's does not
    /// reach it (§8.2).
    PolicyHost,
    /// `_mta-sts.<domain>`, where the TXT record stands (RFC 8461 §3.1).
    StsRecord,
    /// `_smtp._tls.<domain>`, where the address for reports stands (RFC 8460 §3).
    TlsRptRecord,
    /// `_acme-challenge.mta-sts.<domain>`, for certificates by dns-01 (RFC 8555 §8.4).
    AcmeChallenge,
}

impl DelegationPurpose {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::PolicyHost, Self::StsRecord, Self::TlsRptRecord, Self::AcmeChallenge];

    /// The word that the API and the store use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PolicyHost => "policy-host",
            Self::StsRecord => "sts-record",
            Self::TlsRptRecord => "tls-rpt-record",
            Self::AcmeChallenge => "acme-challenge",
        }
    }

    /// Whether the service cannot do its main job without it.
    pub fn is_required(self) -> bool {
        self != Self::AcmeChallenge
    }

    /// The customer's name: the owner of the CNAME.
    pub fn name(self, domain: &MailDomain) -> String {
        match self {
            Self::PolicyHost => domain.policy_host().to_string(),
            Self::StsRecord => domain.sts_record_name(),
            Self::TlsRptRecord => domain.tls_rpt_record_name(),
            Self::AcmeChallenge => domain.acme_challenge_name(),
        }
    }

    /// Our name: the target of the CNAME.
    pub fn target(self, label: &Label, zone: &ZoneName) -> String {
        format!("{label}.{}.{zone}", self.subtree())
    }

    /// The label that a CNAME's target names, if it is a target of this purpose in this zone. Whose CNAME it is says
    /// nothing: ownership follows from the label.
    pub fn label_of(self, target: &str, zone: &ZoneName) -> Option<Label> {
        let target = target.strip_suffix('.').unwrap_or(target).to_ascii_lowercase();
        let (label, rest) = target.split_once('.')?;
        let ours = rest.strip_prefix(self.subtree())?.strip_prefix('.')? == zone.as_str();
        label.parse().ok().filter(|_| ours)
    }

    /// Sub-trees by kind, so that one wildcard at `*.edge.<zone>` serves every tenant: a record below `<label>.<zone>`
    /// would make that name an empty non-terminal, which no wildcard covers (RFC 4592 §2.2.2).
    fn subtree(self) -> &'static str {
        match self {
            Self::PolicyHost => "edge",
            Self::StsRecord => "_mta-sts",
            Self::TlsRptRecord => "_smtp-tls",
            Self::AcmeChallenge => "acme",
        }
    }
}

/// One CNAME for the customer's zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegationRecord {
    /// What it is for.
    pub purpose: DelegationPurpose,
    /// The owner's name, absolute, without the dot at the end.
    pub name: String,
    /// The target's name, absolute, without the dot at the end.
    pub target: String,
    /// False for those that only some customers want.
    pub required: bool,
}

/// All CNAMEs of one registered domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    domain: MailDomain,
    label: Label,
    zone: ZoneName,
}

impl Delegation {
    /// The delegation of this domain to this label in the service's zone.
    pub fn new(domain: &MailDomain, label: &Label, zone: &ZoneName) -> Self {
        Self { domain: domain.clone(), label: label.clone(), zone: zone.clone() }
    }

    /// The records, the required ones first.
    pub fn records(&self) -> Vec<DelegationRecord> {
        let record = |purpose: DelegationPurpose| DelegationRecord {
            purpose,
            name: purpose.name(&self.domain),
            target: purpose.target(&self.label, &self.zone),
            required: purpose.is_required(),
        };
        DelegationPurpose::ALL.map(record).into()
    }

    /// The records as lines of a zone file (RFC 1035 §5.1), the optional ones commented out.
    pub fn zone_file(&self) -> String {
        let records = self.records();
        let width = records.iter().map(|record| record.name.len()).max().unwrap_or(0) + 1;
        let mut text = format!("; MTA-STS and TLS reporting of {}\n", self.domain);
        for record in records {
            let comment = if record.required {
                ""
            } else {
                text.push_str("; optional, for certificates by dns-01:\n");
                "; "
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{comment}{:<width$} 3600 IN CNAME {}.", format!("{}.", record.name), record.target);
        }
        text
    }
}
