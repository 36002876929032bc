//! A database per test.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ordercast::store::{PoolLimits, Store, TopicOpening, connect};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection, raw_sql};

pub(super) const TOPIC: &str = "order-status";
pub(super) const LOG_ID: &str = "cluster/order-status/0";
pub(super) const LIMITS: PoolLimits = PoolLimits {
    max_connections: 4,
    acquire_timeout: Duration::from_secs(10),
    transaction_timeout: Duration::from_secs(30),
};

/// A migrated database with its store.
pub(super) struct Database {
    pub(super) url: String,
    pub(super) store: Arc<dyn Store>,
    directory: Option<tempfile::TempDir>,
}

impl Database {
    pub(super) async fn postgres() -> Self {
        let database = Self::empty_postgres().await;
        database.store.migrate().await.unwrap();
        database
    }

    pub(super) async fn empty_postgres() -> Self {
        Self::postgres_with("").await
    }

    /// An empty database that was made with these options.
    pub(super) async fn postgres_with(options: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("store_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        administer(&format!("create database {name} {options}")).await;
        let mut url: url::Url = server().parse().unwrap();
        url.set_path(&name);
        Self { store: connect(url.as_str(), LIMITS).unwrap(), url: url.into(), directory: None }
    }

    pub(super) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("orders.db").display());
        let store = connect(&url, LIMITS).unwrap();
        store.migrate().await.unwrap();
        Self { url, store, directory: Some(directory) }
    }

    /// The store as another process sees it.
    pub(super) fn another_store(&self) -> Arc<dyn Store> {
        connect(&self.url, LIMITS).unwrap()
    }

    pub(super) fn is_postgres(&self) -> bool {
        self.directory.is_none()
    }

    /// An empty database of the same kind, not migrated.
    pub(super) async fn empty_sibling(&self) -> Self {
        match &self.directory {
            None => Self::empty_postgres().await,
            Some(_) => {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", directory.path().join("empty.db").display());
                Self { store: connect(&url, LIMITS).unwrap(), url, directory: Some(directory) }
            }
        }
    }

    /// Makes the topic with these partitions, each beginning at offset 0.
    pub(super) async fn open(&self, partitions: i32) {
        let opening = TopicOpening {
            topic: TOPIC.into(),
            log_id: LOG_ID.into(),
            partition_count: partitions,
            low_watermarks: (0..partitions).map(|partition| (partition, 0)).collect(),
        };
        self.store.open_topic(&opening).await.unwrap();
    }

    /// What SQL itself says, as text.
    pub(super) async fn sql(&self, statement: &str) -> Vec<Vec<Option<String>>> {
        let statement = raw_sql(AssertSqlSafe(statement));
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            let rows = connection.fetch_all(statement).await.unwrap();
            rows.iter().map(|row| (0..row.len()).map(|index| row.try_get_unchecked(index).unwrap()).collect()).collect()
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            let rows = connection.fetch_all(statement).await.unwrap();
            rows.iter().map(|row| (0..row.len()).map(|index| row.try_get_unchecked(index).unwrap()).collect()).collect()
        }
    }

    /// A count.
    pub(super) async fn count(&self, from: &str) -> u64 {
        self.sql(&format!("select count(*) from {from}")).await[0][0].as_ref().unwrap().parse().unwrap()
    }

    pub(super) async fn drop(self) {
        if self.is_postgres() {
            let name = self.url.rsplit('/').next().unwrap();
            administer(&format!("drop database {name} with (force)")).await;
        }
    }
}

/// Waits until somebody in this database waits for a lock.
pub(super) async fn somebody_waits(observer: &mut PgConnection, how_many: i64) {
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    let waits = async {
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *observer).await.unwrap() < how_many {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("nobody waits for a lock");
}

fn server() -> String {
    std::env::var("ORDERCAST_TEST_POSTGRES")
        .expect("ORDERCAST_TEST_POSTGRES must name a superuser of a running PostgreSQL; scripts/test starts one")
}

async fn administer(statement: &str) {
    let mut connection = PgConnection::connect(&server()).await.unwrap();
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
}
