//! What was delivered to a tenant's addresses for reports.

pub(crate) mod list;
pub(crate) mod raw;
pub(crate) mod read;

use chrono::{DateTime, Utc};
use mtasts_store::{ArrivalState, ArrivalView};
use serde::Serialize;
use utoipa::ToSchema;

use super::reports::{KindSchema, ViaSchema, read::OriginBody, words};
use crate::problem::Problem;

/// What has become of an arrival.
#[derive(ToSchema)]
#[schema(as = ReportArrivalState, rename_all = "kebab-case")]
#[expect(dead_code, reason = "the schema of `mtasts_store::ArrivalState`, which knows nothing of OpenAPI")]
pub(crate) enum StateSchema {
    /// It is still to be read.
    Waiting,
    /// It was read.
    Read,
    /// It, or a part of it, could not be read.
    Quarantined,
}

/// A mail, or the body of a POST.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportArrival)]
struct ArrivalBody {
    /// Its id.
    #[schema(example = "arr_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// The domain whose address it was sent to.
    #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    domain_id: String,
    /// Its name; null once nothing is known of the domain any more.
    #[schema(required, example = "example.com")]
    domain_name: Option<String>,
    /// What the address is for.
    #[schema(value_type = KindSchema)]
    kind: &'static str,
    /// By which way it came.
    #[schema(value_type = ViaSchema)]
    via: &'static str,
    /// When it came.
    received_at: DateTime<Utc>,
    /// Where it came from.
    origin: OriginBody,
    /// Its length.
    #[schema(example = 2_345)]
    octets: u64,
    /// Whether its octets are still there.
    has_raw: bool,
    /// What has become of it.
    #[schema(value_type = StateSchema)]
    state: &'static str,
    /// How often it was tried.
    #[schema(example = 1)]
    attempts: u32,
    /// What was wrong with it, or with the worst part of it; null where nothing was.
    #[schema(required)]
    problem: Option<ArrivalProblemBody>,
    /// New reports in it; null until it was read.
    #[schema(required, example = 1)]
    reports: Option<u32>,
    /// Reports in it that were there already; null until it was read.
    #[schema(required, example = 0)]
    repeated: Option<u32>,
    /// When it was read last; null until it was.
    #[schema(required)]
    read_at: Option<DateTime<Utc>>,
    /// By which version of the service.
    #[schema(required, example = "0.5.0")]
    read_by: Option<String>,
}

/// Why something could not be read.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportArrivalProblem)]
struct ArrivalProblemBody {
    /// A stable word for programs.
    #[schema(example = "not-json")]
    reason: String,
    /// The same for people.
    #[schema(required, example = "it is not JSON, at line 1, column 3: key must be a string")]
    message: Option<String>,
    /// What to do.
    #[schema(example = "The sender made it wrongly, or it was damaged on the way: its next report may be whole.")]
    advice: &'static str,
}

impl From<ArrivalView> for ArrivalBody {
    fn from(arrival: ArrivalView) -> Self {
        Self {
            id: arrival.id.to_string(),
            domain_id: arrival.domain.to_string(),
            kind: arrival.kind.as_str(),
            via: arrival.via.as_str(),
            received_at: arrival.received_at,
            origin: OriginBody::from(&arrival),
            octets: arrival.octets,
            has_raw: arrival.has_raw,
            state: ArrivalState::as_str(arrival.state),
            attempts: arrival.attempts,
            domain_name: arrival.domain_name,
            problem: arrival.reason.map(|reason| ArrivalProblemBody {
                advice: words::advice(&reason),
                message: arrival.problem,
                reason,
            }),
            reports: arrival.reports,
            repeated: arrival.repeated,
            read_at: arrival.read_at,
            read_by: arrival.read_by,
        }
    }
}

fn not_found() -> Problem {
    Problem::not_found("arrival")
}
