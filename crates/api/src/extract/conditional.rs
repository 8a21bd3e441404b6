//! `If-Match` on policies: the entity tag is the id of the policy version (RFC 9110 §13.1.1).

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderValue},
};
use mtasts_model::PolicyVersionId;
use utoipa::IntoParams;

use crate::problem::{Problem, ProblemKind};

/// The header, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by [`IfMatch`], which knows what is wrong with it")]
pub(crate) struct IfMatchHeader {
    /// The `ETag` of the version that you believe to be the current one: if it is not, nothing is changed.
    #[param(
        rename = "If-Match",
        pattern = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$"#,
        example = "\"pol_0190c3a0b1c27d3e8f4051627384950a\""
    )]
    if_match: Option<String>,
}

/// The version that the caller believes to be the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// The header is absent.
    Absent,
    /// `*`: any, but there must be one.
    Any,
    /// One of these. What is no id of ours is left out: it matches nothing.
    Versions(Vec<PolicyVersionId>),
}

impl IfMatch {
    /// Refuses unless the header allows to change the current version.
    pub(crate) fn check(&self, current: Option<PolicyVersionId>) -> Result<(), Problem> {
        let matches = match (self, current) {
            (Self::Absent, _) | (Self::Any, Some(_)) => true,
            (Self::Any | Self::Versions(_), None) => false,
            (Self::Versions(versions), Some(current)) => versions.contains(&current),
        };
        if matches { Ok(()) } else { Err(Self::failed(current)) }
    }

    /// What a lost race means: the caller's own condition failed, or, where it set none, that it should try again.
    pub(crate) fn conflict(&self, current: Option<PolicyVersionId>) -> Problem {
        match self {
            Self::Absent => Problem::new(
                ProblemKind::PolicyChanged,
                "Somebody else set another policy version in between; read it and repeat the request",
            ),
            Self::Any | Self::Versions(_) => Self::failed(current),
        }
    }

    fn failed(current: Option<PolicyVersionId>) -> Problem {
        Problem::new(ProblemKind::PreconditionFailed, "The current policy version is another one than `If-Match` says")
            .with("current", current.map(|id| id.to_string()))
    }

    fn read(value: &HeaderValue) -> Result<Self, Problem> {
        let malformed = || {
            Problem::parameter("If-Match", "invalid-entity-tag", "must be `*` or entity tags such as `\"pol_0190…\"`")
        };
        let text = value.to_str().map_err(|_| malformed())?.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let mut versions = Vec::new();
        for tag in text.split(',').map(str::trim) {
            // A weak tag never matches here (RFC 9110 §13.1.1).
            let (weak, tag) = tag.strip_prefix("W/").map_or((false, tag), |tag| (true, tag));
            let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(malformed)?;
            if let (false, Ok(id)) = (weak, tag.parse()) {
                versions.push(id);
            }
        }
        Ok(Self::Versions(versions))
    }
}

impl FromRequest for IfMatch {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.headers().get(header::IF_MATCH).map_or(Ok(Self::Absent), Self::read))
    }
}

/// The entity tag of a policy version.
pub(crate) fn etag(version: PolicyVersionId) -> String {
    format!("\"{version}\"")
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        Clock,
        clock::{ManualClock, SeededEntropy},
    };

    use super::*;

    #[test]
    fn if_match_lets_only_the_named_version_be_changed() {
        let entropy = SeededEntropy::new(1);
        let now = ManualClock::default().now();
        let (a, b) = (PolicyVersionId::draw(now, &entropy), PolicyVersionId::draw(now, &entropy));
        let read = |text: &str| IfMatch::read(&HeaderValue::from_str(text).unwrap());
        assert!(read(&etag(a)).unwrap().check(Some(a)).is_ok());
        assert!(read(&format!("{}, {}", etag(b), etag(a))).unwrap().check(Some(a)).is_ok());
        assert!(read("*").unwrap().check(Some(a)).is_ok());
        assert!(IfMatch::Absent.check(None).is_ok());
        for (text, current) in
            [(etag(b), Some(a)), (format!("W/{}", etag(a)), Some(a)), ("*".into(), None), ("\"x\"".into(), Some(a))]
        {
            let problem = read(&text).unwrap().check(current).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::PreconditionFailed, "{text}");
        }
        assert_eq!(read("pol_1").unwrap_err().kind(), ProblemKind::InvalidParameters);
    }
}
