//! Why the store could not do as asked, and what the databases' error codes mean for it.

use std::{io, time::Duration};

use sqlx::{error::DatabaseError, migrate::MigrateError, postgres::PgDatabaseError};

use crate::event::Stamp;

/// Why the store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another recorder moved this partition on: the compare-and-set touched no row.
    #[error("partition {partition} has moved on under another recorder")]
    LostPartition {
        /// The partition.
        partition: i32,
    },
    /// SQL refused the data of these events (a bug: decode should have). Dead-letter them and apply the rest; of very
    /// many only the first are named, so the rest may be refused again.
    #[error("the database refused {} event(s): {}", .0.len(), .0.first().map_or("", |event| event.message.as_str()))]
    Rejected(Vec<RejectedEvent>),
    /// These events go by log order, and their orders are known from other partitions. Dead-letter them and apply the
    /// rest. Where they stand, another recorder may have changed their orders by then, so others may be named.
    #[error("{} event(s) without a version stand in another partition than their order", .0.len())]
    Unordered(Vec<RejectedEvent>),
    /// Two recorders touched one order at once; try the batch again.
    #[error("another recorder changed the same order at the same time")]
    Contended,
    /// The database keeps text in another encoding than all that events may hold.
    #[error(
        "the database {database} has the encoding {encoding}, and Ordercast needs UTF8, which only a new database can have: \
         `create database NAME encoding 'UTF8' template template0`, then name that in database.url"
    )]
    Encoding {
        /// Its name.
        database: String,
        /// As it calls it: `LATIN1`, `SQL_ASCII`, …
        encoding: String,
    },
    /// The schema is older than this binary.
    #[error("the database schema is at version {found}, this binary needs {needed}: run `ordercast migrate`")]
    SchemaBehind {
        /// What the database has.
        found: i64,
        /// What this binary needs.
        needed: i64,
    },
    /// The schema is newer than this binary.
    #[error("the database schema is at version {found}, this binary knows up to {known}: run a newer ordercast")]
    SchemaAhead {
        /// What the database has.
        found: i64,
        /// What this binary knows.
        known: i64,
    },
    /// The database is away or asks to come again.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The database refused for another reason.
    #[error("the database refused: {0}")]
    Refused(#[source] sqlx::Error),
}

/// An event that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedEvent {
    /// The record.
    pub stamp: Stamp,
    /// Why, for a person; of data, what the database said.
    pub message: String,
}

impl StoreError {
    /// Whether the same call may succeed later without anybody's help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Contended)
    }

    /// The peer kept silent for as long as a call may take.
    pub(crate) fn no_answer(within: Duration) -> Self {
        let message = format!("no answer within {within:?}");
        Self::Unavailable(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message)))
    }

    /// What the database said, if it refused the values themselves.
    pub(super) fn data_refusal(&self) -> Option<String> {
        let Self::Refused(sqlx::Error::Database(error)) = self else { return None };
        let refused = match Code::of(error.as_ref()) {
            Code::SqlState(state) => state.starts_with("22") || state.starts_with("23"),
            // TOOBIG, CONSTRAINT, MISMATCH
            Code::Sqlite(code) => matches!(code, 18..=20),
        };
        refused.then(|| error.message().to_owned())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        match &error {
            // Another recorder has inserted what this one found missing.
            Database(refusal)
                if refusal.is_unique_violation() && matches!(refusal.table(), Some("orders" | "erased_orders")) =>
            {
                Self::Contended
            }
            Database(refusal) => match Code::of(refusal.as_ref()).answer() {
                Answer::Contended => Self::Contended,
                Answer::ComeAgain => Self::Unavailable(error),
                Answer::No => Self::Refused(error),
            },
            Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed => Self::Unavailable(error),
            _ => Self::Refused(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            error => Self::Refused(error.into()),
        }
    }
}

/// The code of a database's error.
enum Code<'a> {
    SqlState(&'a str),
    /// The primary code, without the extension in the higher bits.
    Sqlite(u32),
}

/// What a database's error asks for.
enum Answer {
    Contended,
    ComeAgain,
    No,
}

impl<'a> Code<'a> {
    fn of(error: &'a (dyn DatabaseError + 'static)) -> Self {
        match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => Self::SqlState(error.code()),
            None => Self::Sqlite(error.code().and_then(|code| code.parse().ok()).unwrap_or(0) & 0xff),
        }
    }

    fn answer(&self) -> Answer {
        match self {
            // serialization_failure, deadlock_detected, lock_not_available
            Self::SqlState("40001" | "40P01" | "55P03") => Answer::Contended,
            // read_only_sql_transaction: the former primary after a failover. query_canceled: our own timeout.
            // idle_in_transaction_session_timeout: this process stood still. 40003: lost in the middle.
            Self::SqlState("25006" | "25P03" | "40003" | "57014") => Answer::ComeAgain,
            Self::SqlState(state) => {
                // Connection, resources (disk, memory, connections), operator intervention, system error.
                let away = ["08", "53", "57P", "58"].iter().any(|class| state.starts_with(class));
                if away { Answer::ComeAgain } else { Answer::No }
            }
            // BUSY, LOCKED, IOERR, FULL, CANTOPEN
            Self::Sqlite(5 | 6 | 10 | 13 | 14) => Answer::ComeAgain,
            Self::Sqlite(_) => Answer::No,
        }
    }
}
