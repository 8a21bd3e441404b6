//! What is served where: the policy over TLS, validations on the plain port.

use std::sync::{Arc, atomic::Ordering};

use super::{
    answer::{Answer, Problem},
    head::{Asked, Method},
};
use crate::{
    catalogue::{LoadError, Sighting},
    edge::Shared,
    error::chain,
};

/// RFC 8461 §3.2.
const POLICY_PATH: &str = "/.well-known/mta-sts.txt";
/// RFC 8461 §3.3: the label of the policy host.
const POLICY_LABEL: &str = "mta-sts.";
/// RFC 8555 §8.3.
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";
/// Base64url of 128 bits has 22 characters; CAs send up to 43 or so.
const MAX_TOKEN: usize = 128;

/// The mail domain of a policy host's name, as SNI and Host carry it.
pub(crate) fn mail_domain(host: &str) -> Option<&str> {
    host.strip_prefix(POLICY_LABEL).filter(|domain| !domain.is_empty())
}

/// One connection's view of what is served.
pub(crate) enum Site {
    /// The host that the handshake was for.
    Policy(Sighting),
    /// The plain port.
    Validations,
}

impl Site {
    /// The answer as of now. Who writes it out must not wait in between: see [`crate::catalogue`].
    pub(crate) async fn answer(&mut self, asked: &Asked<'_>, shared: &Arc<Shared>) -> Answer {
        match self {
            Self::Policy(sighting) => match policy_problem(asked, &sighting.entry.domain) {
                Some(problem) => Answer::Problem(problem),
                None if shared.catalogue.is_current(sighting) => Answer::Policy(Arc::clone(&sighting.entry)),
                None => renewed(sighting, shared).await,
            },
            Self::Validations => validation(asked, shared),
        }
    }
}

/// The host has (or a neighbour of its stripe has) changed since the handshake.
async fn renewed(sighting: &mut Sighting, shared: &Arc<Shared>) -> Answer {
    let domain = sighting.entry.domain.clone();
    loop {
        match find(shared, &domain).await {
            Ok(Some(found)) => {
                *sighting = found;
                if shared.catalogue.is_current(sighting) {
                    return Answer::Policy(Arc::clone(&sighting.entry));
                }
            }
            Ok(None) => {
                let problem = Problem::new(404, "Not Found", "No policy is served for this domain any more.");
                return Answer::Problem(problem.last());
            }
            Err(_) => return Answer::Problem(Problem::unavailable()),
        }
    }
}

/// Finds a host, and tells the follower what seems wrong with the replica.
pub(crate) async fn find(shared: &Arc<Shared>, domain: &str) -> Result<Option<Sighting>, LoadError> {
    let found = shared.catalogue.find(domain).await;
    match &found {
        Ok(None) if shared.catalogue.is_listed(domain) => shared.suspicions.report_missing(domain),
        Ok(_) => {}
        Err(error) => {
            shared.counters.load_failures.increment(1);
            // Anybody may ask for a broken host as often as they like: one line a second.
            let second = shared.clock.now().timestamp();
            if shared.failure_logged.swap(second, Ordering::Relaxed) != second {
                tracing::error!(domain, error = %chain(error), "a host cannot be served");
            }
            match error {
                LoadError::Replica(error) => shared.suspicions.report(error),
                LoadError::IssuerMissing => shared.suspicions.report_missing_issuer(),
                LoadError::Entry(_) | LoadError::Abandoned => {}
            }
        }
    }
    found
}

fn policy_problem(asked: &Asked<'_>, domain: &str) -> Option<Problem> {
    if !is_policy_host(asked.authority, domain) {
        let sentence = "This connection was opened for another host name. Open a new one for this host.";
        return Some(Problem::new(421, "Misdirected Request", sentence));
    }
    if asked.path != POLICY_PATH {
        let sentence = format!(
            "There is nothing here. The MTA-STS policy of {domain} is at https://{POLICY_LABEL}{domain}{POLICY_PATH}"
        );
        return Some(Problem::new(404, "Not Found", sentence));
    }
    (asked.method == Method::Other).then(method_not_allowed)
}

fn method_not_allowed() -> Problem {
    Problem::new(405, "Method Not Allowed", "Only GET and HEAD work here.")
}

/// `Host` names the policy host, perhaps with a port or a dot at the end.
fn is_policy_host(authority: &str, domain: &str) -> bool {
    host_of(authority).is_some_and(|host| {
        host.split_at_checked(POLICY_LABEL.len())
            .is_some_and(|(label, rest)| label.eq_ignore_ascii_case(POLICY_LABEL) && rest.eq_ignore_ascii_case(domain))
    })
}

/// The name in `name`, `name:port`, `name.`; `None` when the port is none.
fn host_of(authority: &str) -> Option<&str> {
    let host = match authority.split_once(':') {
        None => authority,
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        Some(_) => return None,
    };
    Some(host.strip_suffix('.').unwrap_or(host))
}

fn validation(asked: &Asked<'_>, shared: &Shared) -> Answer {
    let not_found = || {
        let sentence = "Only http-01 validations are answered here. Policies are served over HTTPS.";
        Answer::Problem(Problem::new(404, "Not Found", sentence))
    };
    let Some(token) = asked.path.strip_prefix(CHALLENGE_PATH).filter(|token| token.len() <= MAX_TOKEN) else {
        return not_found();
    };
    let host = host_of(asked.authority).unwrap_or_default().to_ascii_lowercase();
    let Some(answer) = mail_domain(&host).and_then(|domain| shared.challenges.http01(domain, token)) else {
        return not_found();
    };
    if asked.method == Method::Other {
        return Answer::Problem(method_not_allowed());
    }
    Answer::KeyAuthorization(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_must_be_the_one_of_the_handshake() {
        for good in ["mta-sts.example.com", "MTA-STS.Example.com", "mta-sts.example.com:8443", "mta-sts.example.com."] {
            assert!(is_policy_host(good, "example.com"), "{good}");
        }
        for bad in ["example.com", "mta-sts.example.org", "", "mta-sts.example.com:x", "mta-sts.example.com..", "m"] {
            assert!(!is_policy_host(bad, "example.com"), "{bad}");
        }
    }

    #[test]
    fn only_the_one_path_and_only_get_and_head_have_no_problem() {
        let asked = |method, path| Asked { method, path, authority: "mta-sts.example.com" };
        let status = |asked: &Asked<'_>| policy_problem(asked, "example.com").map(|problem| problem.status);
        assert_eq!(status(&asked(Method::Get, POLICY_PATH)), None);
        assert_eq!(status(&asked(Method::Head, POLICY_PATH)), None);
        assert_eq!(status(&asked(Method::Other, POLICY_PATH)), Some(405));
        assert_eq!(status(&asked(Method::Get, "/")), Some(404));
        assert_eq!(status(&asked(Method::Get, "/.well-known/mta-sts.txt/")), Some(404));
        assert_eq!(status(&asked(Method::Get, "/.well-known/../.well-known/mta-sts.txt")), Some(404));
    }
}
