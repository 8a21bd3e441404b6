//! Reading policies that others wrote (RFC 8461 §3.2), as a forgiving sender does.

use std::collections::HashSet;

use super::{
    Lint, LintCode, MAX_POLICY_OCTETS, MaxAge, Mode, Policy, PolicyError, VERSION,
    strict::{WSP, max_age_seconds},
};
use crate::mx_pattern::MxPattern;

/// More than anybody reads: a body of 64 KiB could have as many oddities as lines.
const MAX_LINTS: usize = 100;
/// Characters of a stranger's text that a message repeats.
const MAX_EXCERPT: usize = 40;

const KEYS: [&str; 4] = ["version", "mode", "mx", "max_age"];

pub(super) fn parse(body: &[u8]) -> Result<(Policy, Vec<Lint>), PolicyError> {
    let (outcome, lints) = examine(body);
    Ok((outcome?, lints))
}

/// Goes on behind a fault, so that whoever mends a policy sees all that is odd about it at once.
pub(super) fn examine(body: &[u8]) -> (Result<Policy, PolicyError>, Vec<Lint>) {
    if body.len() > MAX_POLICY_OCTETS {
        return (Err(PolicyError::TooLong { octets: body.len() }), Vec::new());
    }
    let mut fault = None;
    let mut reader = Reader::default();
    let without_mark = body.strip_prefix(b"\xEF\xBB\xBF");
    if without_mark.is_some() {
        reader.lint(LintCode::ByteOrderMark, 1, "the policy begins with a byte order mark: save it without one");
    }
    for (line, content) in (1..).zip(without_mark.unwrap_or(body).split_inclusive(|byte| *byte == b'\n')) {
        let content = match content.strip_suffix(b"\n") {
            Some(content) => content.strip_suffix(b"\r").unwrap_or_else(|| {
                reader.bare_line_feed(line);
                content
            }),
            None => content,
        };
        match std::str::from_utf8(content) {
            Ok(content) => {
                if let Err(error) = reader.line(line, content) {
                    // The first is the one that a sender would stop at.
                    fault.get_or_insert(error);
                }
            }
            Err(_) => reader.lint(LintCode::NotUtf8, line, "this line is not UTF-8 and is ignored: remove it"),
        }
    }
    let (outcome, mut lints) = reader.finish();
    lints.sort_by_key(|lint| lint.line);
    (fault.map_or(outcome, Err), lints)
}

/// A value and the line where it stands.
type Read<T> = Option<(T, usize)>;

#[derive(Default)]
struct Reader {
    version: Read<()>,
    mode: Read<Mode>,
    max_age: Read<MaxAge>,
    mx: Vec<MxPattern>,
    seen_mx: HashSet<MxPattern>,
    seen_key: bool,
    seen_bare_line_feed: bool,
    lints: Vec<Lint>,
}

impl Reader {
    fn lint(&mut self, code: LintCode, line: usize, message: impl Into<String>) {
        if self.lints.len() < MAX_LINTS {
            self.lints.push(Lint { code, message: message.into(), line });
        }
    }

    fn bare_line_feed(&mut self, line: usize) {
        if !std::mem::replace(&mut self.seen_bare_line_feed, true) {
            self.lint(LintCode::BareLineFeed, line, "lines end in LF alone: end them in CRLF, some senders insist");
        }
    }

    fn line(&mut self, line: usize, content: &str) -> Result<(), PolicyError> {
        if content.trim().is_empty() {
            self.lint(LintCode::EmptyLine, line, "this line is empty: remove it");
            return Ok(());
        }
        let Some((raw_key, raw_value)) = content.split_once(':') else {
            let message = format!("`{}` is not of the form `key: value` and is ignored: remove it", excerpt(content));
            self.lint(LintCode::MalformedLine, line, message);
            return Ok(());
        };
        let (key, value) = (raw_key.trim(), raw_value.trim());
        // Space behind the colon and at the end of the line is in the grammar.
        if key != raw_key || value != raw_value.trim_matches(WSP) {
            self.lint(LintCode::Whitespace, line, format!("stray space around `{}`: remove it", excerpt(key)));
        }
        if !self.seen_key && key != "version" {
            self.lint(LintCode::VersionNotFirst, line, "the first line is not `version: STSv1`: move it there");
        }
        self.seen_key = true;
        match key {
            "version" => match self.version {
                Some(first) => self.repeated("version", first.1, line),
                None if value == VERSION => self.version = Some(((), line)),
                None => return Err(PolicyError::Version { line }),
            },
            "mode" => match (self.mode, value.parse()) {
                (Some(first), _) => self.repeated("mode", first.1, line),
                (None, Ok(mode)) => self.mode = Some((mode, line)),
                (None, Err(source)) => return Err(PolicyError::Mode { line, source }),
            },
            "max_age" => match self.max_age {
                Some(first) => self.repeated("max_age", first.1, line),
                None => self.max_age = Some((self.read_max_age(line, value)?, line)),
            },
            "mx" => self.mx(line, value),
            key => self.unknown(line, key),
        }
        Ok(())
    }

