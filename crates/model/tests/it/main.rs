//! The planner as a state machine in a simulated world.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod lifecycle;
mod migration;
mod mx_put_off;
mod rollout;
mod watch;
mod world;
