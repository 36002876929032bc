//! Connections to PostgreSQL and the ways to use them: a transaction with a deadline, or a read.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection, Executor, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};
use tokio::time::timeout;

use crate::store::{Away, InvalidUrl, MayCommit, PoolLimits, StoreError, tickets::Ending};

/// A statement of a short transaction, and what lies between two. A caller that does not wait any longer must not leave one that
/// holds up the next.
const SHORT: Duration = Duration::from_secs(5);
/// What was idle for longer may be gone: it is asked first whether it is there.
const SURELY_THERE: Duration = Duration::from_secs(1);
/// How long it is asked for the cause when the pool had no connection in time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pool, and how its transactions begin.
pub(super) struct Connections {
    pool: PgPool,
    options: PgConnectOptions,
    /// How the log and errors call the database.
    place: Arc<str>,
    acquire_timeout: Duration,
    begin: Arc<str>,
    begin_short: Arc<str>,
    transaction_timeout: Duration,
}

impl Connections {
    pub(super) fn new(url: &str, limits: PoolLimits) -> Result<Self, InvalidUrl> {
        let options = PgConnectOptions::from_str(url).map_err(|_| InvalidUrl::Malformed)?;
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("ordercast"),
        };
        // Floats are not used, and poolers refuse the parameter.
        let options = options.extra_float_digits(None);
        let pool = PgPoolOptions::new()
            .max_connections(limits.max_connections)
            .acquire_timeout(limits.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    let is_there = about.idle_for <= SURELY_THERE || connection.ping().await.is_ok();
                    Ok(is_there)
                })
            })
            .connect_lazy_with(options.clone());
        // A recorder whose machine vanished must not keep its rows locked until TCP gives up, hours later.
        let [begin, begin_short] = [limits.transaction_timeout, SHORT.min(limits.transaction_timeout)].map(|limit| {
            let millis = limit.as_millis();
            format!(
                "begin isolation level read committed; \
                 set local statement_timeout = {millis}; set local idle_in_transaction_session_timeout = {millis}"
            )
        });
        let (begin, begin_short) = (begin.into(), begin_short.into());
        let place = place(&options).into();
        let PoolLimits { acquire_timeout, transaction_timeout, .. } = limits;
        Ok(Self { pool, options, place, acquire_timeout, begin, begin_short, transaction_timeout })
    }

    /// Runs `work` in a transaction, which is committed if it succeeds and rolled back otherwise.
    pub(super) async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lease = Lease { connection: self.acquire().await?, reusable: false };
        let connection = &mut *lease.connection;
        let transaction = async {
            connection.execute(AssertSqlSafe(self.begin.clone())).await?;
            let outcome = work(connection).await;
            match &outcome {
                Ok(_) => connection.execute("commit").await?,
                Err(StoreError::Unavailable(_)) => return outcome,
                Err(_) => connection.execute("rollback").await?,
            };
            lease.reusable = true;
            outcome
        };
        let outcome = timeout(self.transaction_timeout, transaction).await;
        let outcome = outcome.unwrap_or_else(|_| Err(StoreError::no_answer(self.transaction_timeout)));
        outcome.map_err(|error| error.at(&self.place))
    }

    /// Runs one statement that only reads, and that cannot wait or work for long, without a transaction around it: half as
    /// many round trips. It sees one state of the database.
    pub(super) async fn read<T>(
        &self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lease = Lease { connection: self.acquire().await?, reusable: false };
        let outcome = timeout(self.transaction_timeout, statement(&mut lease.connection)).await;
        lease.reusable = outcome.as_ref().is_ok_and(|outcome| !matches!(outcome, Err(StoreError::Unavailable(_))));
        let outcome = outcome.unwrap_or_else(|_| Err(StoreError::no_answer(self.transaction_timeout)));
        outcome.map_err(|error| error.at(&self.place))
    }

    /// What an error of a connection from [`unbounded`](Self::unbounded) is told with.
    pub(super) fn place(&self) -> &Arc<str> {
        &self.place
    }

    async fn acquire(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        let error = match self.pool.acquire().await {
            Ok(connection) => return Ok(connection),
            Err(sqlx::Error::PoolTimedOut) => self.why_none_in_time().await,
            Err(error) => StoreError::at_the_door(error),
        };
        Err(error.at(&self.place))
    }

    /// The pool tries for as long as it may and then forgets what it was refused with.
    async fn why_none_in_time(&self) -> StoreError {
        let patience = self.acquire_timeout.min(PROBE_TIMEOUT);
        match timeout(patience, PgConnection::connect_with(&self.options)).await {
            Ok(Ok(connection)) => {
                // Politeness only.
                let _ = timeout(patience, connection.close()).await;
                let connections = self.pool.options().get_max_connections();
                let busy = format!("all {connections} connections of database.max_connections are in use");
                StoreError::Unavailable(Away::because(busy))
            }
            Ok(Err(error)) => StoreError::at_the_door(error),
            Err(_) => StoreError::Unavailable(Away::because("no answer in time")),
        }
    }

    /// Runs `work` in a short transaction, which is committed if it succeeds and `may_commit` then agrees. On an error, and
    /// where this is dropped before, nothing is committed.
    pub(super) async fn transaction_if<T>(
        &self,
        may_commit: MayCommit<'_>,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<(T, Ending), StoreError> {
        let mut lease = Lease { connection: self.acquire().await?, reusable: false };
        let connection = &mut *lease.connection;
        let worked = timeout(self.transaction_timeout, async {
            connection.execute(AssertSqlSafe(self.begin_short.clone())).await?;
            work(connection).await
        });
        let worked = worked.await.unwrap_or_else(|_| Err(StoreError::no_answer(self.transaction_timeout)))?;
        if !may_commit() {
            // The connection is closed with all that was done on it.
            return Ok((worked, Ending::Withdrawn));
        }
        let committed = timeout(SHORT, connection.execute("commit")).await;
        let ending = match committed {
            Ok(Ok(_)) => Ending::Committed,
            Ok(Err(error)) => Ending::Unknown(error.into()),
            Err(_) => Ending::Unknown(StoreError::no_answer(SHORT)),
        };
        lease.reusable = matches!(ending, Ending::Committed);
        Ok((worked, ending))
    }

    /// A connection for what may take long.
    pub(super) async fn unbounded(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        self.acquire().await
    }
}

/// `host:port/database`, without user and password.
fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None if options.get_host().contains(':') => {
            format!("[{}]:{}/{database}", options.get_host(), options.get_port())
        }
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

/// A connection that goes back to the pool only after a transaction has ended on it. In any other case (an answer
/// that does not come, a caller that no longer waits, a primary that has become a standby) it is closed: waiting for
/// it to become usable again could take its place in the pool for as long as TCP keeps trying.
struct Lease {
    connection: PoolConnection<Postgres>,
    reusable: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.reusable {
            self.connection.close_on_drop();
        }
    }
}
