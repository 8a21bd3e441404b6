//! What is told of a line that is done.

use mtasts_store::LineOutcome;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::Target;

/// What is kept of a line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    /// What it asked for, if that could be read.
    pub(crate) op: Option<String>,
    /// The domain that it was about, if there is one.
    pub(crate) domain_id: Option<String>,
    /// That domain's name.
    pub(crate) name: Option<String>,
    /// The mode that the domain has, or will have, by it.
    pub(crate) mode: Option<String>,
    /// Why it was refused.
    pub(crate) problem: Option<Value>,
}

impl Told {
    /// What the line itself says of its domain.
    pub(crate) fn about(&mut self, target: &Target) {
        match target {
            Target::Id(id) => self.domain_id = Some(id.to_string()),
            Target::Name(name) => self.name = Some(name.as_str().to_owned()),
        }
    }

    /// The outcome of the line with this number.
    pub(crate) fn outcome(self, number: u32) -> LineOutcome {
        let failed = self.problem.is_some();
        // Texts and what was JSON before: always serialises.
        let mut result = serde_json::to_value(self).unwrap_or_default();
        without_nul(&mut result);
        LineOutcome { number, failed, result }
    }
}

/// A problem may repeat what the caller sent, and Postgres keeps no NUL in texts.
fn without_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(without_nul),
        Value::Object(members) => members.values_mut().for_each(without_nul),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_has_no_nul_however_deep_it_stood() {
        let problem = json!({"detail": "a\0b", "errors": [{"pointer": "/x\0", "code": "c"}], "status": 422});
        let kept = Told { problem: Some(problem), ..Told::default() }.outcome(7);
        assert!(kept.failed);
        assert_eq!(kept.result["problem"]["detail"], "a\u{fffd}b");
        assert_eq!(kept.result["problem"]["errors"][0]["pointer"], "/x\u{fffd}");
        assert!(!Told::default().outcome(1).failed);
    }
}
