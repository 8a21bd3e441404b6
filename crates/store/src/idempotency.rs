//! A repeated request has one effect (invariant 7).

/// What is known about a request's idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idempotency {
    /// Never seen (or forgotten after a day): carry the request out, and finish it in the same transaction.
    Fresh,
    /// It was carried out: answer this again.
    Replay {
        /// The status of the answer.
        status: u16,
        /// Its body.
        body: Vec<u8>,
    },
    /// The key was used for another request.
    Conflict,
    /// The same request is being carried out at this moment.
    InFlight,
}
