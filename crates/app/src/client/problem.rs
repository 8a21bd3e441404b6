//! Answers that are no success: problems (RFC 9457), and what a proxy may say in their place.

use std::{fmt, time::Duration};

use reqwest012::StatusCode;
use serde::Deserialize;

use super::{error::Exit, text::Text};

/// An answer with another status than 2xx.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) status: StatusCode,
    /// None: the body is no problem document, so it does not come from the service.
    pub(super) problem: Option<Problem>,
    /// `Retry-After`, where it is in seconds.
    pub(super) retry_after: Option<Duration>,
    /// The body as it came.
    pub(super) body: String,
}

/// What of a problem is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    title: Text,
    detail: Text,
    pub(super) code: Text,
    request_id: Text,
    #[serde(default)]
    errors: Vec<FieldError>,
    #[serde(default)]
    reasons: Vec<Doubt>,
    #[serde(default)]
    records: Vec<Standing>,
    domain_id: Option<Text>,
}

#[derive(Debug, Deserialize)]
struct FieldError {
    message: Text,
    pointer: Option<Text>,
    parameter: Option<Text>,
}

#[derive(Debug, Deserialize)]
struct Doubt {
    code: Text,
    host: Option<Text>,
    message: Text,
    what_to_do: Option<Text>,
}

#[derive(Debug, Deserialize)]
struct Standing {
    name: Text,
    message: Text,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, retry_after: Option<Duration>, body: String) -> Self {
        Self { status, problem: serde_json::from_str(&body).ok(), retry_after, body }
    }

    fn code(&self) -> &str {
        self.problem.as_ref().map_or("", |problem| problem.code.as_str())
    }

    /// Whether the same call may well succeed a little later.
    pub(super) fn is_transient(&self) -> bool {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => true,
            // Our own first try, whose answer was lost.
            StatusCode::CONFLICT => self.code() == "idempotency-in-flight",
            _ => false,
        }
    }

    pub(super) fn exit(&self) -> Exit {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Credential,
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => Exit::Usage,
            StatusCode::UNPROCESSABLE_ENTITY if self.code() == "invalid-fields" => Exit::Usage,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Exit::Away,
            StatusCode::NOT_IMPLEMENTED => Exit::No,
            status if status.is_client_error() => Exit::No,
            _ => Exit::Away,
        }
    }

    /// What to type next, where the service's own words speak of JSON.
    fn hint(&self) -> Option<&'static str> {
        match self.code() {
            "enforce-not-proven" => Some("To set it all the same: --force REASON, which is kept in the audit log"),
            "no-policy-yet" => Some("To set one now: mtasts policy set DOMAIN --replace --mode MODE --mx PATTERN"),
            "unauthenticated" => Some("To keep another key: mtasts login"),
            "delegation-changed" => Some("To look again: mtasts dns plan DOMAIN"),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Some(problem) => write!(f, "{} ({})\n  {}", problem.title, self.status.as_u16(), problem.detail)?,
            None => {
                write!(f, "the answer is {}, and no problem document: is this the address of the API?", self.status)?;
            }
        }
        if let Some(problem) = &self.problem {
            for FieldError { message, pointer, parameter } in &problem.errors {
                let place = pointer.as_ref().or(parameter.as_ref());
                write!(f, "\n  - {}: {message}", place.map_or("the request", Text::as_str))?;
            }
            for Doubt { code, host, message, what_to_do } in &problem.reasons {
                match host {
                    Some(host) => write!(f, "\n  - {host}: {message} ({code})")?,
                    None => write!(f, "\n  - {message} ({code})")?,
                }
                if let Some(what_to_do) = what_to_do {
                    write!(f, "\n    {what_to_do}")?;
                }
            }
            for Standing { name, message } in &problem.records {
                write!(f, "\n  - {name}: {message}")?;
            }
            if let Some(id) = &problem.domain_id {
                write!(f, "\n  domain: {id}")?;
            }
        }
        if let Some(hint) = self.hint() {
            write!(f, "\n  {hint}")?;
        }
        if let Some(after) = self.retry_after {
            write!(f, "\n  try again in {} s", after.as_secs())?;
        }
        if let Some(problem) = &self.problem {
            write!(f, "\n  request id: {}", problem.request_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(status: u16, code: &str, more: &serde_json::Value) -> Refusal {
        let mut body = json!({"title": "T", "detail": "D", "code": code, "request_id": "r-1", "status": status});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Refusal::new(StatusCode::from_u16(status).unwrap(), None, body.to_string())
    }

    #[test]
    fn title_detail_pointers_reasons_and_request_id_are_told() {
        let more = json!({
            "errors": [{"code": "c", "message": "too long", "pointer": "/name"}],
            "reasons": [{"code": "no-look", "message": "never looked"}, {"code": "x", "host": "mx.test", "message": "m"}],
        });
        let text = refusal(409, "enforce-not-proven", &more).to_string();
        for part in [
            "T (409)",
            "  D",
            "/name: too long",
            "never looked (no-look)",
            "mx.test: m (x)",
            "request id: r-1",
            "--force",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn exit_codes_follow_status_and_code() {
        let none = json!({});
        let exit = |status, code| refusal(status, code, &none).exit();
        assert_eq!(exit(401, "unauthenticated"), Exit::Credential);
        assert_eq!(exit(403, "wrong-credential"), Exit::Credential);
        assert_eq!(exit(404, "not-found"), Exit::NotFound);
        assert_eq!(exit(400, "invalid-parameters"), Exit::Usage);
        assert_eq!(exit(422, "invalid-fields"), Exit::Usage);
        assert_eq!(exit(422, "dns-credential-refused"), Exit::No);
        assert_eq!(exit(409, "domain-exists"), Exit::No);
        assert_eq!(exit(412, "precondition-failed"), Exit::No);
        assert_eq!(exit(501, "customer-dns-off"), Exit::No);
        assert_eq!(exit(429, "rate-limited"), Exit::Away);
        assert_eq!(exit(503, "store-unavailable"), Exit::Away);
        assert_eq!(Refusal::new(StatusCode::FOUND, None, "<html>".to_owned()).exit(), Exit::Away);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let none = json!({});
        let again = |status, code| refusal(status, code, &none).is_transient();
        assert!(again(429, "") && again(503, "") && again(409, "idempotency-in-flight"));
        assert!(!again(409, "domain-exists") && !again(500, "internal") && !again(401, "unauthenticated"));
    }
}
