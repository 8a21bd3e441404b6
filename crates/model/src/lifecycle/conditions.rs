//! What the facts mean, in words for people and programs.

use crate::{
    clock::Timestamp,
    condition::{Condition, ConditionKind, Status, merge},
    lifecycle::{
        Attempt, CnameSeen, DomainFacts, HostContentRef, HostOwner, MxSeen, OrderState, Purpose, RenewalTrouble,
        StepKind, attempts::ORDER_STEPS, expiry, schedule,
    },
    policy::Mode,
    rollout::Progress,
};

type Verdict = (Status, &'static str, String);

/// All conditions that apply, in [`ConditionKind::ALL`] order.
pub(super) fn derive(facts: &DomainFacts, now: Timestamp) -> Vec<Condition> {
    let conditions = ConditionKind::ALL
        .into_iter()
        .filter(|kind| match kind {
            ConditionKind::RolloutOnTrack => facts.rollout.is_some(),
            ConditionKind::PolicyVisible => facts.watch.is_some(),
            _ => true,
        })
        .map(|kind| {
            if let (ConditionKind::RecordPublished, Some(problem)) = (kind, &facts.record.problem) {
                return Condition::new(kind, Status::False, &problem.reason, problem.message.clone(), now);
            }
            if let Some(attempt) = failure_behind(facts, kind) {
                return Condition::new(kind, Status::False, &attempt.reason, attempt.message.clone(), now);
            }
            let (status, reason, message) = verdict(facts, kind, now);
            Condition::new(kind, status, reason, message, now)
        })
        .collect();
    merge(&facts.conditions, conditions)
}

fn verdict(facts: &DomainFacts, kind: ConditionKind, now: Timestamp) -> Verdict {
    match kind {
        ConditionKind::Delegated => delegated(facts),
        ConditionKind::CertificateReady => certificate_ready(facts, now),
        ConditionKind::PolicyLive => policy_live(facts),
        ConditionKind::RecordPublished => record_published(facts),
        ConditionKind::MxReady => mx_ready(facts),
        ConditionKind::ReportsArriving => reports_arriving(facts, now),
        ConditionKind::RolloutOnTrack => rollout_on_track(facts, now),
        ConditionKind::PolicyVisible => policy_visible(facts),
    }
}

/// A step that fails says more than "waiting", as long as its condition does not hold without it.
fn failure_behind(facts: &DomainFacts, kind: ConditionKind) -> Option<&Attempt> {
    let failed = |kinds: &[StepKind]| facts.attempts.latest(kinds);
    match kind {
        // An earlier conclusive look outlives a resolver that fails now: "could not resolve" is not "moved".
        ConditionKind::Delegated if facts.delegation.is_none() => failed(&[StepKind::ObserveDelegation]),
        ConditionKind::CertificateReady if facts.certificate.is_none() => {
            failed(&ORDER_STEPS).filter(|_| facts.host.owner == HostOwner::Ours)
        }
        ConditionKind::PolicyLive if facts.version.as_ref().is_some_and(|v| v.verified_at.is_none()) => {
            failed(&[StepKind::VerifyServed]).filter(|attempt| attempt.failures >= 2)
        }
        ConditionKind::RecordPublished if facts.version.as_ref().is_some_and(|v| v.published_at.is_none()) => {
            failed(&[StepKind::WriteRecords, StepKind::ConfirmRecords]).filter(|attempt| attempt.failures >= 2)
        }
        // Published once, and now the servers say otherwise.
        ConditionKind::RecordPublished => {
            facts.attempts.of(StepKind::ConfirmRecords).filter(|attempt| attempt.failures >= 3)
        }
        ConditionKind::MxReady if facts.version.is_none() => failed(&[StepKind::DiscoverMx]),
        ConditionKind::MxReady if facts.mx.is_none() => failed(&[StepKind::ProbeMx]),
        _ => None,
    }
}

fn delegated(facts: &DomainFacts) -> Verdict {
    let Some(seen) = &facts.delegation else {
        return (Status::Unknown, "NotObserved", "The CNAMEs have not been looked up yet.".to_owned());
    };
    let names = [
        (facts.name.policy_host().to_string(), &seen.policy_host),
        (facts.name.sts_record_name(), &seen.sts_record),
        (facts.name.tls_rpt_record_name(), &seen.tls_rpt_record),
    ];
    let mut problems = names.iter().filter(|(_, cname)| **cname != CnameSeen::Ours);
    let Some((name, cname)) = problems.next() else {
        return match &facts.zones.former {
            Some(former) if seen.home_since.is_none() => (
                Status::True,
                "ZoneMoves",
                format!(
                    "All three CNAMEs lead to this domain's label, but in {former}, which is being given up. Point them at the targets shown under `delegation`."
                ),
            ),
            _ => (Status::True, "AllCnamesFound", "All three CNAMEs lead to this domain's label.".to_owned()),
        };
    };
    let more = problems.count();
    let tail = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    match cname {
        // Whose label it is stays untold: labels are what keeps tenants apart.
        CnameSeen::OtherLabel { .. } => (
            Status::False,
            "OtherRegistration",
            format!(
                "{name} leads to the label of another registration of this domain. Point it at the target shown \
                 under `delegation`{tail}."
            ),
        ),
        CnameSeen::Elsewhere { target } => (
            Status::False,
            "CnameElsewhere",
            format!("{name} leads to {target}. Point it at the target shown under `delegation`{tail}."),
        ),
        CnameSeen::Missing | CnameSeen::Ours => (
            Status::False,
            "CnameMissing",
            format!("{name} has no CNAME. Add the records shown under `delegation`{tail}."),
        ),
    }
}

fn certificate_ready(facts: &DomainFacts, now: Timestamp) -> Verdict {
    if let Some(certificate) = &facts.certificate {
        if certificate.not_after <= now {
            let message = format!("The certificate expired at {}. {}", certificate.not_after, renewal_failure(facts));
            return (Status::False, "Expired", message);
        }
        if certificate.told_days.is_some() && certificate.renew_at <= now {
            let RenewalTrouble { reason, message, what_to_do } = facts.renewal_trouble();
            let days = expiry::days_left(certificate, now);
            let text =
                format!("The certificate ends in {days} days and is not renewed. {reason}: {message} {what_to_do}");
            // A week is what it takes to notice, to mend a zone, and for that to arrive.
            let status = if days < expiry::URGENT_DAYS.into() { Status::False } else { Status::True };
            return (status, "Expiring", text);
        }
        let message = match facts.attempts.of(StepKind::Issuance) {
            Some(_) => format!("Valid until {}. {}", certificate.not_after, renewal_failure(facts)),
            None => format!("Valid until {}; renewal from {}.", certificate.not_after, certificate.renew_at),
        };
        return (Status::True, "Issued", message);
    }
    if !is_policy_host_ours(facts) {
        let message = format!("Waiting for the CNAME of {}.", facts.name.policy_host());
        return (Status::Unknown, "WaitingForDelegation", message);
    }
    if facts.failed_validations.len() >= schedule::MAX_FAILED_VALIDATIONS_PER_HOUR {
        let message = "Five validations of this name failed within the last hour; the next try comes after that.";
        return (Status::False, "TooManyFailedValidations", message.to_owned());
    }
    let (reason, message) = match facts.order.as_ref().map(|order| order.state) {
        None => ("NotOrdered", "A certificate is about to be ordered."),
        Some(OrderState::Drafted) => ("Ordering", "A certificate is being ordered."),
        Some(OrderState::Placed | OrderState::ChallengePublished { .. }) => {
            ("PreparingValidation", "The answer to the CA's challenge is on its way to the edges.")
        }
        Some(OrderState::Answered) => ("Validating", "The CA is validating the name."),
        Some(OrderState::Ready | OrderState::Finalizing) => ("Finalizing", "The CA is issuing the certificate."),
    };
    (Status::Unknown, reason, message.to_owned())
}

fn renewal_failure(facts: &DomainFacts) -> String {
    let failure = facts.attempts.of(StepKind::Issuance);
    failure
        .map_or_else(String::new, |attempt| format!("Renewal failed {} times: {}", attempt.failures, attempt.message))
}

fn is_policy_host_ours(facts: &DomainFacts) -> bool {
    facts.delegation.as_ref().is_some_and(|seen| seen.policy_host == CnameSeen::Ours)
}

fn rollout_on_track(facts: &DomainFacts, now: Timestamp) -> Verdict {
    let (Some(rollout), Some(next)) = (facts.rollout.as_ref(), facts.rollout_next(now)) else {
        return (Status::Unknown, "NoPolicy", "The plan begins once there is a policy.".to_owned());
    };
    let rollout = &rollout.rollout;
    let (step, steps) = (rollout.step + 1, rollout.plan.steps().len());
    let (status, reason) = match rollout.progress {
        Progress::Running => (Status::True, "Running"),
        Progress::Completed => (Status::True, "Completed"),
        Progress::Held => (Status::False, "Held"),
        Progress::Paused(_) => (Status::False, "Paused"),
        Progress::Overruled => (Status::False, "Overruled"),
        Progress::FellBack(_) => (Status::False, "FellBack"),
    };
    let waits_for = if next.action.is_some() { "it is about to go on" } else { &next.waits_for };
    (status, reason, format!("Step {step} of {steps}: {waits_for}."))
}

fn policy_visible(facts: &DomainFacts) -> Verdict {
    let Some(watch) = &facts.watch else {
        return (Status::Unknown, "NotLooked", "Nobody has looked from outside yet.".to_owned());
    };
    let found = watch.problem.as_ref().map_or("", |problem| &problem.message);
    match watch.good {
        Some(false) => (Status::False, "CheckFailed", format!("{} looks in a row failed. {found}", watch.failures)),
        Some(true) if watch.failures > 0 => {
            (Status::True, "LooksAgain", format!("A look failed, and is about to be made again. {found}"))
        }
        Some(true) => (
            Status::True,
            "CheckPassed",
            "Record, certificate and policy are what senders are meant to find.".to_owned(),
        ),
        None => (Status::Unknown, "LooksAgain", format!("A look failed, and is about to be made again. {found}")),
    }
}

fn policy_live(facts: &DomainFacts) -> Verdict {
    let Some(version) = &facts.version else {
        return (Status::Unknown, "NoPolicy", "The domain has no policy yet: its MX hosts are looked for.".to_owned());
    };
    let mode = version.policy.mode();
    if !is_policy_host_ours(facts) {
        let (status, reason) = match facts.delegation {
            Some(_) if version.served_at.is_some() => (Status::False, "DelegationLost"),
            _ => (Status::Unknown, "WaitingForDelegation"),
        };
        return (status, reason, format!("Senders cannot find the policy: {} is not ours.", facts.name.policy_host()));
    }
    if facts.certificate.is_none() {
        return (
            Status::Unknown,
            "WaitingForCertificate",
            "The policy is served once there is a certificate.".to_owned(),
        );
    }
    if facts.edges.acknowledged.is_none() {
        return (Status::False, "NoEdgeInService", "No edge of the service is running.".to_owned());
    }
    let served = facts.certificate.map(|c| HostContentRef { version_id: version.id, certificate_id: c.id });
    if facts.host.content.is_none() || version.served_at.is_none() {
        let message = format!("The policy (mode {mode}) is on its way to the edges.");
        return (Status::Unknown, "WaitingForEdges", message);
    }
    if version.verified_at.is_none() {
        let message = "Every edge has the policy; it is about to be fetched as a sender would.".to_owned();
        return (Status::Unknown, "Verifying", message);
    }
    let renewing = if facts.host.content == served { "" } else { " A renewed certificate is on its way." };
    (Status::True, "Served", format!("Every edge serves the policy (mode {mode}).{renewing}"))
}

fn record_published(facts: &DomainFacts) -> Verdict {
    let Some(version) = &facts.version else {
        return (Status::Unknown, "NoPolicy", "The domain has no policy yet.".to_owned());
    };
    if version.published_at.is_some() && facts.record.confirmed == Some(version.id) {
        let name = facts.name.sts_record_name();
        if facts.delegation.as_ref().is_none_or(|seen| seen.sts_record != CnameSeen::Ours) {
            let message = format!("The record is published, but senders cannot see it: {name} does not lead to it.");
            return (Status::False, "CnameMissing", message);
        }
        return (Status::True, "Published", format!("The TXT record carries id {}.", version.policy_id));
    }
    if version.verified_at.is_none() {
        let message = "The id is published once every edge serves the policy (RFC 8461, section 8.1).".to_owned();
        return (Status::Unknown, "WaitingForPolicy", message);
    }
    (Status::Unknown, "Publishing", format!("The TXT record with id {} is being published.", version.policy_id))
}

/// Senders report once a day, on the day before, and only on domains that they have sent mail to.
fn reports_arriving(facts: &DomainFacts, now: Timestamp) -> Verdict {
    const FRESH_DAYS: i64 = 3;
    const SILENT_DAYS: i64 = 7;
    let Some(last) = facts.reports.last_day else {
        let message = "No TLS report has arrived yet. Senders report once a day, on the day before, and only on domains \
             that they have sent mail to.";
        return (Status::Unknown, "NoneYet", message.to_owned());
    };
    let age = (now.date_naive() - last).num_days();
    let proved = match facts.reports.last_verified_day {
        Some(day) if day == last => String::new(),
        Some(day) => format!(" The last one whose sender is proved is of {day}."),
        None => " None of them has proved its sender by a DKIM signature.".to_owned(),
    };
    if age <= FRESH_DAYS {
        return (Status::True, "Arriving", format!("The last TLS report is of {last}.{proved}"));
    }
    if age <= SILENT_DAYS {
        let message = format!("The last TLS report is of {last}; senders do not report on days without mail.{proved}");
        return (Status::Unknown, "Quiet", message);
    }
    let message = format!(
        "The last TLS report is of {last}, {age} days ago. See whether {} still leads to the addresses for reports.",
        facts.name.tls_rpt_record_name()
    );
    (Status::False, "Stopped", message)
}

/// True when every found MX host passes and is covered by the policy.
pub(super) fn mx_holds(facts: &DomainFacts, seen: &MxSeen) -> bool {
    mx_verdict(facts, seen).0 == Status::True
}

fn mx_ready(facts: &DomainFacts) -> Verdict {
    match &facts.mx {
        Some(seen) => mx_verdict(facts, seen),
        None => (Status::Unknown, "NotProbed", "The MX hosts have not been probed yet.".to_owned()),
    }
}

fn mx_verdict(facts: &DomainFacts, seen: &MxSeen) -> Verdict {
    let Some(version) = &facts.version else {
        return (Status::Unknown, "NoPolicy", "The domain has no policy yet.".to_owned());
    };
    if matches!(facts.purpose, Purpose::Withdraw { .. }) || version.policy.mode() == Mode::None {
        return (Status::Unknown, "NotNeeded", "With mode none no MX host is held to anything.".to_owned());
    }
    if seen.hosts.is_empty() {
        let message = "The domain has no MX hosts: it receives no mail.".to_owned();
        return (Status::False, "NoMxHosts", message);
    }
    if let Some(host) = seen.hosts.iter().find(|host| !version.policy.covers(&host.host)) {
        let message = format!("{} is an MX host that the policy does not cover. Add it to `mx`.", host.host);
        return (Status::False, "MxNotCovered", message);
    }
    let failing: Vec<_> = seen.hosts.iter().filter_map(|host| Some((host, host.failure.as_ref()?))).collect();
    if let Some((host, failure)) = failing.first() {
        let message =
            format!("{} of {} MX hosts fail. {}: {}", failing.len(), seen.hosts.len(), host.host, failure.message);
        return (Status::False, "MxFails", message);
    }
    let message = match seen.hosts.len() {
        1 => "The MX host is covered and speaks verified STARTTLS.".to_owned(),
        count => format!("All {count} MX hosts are covered and speak verified STARTTLS."),
    };
    (Status::True, "AllPass", message)
}
