//! What can go wrong between the service and its database.

use std::borrow::Cow;

use mtasts_model::{DomainId, PolicyVersionId};
use sea_orm::{DbErr, RuntimeErr};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres cannot be reached, is starting or stopping, or has no connection to spare: nothing is wrong with the
    /// request, it may be repeated later.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// Postgres does not answer at all (lost packets, a host that has frozen). What was asked may have been done.
    #[error("the database did not answer in time")]
    Silent,
    /// Another transaction was in the way (a deadlock, a lock or statement that took too long): repeat at once.
    #[error("the database was busy with a conflicting transaction")]
    Busy(#[source] DbErr),
    /// Somebody else has just changed what this was about: repeat at once.
    #[error("somebody else changed the same thing at this moment")]
    Contended,
    /// The lease was taken over by another worker (or the domain is gone): drop what you have.
    #[error("the lease is held by somebody else")]
    Fenced,
    /// There is no such object, or it is another tenant's.
    #[error("there is no such object")]
    NotFound,
    /// The tenant would stand below the lowest level.
    #[error("tenants have no further level")]
    TooDeep,
    /// The tenant has this domain already.
    #[error("the domain is registered already as {id}")]
    DomainExists {
        /// The living registration.
        id: DomainId,
    },
    /// An id was drawn that is taken: draw another. Never a tenant's doing.
    #[error("a drawn value is taken already ({constraint})")]
    Taken {
        /// Which uniqueness was violated.
        constraint: String,
    },
    /// The version that the caller thinks is the newest is not.
    #[error("the newest policy version is another one")]
    VersionConflict {
        /// The newest version; None when there is none yet.
        current: Option<PolicyVersionId>,
    },
    /// The domain is being withdrawn or gone: its policy can no longer be changed.
    #[error("the domain is being withdrawn")]
    Withdrawing,
    /// The tenant has as many as it may.
    #[error("the tenant has {used} {quota} and may have {limit}")]
    QuotaExceeded {
        /// Of what, as the API names it.
        quota: &'static str,
        /// How many it may have.
        limit: u64,
        /// How many it has.
        used: u64,
    },
    /// Another registration of the name holds its place in the edge feed.
    #[error("the domain does not hold its policy host")]
    HostNotHeld,
    /// The domain has a live order already (invariant 9).
    #[error("the domain has a live order already")]
    OrderLive,
    /// The order is closed, or not this domain's.
    #[error("the order is closed")]
    OrderClosed,
    /// A stored value is not what this version of the service writes.
    #[error("cannot read column {column} of {table}, row {row}")]
    UnreadableRow {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        row: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The URL of the database or of Redis cannot be read. Its text may hold a password and is not shown.
    #[error("the {what} URL cannot be read")]
    BadUrl {
        /// Whose URL.
        what: &'static str,
    },
    /// A follower has read further than the feed goes: the database was restored from a backup. What the follower has is
    /// newer, and it keeps it until the recovery is done.
    #[error(
        "the feed ends at {drawn}, before {read} that was read already: the database was restored from a backup, and \
         `mtasts admin recover` has yet to be run"
    )]
    FeedWentBack {
        /// The follower's position.
        read: mtasts_model::Revision,
        /// The highest revision of a row.
        drawn: mtasts_model::Revision,
    },
    /// A login cannot be made.
    #[error(transparent)]
    Login(#[from] crate::LoginError),
    /// Any other refusal of the database: a defect of ours.
    #[error("the database refused a statement")]
    Database(#[source] DbErr),
}

impl StoreError {
    /// True when the same call may work if it is repeated at once (a deadlock or a serialisation failure).
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Contended)
    }

    /// True when the database is away, so that the call may work later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Silent)
    }

    /// The role that a connection takes on at its start does not exist: nothing was ever migrated in this cluster.
    pub(crate) fn is_role_missing(&self) -> bool {
        // SQLSTATE invalid_parameter_value, of the start-up option `role`.
        self.sqlstate().as_deref() == Some("22023")
    }

    /// The code of a refusal that has no kind of its own here.
    pub(crate) fn sqlstate(&self) -> Option<Cow<'_, str>> {
        let Self::Database(
            DbErr::Conn(RuntimeErr::SqlxError(source))
            | DbErr::Exec(RuntimeErr::SqlxError(source))
            | DbErr::Query(RuntimeErr::SqlxError(source)),
        ) = self
        else {
            return None;
        };
        source.as_database_error()?.code()
    }

    pub(crate) fn unreadable(
        table: &'static str,
        column: &'static str,
        row: impl std::fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::UnreadableRow { table, column, row: format!("{row}"), source: source.into() }
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match classify(&error) {
            Class::Unavailable => Self::Unavailable(error),
            Class::Busy => Self::Busy(error),
            Class::Taken(constraint) => Self::Taken { constraint },
            Class::Other => Self::Database(error),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
    }
}

enum Class {
    Unavailable,
    Busy,
    Taken(String),
    Other,
}

fn classify(error: &DbErr) -> Class {
    let source = match error {
        DbErr::ConnectionAcquire(_) => return Class::Unavailable,
        DbErr::Conn(RuntimeErr::SqlxError(source))
        | DbErr::Exec(RuntimeErr::SqlxError(source))
        | DbErr::Query(RuntimeErr::SqlxError(source)) => source,
        _ => return Class::Other,
    };
    match source.as_ref() {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        // A connection that broke in the middle of a message.
        | sqlx::Error::Protocol(_) => Class::Unavailable,
        sqlx::Error::Database(refusal) => match refusal.code().as_deref() {
            Some("23505") => Class::Taken(refusal.constraint().unwrap_or_default().to_owned()),
            Some(code) => classify_code(code),
            None => Class::Other,
        },
        _ => Class::Other,
    }
}

/// By the SQLSTATE (PostgreSQL manual, appendix A).
fn classify_code(code: &str) -> Class {
    match code {
        // Too many connections, shutdown, crash, starting up; a standby after a failover.
        "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25006" => Class::Unavailable,
        _ if code.starts_with("08") => Class::Unavailable,
        // Serialisation failure, deadlock, lock time-out, statement time-out, idle-in-transaction time-out.
        "40001" | "40P01" | "55P03" | "57014" | "25P03" => Class::Busy,
        _ => Class::Other,
    }
}
