//! How a process connects to the database.

use std::time::Duration;

use secrecy::SecretString;

/// As whom a process works in the database. Each role has the least grants for its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Owns the tables; for migrations only.
    Owner,
    /// Serves tenants and operators over REST.
    Api,
    /// Carries out plans.
    Worker,
    /// Follows the feeds: edges and nameservers.
    Edge,
    /// Takes in reports.
    Intake,
    /// Exchanges what is sealed, when keys are rotated.
    Keeper,
    /// Suspends, moves, hands out and erases tenants.
    Operator,
}

impl Role {
    /// The database role; None for the owner, who is whoever logs in.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Owner => None,
            Self::Api => Some("mtasts_api"),
            Self::Worker => Some("mtasts_worker"),
            Self::Edge => Some("mtasts_edge"),
            Self::Intake => Some("mtasts_intake"),
            Self::Keeper => Some("mtasts_keeper"),
            Self::Operator => Some("mtasts_operator"),
        }
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `postgres://…`; TLS by its `sslmode`.
    pub url: SecretString,
    /// As whom.
    pub role: Role,
    /// The largest number of connections that are held at once. Nudges use one more.
    pub max_connections: u32,
    /// How long a call waits for a connection before it is [`crate::StoreError::Unavailable`].
    pub connect_timeout: Duration,
    /// The longest that one statement may take.
    pub statement_timeout: Duration,
    /// Where nudges are published as well, if anywhere: `redis://…` or `rediss://…`.
    pub redis_url: Option<SecretString>,
}