    fn repeated(&mut self, key: &str, first: usize, line: usize) {
        let message = format!("`{key}` stands in line {first} already, and the first counts: remove one");
        self.lint(LintCode::RepeatedKey, line, message);
    }

    fn read_max_age(&mut self, line: usize, value: &str) -> Result<MaxAge, PolicyError> {
        let seconds = max_age_seconds(value).ok_or(PolicyError::MaxAgeNumber { line })?;
        Ok(u32::try_from(seconds).ok().and_then(|seconds| MaxAge::new(seconds).ok()).unwrap_or_else(|| {
            let message = format!("max_age {seconds} is above a year and is taken as {}: lower it", MaxAge::MAX);
            self.lint(LintCode::LongMaxAge, line, message);
            MaxAge::MAX
        }))
    }

    fn mx(&mut self, line: usize, value: &str) {
        let pattern: MxPattern = match value.parse() {
            Ok(pattern) => pattern,
            Err(error) => {
                let message = format!("`{}` is ignored and covers no host: {error}", excerpt(value));
                return self.lint(LintCode::InvalidMx, line, message);
            }
        };
        if value.ends_with('.') {
            let message = format!("`{pattern}` stands there with a dot at its end, which some senders never match");
            self.lint(LintCode::TrailingDot, line, message);
        }
        if pattern.is_wide() {
            let message = format!("`{pattern}` allows hosts of strangers: name the MX hosts, or a domain of your own");
            self.lint(LintCode::WideMx, line, message);
        }
        if !self.seen_mx.insert(pattern.clone()) {
            return self.lint(LintCode::RepeatedMx, line, format!("`{pattern}` is there already: remove one"));
        }
        self.mx.push(pattern);
    }

    fn unknown(&mut self, line: usize, key: &str) {
        let (code, hint) = match KEYS.into_iter().find(|known| is_slip_of(key, known)) {
            Some(known) => (LintCode::MisspeltKey, format!(": did you mean `{known}`?")),
            None => (LintCode::UnknownKey, String::new()),
        };
        self.lint(code, line, format!("the key `{}` is unknown, and the line is ignored{hint}", excerpt(key)));
    }

    fn finish(mut self) -> (Result<Policy, PolicyError>, Vec<Lint>) {
        let policy = self.policy();
        (policy, self.lints)
    }

    fn policy(&mut self) -> Result<Policy, PolicyError> {
        self.version.ok_or(PolicyError::MissingKey { key: "version" })?;
        let (mode, _) = self.mode.ok_or(PolicyError::MissingKey { key: "mode" })?;
        let (max_age, line) = self.max_age.ok_or(PolicyError::MissingKey { key: "max_age" })?;
        // Mode `none` is published with a small max_age on the way to removal (RFC 8461 §8.3).
        if max_age < MaxAge::DAY && mode != Mode::None {
            let message = format!("max_age {max_age} is below a day, which protects little: weeks are usual");
            self.lint(LintCode::ShortMaxAge, line, message);
        }
        Policy::new(mode, std::mem::take(&mut self.mx), max_age)
    }
}

/// The beginning of a stranger's text, fit for a message.
fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(MAX_EXCERPT).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_EXCERPT).is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// Whether `key` is `known` but for its case, `-` for `_`, or one letter added, left out, changed or swapped.
fn is_slip_of(key: &str, known: &str) -> bool {
    // Longer is no slip, and not worth the comparison.
    if !key.is_ascii() || key.len() > known.len() + 1 {
        return false;
    }
    let key = key.to_ascii_lowercase().replace('-', "_");
    let start = key.bytes().zip(known.bytes()).take_while(|(a, b)| a == b).count();
    let (key, known) = (&key.as_bytes()[start..], &known.as_bytes()[start..]);
    let end = key.iter().rev().zip(known.iter().rev()).take_while(|(a, b)| a == b).count();
    match (&key[..key.len() - end], &known[..known.len() - end]) {
        ([a, b], [c, d]) => a == d && b == c,
        (a, b) => a.len() <= 1 && b.len() <= 1,
    }
}
