//! What the CA's refusals mean.

use std::{fmt, time::Duration};

use http::StatusCode;
use instant_acme::{Error, Problem};

use crate::issuer::IssueError;

const PREFIX: &str = "urn:ietf:params:acme:error:";
/// A CA's words go into conditions and logs: so much is enough.
const MAX_TEXT: usize = 1_000;

/// An answer with a status of 300 or above, as our HTTP client hands it through `instant-acme`.
#[derive(Debug, thiserror::Error)]
#[error("status {status}: {problem}")]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) problem: ProblemText,
}

/// No answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoAnswer(pub(super) String);

/// A problem document (RFC 9457), cut and without control characters.
#[derive(Debug, Clone, Default)]
pub(super) struct ProblemText {
    pub(super) kind: String,
    pub(super) detail: String,
}

impl ProblemText {
    pub(super) fn of(problem: &Problem) -> Self {
        let mut detail = problem.detail.clone().unwrap_or_default();
        for sub in &problem.subproblems {
            detail.push_str("; ");
            detail.push_str(sub.detail.as_deref().unwrap_or_default());
        }
        Self { kind: tame(problem.r#type.as_deref().unwrap_or("about:blank")), detail: tame(&detail) }
    }

    /// The body of a refusal: a problem document, or whatever stands in between us and the CA sent.
    pub(super) fn of_body(body: &[u8]) -> Self {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => Self::of(&problem),
            Err(_) => Self { kind: "about:blank".to_owned(), detail: "no problem document".to_owned() },
        }
    }

    fn is(&self, kind: &str) -> bool {
        self.kind.strip_prefix(PREFIX) == Some(kind)
    }
}

impl fmt::Display for ProblemText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.kind)
    }
}

fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

pub(super) fn is_nonce_problem(problem: &Problem) -> bool {
    ProblemText::of(problem).is("badNonce")
}

/// `instant-acme` has given up after three nonces; nothing took effect (RFC 8555 §6.5).
pub(super) fn is_bad_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if is_nonce_problem(problem))
}

/// The CA cannot do what it was asked: it may have gone on meanwhile (RFC 8555 §6.7).
pub(super) fn is_malformed(error: &Error) -> bool {
    refusal(error).is_some_and(|refusal| refusal.problem.is("malformed"))
}

/// The CA has lost our account (RFC 8555 §6.7), as test CAs do at a restart.
pub(super) fn is_account_gone(error: &Error) -> bool {
    refusal(error).is_some_and(|refusal| refusal.problem.is("accountDoesNotExist"))
}

/// Whether an order may go through without `replaces`: the CA has no ARI, or does not like the certificate that was
/// named (RFC 9773 §5 has `alreadyReplaced`; a certificate that the CA does not know is `malformed`).
pub(super) fn is_about_replaces(error: &Error) -> bool {
    match error {
        Error::Unsupported(_) => true,
        // The CA made an order, but did not reflect `replaces`, and `instant-acme` keeps the order's URL to itself.
        Error::Other(other) if other.to_string().starts_with("replaces field mismatch") => true,
        _ => refusal(error).is_some_and(|refusal| {
            ["alreadyReplaced", "malformed"].iter().any(|kind| refusal.problem.is(kind))
                || refusal.status == StatusCode::NOT_FOUND
        }),
    }
}

fn refusal(error: &Error) -> Option<&Refusal> {
    match error {
        Error::Other(other) => other.downcast_ref(),
        _ => None,
    }
}

/// The error for the worker.
pub(super) fn classify(error: Error) -> IssueError {
    match error {
        Error::Api(problem) => of_problem(None, None, ProblemText::of(&problem)),
        Error::Unsupported(what) => IssueError::Rejected {
            problem: "unsupported".to_owned(),
            detail: format!("the CA does not support {what}"),
        },
        Error::Other(other) => match other.downcast::<Refusal>() {
            Ok(refusal) => of_problem(Some(refusal.status), refusal.retry_after, refusal.problem),
            Err(other) if other.is::<NoAnswer>() => {
                IssueError::Unavailable { retry_after: None, detail: tame(&other.to_string()) }
            }
            Err(other) => IssueError::Malformed { detail: tame(&other.to_string()) },
        },
        other => IssueError::Malformed { detail: tame(&other.to_string()) },
    }
}

/// What is not found before there is an order is the CA's directory, or a part of it.
pub(super) fn outside_of_orders(error: IssueError) -> IssueError {
    match error {
        IssueError::OrderGone => IssueError::Malformed { detail: "the CA has no such resource".to_owned() },
        other => other,
    }
}

fn of_problem(status: Option<StatusCode>, retry_after: Option<Duration>, problem: ProblemText) -> IssueError {
    let detail = problem.detail.clone();
    if problem.is("rateLimited") || status == Some(StatusCode::TOO_MANY_REQUESTS) {
        return IssueError::RateLimited { retry_after, detail };
    }
    let server_error = status.is_some_and(|status| status.is_server_error());
    if server_error || problem.is("serverInternal") || problem.is("badNonce") {
        let status = status.map_or_else(String::new, |status| format!("status {}: ", status.as_u16()));
        return IssueError::Unavailable { retry_after, detail: format!("{status}{detail}") };
    }
    let refuses_account = ["unauthorized", "accountDoesNotExist", "externalAccountRequired", "userActionRequired"];
    if refuses_account.iter().any(|kind| problem.is(kind)) {
        return IssueError::Unauthorized { detail };
    }
    if status == Some(StatusCode::NOT_FOUND) || status == Some(StatusCode::GONE) {
        return IssueError::OrderGone;
    }
    IssueError::Rejected { problem: problem.kind, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, retry_after: Option<Duration>, body: &str) -> Error {
        Error::Other(Box::new(Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after,
            problem: ProblemText::of_body(body.as_bytes()),
        }))
    }

    #[test]
    fn a_rate_limit_is_told_by_its_type_or_its_status() {
        let wait = Some(Duration::from_secs(90));
        let typed = refused(403, wait, r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"slow"}"#);
        for error in [classify(typed), classify(refused(429, wait, "<html>"))] {
            assert!(matches!(error, IssueError::RateLimited { .. }) && error.is_retryable());
            assert_eq!(error.retry_after(), wait);
        }
    }

    #[test]
    fn what_is_not_found_is_the_order_and_a_refusal_is_final() {
        let gone = classify(refused(404, None, r#"{"type":"urn:ietf:params:acme:error:malformed"}"#));
        assert!(matches!(gone, IssueError::OrderGone) && !gone.is_retryable());
        let caa = classify(refused(403, None, r#"{"type":"urn:ietf:params:acme:error:caa","detail":"no"}"#));
        assert!(
            matches!(&caa, IssueError::Rejected { problem, .. } if problem.ends_with(":caa")) && !caa.is_retryable()
        );
        assert!(matches!(outside_of_orders(gone), IssueError::Malformed { .. }));
    }

    #[test]
    fn the_words_of_the_ca_are_cut_and_have_no_control_characters() {
        let body = serde_json::json!({"type": "t\n", "detail": format!("a\r\n{}", "b".repeat(5_000))}).to_string();
        let text = ProblemText::of_body(body.as_bytes());
        assert_eq!(text.kind, "t ");
        assert!(text.detail.starts_with("a  b") && text.detail.chars().count() == MAX_TEXT);
    }
}
