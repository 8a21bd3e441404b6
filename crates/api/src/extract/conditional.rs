//! `If-Match` and `If-None-Match` (RFC 9110 §13.1): whoever changes or reads an object says which state of it they know.
//!
//! Tags are strong. A policy's begins with the id of its version, and that part alone counts for `If-Match`: the service
//! stamps a version as it goes out into the world, which must not refuse a change that was decided on its content.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};
use data_encoding::HEXLOWER;
use mtasts_model::PolicyVersionId;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use crate::problem::{Problem, ProblemKind};

/// Octets of the digest in a tag.
const DIGEST: usize = 16;

/// The header on policies, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by [`IfMatch`], which knows what is wrong with it")]
pub(crate) struct IfMatchHeader {
    /// The `ETag` of the policy that you believe to be the current one, or its id in quotes: if another version is, nothing
    /// is changed.
    #[param(
        rename = "If-Match",
        pattern = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$"#,
        example = "\"pol_0190c3a0b1c27d3e8f4051627384950a\""
    )]
    if_match: Option<String>,
}

/// The header on domains, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by [`IfMatch`], which knows what is wrong with it")]
pub(crate) struct DomainIfMatchHeader {
    /// The `ETag` of the domain as you know it: if anything of it was changed since, nothing is done.
    #[param(
        rename = "If-Match",
        pattern = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$"#,
        example = "\"9c1f0e3b5a7d42689c1f0e3b5a7d4268\""
    )]
    if_match: Option<String>,
}

/// The header on settings, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by [`IfMatch`], which knows what is wrong with it")]
pub(crate) struct SettingsIfMatchHeader {
    /// The `ETag` of the settings as you know them: if they were changed since, nothing is done. Needed once you have set
    /// any.
    #[param(
        rename = "If-Match",
        pattern = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$"#,
        example = "\"9c1f0e3b5a7d42689c1f0e3b5a7d4268\""
    )]
    if_match: Option<String>,
}

/// The header of reads, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by [`IfNoneMatch`], which knows what is wrong with it")]
pub(crate) struct IfNoneMatchHeader {
    /// The `ETag` of what you have: while it is the same, the answer is 304 without a body.
    #[param(
        rename = "If-None-Match",
        pattern = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$"#,
        example = "\"9c1f0e3b5a7d42689c1f0e3b5a7d4268\""
    )]
    if_none_match: Option<String>,
}

/// The strong entity tag of what is shown, without its quotes: another body has another tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntityTag(String);

impl EntityTag {
    /// The tag of a body.
    pub(crate) fn of(body: &impl Serialize) -> Result<Self, Problem> {
        let json = serde_json::to_vec(body).map_err(Problem::internal)?;
        let digest: [u8; 32] = Sha256::digest(json).into();
        Ok(Self(HEXLOWER.encode(digest.get(..DIGEST).unwrap_or(&digest))))
    }

    /// The tag of a policy version as it is shown.
    pub(crate) fn of_version(version: PolicyVersionId, body: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self(format!("{version}.{}", Self::of(body)?.0)))
    }

    /// The tag of a policy version as it is served: that text never changes.
    pub(crate) fn of_text(version: PolicyVersionId) -> Self {
        Self(format!("{version}.text"))
    }

    /// As it stands in the header.
    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// What the caller believes to be the current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// The header is absent.
    Absent,
    /// `*`: any, but there must be one.
    Any,
    /// One of these: strong tags without their quotes. A weak one never matches (RFC 9110 §13.1.1).
    Tags(Vec<String>),
}

impl IfMatch {
    /// Refuses unless the header allows to change the current version.
    pub(crate) fn check(&self, current: Option<PolicyVersionId>) -> Result<(), Problem> {
        let matches = match (self, current) {
            (Self::Absent, _) | (Self::Any, Some(_)) => true,
            (Self::Any | Self::Tags(_), None) => false,
            (Self::Tags(tags), Some(current)) => tags.iter().any(|tag| {
                let id = tag.split_once('.').map_or(tag.as_str(), |(id, _)| id);
                id.parse() == Ok(current)
            }),
        };
        if matches { Ok(()) } else { Err(Self::failed(current)) }
    }

