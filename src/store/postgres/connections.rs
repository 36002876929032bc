//! Connections to PostgreSQL and the one way to use them: a transaction with a deadline.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Executor, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};
use tokio::time::timeout;

use crate::store::{InvalidUrl, Limits, MayCommit, StoreError, tickets::Ending};

/// A statement of a short transaction, and what lies between two. A caller that does not wait any longer must not leave one that
/// holds up the next.
const SHORT: Duration = Duration::from_secs(5);

/// The pool, and how its transactions begin.
pub(super) struct Connections {
    pool: PgPool,
    begin: Arc<str>,
    begin_short: Arc<str>,
    transaction_timeout: Duration,
}

impl Connections {
    pub(super) fn new(url: &str, limits: Limits) -> Result<Self, InvalidUrl> {
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
            .connect_lazy_with(options);
        // A recorder whose machine vanished must not keep its rows locked until TCP gives up, hours later.
        let [begin, begin_short] = [limits.transaction_timeout, SHORT.min(limits.transaction_timeout)].map(|limit| {
            let millis = limit.as_millis();
            format!(
                "begin isolation level read committed; \
                 set local statement_timeout = {millis}; set local idle_in_transaction_session_timeout = {millis}"
            )
        });
        let (begin, begin_short) = (begin.into(), begin_short.into());
        Ok(Self { pool, begin, begin_short, transaction_timeout: limits.transaction_timeout })
    }

    /// Runs `work` in a transaction, which is committed if it succeeds and rolled back otherwise.
    pub(super) async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lease = Lease { connection: self.pool.acquire().await?, reusable: false };
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
        match timeout(self.transaction_timeout, transaction).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::no_answer(self.transaction_timeout)),
        }
    }

    /// Runs `work` in a short transaction, which is committed if it succeeds and `may_commit` then agrees. On an error, and
    /// where this is dropped before, nothing is committed.
    pub(super) async fn transaction_if<T>(
        &self,
        may_commit: MayCommit<'_>,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<(T, Ending), StoreError> {
        let mut lease = Lease { connection: self.pool.acquire().await?, reusable: false };
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
        Ok(self.pool.acquire().await?)
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
