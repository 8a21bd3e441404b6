//! Whether sealed keys open. With a wrong key ring the edge follows and acknowledges as ever, while every handshake
//! fails: it must say so.

use std::collections::HashSet;

use parking_lot::Mutex;

/// So many hosts without one whose key opens: it is the key ring, not the hosts.
const ENOUGH: usize = 3;
/// Hosts that are remembered.
const MOST: usize = 1_000;

/// Which hosts' keys do not open. Hosts are keys of `Catalogue::key`.
#[derive(Default)]
pub(crate) struct Keys(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whether any key has opened since the start.
    ring_works: bool,
    failing: HashSet<u64>,
    told: bool,
}

impl State {
    fn suspects_the_ring(&self) -> bool {
        !self.ring_works && self.failing.len() >= ENOUGH
    }
}

impl Keys {
    pub(crate) fn opened(&self, host: u64) {
        let mut state = self.0.lock();
        state.ring_works = true;
        state.failing.remove(&host);
    }

    /// The opener refused. Other troubles with a key are the host's own.
    pub(crate) fn failed(&self, host: u64) {
        let mut state = self.0.lock();
        if state.failing.len() < MOST {
            state.failing.insert(host);
        }
        if state.suspects_the_ring() && !state.told {
            state.told = true;
            tracing::error!(
                hosts = state.failing.len(),
                "no key of any host opens: is this the key ring that sealed them? Handshakes fail until it is"
            );
        }
    }

    /// The host has another key, or is gone.
    pub(crate) fn forget(&self, host: u64) {
        self.0.lock().failing.remove(&host);
    }

    pub(crate) fn forget_all(&self) {
        self.0.lock().failing.clear();
    }

    /// What readiness says about it. A note only: which hosts are asked for first is the clients' choice, and an edge
    /// that is sent no more traffic would never see a key that opens.
    pub(crate) fn note(&self) -> Option<String> {
        let state = self.0.lock();
        let hosts = state.failing.len();
        if state.suspects_the_ring() {
            Some(format!("no key of any host opens ({hosts} asked for): is this the key ring that sealed them?"))
        } else {
            (hosts > 0).then(|| format!("hosts whose keys do not open: {hosts}"))
        }
    }
}
