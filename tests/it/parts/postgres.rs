//! PostgreSQL: a database of a test's own on the server all tests share, and servers of a test's own that it may stop, kill and pause.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use tempfile::TempDir;
use url::Url;

use super::disk::SmallDisk;
use super::process::Process;
use super::{free_port, setting};

/// The server that `scripts/test` started, as a connection URL. It stays up: faults need a server of the test's own.
pub fn shared_postgres() -> String {
    setting("ORDERCAST_TEST_POSTGRES")
}

/// An empty database, gone with the value.
pub struct Database {
    server: Url,
    name: String,
}

impl Database {
    /// Makes a database on the shared server.
    pub async fn create() -> Self {
        Self::create_on(&shared_postgres()).await
    }

    /// Makes a database on the server of `url`.
    pub async fn create_on(url: &str) -> Self {
        Self::create_in("pg_default", url).await
    }

    /// Makes a database in a tablespace of the server of `url`.
    pub async fn create_in(tablespace: &str, url: &str) -> Self {
        let database = Self {
            server: url.parse().expect("a URL"),
            name: format!("test_{}", ulid::Ulid::generate()).to_lowercase(),
        };
        run(database.server.as_str(), format!("create database {} tablespace {tablespace}", database.name)).await;
        database
    }

    /// The database's URL.
    pub fn url(&self) -> String {
        self.url_by_port(self.port())
    }

    /// The database's URL by another port: that of a proxy.
    pub fn url_by_port(&self, port: u16) -> String {
        let mut url = self.server.clone();
        url.set_port(Some(port)).expect("a URL with a host");
        url.set_path(&self.name);
        url.into()
    }

    /// Runs a statement, past whatever lies between the program under test and its database.
    pub async fn run(&self, statement: &str) {
        run(&self.url(), statement.to_owned()).await;
    }

    /// The first number a query answers.
    pub async fn number(&self, query: &str) -> Option<i64> {
        let mut connection = PgConnection::connect(&self.url()).await.expect("PostgreSQL answers");
        let row = sqlx::raw_sql(AssertSqlSafe(query.to_owned())).fetch_optional(&mut connection).await;
        row.expect("the query runs").map(|row| row.get(0))
    }

    /// All texts a query answers.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        Self::texts_of(&self.url(), query).await
    }

    async fn texts_of(url: &str, query: &str) -> Vec<String> {
        let mut connection = PgConnection::connect(url).await.expect("PostgreSQL answers");
        let rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned())).fetch_all(&mut connection).await;
        rows.expect("the query runs").iter().map(|row| row.get(0)).collect()
    }

    /// The port of the database's server, for a proxy to lead to.
    pub fn port(&self) -> u16 {
        self.server.port().unwrap_or(5432)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A drop cannot await, so a thread does. A server that the test has stopped takes its databases with it.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a small runtime");
            runtime.block_on(async {
                let mut connection = PgConnection::connect(server.as_str()).await?;
                sqlx::raw_sql(AssertSqlSafe(format!("drop database {name} with (force)")))
                    .execute(&mut connection)
                    .await
            })
        });
        let _ = dropped.join();
    }
}

/// A server of the test's own, gone with the value.
pub struct Postgres {
    port: u16,
    process: Process,
    directory: TempDir,
    disk: Option<SmallDisk>,
}

impl Postgres {
    /// Starts an empty server.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // The server may run as another user, who has to get in.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("an own directory");
        let port = free_port();
        let mut server = Self { port, process: start_process(port, &directory, None), directory, disk: None };
        server.until_ready().await;
        server
    }

    /// Starts an empty server that has a small disk besides, with a tablespace `small` on it.
    pub async fn start_with(disk: SmallDisk) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("an own directory");
        let port = free_port();
        let process = start_process(port, &directory, Some(&disk));
        let mut server = Self { port, process, directory, disk: Some(disk) };
        server.until_ready().await;
        let space = server.disk().path("space");
        run(&server.url(), format!("copy (select) to program 'mkdir {}'", space.display())).await;
        run(&server.url(), format!("create tablespace small location '{}'", space.display())).await;
        server
    }

    fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("a server that was started with a small disk")
    }

    /// Leaves no room on its small disk.
    pub fn fill_disk(&self) {
        self.disk().fill(self.process.pid());
    }

    /// Makes room there again.
    pub fn make_room(&self) {
        self.disk().make_room(self.process.pid());
    }

    /// The URL of its own database, from which others are made.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Asks this role for its password from now on, and nobody else.
    pub async fn lock(&self, role: &str) {
        let hba = Database::texts_of(&self.url(), "show hba_file").await.remove(0);
        let lines = format!("('host all {role} 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 trust')");
        run(&self.url(), format!("copy (values {lines}) to '{hba}'")).await;
        run(&self.url(), "select pg_reload_conf()".to_owned()).await;
    }

    /// The server's port, for a proxy to lead to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server at once, as a crash does: connections break off, and the next start recovers from the log.
    pub async fn crash(&mut self) {
        self.process.end("QUIT").await;
    }

    /// Ends the server in order: transactions are rolled back and clients are told.
    pub async fn stop(&mut self) {
        self.process.end("INT").await;
    }

    /// Starts a stopped or crashed server again, on the same port and the same data.
    pub async fn restart(&mut self) {
        self.process = start_process(self.port, &self.directory, self.disk.as_ref());
        self.until_ready().await;
    }

    /// Connections stay, answers do not come.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    async fn until_ready(&mut self) {
        let options = PgConnectOptions::from_str(&self.url()).expect("a URL");
        self.process.wait_until(|| async { options.connect().await.is_ok() }).await;
    }
}

fn start_process(port: u16, directory: &TempDir, disk: Option<&SmallDisk>) -> Process {
    let arguments = [directory.path().join("server").display().to_string(), port.to_string()];
    let runner = disk.map(SmallDisk::runner).unwrap_or_default();
    Process::start_by(&runner, "postgres", &arguments, &directory.path().join("log"), "QUIT")
}

async fn run(url: &str, statement: String) {
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL answers");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.expect("the statement runs");
}