    /// Refuses unless the header allows to change what has this tag.
    pub(crate) fn check_tag(&self, current: &EntityTag) -> Result<(), Problem> {
        match self {
            Self::Tags(tags) if !tags.contains(&current.0) => {
                let detail = "The object was changed since: its `ETag` is another one than `If-Match` says";
                let problem = Problem::new(ProblemKind::PreconditionFailed, detail).with("current", current.0.clone());
                Err(with_tag(problem, &current.quoted()))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to overwrite a version unseen.
    pub(crate) fn require(&self, current: Option<PolicyVersionId>) -> Result<(), Problem> {
        match (self, current) {
            (Self::Absent, Some(current)) => {
                let detail = "The domain has a policy: send `If-Match` with its `ETag`, or `*` to replace any";
                Err(with_tag(Problem::new(ProblemKind::PreconditionRequired, detail), &version_tag(current)))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to overwrite what has this tag unseen.
    pub(crate) fn require_tag(&self, current: &EntityTag) -> Result<(), Problem> {
        if *self != Self::Absent {
            return Ok(());
        }
        let detail = "These were set before: send `If-Match` with their `ETag`, or `*` to replace any";
        Err(with_tag(Problem::new(ProblemKind::PreconditionRequired, detail), &current.quoted()))
    }

    /// What a lost race means: the caller's own condition failed, or, where it set none, that it should try again.
    pub(crate) fn conflict(&self, current: Option<PolicyVersionId>) -> Problem {
        match self {
            Self::Absent => Problem::new(
                ProblemKind::PolicyChanged,
                "Somebody else set another policy version in between; read it and repeat the request",
            ),
            Self::Any | Self::Tags(_) => Self::failed(current),
        }
    }

    fn failed(current: Option<PolicyVersionId>) -> Problem {
        let detail = "The current policy version is another one than `If-Match` says";
        let problem =
            Problem::new(ProblemKind::PreconditionFailed, detail).with("current", current.map(|id| id.to_string()));
        match current {
            Some(current) => with_tag(problem, &version_tag(current)),
            None => problem,
        }
    }

    fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(match tags(headers, &header::IF_MATCH)? {
            None => Self::Absent,
            Some(Tags::Any) => Self::Any,
            Some(Tags::Listed(tags)) => {
                Self::Tags(tags.into_iter().filter(|tag| !tag.weak).map(|tag| tag.opaque).collect())
            }
        })
    }
}

impl FromRequest for IfMatch {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::read(request.headers()))
    }
}

/// What the caller has already.
pub(crate) struct IfNoneMatch(Option<Tags>);

impl IfNoneMatch {
    /// Whether the caller has what this tag stands for, so that 304 is the answer. Weak comparison (RFC 9110 §13.1.2).
    pub(crate) fn has(&self, current: &EntityTag) -> bool {
        match &self.0 {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::Listed(tags)) => tags.iter().any(|tag| tag.opaque == current.0),
        }
    }
}

impl FromRequest for IfNoneMatch {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(tags(request.headers(), &header::IF_NONE_MATCH).map(Self))
    }
}

/// 304: what the caller has is still so.
pub(crate) fn not_modified(tag: &EntityTag) -> HttpResponse {
    HttpResponse::NotModified().insert_header((header::ETAG, tag.quoted())).finish()
}

struct Tag {
    weak: bool,
    opaque: String,
}

enum Tags {
    Any,
    Listed(Vec<Tag>),
}

/// A list of entity tags, or `*`. Several lines of the header are one list (RFC 9110 §5.3).
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let malformed = || {
        let message = "must be `*` or entity tags such as `\"pol_0190…\"`";
        let name = if *name == header::IF_MATCH { "If-Match" } else { "If-None-Match" };
        Problem::parameter(name, "invalid-entity-tag", message)
    };
    let lines = headers.get_all(name).map(|line| line.to_str().map(str::trim).map_err(|_| malformed()));
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    match lines[..] {
        [] => return Ok(None),
        ["*"] => return Ok(Some(Tags::Any)),
        _ => {}
    }
    let mut tags = Vec::new();
    // No tag of ours has a comma in it, so that it need not be told from those between them.
    for tag in lines.iter().flat_map(|line| line.split(',')).map(str::trim) {
        let (weak, tag) = tag.strip_prefix("W/").map_or((false, tag), |tag| (true, tag));
        let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(malformed)?;
        tags.push(Tag { weak, opaque: opaque.to_owned() });
    }
    Ok(Some(Tags::Listed(tags)))
}

