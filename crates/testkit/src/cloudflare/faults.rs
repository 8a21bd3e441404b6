//! What goes wrong, and when.

use std::time::Duration;

/// Which requests a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// All.
    Any,
    /// Those that read.
    Reads,
    /// Those that write.
    Writes,
}

/// What can go wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// HTTP 429, with this `Retry-After`. Nothing is done.
    RateLimited(Option<String>),
    /// This HTTP status with an error of the API. Nothing is done.
    Status(u16),
    /// This HTTP status with an error page in HTML, as from something in front of the API. Nothing is done.
    Html(u16),
    /// No answer, ever. Nothing is done.
    SilentBefore,
    /// The request is carried out, but no answer ever comes.
    SilentAfter,
    /// The request is carried out, and the connection is closed instead of an answer.
    CutAfter,
    /// Half of a batch's new records are created, against all promises, and then comes HTTP 500.
    HalfDone,
    /// The request is carried out and answered, but later.
    Slow(Duration),
    /// An answer without an end.
    Endless,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Calls, usize, Fault)>);

impl Faults {
    pub(super) fn add(&mut self, calls: Calls, spared: usize, fault: Fault) {
        self.0.push((calls, spared, fault));
    }

    /// The fault for this request, if it is its turn.
    pub(super) fn next(&mut self, method: &str) -> Option<Fault> {
        let is_read = method == "GET";
        let at = self.0.iter().position(|(calls, ..)| match calls {
            Calls::Any => true,
            Calls::Reads => is_read,
            Calls::Writes => !is_read,
        })?;
        if self.0[at].1 > 0 {
            self.0[at].1 -= 1;
            return None;
        }
        Some(self.0.remove(at).2)
    }
}
