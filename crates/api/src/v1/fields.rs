//! Fields that several operations read, and the collecting of all that is wrong with a body.

use std::{collections::BTreeSet, fmt, marker::PhantomData};

use chrono::{DateTime, Utc};
use mtasts_model::{MaxAge, MxPattern, Policy, ReportUri, Tag, Timestamp, policy::PolicyError};
use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use utoipa::{
    ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type},
    },
};

use crate::problem::{FieldError, Problem};

/// The longest name of a tenant or key, and the longest reason, in characters.
const MAX_NAME: usize = 200;
const MAX_REASON: usize = 1000;
const MAX_MX: usize = 100;
const MAX_RUA: usize = 10;
const MAX_TAGS: usize = 20;

/// `max_age` where the caller gives none: a week.
pub(crate) const DEFAULT_MAX_AGE: u32 = 604_800;

/// Collects what is wrong with a body, so that the caller sees all of it at once.
#[derive(Default)]
pub(crate) struct Faults(Vec<FieldError>);

impl Faults {
    /// The value, or None with the fault kept.
    pub(crate) fn keep<T>(&mut self, result: Result<T, FieldError>) -> Option<T> {
        result.map_err(|fault| self.0.push(fault)).ok()
    }

    /// The values, or None with all their faults kept.
    pub(crate) fn keep_all<T>(&mut self, results: impl IntoIterator<Item = Result<T, FieldError>>) -> Option<Vec<T>> {
        let before = self.0.len();
        let values = results.into_iter().filter_map(|result| self.keep(result)).collect();
        (self.0.len() == before).then_some(values)
    }

    /// The problem that lists them.
    pub(crate) fn into_problem(self) -> Problem {
        Problem::fields(self.0)
    }
}

/// A name for people.
pub(crate) fn name(pointer: &str, text: &str) -> Result<String, FieldError> {
    free_text(pointer, text, MAX_NAME)
}

/// Whether and why the proof for `enforce` is overridden.
pub(crate) fn override_reason(force: bool, reason: Option<&str>) -> Result<Option<String>, FieldError> {
    match (force, reason) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err(FieldError::at(
            "/reason",
            "reason-without-force",
            "a reason goes with `\"force\": true`: add it, or leave the reason out",
        )),
        (true, None) => {
            Err(FieldError::at("/reason", "missing-field", "`force` needs a reason, which is kept in the audit log"))
        }
        (true, Some(reason)) => free_text("/reason", reason, MAX_REASON).map(Some),
    }
}

