//! What the client reads of the API's answers on reports.

use serde::Deserialize;
use serde_json::Value;

use crate::client::text::Text;

#[derive(Deserialize)]
pub(super) struct Summary {
    pub(super) from: Text,
    pub(super) to: Text,
    pub(super) totals: Figures,
    pub(super) organizations: u64,
    pub(super) days: Vec<Day>,
}

#[derive(Deserialize)]
pub(super) struct Day {
    pub(super) day: Text,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

#[derive(Deserialize)]
pub(super) struct Figures {
    pub(super) reports: u64,
    pub(super) good: u64,
    pub(super) bad: u64,
    failure_rate: Option<f64>,
    pub(super) by_grade: ByGrade,
}

#[derive(Deserialize)]
pub(super) struct ByGrade {
    pub(super) verified: OfGrade,
}

#[derive(Deserialize)]
pub(super) struct OfGrade {
    pub(super) good: u64,
    pub(super) bad: u64,
}

impl Figures {
    pub(super) fn rate(&self) -> String {
        self.failure_rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.2} %", rate * 100.0))
    }
}

#[derive(Deserialize)]
pub(super) struct Failures {
    pub(super) from: Text,
    pub(super) to: Text,
    pub(super) data: Vec<Failure>,
    pub(super) policy_host: Vec<PolicyHost>,
}

#[derive(Deserialize)]
pub(super) struct Failure {
    pub(super) result: Text,
    pub(super) receiving_mx: Option<Text>,
    pub(super) meaning: Text,
    pub(super) advice: Text,
    pub(super) new: bool,
    pub(super) first_day: Text,
    pub(super) last_day: Text,
    pub(super) bad: u64,
}

#[derive(Deserialize)]
pub(super) struct PolicyHost {
    pub(super) result: Text,
    pub(super) verdict: Text,
    pub(super) explanation: Text,
    pub(super) bad: u64,
}

#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) id: Text,
    pub(super) kind: Text,
    pub(super) day: Text,
    pub(super) organization: Text,
    pub(super) good: u64,
    pub(super) bad: u64,
    pub(super) grade: Text,
    pub(super) grade_explanation: Text,
    pub(super) counts: bool,
    pub(super) complete: bool,
}

#[derive(Deserialize)]
pub(super) struct Whole {
    #[serde(flatten)]
    pub(super) report: Listed,
    pub(super) body: Value,
}
