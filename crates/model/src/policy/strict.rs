//! Reading policies that we wrote.

use super::{MAX_POLICY_OCTETS, MaxAge, MaxAgeError, Policy, PolicyError, VERSION};
use crate::name::NameError;

/// Space and tab (RFC 5234, appendix B.1).
pub(super) const WSP: [char; 2] = [' ', '\t'];

pub(super) fn parse(text: &str) -> Result<Policy, PolicyError> {
    if text.len() > MAX_POLICY_OCTETS {
        return Err(PolicyError::TooLong { octets: text.len() });
    }
    let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
    // The last line may have its end or not; an empty line behind it is one too many.
    let text = text.strip_suffix('\n').unwrap_or(text);
    for (line, content) in (1..).zip(text.split('\n')) {
        let content = content.strip_suffix('\r').unwrap_or(content).trim_end_matches(WSP);
        let (key, value) = content.split_once(':').ok_or(PolicyError::Line { line })?;
        let value = value.trim_start_matches(WSP);
        if line == 1 && key != "version" {
            return Err(PolicyError::VersionNotFirst { line });
        }
        match key {
            "version" => {
                let read = if value == VERSION { Ok(()) } else { Err(PolicyError::Version { line }) };
                set(&mut version, read?, "version", line)?;
            }
            "mode" => {
                let read = value.parse().map_err(|source| PolicyError::Mode { line, source })?;
                set(&mut mode, read, "mode", line)?;
            }
            "max_age" => {
                let seconds = max_age_seconds(value).ok_or(PolicyError::MaxAgeNumber { line })?;
                let out_of_range = |_| MaxAgeError { seconds };
                let read = u32::try_from(seconds).map_err(out_of_range).and_then(MaxAge::new);
                set(&mut max_age, read.map_err(|source| PolicyError::MaxAge { line, source })?, "max_age", line)?;
            }
            "mx" => {
                // The grammar takes RFC 5321's Domain, which has no dot at its end.
                let dotted = value.ends_with('.').then_some(NameError::EmptyLabel.into());
                let read = dotted.map_or_else(|| value.parse(), Err);
                mx.push(read.map_err(|source| PolicyError::Mx { line, source })?);
            }
            _ => return Err(PolicyError::UnknownKey { line }),
        }
    }
    let mode = mode.ok_or(PolicyError::MissingKey { key: "mode" })?;
    let max_age = max_age.ok_or(PolicyError::MissingKey { key: "max_age" })?;
    Policy::new(mode, mx, max_age)
}

fn set<T>(slot: &mut Option<T>, value: T, key: &'static str, line: usize) -> Result<(), PolicyError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(PolicyError::RepeatedKey { line, key }),
    }
}

/// `1*10(DIGIT)` (RFC 8461 §3.2).
pub(super) fn max_age_seconds(value: &str) -> Option<u64> {
    let digits = (1..=10).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits)
}