fn free_text(pointer: &str, text: &str, limit: usize) -> Result<String, FieldError> {
    let text = text.trim();
    let length = text.chars().count();
    if !(1..=limit).contains(&length) {
        return Err(FieldError::at(pointer, "wrong-length", format!("must have 1 to {limit} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(FieldError::at(pointer, "control-character", "must have no control characters, NUL included"));
    }
    Ok(text.to_owned())
}

/// A moment that is still to come.
pub(crate) fn future(pointer: &str, at: DateTime<Utc>, now: Timestamp) -> Result<Timestamp, FieldError> {
    // Postgres keeps microseconds; the answer must show what is kept.
    let at = chrono::SubsecRound::trunc_subsecs(at, 6);
    let year = chrono::Datelike::year(&at);
    if at > now && year < 10_000 {
        Ok(at)
    } else {
        Err(FieldError::at(pointer, "not-in-future", "must be in the future"))
    }
}

/// `max_age` in seconds (RFC 8461 §3.2). Wider than it may be, so that a value out of range gets its own message.
pub(crate) fn max_age(seconds: u64) -> Result<MaxAge, FieldError> {
    let too_large = || mtasts_model::policy::MaxAgeError { seconds };
    u32::try_from(seconds)
        .map_err(|_| too_large())
        .and_then(MaxAge::new)
        .map_err(|error| FieldError::at("/max_age", error.code(), error.to_string()))
}

/// MX patterns.
pub(crate) fn mx_patterns(texts: &[String], faults: &mut Faults) -> Option<Vec<MxPattern>> {
    if texts.len() > MAX_MX {
        let message = format!("at most {MAX_MX} patterns are possible: use wildcards");
        return faults.keep(Err(FieldError::at("/mx", "too-many", message)));
    }
    faults.keep_all(texts.iter().enumerate().map(|(index, text)| {
        text.parse::<MxPattern>()
            .map_err(|error| FieldError::at(format!("/mx/{index}"), error.code(), error.to_string()))
    }))
}

/// Where senders send reports (RFC 8460 §3).
pub(crate) fn report_uris(texts: &[String], faults: &mut Faults) -> Option<Vec<ReportUri>> {
    if texts.len() > MAX_RUA {
        let message = format!("at most {MAX_RUA} addresses are possible");
        return faults.keep(Err(FieldError::at("/tls_rpt/rua", "too-many", message)));
    }
    faults.keep_all(texts.iter().enumerate().map(|(index, text)| {
        text.parse::<ReportUri>()
            .map_err(|error| FieldError::at(format!("/tls_rpt/rua/{index}"), error.code(), error.to_string()))
    }))
}

/// A domain's tags.
pub(crate) fn tags(texts: &[String], faults: &mut Faults) -> Option<BTreeSet<Tag>> {
    if texts.len() > MAX_TAGS {
        let message = format!("at most {MAX_TAGS} tags are possible");
        return faults.keep(Err(FieldError::at("/tags", "too-many", message)));
    }
    let tags = faults.keep_all(texts.iter().enumerate().map(|(index, text)| {
        text.parse::<Tag>().map_err(|error| FieldError::at(format!("/tags/{index}"), error.code(), error.to_string()))
    }))?;
    Some(tags.into_iter().collect())
}

/// What keeps mode, MX patterns and max_age from being a policy together.
pub(crate) fn policy_fault(error: &PolicyError) -> FieldError {
    FieldError::at("/mx", error.code(), error.to_string())
}

/// A policy of given parts.
pub(crate) fn policy(mode: mtasts_model::Mode, mx: Vec<MxPattern>, max_age: MaxAge) -> Result<Policy, FieldError> {
    Policy::new(mode, mx, max_age).map_err(|error| policy_fault(&error))
}

/// The mode of a policy (RFC 8461 §5).
#[derive(ToSchema)]
#[schema(as = Mode, rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `mtasts_model::Mode`, which knows nothing of OpenAPI")]
pub(crate) enum ModeSchema {
    /// There is no policy (RFC 8461 §5).
    None,
    /// Senders deliver in any case, and report failures.
    Testing,
    /// Senders deliver to covered hosts with verified TLS alone.
    Enforce,
}

/// A host name, or `*.` and a name for one label more (RFC 8461 §4.1).
#[derive(ToSchema)]
#[schema(as = MxPattern, max_length = 1012, example = "mx1.example.com")]
#[expect(dead_code, reason = "the schema of `mtasts_model::MxPattern`, which knows nothing of OpenAPI")]
pub(crate) struct MxPatternSchema(String);

/// A tag of a domain.
#[derive(ToSchema)]
#[schema(as = Tag, pattern = "^[a-z0-9][a-z0-9:._-]{0,62}$", example = "customer:4711")]
#[expect(dead_code, reason = "the schema of `mtasts_model::Tag`, which knows nothing of OpenAPI")]
pub(crate) struct TagSchema(String);

/// A `mailto:` or `https:` URI (RFC 8460 §3).
#[derive(ToSchema)]
#[schema(as = ReportUri, max_length = 500, example = "mailto:tls-reports@example.com")]
#[expect(dead_code, reason = "the schema of `mtasts_model::ReportUri`, which knows nothing of OpenAPI")]
pub(crate) struct ReportUriSchema(String);

/// TLS reporting (RFC 8460).
#[derive(Debug, Clone, Deserialize, serde::Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"rua": ["mailto:tls-reports@example.com"]}))]
pub(crate) struct TlsRpt {
    /// Where senders send their reports: `mailto:` or `https:` URIs, at most 10. Empty: no TLSRPT record.
    #[schema(value_type = Vec<ReportUriSchema>, max_items = 10)]
    pub(crate) rua: Vec<String>,
}

/// Reads an object or null. serde would also read an array as a struct, field by field; nobody means that.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(Object(PhantomData))
}

/// Who chooses the MX patterns.
#[derive(Debug, Default)]
pub(crate) enum MxChoice {
    /// The hosts that are found at registration.
    #[default]
    Auto,
    /// These.
    Listed(Vec<String>),
}

impl<'de> Deserialize<'de> for MxChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;

        impl<'de> Visitor<'de> for Choice {
            type Value = MxChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`\"auto\"` or a list of MX patterns")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<MxChoice, E> {
                match text {
                    "auto" => Ok(MxChoice::Auto),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<MxChoice, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(MxChoice::Listed)
            }
        }

        deserializer.deserialize_any(Choice)
    }
}

