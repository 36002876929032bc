//! Why the store could not do as asked, and what the databases' error codes mean for it.

use std::{sync::Arc, time::Duration};

use sqlx::{error::DatabaseError, migrate::MigrateError, postgres::PgDatabaseError};

use super::away::{self, Away};
use crate::domain::Stamp;

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
    /// The stored row of an order cannot be read: this program has not written it so.
    #[error("the stored row of the order {order} cannot be read: {error}")]
    Unreadable {
        /// The order's id, as stored.
        order: String,
        /// What is wrong with it.
        #[source]
        error: sqlx::Error,
    },
    /// The database is away or asks to come again.
    #[error("the database of database.url does not answer{0}")]
    Unavailable(Away),
    /// The database does not let this process do its work, whatever it asks: there is no such database, the password is wrong,
    /// a right is missing.
    #[error("the database of database.url refuses{0}; waiting does not cure that")]
    Denied(Away),
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
    /// Whether the same call may succeed later as it is: nothing is wrong with what it asks for.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Denied(_) | Self::Contended)
    }

    /// Whether waiting alone does not cure it, so that somebody has to do something.
    pub fn needs_somebody(&self) -> bool {
        !matches!(self, Self::Unavailable(_) | Self::Contended | Self::LostPartition { .. })
    }

    /// The same, with where the database was looked for.
    pub(super) fn at(self, place: &Arc<str>) -> Self {
        match self {
            Self::Unavailable(away) => Self::Unavailable(away.at(place)),
            Self::Denied(away) => Self::Denied(away.at(place)),
            other => other,
        }
    }

    /// No connection could be made, for this reason.
    pub(super) fn at_the_door(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Tls(error) => Self::Denied(Away::because(away::of_tls(&*error))),
            sqlx::Error::Protocol(_) => Self::Denied(Away::because("what answers there is not PostgreSQL")),
            error => error.into(),
        }
    }

    /// The peer kept silent for as long as a call may take.
    pub(crate) fn no_answer(within: Duration) -> Self {
        Self::Unavailable(Away::because(format!("no answer within {within:?}")))
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
                Answer::ComeAgain => Self::Unavailable(Away::because(away::of_refusal(refusal.as_ref()))),
                Answer::Denied => Self::Denied(Away::because(away::of_refusal(refusal.as_ref()))),
                Answer::No => Self::Refused(error),
            },
            Io(io) => Self::Unavailable(Away::because(away::of_io(io))),
            Tls(tls) => Self::Unavailable(Away::because(away::of_tls(tls.as_ref()))),
            Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed => {
                Self::Unavailable(Away::because(error.to_string()))
            }
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
    Denied,
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
            // invalid_authorization, invalid_catalog_name, insufficient_privilege
            Self::SqlState("28000" | "28P01" | "3D000" | "42501") => Answer::Denied,
            Self::SqlState(state) => {
                // Connection, resources (disk, memory, connections), operator intervention, system error.
                let away = ["08", "53", "57P", "58"].iter().any(|class| state.starts_with(class));
                if away { Answer::ComeAgain } else { Answer::No }
            }
            // BUSY, LOCKED, IOERR, FULL, CANTOPEN
            Self::Sqlite(5 | 6 | 10 | 13 | 14) => Answer::ComeAgain,
            // PERM, READONLY, AUTH, NOTADB
            Self::Sqlite(3 | 8 | 23 | 26) => Answer::Denied,
            Self::Sqlite(_) => Answer::No,
        }
    }
}
