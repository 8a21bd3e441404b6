//! A look at any domain that a tenant asks for, and a policy that is built from one.

use serde::{Deserialize, Serialize};

use crate::{HostName, MaxAge, Mode, ReportUri};

/// What is asked for, with its options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum CheckWanted {
    /// What a sender finds, and what is wrong with it.
    Inspection {
        /// Whether the MX hosts are connected to as well.
        mx_hosts: bool,
    },
    /// A policy and its records from the live MX hosts.
    Policy {
        /// The mode; None: `testing`.
        mode: Option<Mode>,
        /// How long senders may keep it; None: what suits the mode.
        max_age: Option<MaxAge>,
        /// Where reports go; empty: `mailto:tls-reports@<domain>`.
        rua: Vec<ReportUri>,
        /// The web server that is to serve it.
        policy_host: Option<HostName>,
    },
}

impl CheckWanted {
    /// A stable word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Inspection { .. } => "inspection",
            Self::Policy { .. } => "policy",
        }
    }

    /// Whether MX hosts are connected to: a policy is built from hosts that were looked at.
    pub fn looks_at_mx_hosts(&self) -> bool {
        match self {
            Self::Inspection { mx_hosts } => *mx_hosts,
            Self::Policy { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_reads_back_as_it_was_kept() {
        let wanted = [
            CheckWanted::Inspection { mx_hosts: false },
            CheckWanted::Policy {
                mode: Some(Mode::Enforce),
                max_age: Some(MaxAge::WEEK),
                rua: vec!["mailto:tls@example.com".parse().unwrap()],
                policy_host: Some(HostName::parse("web.example.net").unwrap()),
            },
        ];
        for wanted in wanted {
            let kept = serde_json::to_value(&wanted).unwrap();
            assert_eq!(kept["kind"], wanted.kind());
            assert_eq!(serde_json::from_value::<CheckWanted>(kept).unwrap(), wanted);
        }
    }
}
