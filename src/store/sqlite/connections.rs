//! Connections to one SQLite file: one that writes, some that read beside it.

use std::{
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    Connection, Executor, Sqlite, SqlitePool, Transaction,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

use crate::store::{InvalidUrl, PoolLimits, StoreError};

const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Two pools, so that readers never wait for the writer.
pub(super) struct Connections {
    writer: SqlitePool,
    readers: SqlitePool,
    patience: Duration,
    /// How the log and errors call the database.
    place: Arc<str>,
}

impl Connections {
    pub(super) fn new(url: &str, limits: PoolLimits) -> Result<Self, InvalidUrl> {
        let options = SqliteConnectOptions::from_str(url).map_err(|_| InvalidUrl::Malformed)?;
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(InvalidUrl::InMemory);
        }
        let options = options
            .create_if_missing(true)
            // A power cut may take the last transactions, never a part of one: the log still has what they recorded.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(limits.transaction_timeout);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(limits.acquire_timeout)
                // A full disk rolls a transaction back by itself, which the connection does not count: it would never
                // begin another one.
                .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
                .connect_lazy_with(options.clone())
        };
        let (writer, readers, patience) = (pool(1), pool(limits.max_connections), limits.transaction_timeout);
        Ok(Self { writer, readers, patience, place: options.get_filename().display().to_string().into() })
    }

    /// Lets readers read while somebody writes, from now on: the file remembers it.
    ///
    /// A file that others open at the same moment refuses this at once, whatever the timeout says.
    pub(super) async fn use_write_ahead_log(&self) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await.map_err(|error| self.at_the_door(error))?;
        let deadline = Instant::now() + self.patience;
        loop {
            match connection.execute("pragma journal_mode = wal").await.map_err(StoreError::from) {
                Err(StoreError::Unavailable(_)) if Instant::now() < deadline => tokio::time::sleep(BUSY_PAUSE).await,
                outcome => return outcome.map(|_| ()).map_err(|error| error.at(&self.place)),
            }
        }
    }

    /// A transaction that has the write lock from its beginning: one that asks for it later, after a read, may be
    /// refused it at once.
    pub(super) async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("begin immediate").await.map_err(|error| self.at_the_door(error))
    }

    /// A connection for one statement, which sees one state of the database.
    pub(super) async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.readers.acquire().await.map_err(|error| self.at_the_door(error))
    }

    fn at_the_door(&self, error: sqlx::Error) -> StoreError {
        StoreError::at_the_door(error).at(&self.place)
    }
}