/// The schema of [`MxChoice`].
pub(crate) fn mx_choice_schema() -> RefOr<Schema> {
    let text = |builder: ObjectBuilder| builder.schema_type(Type::String);
    let patterns =
        ArrayBuilder::new().items(Ref::from_schema_name("MxPattern")).min_items(Some(1)).max_items(Some(MAX_MX));
    let choice = OneOfBuilder::new()
        .item(text(ObjectBuilder::new()).enum_values(Some(["auto"])))
        .item(patterns)
        .description(Some(
            "`\"auto\"`: the MX hosts that are found; or MX patterns, one for each host or `*.` wildcard.",
        ))
        .build();
    RefOr::T(Schema::OneOf(choice))
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Clock, clock::ManualClock};

    use super::*;

    #[test]
    fn names_are_trimmed_and_limited_and_have_no_control_characters() {
        assert_eq!(name("/name", "  Acme Ltd ").unwrap(), "Acme Ltd");
        assert!(name("/name", &"ä".repeat(200)).is_ok());
        for bad in ["", "   ", "a\0b", "a\nb", &"a".repeat(201)] {
            assert!(name("/name", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn force_and_reason_go_together() {
        assert_eq!(override_reason(false, None).unwrap(), None);
        assert_eq!(override_reason(true, Some("I know")).unwrap().as_deref(), Some("I know"));
        assert!(override_reason(true, None).is_err());
        assert!(override_reason(true, Some(" ")).is_err());
        assert!(override_reason(false, Some("I know")).is_err());
    }

    #[test]
    fn mx_is_auto_or_a_list() {
        let read = |text: &str| serde_json::from_str::<MxChoice>(text);
        assert!(matches!(read("\"auto\"").unwrap(), MxChoice::Auto));
        assert!(matches!(read("[\"mx.example.com\"]").unwrap(), MxChoice::Listed(list) if list.len() == 1));
        for bad in ["\"none\"", "1", "null", "[1]", "{}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_in_the_past_or_beyond_year_9999_is_no_expiry() {
        let now = ManualClock::default().now();
        assert!(future("/expires_at", now + chrono::TimeDelta::seconds(1), now).is_ok());
        assert!(future("/expires_at", now, now).is_err());
        assert!(future("/expires_at", DateTime::<Utc>::MAX_UTC, now).is_err());
    }

    #[test]
    fn every_fault_of_a_list_is_kept_with_its_place() {
        let mut faults = Faults::default();
        assert!(mx_patterns(&["a.example".into(), "*".into(), "b..c".into()], &mut faults).is_none());
        assert_eq!(faults.0.len(), 2);
        assert_eq!(max_age(31_557_600).unwrap().seconds(), 31_557_600);
        assert!(max_age(31_557_601).is_err() && max_age(u64::MAX).is_err());
    }
}
