//! From a database url to a store. Opens no connection yet: a database that is away is waited for elsewhere.

use std::{sync::Arc, time::Duration};

use super::{DeadLetterStore, Store, postgres::PostgresStore, sqlite::SqliteStore};

/// How much of the database the process takes, and how long it waits for it.
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// Connections open at once.
    pub max_connections: u32,
    /// How long a call waits for a connection, connecting included.
    pub acquire_timeout: Duration,
    /// How long one transaction may take. PostgreSQL is told the same, so that it frees the locks of a process that
    /// has vanished. Does not bound `migrate`.
    pub transaction_timeout: Duration,
}

/// The database url cannot be used. Never repeats the url, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Another database.
    #[error("must begin with `postgres://`, `postgresql://` or `sqlite:`")]
    Scheme,
    /// The rest of the url. What the driver says of it repeats what stands there.
    #[error("cannot be used: user, password and database have to be percent-encoded")]
    Malformed,
    /// An SQLite database without a file.
    #[error("must name a file: an SQLite database in memory is another one for each connection")]
    InMemory,
}

/// Makes the store behind `url`: `postgres://…` or `sqlite:path`. Has to be called within the tokio runtime that is to
/// carry its connections, and does not wait for the database.
pub fn connect(url: &str, limits: PoolLimits) -> Result<Arc<dyn Store>, InvalidUrl> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Ok(Arc::new(PostgresStore::new(url, limits)?)),
        Some("sqlite") => Ok(Arc::new(SqliteStore::new(url, limits)?)),
        _ => Err(InvalidUrl::Scheme),
    }
}

/// The same store for the operator's tools.
pub fn connect_to_dead_letters(url: &str, limits: PoolLimits) -> Result<Arc<dyn DeadLetterStore>, InvalidUrl> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Ok(Arc::new(PostgresStore::new(url, limits)?)),
        Some("sqlite") => Ok(Arc::new(SqliteStore::new(url, limits)?)),
        _ => Err(InvalidUrl::Scheme),
    }
}
