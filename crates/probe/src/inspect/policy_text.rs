//! The policy's text: what it says, and what is odd about it (RFC 8461 §3.2).

use mtasts_model::{
    MaxAge, Mode, MxPattern, Policy,
    policy::{Lint, LintCode, PolicyError},
};

use super::{Code, Finding, seen::PolicySeen, text::shown_bytes};

/// Characters of a policy that are shown.
const MAX_SHOWN: usize = 4096;

/// What was read, the policy if it is one, and what there is to say.
pub(crate) fn read(host: &str, body: &[u8]) -> (PolicySeen, Option<Policy>, Vec<Finding>) {
    let (outcome, lints) = Policy::examine(body);
    let mut findings = Vec::new();
    let strict = std::str::from_utf8(body).is_ok_and(|text| Policy::parse_strict(text).is_ok());
    let policy = match outcome {
        Ok(policy) => Some(policy),
        Err(error) => {
            findings.push(Finding::new(code_of_error(&error), host, error.to_string()));
            None
        }
    };
    findings.extend(lints.iter().map(|lint| of_lint(host, lint)));
    if let Some(policy) = &policy {
        let (mode, max_age) = (policy.mode(), policy.max_age());
        let patterns = policy.mx().iter().map(MxPattern::as_str).collect::<Vec<_>>().join(", ");
        let sentence = format!("mode {mode}, max_age {max_age}, mx {patterns}");
        findings.insert(0, Finding::new(Code::PolicyFound, host, sentence));
        findings.extend(remarks(host, policy));
    }
    let seen = PolicySeen {
        text: with_lines(body),
        mode: policy.as_ref().map(Policy::mode),
        mx: policy.iter().flat_map(Policy::mx).map(|pattern| pattern.as_str().to_owned()).collect(),
        max_age: policy.as_ref().map(|policy| policy.max_age().seconds()),
        strict,
    };
    (seen, policy, findings)
}

/// With its ends of lines, and all else that steers a terminal escaped.
fn with_lines(body: &[u8]) -> String {
    let body = body.get(..MAX_SHOWN).unwrap_or(body);
    let lines = body.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| shown_bytes(line.strip_suffix(b"\r").unwrap_or(line), MAX_SHOWN));
    lines.collect::<Vec<_>>().join("\n")
}

fn remarks(host: &str, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    let max_age = policy.max_age();
    match policy.mode() {
        Mode::None => {
            let sentence = "mode none: senders act as if there were no policy";
            findings.push(Finding::new(Code::PolicyModeNone, host, sentence));
            if !policy.mx().is_empty() {
                let sentence = format!("{} patterns in a policy of mode none", policy.mx().len());
                findings.push(Finding::new(Code::PolicyMxInNone, host, sentence));
            }
            return findings;
        }
        Mode::Testing => {
            let sentence = "mode testing: senders report failures, and deliver all the same";
            findings.push(Finding::new(Code::PolicyModeTesting, host, sentence));
        }
        Mode::Enforce => {}
    }
    if max_age >= MaxAge::DAY && max_age < MaxAge::WEEK {
        let sentence = format!("max_age {max_age} is below a week");
        findings.push(Finding::new(Code::PolicyMaxAgeShort, host, sentence));
    }
    findings
}

fn of_lint(host: &str, lint: &Lint) -> Finding {
    let code = match lint.code {
        LintCode::ByteOrderMark => Code::PolicyByteOrderMark,
        LintCode::BareLineFeed | LintCode::EmptyLine | LintCode::RepeatedMx => Code::PolicyStyle,
        LintCode::Whitespace => Code::PolicyWhitespace,
        LintCode::MalformedLine | LintCode::NotUtf8 => Code::PolicyLine,
        LintCode::VersionNotFirst => Code::PolicyVersionNotFirst,
        LintCode::UnknownKey => Code::PolicyKeyUnknown,
        LintCode::MisspeltKey => Code::PolicyKeyMisspelt,
        LintCode::RepeatedKey => Code::PolicyKeyRepeated,
        LintCode::InvalidMx => Code::PolicyMxInvalid,
        LintCode::TrailingDot => Code::PolicyTrailingDot,
        LintCode::WideMx => Code::PolicyWideWildcard,
        LintCode::ShortMaxAge => Code::PolicyMaxAgeTooShort,
        LintCode::LongMaxAge => Code::PolicyMaxAgeLong,
    };
    Finding::new(code, host, format!("line {}: {}", lint.line, lint.message))
}

fn code_of_error(error: &PolicyError) -> Code {
    match error {
        PolicyError::TooLong { .. } => Code::PolicyTooLarge,
        PolicyError::NoMx { .. } => Code::PolicyMxMissing,
        PolicyError::MissingKey { .. } => Code::PolicyKeyMissing,
        PolicyError::Version { .. } => Code::PolicyVersion,
        PolicyError::Mode { .. } => Code::PolicyMode,
        PolicyError::MaxAgeNumber { .. } | PolicyError::MaxAge { .. } => Code::PolicyMaxAge,
        PolicyError::Mx { .. } => Code::PolicyMxInvalid,
        PolicyError::VersionNotFirst { .. }
        | PolicyError::Line { .. }
        | PolicyError::UnknownKey { .. }
        | PolicyError::RepeatedKey { .. } => Code::PolicySyntax,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(body: &str) -> Vec<&'static str> {
        read("mta-sts.example.com", body.as_bytes()).2.into_iter().map(|finding| finding.code.as_str()).collect()
    }

    #[test]
    fn a_sound_policy_is_found_and_nothing_else() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.com\r\nmax_age: 604800\r\n";
        assert_eq!(codes(text), ["policy-found"]);
    }

    #[test]
    fn all_slips_of_a_policy_that_cannot_be_used_are_told_at_once() {
        let text = "version: STSv1\r\nmode: Enforce\r\nnmx: mx.example.com\r\nmx; mx2.example.com\r\nmax-age: 1\r\n";
        assert_eq!(codes(text), ["policy-mode", "policy-key-misspelt", "policy-line", "policy-key-misspelt"]);
    }

    #[test]
    fn the_text_that_is_shown_keeps_its_lines_and_steers_no_terminal() {
        let (seen, _, _) = read("h", b"version: STSv1\r\nmode: \x1b[31mtesting\n\xff");
        assert_eq!(seen.text, "version: STSv1\nmode: \\u{1b}[31mtesting\n\u{fffd}");
    }
}
