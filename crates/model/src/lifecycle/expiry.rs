//! Alerts before a certificate ends that is not renewed.

use chrono::TimeDelta;

use crate::{
    clock::Timestamp,
    lifecycle::{CertificateFacts, CnameSeen, DomainFacts, HostOwner, attempts::ORDER_STEPS},
};

/// Days before the end at which a tenant is told, each once for a certificate.
pub const EXPIRY_ALERT_DAYS: [u16; 3] = [30, 14, 7];

/// A renewal that is late by less than this is no news: CAs have bad hours, and it is tried again all the time.
const PATIENCE: TimeDelta = TimeDelta::hours(24);

/// Within so many days of the end there is none.
pub(super) const URGENT_DAYS: u16 = 7;

/// Why a certificate was not renewed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalTrouble {
    /// A stable word in CamelCase.
    pub reason: String,
    /// A sentence for people; of the CA, if it said anything.
    pub message: String,
    /// What to do.
    pub what_to_do: &'static str,
}

/// What is to be told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// That the certificate has so many days left, or fewer.
    Now(u16),
    /// Nothing before this.
    At(Timestamp),
    /// Nothing more.
    Never,
}

/// What there is to tell of a certificate whose renewal is due.
pub(super) fn due(facts: &DomainFacts, certificate: &CertificateFacts, now: Timestamp) -> Due {
    if certificate.renew_at > now {
        return Due::At(certificate.renew_at + PATIENCE);
    }
    let left = certificate.not_after - now;
    let reached = EXPIRY_ALERT_DAYS.into_iter().rfind(|days| left <= TimeDelta::days((*days).into()));
    let told = |days: u16| certificate.told_days.is_some_and(|told| told <= days);
    let late = certificate.renew_at + PATIENCE <= now;
    if let Some(days) = reached.filter(|days| !told(*days)) {
        if late || (days <= URGENT_DAYS && facts.attempts.latest(&ORDER_STEPS).is_some()) {
            return Due::Now(days);
        }
        return Due::At(certificate.renew_at + PATIENCE);
    }
    let next = EXPIRY_ALERT_DAYS.into_iter().find(|days| left > TimeDelta::days((*days).into()) && !told(*days));
    match next {
        Some(days) => {
            Due::At((certificate.not_after - TimeDelta::days(days.into())).max(certificate.renew_at + PATIENCE))
        }
        None => Due::Never,
    }
}

/// Whether the certificate's end has come near, and nothing has been done about it. In days, rounded down.
pub(super) fn days_left(certificate: &CertificateFacts, now: Timestamp) -> u32 {
    u32::try_from((certificate.not_after - now).num_days()).unwrap_or(0)
}

impl DomainFacts {
    /// Why the certificate is not renewed, as far as is known.
    pub fn renewal_trouble(&self) -> RenewalTrouble {
        let leads_here = self.delegation.as_ref().is_none_or(|seen| seen.policy_host == CnameSeen::Ours)
            && self.host.owner == HostOwner::Ours;
        if !leads_here {
            return RenewalTrouble {
                reason: "DelegationLost".to_owned(),
                message: format!(
                    "{} does not lead here any more, so that no CA would certify it.",
                    self.name.policy_host()
                ),
                what_to_do: "Point the CNAME at the target shown under `delegation`; or delete the domain.",
            };
        }
        match self.attempts.latest(&ORDER_STEPS) {
            Some(attempt) => RenewalTrouble {
                reason: attempt.reason.clone(),
                message: attempt.message.clone(),
                what_to_do: advice(&attempt.reason),
            },
            None => RenewalTrouble {
                reason: "RenewalOverdue".to_owned(),
                message: "The renewal is overdue, and no failure of it is known.".to_owned(),
                what_to_do: "Nothing in your zone; it is the service's to look after.",
            },
        }
    }
}

/// What to do about a failure of an order, by its word.
fn advice(reason: &str) -> &'static str {
    match reason {
        "CaaForbids" => "Allow the service's CA in the CAA records of your zone, or remove them.",
        "CaaUnresolvable" => {
            "Check the name servers of your zone: CAs ask them for CAA records, and must get an answer."
        }
        "ValidationFailed" => {
            "Check that the CNAME of the policy host and the name servers of your zone answer everywhere in the world."
        }
        "CaRateLimited" | "CaBudgetUsedUp" | "CaUnavailable" => {
            "Nothing: it is tried again by itself, as soon as the CA allows it."
        }
        _ => {
            "Nothing in your zone is known to be wrong; it is tried again by itself, and is the service's to look after."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thresholds_go_down() {
        assert!(EXPIRY_ALERT_DAYS.is_sorted_by(|a, b| a > b));
        assert_eq!(EXPIRY_ALERT_DAYS.last(), Some(&URGENT_DAYS));
    }
}
