//! One look at one domain, and what is kept of it.

use std::{sync::Arc, time::Duration};

use mtasts_model::{Clock, Entropy, PolicyId, check::CheckWanted};
use mtasts_probe::{
    generate::{GenerateError, GenerateOptions, generate},
    inspect::{InspectOptions, Inspector},
};
use mtasts_store::{CheckOutcome, DueCheck, Store, StoreError};
use serde_json::Value as Json;
use tokio::time::sleep;

use crate::{deadline::answered, outcome::causes};

/// Claimed more often than this, a check takes its worker down, or is too slow for every one.
const MOST_ATTEMPTS: u32 = 3;

/// Octets of a report that is kept as it is. Of a longer one the chains of certificates go first: they make up most.
const LONGEST_REPORT: usize = 256 * 1024;

/// How often a result is offered to a database that is away: a look is too costly to be made again for nothing.
const RECORD_ATTEMPTS: u32 = 5;
const RECORD_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Look {
    pub(super) store: Store,
    pub(super) inspector: Inspector,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) deadline: Duration,
}

impl Look {
    /// Looks, and records what came of it.
    pub(super) async fn carry_out(&self, check: &DueCheck) {
        let outcome = if check.attempts > MOST_ATTEMPTS {
            let message = "The check could not be carried out, though it was begun several times. Ask for a new one.";
            CheckOutcome { problem: Some(("not-finished", message.to_owned())), ..CheckOutcome::default() }
        } else {
            self.look(check).await
        };
        let result = outcome.problem.as_ref().map_or("done", |(code, _)| code);
        metrics::counter!("mtasts_checks_total", "kind" => check.wanted.kind(), "result" => result).increment(1);
        let mut attempt = 1;
        loop {
            let recorded = answered(self.store.finish_check(check, outcome.clone(), self.clock.now())).await;
            match recorded {
                Ok(()) => return,
                Err(StoreError::Fenced) => return tracing::info!(check = %check.id, "another worker has the check"),
                Err(error) if attempt == RECORD_ATTEMPTS => {
                    let error = &error as &dyn std::error::Error;
                    return tracing::warn!(check = %check.id, error, "what came of a check could not be recorded");
                }
                Err(_) => sleep(RECORD_PAUSE).await,
            }
            attempt += 1;
        }
    }

    async fn look(&self, check: &DueCheck) -> CheckOutcome {
        let options = InspectOptions {
            deadline: self.deadline,
            mx_hosts: check.wanted.looks_at_mx_hosts(),
            ..InspectOptions::default()
        };
        let now = self.clock.now();
        let seen = self.inspector.inspect(&check.domain, options, now).await;
        let severity = Some(seen.verdict.severity.as_str());
        let report = match serde_json::to_value(&seen) {
            Ok(report) => Some(abridged(report)),
            Err(error) => {
                tracing::error!(check = %check.id, %error, "a report cannot be written as JSON");
                None
            }
        };
        let (generated, problem) = match &check.wanted {
            CheckWanted::Inspection { .. } if seen.looked => (None, None),
            CheckWanted::Inspection { .. } => {
                let message = "No resolver answered: nothing is known of the domain. Ask again in a while.";
                (None, Some(("not-seen", message.to_owned())))
            }
            CheckWanted::Policy { mode, max_age, rua, policy_host } => {
                let (mode, max_age, rua, host) = (*mode, *max_age, rua.clone(), policy_host.clone());
                let options = GenerateOptions { mode, max_age, rua, host };
                match generate(&check.domain, &seen, &options, PolicyId::draw(now, &*self.entropy)) {
                    Ok(generated) => (serde_json::to_value(generated).ok(), None),
                    Err(error) => (None, Some((code(&error), causes(&error)))),
                }
            }
        };
        let lost = (report.is_none() && problem.is_none())
            .then(|| ("not-finished", "The report could not be kept; the fault is logged.".to_owned()));
        CheckOutcome { severity, report, generated, problem: problem.or(lost) }
    }
}

fn code(error: &GenerateError) -> &'static str {
    match error {
        GenerateError::NoMail(_) => "no-mail",
        GenerateError::Unknown(_) => "not-seen",
        GenerateError::Incomplete { .. } => "mx-unusable",
        GenerateError::Policy(_) => "policy-impossible",
        GenerateError::TlsRpt(_) => "tls-rpt-impossible",
    }
}

/// A report that would take too much room loses the chains of certificates, and says so.
fn abridged(mut report: Json) -> Json {
    let length = |report: &Json| serde_json::to_vec(report).map_or(0, |text| text.len());
    for kept_of_each_host in [1, 0] {
        if length(&report) <= LONGEST_REPORT {
            break;
        }
        let hosts = report.pointer_mut("/mx/hosts").and_then(Json::as_array_mut).into_iter().flatten();
        for host in hosts {
            let addresses = host.get_mut("addresses").and_then(Json::as_array_mut).into_iter().flatten();
            for chain in addresses.skip(kept_of_each_host).filter_map(|address| address.pointer_mut("/tls/chain")) {
                *chain = Json::Array(Vec::new());
            }
        }
        report["abridged"] = Json::Bool(true);
    }
    report
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_report_loses_chains_and_nothing_else() {
        let address =
            |octets: usize| json!({"address": "192.0.2.1:25", "tls": {"days_left": 3, "chain": ["x".repeat(octets)]}});
        let report = |octets: usize| json!({"verdict": {}, "mx": {"hosts": [{"addresses": [address(octets), address(octets)]}, {"addresses": []}]}});
        assert_eq!(abridged(report(10)), report(10));
        let once = abridged(report(LONGEST_REPORT / 2 + 1));
        assert_eq!(once["abridged"], true);
        assert_eq!(once["mx"]["hosts"][0]["addresses"][1]["tls"], json!({"days_left": 3, "chain": []}));
        assert!(!once["mx"]["hosts"][0]["addresses"][0]["tls"]["chain"].as_array().unwrap().is_empty());
        let twice = abridged(report(LONGEST_REPORT + 1));
        assert_eq!(twice["mx"]["hosts"][0]["addresses"][0]["tls"]["chain"], json!([]));
    }
}
