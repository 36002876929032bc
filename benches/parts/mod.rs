//! What benchmarks share that run the binary against real servers.

use std::{net::TcpListener, process::Child, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_ordercast");
/// Longest silence of whatever is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 6;

/// `ordercast serve`; killed at the end.
pub(crate) struct Instance(pub(crate) Child);

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn make_topic(kafka: &str, name: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka).create().unwrap();
    let patient = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &patient).await.unwrap().into_iter().for_each(|made| drop(made.unwrap()));
}

/// Makes an empty database of this name beside that of `postgres`; answers its address.
pub(crate) async fn make_database(postgres: &str, name: &str) -> String {
    let mut connection = PgConnection::connect(postgres).await.unwrap();
    for statement in [format!("drop database if exists {name} with (force)"), format!("create database {name}")] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    format!("{}/{name}", &postgres[..postgres.rfind('/').expect("a URL with a database")])
}

pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
