//! What is answered.

use std::{borrow::Cow, sync::Arc};

use mtasts_model::Timestamp;
use parking_lot::Mutex;

use super::head::Refusal;
use crate::entry::Entry;

/// Senders refetch when the record's id changes, not when a cache expires; browsers and proxies must not keep it long.
pub(crate) const CACHE_CONTROL: &str = "max-age=60";
/// RFC 8461 §3.2 asks for `text/plain`.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// One answer.
pub(crate) enum Answer {
    /// 200 with the host's policy.
    Policy(Arc<Entry>),
    /// 200 with a key authorization (RFC 8555 §8.3).
    KeyAuthorization(String),
    /// Everything else.
    Problem(Problem),
}

/// A status with a sentence that helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) sentence: Cow<'static, str>,
    /// Whether the connection ends with it.
    pub(crate) last: bool,
}

impl Problem {
    pub(crate) fn new(status: u16, reason: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason, sentence: sentence.into(), last: false }
    }

    pub(crate) fn last(self) -> Self {
        Self { last: true, ..self }
    }

    pub(crate) fn has_body() -> Self {
        Self::new(413, "Content Too Large", "Requests have no body here.").last()
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(408, "Request Timeout", "The request did not come in time.").last()
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(503, "Service Unavailable", "The policy cannot be read now. Try again in a minute.").last()
    }

    /// What a 405 must name (RFC 9110 §15.5.6).
    pub(crate) fn allow(&self) -> Option<&'static str> {
        (self.status == 405).then_some("GET, HEAD")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(why) => Self::new(400, "Bad Request", format!("The request is refused: {why}.")).last(),
            Refusal::HasBody => Self::has_body(),
            Refusal::TooLarge => {
                Self::new(431, "Request Header Fields Too Large", "The header section is above 8 KB.").last()
            }
        }
    }
}

/// The header lines that all policies have in common, made anew once a second (for `Date`, RFC 9110 §6.6.1).
pub(crate) struct CommonLines(Mutex<Lines>);

struct Lines {
    second: i64,
    date: String,
    keep: Arc<[u8]>,
    close: Arc<[u8]>,
}

impl CommonLines {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Lines { second: i64::MIN, date: String::new(), keep: Arc::new([]), close: Arc::new([]) }))
    }

    /// From the status line up to where the entry's own part begins.
    pub(crate) fn for_policy(&self, now: Timestamp, keep_alive: bool) -> Arc<[u8]> {
        let lines = &mut *self.0.lock();
        lines.refresh(now);
        Arc::clone(if keep_alive { &lines.keep } else { &lines.close })
    }

    /// The value of `Date`.
    pub(crate) fn date(&self, now: Timestamp) -> String {
        let lines = &mut *self.0.lock();
        lines.refresh(now);
        lines.date.clone()
    }
}

impl Lines {
    fn refresh(&mut self, now: Timestamp) {
        if self.second == now.timestamp() {
            return;
        }
        self.second = now.timestamp();
        self.date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let common = format!(
            "HTTP/1.1 200 OK\r\nDate: {}\r\nContent-Type: {TEXT}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: \
             {CACHE_CONTROL}\r\n",
            self.date
        );
        self.close = format!("{common}Connection: close\r\n").into_bytes().into();
        self.keep = common.into_bytes().into();
    }
}

/// The whole header section of another answer in HTTP/1.1.
pub(crate) fn head_of_text(
    status: u16,
    reason: &str,
    allow: Option<&str>,
    length: usize,
    date: &str,
    keep_alive: bool,
) -> String {
    let allow = allow.map(|methods| format!("Allow: {methods}\r\n")).unwrap_or_default();
    let connection = if keep_alive { "" } else { "Connection: close\r\n" };
    format!(
        "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nContent-Type: {TEXT}\r\nX-Content-Type-Options: nosniff\r\n\
         {allow}{connection}Content-Length: {length}\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtasts_model::{Clock, clock::ManualClock};

    #[test]
    fn the_date_is_an_imf_fixdate_and_moves_with_the_clock() {
        let (clock, lines) = (ManualClock::default(), CommonLines::new());
        let text = String::from_utf8(lines.for_policy(clock.now(), true).to_vec()).unwrap();
        assert!(text.contains("\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"), "{text}");
        assert!(!text.contains("Connection"));
        clock.advance(chrono::TimeDelta::seconds(61));
        assert_eq!(lines.date(clock.now()), "Thu, 01 Jan 2026 00:01:01 GMT");
        let text = String::from_utf8(lines.for_policy(clock.now(), false).to_vec()).unwrap();
        assert!(text.ends_with("\r\nConnection: close\r\n"), "{text}");
    }
}
