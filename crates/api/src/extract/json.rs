//! JSON bodies: capped, with a deadline, strict, and with a pointer to what is wrong.

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderValue},
    web::{Bytes, BytesMut},
};
use futures_util::StreamExt;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};
use sha2::{Digest, Sha256};

use crate::{
    auth::state,
    problem::{FieldError, Problem, ProblemKind},
};

type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

/// A JSON body. Types that are read have `deny_unknown_fields`, and no maps with free keys, so that a repeated key is
/// refused too.
pub(crate) struct Json<T> {
    pub(crate) value: T,
    /// The hash of the octets as they came.
    pub(crate) hash: [u8; 32],
}

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            check_media_type(&request)?;
            let limit = state(&request)?.config.body_limit;
            let body = read(&request, payload, limit).await?;
            Ok(Self { value: parse(&body)?, hash: Sha256::digest(&body).into() })
        })
    }
}

/// The body of an operation that takes none: empty, or an empty object.
pub(crate) struct NoBody {
    /// The hash of the octets as they came.
    pub(crate) hash: [u8; 32],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyObject {}

impl FromRequest for NoBody {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let limit = state(&request)?.config.body_limit;
            let body = read(&request, payload, limit).await?;
            if !body.is_empty() {
                check_media_type(&request)?;
                parse::<EmptyObject>(&body)?;
            }
            Ok(Self { hash: Sha256::digest(&body).into() })
        })
    }
}

pub(crate) fn check_media_type(request: &HttpRequest) -> Result<(), Problem> {
    check_media_types(request, &["application/json", "application/merge-patch+json"])
}

/// Refuses every media type but these, of which the first is recommended, and every content coding.
pub(crate) fn check_media_types(request: &HttpRequest, read: &[&'static str]) -> Result<(), Problem> {
    let wanted = read.first().copied().unwrap_or_default();
    let refused = |detail: String| {
        Problem::new(ProblemKind::UnsupportedMediaType, detail).header(header::ACCEPT, HeaderValue::from_static(wanted))
    };
    let essence = request.content_type().trim().to_ascii_lowercase();
    if !read.contains(&essence.as_str()) {
        let given =
            if essence.is_empty() { "no media type".to_owned() } else { format!("`{}`", essence.escape_debug()) };
        return Err(refused(format!("The body has {given}: send `Content-Type: {wanted}`")));
    }
    match request.headers().get(header::CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(refused("The body has a content coding: send it without `Content-Encoding`".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Reads a body of at most `limit` octets, within the deadline.
pub(crate) async fn read(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Bytes, Problem> {
    let state = state(request)?;
    let too_slow = |_| {
        let detail = format!("The body was not complete within {} s", state.config.body_deadline.as_secs_f64());
        Problem::new(ProblemKind::BodyTooSlow, detail)
    };
    tokio::time::timeout(state.config.body_deadline, read_capped(request, payload, limit)).await.map_err(too_slow)?
}

async fn read_capped(request: &HttpRequest, mut payload: Payload, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(ProblemKind::BodyTooLarge, format!("The body may have {limit} octets"))
            .with("limit", u64::try_from(limit).unwrap_or(u64::MAX))
    };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|error| Problem::new(ProblemKind::BadRequest, format!("The body broke off: {error}")))?;
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Reads a JSON object, or says what is wrong with it and where.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // First as a whole, so that a body that is no JSON is told so, whatever its first fields are.
    serde_json::from_slice::<IgnoredAny>(body).map_err(|error| malformed(&error))?;
    // serde reads an array as a struct, field by field; nobody means that.
    if body.iter().find(|octet| !octet.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::field("", "wrong-type", "the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| refusal(error.path(), error.inner()))
}

pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(ProblemKind::MalformedJson, format!("The body is not valid JSON: {error}"))
}

pub(crate) fn refusal(path: &Path, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    if error.classify() != Category::Data {
        // What serde_json says of a number where a word such as a mode must stand; the JSON itself is sound.
        return if message.starts_with("expected value") {
            Problem::field(&pointer(path), "wrong-type", "is of a wrong type")
        } else {
            malformed(error)
        };
    }
    // serde's own messages begin with these words; what a type of ours says does not.
    let code = [
        ("unknown field", "unknown-field"),
        ("missing field", "missing-field"),
        ("duplicate field", "duplicate-field"),
        ("unknown variant", "unknown-value"),
        ("invalid type", "wrong-type"),
        ("invalid value", "invalid-value"),
    ]
    .into_iter()
    .find_map(|(words, code)| message.starts_with(words).then_some(code))
    .unwrap_or("invalid-value");
    let mut pointer = pointer(path);
    if matches!(code, "unknown-field" | "missing-field" | "duplicate-field")
        && let Some(field) = message.split('`').nth(1)
    {
        let segment = format!("/{}", escape(field));
        if !pointer.ends_with(&segment) {
            pointer.push_str(&segment);
        }
    }
    Problem::fields(vec![FieldError::at(pointer, code, message)])
}

/// RFC 6901 §3. The root is the empty pointer.
fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |mut pointer, segment| {
        match segment {
            Segment::Seq { index } => pointer = format!("{pointer}/{index}"),
            Segment::Map { key } => pointer = format!("{pointer}/{}", escape(key)),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
        pointer
    })
}

fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by the deserialiser alone")]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by the deserialiser alone")]
    struct Inner {
        size: u32,
    }

    fn refused(body: &str) -> (ProblemKind, Value) {
        let problem = parse::<Outer>(body.as_bytes()).unwrap_err();
        let answer = problem.respond(&"https://api.test".parse().unwrap(), "r");
        let body = actix_web::body::MessageBody::try_into_bytes(answer.into_body()).unwrap();
        (problem.kind(), serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn malformed_json_names_the_place() {
        let (kind, body) = refused("{\"name\": \"a\",\n oops}");
        assert_eq!(kind, ProblemKind::MalformedJson);
        assert!(body["detail"].as_str().unwrap().contains("line 2 column 2"), "{body}");
        for text in ["", "{", "[1,", "{\"name\":\"\u{1}\"}", "{\"name\":\"a\"} x", "{\"name\":\"\\ud800\"}"] {
            assert_eq!(refused(text).0, ProblemKind::MalformedJson, "{text}");
        }
    }

    #[test]
    fn a_wrong_field_is_named_by_pointer_and_code() {
        for (text, pointer, code) in [
            (r#"{"name": "a", "colour": 1}"#, "/colour", "unknown-field"),
            ("{}", "/name", "missing-field"),
            (r#"{"name": "a", "name": "b"}"#, "/name", "duplicate-field"),
            (r#"{"name": 1}"#, "/name", "wrong-type"),
            (r#"{"name": "a", "inner": [{"size": 1}, {"size": -1}]}"#, "/inner/1/size", "invalid-value"),
            (r#"{"name": "a", "inner": [{"size": 99999999999999999999999}]}"#, "/inner/0/size", "wrong-type"),
            (r#"{"name": "a", "inner": [{"a/b~": 1}]}"#, "/inner/0/a~1b~0", "unknown-field"),
            (r#"["a"]"#, "", "wrong-type"),
            ("null", "", "wrong-type"),
        ] {
            let (kind, body) = refused(text);
            assert_eq!(kind, ProblemKind::InvalidFields, "{text}");
            let error = &body["errors"][0];
            assert_eq!((error["pointer"].as_str(), error["code"].as_str()), (Some(pointer), Some(code)), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_overflowing_the_stack() {
        let deep = format!("{{\"name\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse::<Outer>(deep.as_bytes()).is_err());
    }
}
