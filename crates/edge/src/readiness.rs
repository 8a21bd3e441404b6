//! Whether this edge should be sent traffic, and why not.

use std::{collections::BTreeMap, fmt};

use parking_lot::Mutex;

/// What a readiness probe shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// `Ok` when traffic may come.
    pub state: Result<(), NotReadyReason>,
    /// What is wrong although the edge serves, one sentence each.
    pub notes: Vec<String>,
}

impl Readiness {
    /// Whether traffic may come.
    pub fn is_ready(&self) -> bool {
        self.state.is_ok()
    }
}

/// Why no traffic should come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReadyReason {
    /// There is no complete replica, and the feed has not been read to its end yet.
    NothingToServe,
    /// There is a complete replica, but it may be older than what is published: the feed answers, and its end has not
    /// been reached yet. No connections are taken until then.
    CatchingUp,
    /// A shutdown was asked for.
    Draining,
}

impl fmt::Display for NotReadyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingToServe => "no complete replica, and the feed has not been read to its end yet",
            Self::CatchingUp => "no connections are taken before the feed has been read to its end",
            Self::Draining => "draining before the shutdown",
        })
    }
}

/// The parts of the edge that may have something to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Note {
    Feed,
    Listeners,
    Replica,
    Ledger,
}

#[derive(Debug, Default)]
struct State {
    complete: bool,
    listening: bool,
    draining: bool,
    notes: BTreeMap<Note, String>,
}

/// Where the parts of the edge keep the state of readiness.
#[derive(Debug, Default)]
pub(crate) struct ReadinessState(Mutex<State>);

impl ReadinessState {
    pub(crate) fn read(&self) -> Readiness {
        let state = self.0.lock();
        let verdict = if state.draining {
            Err(NotReadyReason::Draining)
        } else if !state.complete {
            Err(NotReadyReason::NothingToServe)
        } else if !state.listening {
            Err(NotReadyReason::CatchingUp)
        } else {
            Ok(())
        };
        Readiness { state: verdict, notes: state.notes.values().cloned().collect() }
    }

    pub(crate) fn set_complete(&self, complete: bool) {
        self.0.lock().complete = complete;
    }

    pub(crate) fn set_listening(&self) {
        self.0.lock().listening = true;
    }

    pub(crate) fn set_draining(&self) {
        self.0.lock().draining = true;
    }

    /// Sets or clears the note of one part.
    pub(crate) fn note(&self, part: Note, text: Option<String>) {
        let mut state = self.0.lock();
        match text {
            Some(text) => state.notes.insert(part, text),
            None => state.notes.remove(&part),
        };
    }
}
