//! Taking a body apart into lines. Nothing is read of a line but what it asks for: what is wrong with it shows when it is
//! carried out, as its own result.

use std::fmt;

use actix_web::{HttpRequest, dev::Payload, web::Bytes};
use mtasts_model::{Scope, Scopes, TenantId};
use mtasts_store::OperationLine;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use serde_path_to_error::Track;

use super::change::{Kind, kind_of};
use crate::{
    auth::state,
    extract::json,
    problem::{Problem, ProblemKind},
    state::State,
};

/// The most lines of one request.
pub(crate) const MAX_LINES: usize = 10_000;

/// When to try again where no place is free.
const BUSY: std::time::Duration = std::time::Duration::from_secs(2);

/// Reads a body of the length that bulk requests may have. Only a few at a time, as they are held in memory.
pub(crate) async fn read_body(request: &HttpRequest, payload: Payload, tenant: TenantId) -> Result<Bytes, Problem> {
    let state = state(request)?;
    let _place = state.bulk_places.take(tenant).map_err(|_| {
        let detail = "As many bulk requests as possible are being read at this moment";
        Problem::new(ProblemKind::BulkBusy, detail).retry_after(BUSY)
    })?;
    json::read(request, payload, state.config.bulk_body_limit).await
}

/// The lines of `{"operations": […]}`.
pub(crate) fn batch_lines(body: &[u8], state: &State) -> Result<Vec<OperationLine>, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Batch<'a> {
        #[serde(borrow)]
        operations: Counted<'a>,
    }

    // First as a whole, so that a body that is no JSON is told so.
    serde_json::from_slice::<IgnoredAny>(body).map_err(|error| json::malformed(&error))?;
    if body.iter().find(|octet| !octet.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::field("", "wrong-type", "the body must be a JSON object"));
    }
    let batch: Batch<'_> = serde_json::from_slice(body).map_err(|error| {
        let message = error.to_string();
        // Of the body itself only this can be wrong; all else is wrong with its one member. What tracks paths elsewhere
        // cannot lend raw values.
        let of_the_body = ["unknown field", "missing field", "duplicate field"];
        if !error.is_data() || of_the_body.iter().any(|words| message.starts_with(words)) {
            json::refusal(&Track::new().path(), &error)
        } else {
            Problem::field("/operations", "wrong-type", message)
        }
    })?;
    check_count("/operations", batch.operations.count)?;
    let lines = batch.operations.lines.iter().map(|line| line.get().as_bytes());
    Ok(lines.zip(1..).map(|(line, number)| kept(number, line, state)).collect())
}

/// The lines of `application/x-ndjson`, by their numbers in the body: those that are blank are passed over, and so is the
/// last line of an export.
pub(crate) fn ndjson_lines(body: &[u8], state: &State) -> Result<Vec<OperationLine>, Problem> {
    let lines = || {
        let numbered = body.split(|octet| *octet == b'\n').zip(1_u32..);
        numbered.map(|(line, number)| (line.trim_ascii(), number)).filter(|(line, _)| !line.is_empty())
    };
    let mut count = lines().count();
    if lines().last().is_some_and(|(line, _)| is_end_of_export(line)) {
        count -= 1;
    }
    check_count("", count)?;
    Ok(lines().take(count).map(|(line, number)| kept(number, line, state)).collect())
}

fn is_end_of_export(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by the deserialiser alone")]
    struct End {
        end: bool,
        count: u64,
    }

    line.starts_with(b"{") && serde_json::from_slice::<End>(line).is_ok()
}

fn check_count(pointer: &str, count: usize) -> Result<(), Problem> {
    match count {
        1..=MAX_LINES => Ok(()),
        0 => Err(Problem::field(pointer, "too-few", "must have at least one line")),
        _ => Err(Problem::field(pointer, "too-many", format!("may have {MAX_LINES} lines: split it"))),
    }
}

/// A line may be as long as the body of the single call.
fn kept(number: u32, line: &[u8], state: &State) -> OperationLine {
    OperationLine { number, body: (line.len() <= state.config.body_limit).then(|| line.to_vec()) }
}

/// What a key must be allowed to do for these lines of a batch. A line that says nothing of the kind asks for nothing.
pub(crate) fn scopes_of(lines: &[OperationLine]) -> Vec<Scope> {
    let kinds = lines.iter().filter_map(|line| kind_of(line.body.as_deref()?).ok());
    let mut scopes = Vec::new();
    for kind in kinds {
        let scope = match kind {
            Kind::Create | Kind::Delete => Scope::DomainsWrite,
            Kind::SetMode => Scope::PolicyWrite,
        };
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

/// Which of these scopes a key lacks.
pub(crate) fn lacking(needed: Vec<Scope>, held: Scopes) -> Option<Scopes> {
    Scopes::new(needed.into_iter().filter(|scope| !held.contains(*scope)).collect::<Vec<_>>()).ok()
}

/// The lines where they stand in the body; what is beyond the most that may be is counted and not kept.
struct Counted<'a> {
    lines: Vec<&'a RawValue>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Counted<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;

        impl<'de> Visitor<'de> for Lines {
            type Value = Counted<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of operations")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Counted<'de>, A::Error> {
                let mut lines = Vec::new();
                while lines.len() < MAX_LINES {
                    match items.next_element::<&RawValue>()? {
                        Some(line) => lines.push(line),
                        None => return Ok(Counted { count: lines.len(), lines }),
                    }
                }
                let mut count = lines.len();
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Counted { lines, count })
            }
        }

        deserializer.deserialize_seq(Lines)
    }
}