/// What names a version in `If-Match`, whatever was stamped on it.
fn version_tag(version: PolicyVersionId) -> String {
    format!("\"{version}\"")
}

/// Tells which tag would have matched. None of ours has a character that a header cannot have.
fn with_tag(problem: Problem, tag: &str) -> Problem {
    match HeaderValue::from_str(tag) {
        Ok(tag) => problem.header(header::ETAG, tag),
        Err(error) => Problem::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use mtasts_model::{
        Clock,
        clock::{ManualClock, SeededEntropy},
    };

    use super::*;

    fn read(text: &str) -> Result<IfMatch, Problem> {
        IfMatch::read(TestRequest::default().insert_header(("If-Match", text)).to_http_request().headers())
    }

    #[test]
    fn if_match_lets_only_the_named_version_be_changed() {
        let entropy = SeededEntropy::new(1);
        let now = ManualClock::default().now();
        let (a, b) = (PolicyVersionId::draw(now, &entropy), PolicyVersionId::draw(now, &entropy));
        let (tag_a, tag_b) = (version_tag(a), version_tag(b));
        assert!(read(&tag_a).unwrap().check(Some(a)).is_ok());
        assert!(read(&EntityTag::of_version(a, &1).unwrap().quoted()).unwrap().check(Some(a)).is_ok());
        assert!(read(&EntityTag::of_text(a).quoted()).unwrap().check(Some(a)).is_ok());
        assert!(read(&format!("{tag_b}, {tag_a}")).unwrap().check(Some(a)).is_ok());
        assert!(read("*").unwrap().check(Some(a)).is_ok());
        assert!(IfMatch::Absent.check(None).is_ok());
        for (text, current) in
            [(tag_b, Some(a)), (format!("W/{tag_a}"), Some(a)), ("*".into(), None), ("\"x\"".into(), Some(a))]
        {
            let problem = read(&text).unwrap().check(current).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::PreconditionFailed, "{text}");
        }
        assert_eq!(read("pol_1").unwrap_err().kind(), ProblemKind::InvalidParameters);
    }

    #[test]
    fn a_version_is_not_overwritten_by_one_who_names_none() {
        let id = PolicyVersionId::draw(ManualClock::default().now(), &SeededEntropy::new(1));
        assert_eq!(IfMatch::Absent.require(Some(id)).unwrap_err().kind(), ProblemKind::PreconditionRequired);
        assert!(IfMatch::Absent.require(None).is_ok() && IfMatch::Any.require(Some(id)).is_ok());
    }

    #[test]
    fn tags_are_compared_strongly_for_writes_and_weakly_for_reads() {
        let tag = EntityTag::of(&"a body").unwrap();
        assert_ne!(tag, EntityTag::of(&"another").unwrap());
        let weak = format!("W/{}", tag.quoted());
        assert!(read(&tag.quoted()).unwrap().check_tag(&tag).is_ok());
        assert!(read("*").unwrap().check_tag(&tag).is_ok() && IfMatch::Absent.check_tag(&tag).is_ok());
        assert!(read(&weak).unwrap().check_tag(&tag).is_err());
        let none = |lines: &[&str]| {
            let mut request = TestRequest::default();
            for line in lines {
                request = request.append_header(("If-None-Match", *line));
            }
            IfNoneMatch(tags(request.to_http_request().headers(), &header::IF_NONE_MATCH).unwrap()).has(&tag)
        };
        assert!(none(&[&weak]) && none(&["*"]) && none(&["\"x\"", &tag.quoted()]));
        assert!(!none(&[]) && !none(&["\"x\""]));
    }
}
